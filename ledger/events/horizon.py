"""Up to which event one may read, so that none appears later among those that were read.

An event has its number before its transaction is committed, so number 7 may be there while 5 is still on its way.
A reader who goes on after 7 would never see 5. docs/ledger.md has the argument why nobody is skipped here.
"""

import asyncio

from sqlalchemy import BigInteger, func, literal_column, select
from sqlalchemy.ext.asyncio import AsyncConnection

from ledger.database.engine import Ledger
from ledger.database.event_horizon import Awaited, EventHorizon
from ledger.database.schema import events

LOOKS_EVERY_S = 0.2
"""How often those who wait for an event look again. However many wait, their process asks the database once."""
_NEWEST = select(func.max(events.c.event_number))
_NEWEST_AND_LOWEST_UNDER_WAY = select(
    func.max(events.c.event_number),
    literal_column("pg_snapshot_xmin(pg_current_snapshot())::text::bigint", BigInteger),
)
_THIS_TRANSACTION = select(literal_column("pg_current_xact_id()::text::bigint", BigInteger))


async def readable_through(ledger: Ledger, *, age_s_max: float = 0) -> int:
    """The number of an event up to which all events may be read; 0 if there is none.

    It is as of now, or as of some seconds ago if the caller says so. A transaction that is under way, anywhere in
    the database's server, holds back the events that are written while it is, until it ends.
    """
    horizon = ledger.event_horizon
    loop = asyncio.get_running_loop()
    asked_at_s = loop.time()
    async with horizon.one_at_a_time:
        # Another caller may have looked while this one waited.
        if horizon.known_at_s >= asked_at_s - age_s_max:
            return horizon.through
        began_at_s = loop.time()
        await _look(ledger, horizon)
        if horizon.awaited is not None:
            # If nothing is under way that holds it back, it can be read at once.
            await _look(ledger, horizon)
        horizon.known_at_s = began_at_s
        return horizon.through


async def _look(ledger: Ledger, horizon: EventHorizon) -> None:
    async with ledger.read() as connection:
        if connection.dialect.name != "postgresql":
            # One writer at a time: what it writes is committed before the next one begins.
            horizon.through = await connection.scalar(_NEWEST) or 0
        else:
            await _look_in_postgresql(connection, horizon)


async def _look_in_postgresql(connection: AsyncConnection, horizon: EventHorizon) -> None:
    newest, lowest_under_way = (await connection.execute(_NEWEST_AND_LOWEST_UNDER_WAY)).one()
    if horizon.awaited is not None and lowest_under_way >= horizon.awaited.before:
        horizon.through, horizon.awaited = horizon.awaited.number, None
    if horizon.awaited is None and (newest or 0) > horizon.through:
        # Asked for after the event was seen, so that it is higher than that of all who wrote earlier events.
        horizon.awaited = Awaited(newest, await connection.scalar(_THIS_TRANSACTION) or 0)
