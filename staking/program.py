"""The program: the terms of the offer, read from TOML and checked as a whole."""

import re
import tomllib
import unicodedata
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from functools import cached_property
from typing import Annotated, Any

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    JsonValue,
    StrictBool,
    StrictStr,
    ValidationError,
    ValidationInfo,
    field_validator,
)

from staking.money import UNITS_PER_TOKEN, parse_amount, parse_decimal

_REGION = re.compile(r"[A-Z]{2}(-[A-Z0-9]{1,3})?")
_APP_VERSION = re.compile(r"[0-9]{1,6}(\.[0-9]{1,6}){0,3}")
_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_DOCUMENT = re.compile(r"[a-z][a-z0-9_]{0,63}")
RATE_DECIMALS_MAX = 18
ASSET_CODE_LENGTH_MAX = 32
_UNSEEN = re.compile(
    "[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180d\u180f\u2800\u3164\ufe00-\ufe0f\uffa0\U000e0100-\U000e01ef]"
)
"""Characters that count as printable and are invisible: fillers, and characters that only change how others
look."""
_LONGEST_FILE = 262_144
_LONGEST_KEY_PART = 64


class ProgramError(ValueError):
    """A program file cannot be used; ``problems`` names each fault with its key."""

    def __init__(self, problems: list[str]) -> None:
        self.problems = problems
        super().__init__("; ".join(problems))


def _text_not_number(value: object) -> object:
    if isinstance(value, int | float) and not isinstance(value, bool):
        raise ValueError(f'write the number as a string, "{value}", so that it is not rounded')
    return value


def _amount(text: str) -> str:
    if parse_amount(text) < 0:
        raise ValueError(f"{text} is negative")
    return text


def _rate(text: str) -> str:
    rate = parse_decimal(text)
    if not 0 <= rate <= 1:
        raise ValueError(f"{text} is not between 0 and 1 (1 is 100 % a year)")
    if -int(rate.as_tuple().exponent) > RATE_DECIMALS_MAX:
        raise ValueError(f"{text} has more than {RATE_DECIMALS_MAX} decimals")
    return text


def _region_code(text: str) -> str:
    if not _REGION.fullmatch(text):
        raise ValueError(f"{text[:16]!r} is not an ISO 3166-1 or 3166-2 code such as FR or UA-43")
    return text


def _app_version(text: str) -> str:
    if not _APP_VERSION.fullmatch(text):
        raise ValueError(f"{text[:32]!r} is not an app version such as 3.1.0")
    return text


def _only_a_date(value: object) -> object:
    # A program that is kept as JSON has its date as text. pydantic would also read "0" as a date.
    a_date = isinstance(value, date) and not isinstance(value, datetime)
    if not a_date and not (isinstance(value, str) and _DATE.fullmatch(value)):
        raise ValueError("write a date without a time, such as 2026-01-31")
    return value


def check_asset_code(text: str) -> str:
    """An asset code in the form in which it is kept: any 1 to 32 printable characters without blanks.

    Its characters are composed (Unicode's NFC), since a letter with an accent is the same text in one character or
    two, and must not be two accounts. Nothing else is changed, since exchanges have codes that differ only in case
    or width. A code that differs in this way from an asset of the program is a mistake, which ``other_spelling``
    finds. Codes are ordered by their code points, which is the order of their bytes in UTF-8.

    Raises ValueError for anything else.
    """
    code = text if text.isascii() else unicodedata.normalize("NFC", text)
    if not 1 <= len(code) <= ASSET_CODE_LENGTH_MAX or " " in code or not code.isprintable():
        shown = repr(text if len(text) <= ASSET_CODE_LENGTH_MAX else f"{text[:ASSET_CODE_LENGTH_MAX]}…")
        raise ValueError(
            f"{shown} is not an asset code: 1 to {ASSET_CODE_LENGTH_MAX} printable characters without blanks"
        )
    return code


def other_spelling(asset: str, assets: Collection[str]) -> str | None:
    """The known asset from which a code differs only in case, in the width of its characters, or in something
    invisible. None for a known asset, and for any other code."""
    if asset in assets:
        return None
    looks = _looks(asset)
    return next((other for other in sorted(assets) if _looks(other) == looks), None)


def likeness(asset: str, right: str) -> str:
    """How a code is another spelling of a known one, as part of a sentence: ``differs only in case from SOL``."""
    return f"{'differs only in case from' if asset.casefold() == right.casefold() else 'looks like'} {right}"


def _looks(asset: str) -> str:
    folded = unicodedata.normalize("NFKC", asset).casefold()
    return _UNSEEN.sub("", unicodedata.normalize("NFKC", folded))


def _document_name(text: str) -> str:
    if not _DOCUMENT.fullmatch(text):
        raise ValueError("a document name is 1 to 64 lower-case letters, digits and _, a letter first")
    return text


AmountText = Annotated[StrictStr, AfterValidator(_amount), BeforeValidator(_text_not_number)]
RateText = Annotated[StrictStr, AfterValidator(_rate), BeforeValidator(_text_not_number)]
RegionCode = Annotated[StrictStr, AfterValidator(_region_code)]
AppVersion = Annotated[StrictStr, AfterValidator(_app_version), BeforeValidator(_text_not_number)]
AssetCode = Annotated[str, AfterValidator(check_asset_code)]
DocumentName = Annotated[str, AfterValidator(_document_name)]
DocumentVersion = Annotated[StrictStr, Field(min_length=1, max_length=64)]


class AssetTerms(BaseModel):
    """The terms of one asset. Numbers stay as written in the file, and are exact (decision 0006)."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    minimum: AmountText
    """Tokens; rule 4."""
    cap: AmountText
    """Tokens per user; rule 4."""
    apr: RateText
    """A fraction of 1 per 365 days; rule 3."""
    reference_price: AmountText
    """USDT per token; for the tag, totals and reference values, never for a reward."""
    paused: StrictBool = False

    @field_validator("cap")
    @classmethod
    def _cap_reaches_minimum(cls, cap: str, info: ValidationInfo) -> str:
        minimum = info.data.get("minimum")
        if minimum is not None and parse_amount(cap) < parse_amount(minimum):
            raise ValueError(f"{cap} is below the minimum, {minimum}")
        return cap

    @cached_property
    def minimum_units(self) -> int:
        """The minimum in units."""
        return parse_amount(self.minimum)

    @cached_property
    def cap_units(self) -> int:
        """The cap in units."""
        return parse_amount(self.cap)

    @cached_property
    def apr_ratio(self) -> tuple[int, int]:
        """The APR as an exact fraction."""
        return Decimal(self.apr).as_integer_ratio()

    @cached_property
    def reference_price_units(self) -> int:
        """USDT per token, in 10⁻⁸."""
        return parse_amount(self.reference_price)

    def reference_value(self, amount: int) -> int:
        """What an amount in units is worth at the reference price, in units of USDT, rounded down."""
        return amount * self.reference_price_units // UNITS_PER_TOKEN


class Program(BaseModel):
    """One version of the program, in force from 00:00 UTC of ``effective_from`` until the next version's."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    effective_from: Annotated[date, BeforeValidator(_only_a_date)]
    minimum_app_version: AppVersion
    restricted_regions: list[RegionCode]
    documents: dict[DocumentName, DocumentVersion]
    """The versions in force, by document name; all must be accepted (rule 7)."""
    assets: Annotated[dict[AssetCode, AssetTerms], Field(min_length=1)]

    def restricts(self, region: str) -> bool:
        """Rule 7: is the region restricted? A restricted country covers its subdivisions."""
        return region in self.restricted_regions or region.partition("-")[0] in self.restricted_regions

    @property
    def earning(self) -> dict[str, AssetTerms]:
        """The assets in which something can be earned, without those that are paused or have a rate of zero."""
        return {asset: terms for asset, terms in self.assets.items() if not terms.paused and terms.apr_ratio[0]}

    def with_paused(self, assets: Collection[str], *, paused: bool) -> "Program":
        """The same terms, with these assets paused or not. Assets that the program does not have are left out."""
        terms_by_asset = {
            asset: terms.model_copy(update={"paused": paused}) if asset in assets else terms
            for asset, terms in self.assets.items()
        }
        return self.model_copy(update={"assets": terms_by_asset})


@dataclass(frozen=True)
class Difference:
    """One key in which two programs differ, with the value of each; None if a program does not have the key."""

    key: str
    """The key as in the program file, with dots: ``assets.SOL.apr``, ``restricted_regions.BY``."""
    before: JsonValue
    after: JsonValue


def differences(before: Program, after: Program) -> list[Difference]:
    """Every difference of two programs, ordered by key.

    An asset that only one of them has is one difference, with all its terms. The order of regions, documents and
    assets in a file does not matter.
    """
    return list(_differences("", _comparable(before), _comparable(after)))


def _comparable(program: Program) -> JsonValue:
    regions: JsonValue = {region: region for region in program.restricted_regions}
    return {**program.model_dump(mode="json"), "restricted_regions": regions}


def _differences(key: str, before: JsonValue, after: JsonValue) -> Iterator[Difference]:
    if isinstance(before, dict) and isinstance(after, dict):
        for part in sorted(before.keys() | after.keys()):
            inner = f"{key}.{part}" if key else part
            yield from _differences(inner, before.get(part), after.get(part))
    elif before != after:
        yield Difference(key, before, after)


def app_version_at_least(version: str, minimum: str) -> bool:
    """Rule 7: compares dotted versions by number, so that 3.10.0 is later than 3.9 and 3.1 equals 3.1.0."""

    def numbers(text: str) -> list[int]:
        parts = [int(part) for part in text.split(".")]
        while parts and parts[-1] == 0:
            parts.pop()
        return parts

    return numbers(version) >= numbers(minimum)


def parse_program(toml: str) -> Program:
    """The program in a TOML text. Raises ProgramError, which names every problem with its key."""
    # The length is checked first, since the reader's time grows with the square of some texts.
    if len(toml) > _LONGEST_FILE:
        raise ProgramError([f"a program file has at most {_LONGEST_FILE} characters, this one has {len(toml)}"])
    try:
        toml.encode()  # refuses lone surrogates, which are not text
        content = tomllib.loads(toml)
    except RecursionError:
        raise ProgramError(["not valid TOML: nested too deeply"]) from None
    except ValueError as error:  # TOMLDecodeError, or a number that is too long for int
        raise ProgramError([f"not valid TOML: {error}"]) from None
    try:
        program = Program.model_validate(content)
    except ValidationError as error:
        raise ProgramError([_sentence(fault) for fault in error.errors()]) from None
    others = {asset: other_spelling(asset, program.assets.keys() - {asset}) for asset in program.assets}
    twice = [f"assets.{asset}: {likeness(asset, other)}" for asset, other in others.items() if other]
    if len(program.assets) < len(content["assets"]):
        twice.append("assets: two of them are the same text, with and without composed characters")
    if twice:
        raise ProgramError(twice)
    return program


def _sentence(fault: Any) -> str:
    key = ".".join(str(part)[:_LONGEST_KEY_PART] for part in fault["loc"] if part != "[key]")
    message = {
        "extra_forbidden": "unknown key",
        "missing": "missing",
    }.get(fault["type"], str(fault["msg"]).removeprefix("Value error, "))
    return f"{key}: {message}" if key else message
