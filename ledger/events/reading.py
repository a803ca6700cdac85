"""Events as systems outside read them: CloudEvents 1.0, as JSON."""

import json
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Text, cast, func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from contract.events import SOURCE, EventKind
from ledger.database.engine import Ledger
from ledger.database.schema import AnyRow, events, rewards
from ledger.errors import UnknownCursor
from ledger.events.horizon import readable_through
from staking.money import format_amount

EVENTS_MAX = 1000
"""In one page."""


@dataclass(frozen=True)
class Told:
    """One event."""

    number: int
    kind: EventKind
    event_id: str
    """The same for the same happening, also in a ledger that was restored from a backup and goes on from there."""
    recorded_at: datetime
    json: str
    """The whole CloudEvent."""


@dataclass(frozen=True)
class EventPage:
    """Events in the order of their numbers."""

    events: Sequence[Told]
    cursor: int
    """What to read after next: every event up to this number that was asked for is in this page, or in one
    before."""


async def events_after(
    ledger: Ledger, after: int, *, limit: int, kinds: Collection[EventKind] = (), age_s_max: float = 0
) -> EventPage:
    """The next events after a cursor, which is 0 or the cursor of an event or a page; all kinds if none is named.

    Never one after which an earlier one can still appear. ``age_s_max`` is for those who ask again and again: the
    newest events of so many seconds may be missing. Raises UnknownCursor for a number that no event has: it was
    pruned meanwhile, or is of another ledger.
    """
    through = await readable_through(ledger, age_s_max=age_s_max)
    async with ledger.read() as connection:
        await check_cursor(connection, after)
        query = _PAGE.where(events.c.event_number > after, events.c.event_number <= through).limit(limit)
        if kinds:
            query = query.where(events.c.kind.in_(kinds))
        found = [_told(row) for row in await connection.execute(query)]
    return EventPage(found, found[-1].number if len(found) == limit else max(after, through))


async def check_cursor(connection: AsyncConnection, cursor: int) -> None:
    """Raises UnknownCursor unless the number is 0 or that of an event."""
    known = select(events.c.event_number).where(events.c.event_number == cursor)
    if cursor and await connection.scalar(known) is None:
        raise UnknownCursor(
            f"there is no event {cursor}: it was pruned since, or it is of another ledger or of one that was "
            "restored from a backup; begin again without a cursor, from the oldest event that is kept"
        )


_lines = (
    # This is a scalar subquery and not a join, which on PostgreSQL may read all rewards ever recorded.
    select(
        func.aggregate_strings(
            rewards.c.asset + " " + cast(rewards.c.reward, Text) + " " + rewards.c.outcome,
            " ",
        )
    )
    .where(rewards.c.user_id == events.c.user_id, rewards.c.day == events.c.day, events.c.data.is_(None))
    .correlate(events)
    .scalar_subquery()
    .label("lines")
)
_PAGE = select(events, _lines).order_by(events.c.event_number)


def _told(row: AnyRow) -> Told:
    event_id = f"{row.kind}/{'/'.join(_identity(row))}"
    envelope: dict[str, str] = {
        "specversion": "1.0",
        "id": event_id,
        "source": SOURCE,
        "type": row.kind,
        **({} if row.user_id is None else {"subject": row.user_id}),
        "time": _text(row.recorded_at),
        "datacontenttype": "application/json",
        "cursor": str(row.event_number),
    }
    data = json.dumps(_credited(row)) if row.data is None else row.data
    return Told(
        row.event_number, row.kind, event_id, row.recorded_at, f'{json.dumps(envelope)[:-1]}, "data": {data}}}'
    )


def _identity(row: AnyRow) -> list[str]:
    return [row.user_id, row.day.isoformat()] if row.about is None else [row.about]


def _credited(row: AnyRow) -> dict[str, object]:
    words: list[str] = row.lines.split(" ") if row.lines else []
    lines = sorted(zip(words[::3], words[1::3], words[2::3], strict=True))
    return {
        "day": row.day.isoformat(),
        "credited_at": _text(row.recorded_at),
        "late": row.late,
        "entry_id": row.entry_id,
        "lines": [
            {"asset": asset, "reward": format_amount(int(units)), "outcome": outcome}
            for asset, units, outcome in lines
        ],
    }


def _text(instant: datetime) -> str:
    return instant.isoformat().replace("+00:00", "Z")
