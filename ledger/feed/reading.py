"""Reads movements as a feed sends them, which is text. Each movement is read or refused by itself."""

import json
import re
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple

from ledger.database.schema import stored_instant
from ledger.movements import CLOCKS_DIFFER_BY_MAX
from staking.days import in_utc
from staking.models import check_user_id
from staking.money import AmountError, parse_amount
from staking.program import check_asset_code

ID_LENGTH_MAX = 128
MOVEMENTS_MAX = 1000
"""How many movements one request, and so one transaction, may have."""
_INSTANT = re.compile(r"\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d(\.\d+)?([Zz]|[+-]\d\d:\d\d)?", re.ASCII)


class SentMovement(NamedTuple):
    """One movement as it came. Nothing of it is checked yet except the lengths of its id and group."""

    movement_id: str
    """The idempotency key."""
    user: str
    asset: str
    amount: str
    """Signed, in tokens."""
    at: str
    """The instant at which it happened, as text."""
    group: str | None = None
    """The name that this movement shares with others of its request. All of them are posted, or none is."""

    def content(self) -> str:
        """The movement as text that every database can keep, whatever characters were sent."""
        return json.dumps({name: value for name, value in self._asdict().items() if value is not None})


def sent_in(content: str) -> SentMovement:
    """The movement that ``content()`` was made from."""
    values: dict[str, Any] = json.loads(content)
    return SentMovement(**values)


class Reason(NamedTuple):
    """Why a movement is refused: a code for programs, and a sentence for people."""

    code: str
    sentence: str


class ReadMovement(NamedTuple):
    """A movement that was read and can be posted if the ledger allows it."""

    movement_id: str
    user_id: str
    asset: str
    amount: int
    """The change in units. It is never 0."""
    occurred_at: int
    """When it happened, as the ledger stores instants."""
    group: str | None

    @property
    def kind(self) -> str:
        """Of its journal entry."""
        if self.group is not None:
            return "trade"
        return "deposit" if self.amount > 0 else "withdrawal"

    @property
    def note(self) -> str | None:
        """Of its journal entry."""
        return None if self.group is None else f"group {self.group}"


@dataclass(frozen=True)
class Arrived:
    """A movement that was sent, and what reading it gave."""

    sent: SentMovement
    read: ReadMovement | Reason


def check_id(text: str) -> str:
    """Returns a movement's id or group as it is. Raises ValueError unless it has 1 to 128 printable characters."""
    if not 1 <= len(text) <= ID_LENGTH_MAX:
        raise ValueError(f"it has 1 to {ID_LENGTH_MAX} characters, and this one has {len(text)}")
    if not text.isprintable():
        raise ValueError("it has printable characters only")
    return text


def arrived(sent: SentMovement, now: datetime) -> Arrived:
    """Reads a movement that was sent at ``now``."""
    return Arrived(sent, _read(sent, now))


def _read(sent: SentMovement, now: datetime) -> ReadMovement | Reason:
    try:
        user_id = check_user_id(sent.user)
    except ValueError as error:
        return Reason("user_malformed", str(error))
    try:
        asset = check_asset_code(sent.asset)
    except ValueError as error:
        return Reason("asset_malformed", str(error))
    try:
        amount = parse_amount(sent.amount)
    except AmountError as error:
        return Reason("amount_malformed", str(error))
    if amount == 0:
        return Reason("amount_zero", "a movement of 0 moves nothing")
    occurred_at = _instant(sent.at)
    if isinstance(occurred_at, Reason):
        return occurred_at
    if occurred_at > now + CLOCKS_DIFFER_BY_MAX:
        return Reason("in_the_future", f"{sent.at} is in the future; a movement is posted once it has occurred")
    return ReadMovement(sent.movement_id, user_id, asset, amount, stored_instant(occurred_at), sent.group)


def _instant(text: str) -> datetime | Reason:
    """Reads an instant as RFC 3339 writes it. Digits after the microseconds are cut off, which moves no instant
    into another day."""
    written = _INSTANT.fullmatch(text)
    if written is None:
        return Reason("instant_malformed", f"{_shown(text)} is not an instant such as 2026-10-01T06:00:00Z")
    if written[2] is None:
        return Reason(
            "instant_without_zone",
            f"{_shown(text)} does not say in which time zone it is: end it with Z or an offset such as +02:00",
        )
    try:
        return in_utc(datetime.fromisoformat(text.upper()))
    except ValueError as error:
        return Reason("instant_malformed", f"{_shown(text)} is no instant of the calendar: {error}")


def _shown(text: str) -> str:
    return repr(text if len(text) <= ID_LENGTH_MAX else f"{text[:ID_LENGTH_MAX]}…")
