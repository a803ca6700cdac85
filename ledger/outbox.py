"""What systems outside are told, written in the transaction that does it."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime

from sqlalchemy.ext.asyncio import AsyncConnection

from contract.events import EventData, EventKind
from ledger.database.rows import insert_rows
from ledger.database.schema import events


@dataclass(frozen=True)
class NewEvent:
    """Something that happened, to be told."""

    kind: EventKind
    recorded_at: datetime
    user_id: str | None = None
    """None if it does not concern a single user."""
    day: date | None = None
    about: str | None = None
    """What tells it from other events of its kind and user, if the day does not: a number, or an id."""
    data: EventData | None = None
    """None for a credit, whose lines are read from the rewards."""
    entry_id: int | None = None
    late: bool | None = None


async def write_events(connection: AsyncConnection, new: Sequence[NewEvent]) -> None:
    """Writes events, by one statement, in the transaction that does what they tell.

    Whoever names users holds their locks, so that their events have numbers in the order in which things happened.
    It comes after everything else that the transaction writes: readers rely on a transaction having its own number
    before its events have theirs (see ledger.events.horizon).
    """
    rows = [
        {
            "kind": event.kind,
            "user_id": event.user_id,
            "day": event.day,
            "about": event.about,
            "recorded_at": event.recorded_at,
            "entry_id": event.entry_id,
            "late": event.late,
            "data": event.data and event.data.model_dump_json(),
        }
        for event in new
    ]
    await insert_rows(connection, events, rows)
