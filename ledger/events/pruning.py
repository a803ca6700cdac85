"""Old events are taken away, but none that a live reader has not had."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import and_, delete, func, or_, select
from sqlalchemy.ext.asyncio import AsyncConnection

from ledger.database.engine import Ledger
from ledger.database.schema import IS_OF_A_DELAYED_DAY, days, events
from ledger.events.readers import EventReader, all_readers

AT_ONCE = 10_000
"""Numbers in one transaction."""


@dataclass(frozen=True)
class Pruned:
    """What was taken away, and for whom older events were kept."""

    events: int
    waits_for: Sequence[EventReader]
    """The live readers who have not had all events that are old enough."""


async def prune_events(ledger: Ledger, *, older_than: timedelta, now: datetime) -> Pruned:
    """Takes away events that were recorded longer ago than this.

    Some stay: what a live reader has not had; the newest of the old ones, so that the cursor of whoever has had it
    is still known; and that a day is delayed, as long as it is not credited, or it would be told again.
    """
    async with ledger.read() as connection:
        newest_old = await _newest_before(connection, now - older_than)
        readers = [reader for reader in await all_readers(connection) if reader.is_live(now)]
        first = await connection.scalar(select(func.min(events.c.event_number))) or 0
    kept_from = min([newest_old, *(reader.read_through for reader in readers)])
    removed = 0
    for number in range(first, kept_from, AT_ONCE):
        removed += await _remove(ledger, number, min(number + AT_ONCE, kept_from))
    return Pruned(removed, [reader for reader in readers if reader.read_through < newest_old])


async def _newest_before(connection: AsyncConnection, instant: datetime) -> int:
    """The last event before the first one that is young enough; 0 if there is none."""
    # Read along the numbers, so that only what is old is read.
    young = select(events.c.event_number).where(events.c.recorded_at >= instant)
    first_young = await connection.scalar(young.order_by(events.c.event_number).limit(1))
    newest = select(func.max(events.c.event_number))
    if first_young is not None:
        newest = newest.where(events.c.event_number < first_young)
    return await connection.scalar(newest) or 0


_is_credited = (
    select(days.c.credited_at)
    .where(days.c.user_id == events.c.user_id, days.c.day == events.c.day)
    .correlate(events)
    .scalar_subquery()
)


async def _remove(ledger: Ledger, first: int, end: int) -> int:
    async with ledger.write() as connection:
        removed = await connection.execute(
            delete(events).where(
                and_(events.c.event_number >= first, events.c.event_number < end),
                or_(~IS_OF_A_DELAYED_DAY, _is_credited.is_not(None)),
            )
        )
    return removed.rowcount
