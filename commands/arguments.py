"""Arguments that several commands take: how they are read, and one sentence for a text that cannot be read."""

import getpass
from collections.abc import Callable
from datetime import UTC, date, datetime
from functools import wraps
from typing import Annotated, TypeVar

import typer
from pydantic import TypeAdapter, ValidationError

from contract.acts import check_text
from ledger.movements import check_idempotency_key
from staking.days import in_utc, start_of
from staking.models import check_user_id
from staking.money import parse_amount
from staking.program import RegionCode, check_asset_code
from telemetry.address import Address

_Text = TypeVar("_Text", str, str | None, list[str])
_Value = TypeVar("_Value")

NUMBERS_MAY_BE_NEGATIVE = {"ignore_unknown_options": True}
"""Settings of a command for which -3 is an amount, and not an option."""


def wrong_usage(check: Callable[[_Text], _Value]) -> Callable[[_Text], _Value]:
    """Makes a check the parser of an argument: a ValueError is reported as wrong usage."""

    @wraps(check)
    def parser(text: _Text) -> _Value:
        try:
            return check(text)
        except ValueError as error:
            raise typer.BadParameter(str(error)) from None

    return parser


@wrong_usage
def amount_above_zero(text: str) -> int:
    """The units of an amount above zero."""
    amount = parse_amount(text)
    if amount <= 0:
        raise ValueError(f"{text} is not above zero")
    return amount


@wrong_usage
def signed_amount(text: str) -> int:
    """The units of an amount that is not zero."""
    amount = parse_amount(text)
    if amount == 0:
        raise ValueError(f"{text} changes nothing")
    return amount


@wrong_usage
def parse_instant(text: str) -> datetime:
    """An ISO 8601 instant, in UTC unless it has an offset."""
    try:
        parsed = datetime.fromisoformat(text)
        return in_utc(parsed if parsed.tzinfo else parsed.replace(tzinfo=UTC))
    except ValueError:
        raise ValueError(f"{text[:40]!r} is not an ISO 8601 instant such as 2026-10-01T10:00:00Z") from None


@wrong_usage
def idempotency_key(text: str | None) -> str | None:
    """A key, if one is given."""
    # An empty key comes from a shell variable that was never set. With it, every later request would be a repeat
    # of the first.
    return None if text is None else check_idempotency_key(text)


listen_address = wrong_usage(Address.parse)
"""HOST:PORT, where an IPv6 address is in brackets."""


@wrong_usage
def asset_code(text: str | None) -> str | None:
    """An asset code in the form in which it is stored, if one is given."""
    return None if text is None else check_asset_code(text)


AssetArgument = Annotated[
    str,
    typer.Argument(metavar="ASSET", callback=wrong_usage(check_asset_code), help="An asset code, such as SOL."),
]
AmountArgument = Annotated[
    int, typer.Argument(parser=amount_above_zero, metavar="AMOUNT", help="Tokens above 0, such as 12 or 0.5.")
]
MetricsOption = Annotated[
    Address | None,
    typer.Option(
        "--metrics",
        parser=listen_address,
        metavar="HOST:PORT",
        help="Serve Prometheus metrics at this address, under /metrics.",
    ),
]


@wrong_usage
def region_code(text: str | None) -> str | None:
    """A region, if one is given."""
    if text is None:
        return None
    try:
        return TypeAdapter(RegionCode).validate_python(text.upper() if text.isascii() else text)
    except ValidationError as error:
        raise ValueError(error.errors()[0]["msg"].removeprefix("Value error, ")) from None


@wrong_usage
def _reason(text: str | None) -> str | None:
    return None if text is None else check_text("reason", text)


@wrong_usage
def _tell(text: str | None) -> str | None:
    return None if text is None else check_text("text for the user", text)


@wrong_usage
def _operator(text: str | None) -> str | None:
    return None if text is None else check_text("operator", text)


def login_name() -> str:
    """The login name of the person who runs the command, which is the default operator."""
    try:
        return getpass.getuser()
    except (OSError, KeyError):
        raise typer.BadParameter("--operator is missing, and this machine knows no login name") from None


WHY = "Why you do it. The reason is recorded for colleagues and never shown to users."
ReasonOption = Annotated[str, typer.Option(callback=_reason, metavar="TEXT", help=WHY)]
OperatorOption = Annotated[
    str,
    typer.Option(
        callback=_operator,
        default_factory=login_name,
        metavar="NAME",
        show_default="your login name",
        help="The name of the operator, which is recorded.",
    ),
]
OptionalReasonOption = Annotated[str | None, typer.Option("--reason", callback=_reason, metavar="TEXT", help=WHY)]
TellOption = Annotated[
    str | None,
    typer.Option(
        "--tell", callback=_tell, metavar="TEXT", help="A text for the user, who reads it in exactly these words."
    ),
]
OptionalOperatorOption = Annotated[
    str | None,
    typer.Option(
        "--operator", callback=_operator, metavar="NAME", help="The name of the operator, which is recorded."
    ),
]
NewOption = Annotated[bool, typer.Option("--new", help="Make the ledger first if it does not exist.")]
RegionOption = Annotated[
    str | None,
    typer.Option(
        "--region",
        callback=region_code,
        metavar="R",
        help="ISO 3166-1 or 3166-2 code, such as FR or UA-43; a country covers its subdivisions.",
    ),
]


def user_argument(text: str) -> str:
    """A user id from the command line; wrong usage if malformed."""
    try:
        return check_user_id(text)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None


def day_argument(text: str) -> date:
    """A day from the command line; any other text is wrong usage."""
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise typer.BadParameter(f"{text[:40]!r} is not a day such as 2026-10-01") from None


def _boundary(text: str) -> datetime:
    boundary = start_of(day_argument(text))
    if boundary > datetime.now(UTC):
        raise typer.BadParameter(f"{text} has not begun; balances are those of a boundary that is past")
    return boundary


BoundaryOption = Annotated[
    datetime,
    typer.Option(
        "--at",
        parser=_boundary,
        metavar="DAY",
        help="Just before 00:00 UTC of this day: what the day before closed with.",
    ),
]
UserArgument = Annotated[str, typer.Argument(metavar="USER", callback=user_argument, help="The user's opaque id.")]
TimeoutOption = Annotated[
    float, typer.Option("--timeout", min=0.1, max=3600, metavar="SECONDS", help="Seconds to wait for the answer.")
]
