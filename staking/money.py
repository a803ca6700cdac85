"""Amounts: integers of 10⁻⁸ of a token ("units"), written and shown with 8 decimals.

Decision 0002 says why they are integers.
"""

import re
from decimal import Decimal, InvalidOperation
from typing import Annotated, TypeAlias

from pydantic import BeforeValidator, PlainSerializer, Strict, WithJsonSchema

DECIMALS = 8
UNITS_PER_TOKEN = 10**DECIMALS
MAX_ACCOUNT_UNITS = 90_000_000_000 * UNITS_PER_TOKEN
"""The most that one account holds: 90 billion tokens, which fits a signed 64-bit integer."""
MAX_STORED_UNITS = 2**63 - 1
"""The most that a signed 64-bit integer holds."""

_LONGEST_NUMBER = 64
_PLAIN = re.compile(r"(-?)([0-9]{1,10})(?:\.([0-9]{1,8}))?")


class AmountError(ValueError):
    """A text is not an amount; the message says why."""


class AmountTooLarge(AmountError):
    """An amount is beyond the 90 billion that one account can hold."""


class AmountTooFine(AmountError):
    """An amount has more than 8 decimals."""


def parse_decimal(text: str) -> Decimal:
    """The number that a text such as ``12.00000000``, ``-3`` or ``1E-8`` writes, exactly.

    Raises AmountError for anything that is not a finite decimal number.
    """
    if len(text) > _LONGEST_NUMBER:
        raise AmountError(f"an amount has at most {_LONGEST_NUMBER} characters, this one has {len(text)}")
    # Decimal also reads " 1 ", "1_000" and digits of other scripts, which are mistakes in our files.
    if any(character.isspace() for character in text):
        raise AmountError(f"a number is written without white space, unlike {text!r}")
    try:
        if not text.isascii() or "_" in text:
            raise InvalidOperation
        number = Decimal(text)
    except InvalidOperation:
        raise AmountError(f"{text!r} is not a number") from None
    if not number.is_finite():
        raise AmountError(f"{text!r} is not a finite number")
    return number


def parse_amount(text: str) -> int:
    """The units of a decimal amount such as ``12.00000000``, ``-3`` or ``1E-8``.

    Raises AmountError for anything that is not a finite decimal number, AmountTooFine for more than 8 decimals
    (zeros after the eighth change nothing and are read), AmountTooLarge beyond ±90 billion tokens.
    """
    units = _parse_units(text)
    if abs(units) > MAX_ACCOUNT_UNITS:
        raise AmountTooLarge(f"{text!r} is more than 90 billion")
    return units


def parse_balance(text: str) -> int:
    """The units of a balance, as ``parse_amount`` reads an amount.

    A balance may be as much as can be stored: rewards are credited also to an account that is full, and those that
    were owed meanwhile raise past holdings. Raises AmountTooLarge beyond that.
    """
    units = _parse_units(text)
    if abs(units) > MAX_STORED_UNITS:
        raise AmountTooLarge(f"{text!r} is more than the {format_amount(MAX_STORED_UNITS)} that can be stored")
    return units


def _parse_units(text: str) -> int:
    if plain := _PLAIN.fullmatch(text):
        # Nearly every amount is written like this, and a file may have a million amounts.
        units = int(plain[2] + (plain[3] or "").ljust(DECIMALS, "0"))
        return -units if plain[1] else units
    amount = parse_decimal(text)
    sign, digits, exponent = amount.as_tuple()
    if not isinstance(exponent, int) or amount == 0:
        return 0
    # Decided on the exponent alone, so that 1E+999999 is refused without being written out.
    if amount.adjusted() >= len(str(MAX_ACCOUNT_UNITS)):
        raise AmountTooLarge(f"{text!r} is more than 90 billion")
    coefficient = int("".join(map(str, digits)))
    shift = exponent + DECIMALS
    if shift < 0:
        if -shift > len(digits) or coefficient % 10**-shift:
            raise AmountTooFine(f"{text!r} has more than {DECIMALS} decimals")
        units = coefficient // 10**-shift
    else:
        units = coefficient * 10**shift
    return -units if sign else units


def format_amount(units: int) -> str:
    """The decimal text of an amount in units, always with 8 decimals: ``-0.00000001``."""
    sign = "-" if units < 0 else ""
    whole, fraction = divmod(abs(units), UNITS_PER_TOKEN)
    return f"{sign}{whole}.{fraction:0{DECIMALS}d}"


def _units_from_json(value: object) -> object:
    if not isinstance(value, str):
        return value
    return parse_balance(value)


Units: TypeAlias = Annotated[
    int,
    Strict(),
    BeforeValidator(_units_from_json),
    PlainSerializer(format_amount, return_type=str),
    WithJsonSchema({"type": "string", "examples": ["10.12500000"]}),
]
"""An amount in units that crosses a border (JSON, Temporal) as decimal text, so that a person can read it."""
