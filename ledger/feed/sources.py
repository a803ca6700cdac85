"""Sources: feeds that report up to which instant they have sent everything. No day is closed before all of them
have reported its end.

A day is closed after every source has reported that it sent everything that happened before the day's end.
Otherwise a movement that is still on its way would count in a later day than the one in which it happened.
"""

import re
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import case, literal, select, text, update
from sqlalchemy.ext.asyncio import AsyncConnection

from contract.acts import check_words
from ledger.acts import write_act
from ledger.database.engine import GaveWay, Ledger, run_again_if_it_gave_way
from ledger.database.schema import AnyRow, UtcInstant, sources
from ledger.errors import InTheFuture, UnknownSource
from ledger.feed.retrying import retry_for_balance
from ledger.movements import CLOCKS_DIFFER_BY_MAX
from staking.days import day_of, end_of, in_utc, start_of

SOURCE_NAME = re.compile(r"[A-Za-z0-9._-]{1,64}")
"""What a whole name of a source must match."""


@dataclass(frozen=True)
class Source:
    """A registered source. Instants are UTC."""

    name: str
    complete_through: datetime
    """The source has sent everything that happened before this instant."""
    told_at: datetime
    """When the source last reported."""
    registered_at: datetime
    released_through: datetime | None
    """Days that ended at or before this instant are closed without waiting for the source: an operator released
    them."""

    def behind(self, now: datetime) -> timedelta:
        """How long before ``now`` the instant lies through which the source is complete or released."""
        return max(now - self._through, timedelta())

    def late(self, now: datetime) -> timedelta:
        """How long ago the first day ended that is not closed because of this source; zero if there is none."""
        return max(now - end_of(day_of(self._through)), timedelta())

    @property
    def _through(self) -> datetime:
        return max(self.complete_through, self.released_through or self.complete_through)


def check_source_name(text: str) -> str:
    """Returns a source's name as it is. Raises ValueError unless it is 1 to 64 of A–Z a–z 0–9 . _ -"""
    if not SOURCE_NAME.fullmatch(text):
        shown = text if len(text) <= 70 else f"{text[:67]}…"
        raise ValueError(
            f"{shown!r} is no name of a source: 1 to 64 characters of A-Z, a-z, 0-9, '.', '_' and '-'"
        )
    return text


async def all_sources(connection: AsyncConnection) -> list[Source]:
    """Every source, by name."""
    return [_source(row) for row in await connection.execute(select(sources).order_by(sources.c.name))]


@run_again_if_it_gave_way
async def tell_complete(ledger: Ledger, name: str, complete_through: datetime, *, now: datetime) -> Source:
    """Records a source's report that it has sent everything that happened before an instant. A new source is
    registered.

    The instant only rises. A report of an earlier instant changes nothing and is no error, since a feed may repeat
    itself; the answer is what is recorded. After a new source is registered, no day is closed without it. Before
    the report is recorded, movements are tried again that happened since the last one and that a balance did not
    allow, since this source may have sent what covers them. Raises InTheFuture, or ValueError for a malformed
    name.
    """
    check_source_name(name)
    through = in_utc(complete_through)
    if through > in_utc(now) + CLOCKS_DIFFER_BY_MAX:
        raise InTheFuture(
            f"{through.isoformat()} is in the future; a source is complete through what has happened"
        )
    before = await _complete_through(ledger, name)
    if before is not None and before < through:
        await retry_for_balance(ledger, before, through, now=now)
    async with ledger.write() as connection:
        is_known = await connection.scalar(select(sources.c.name).where(sources.c.name == name))
        if not is_known and connection.dialect.name == "postgresql":
            # This waits for the closings that are under way, and lets none begin before it is committed.
            await connection.execute(text("LOCK TABLE sources IN EXCLUSIVE MODE"))
        rises = sources.c.complete_through < through
        raised = case((rises, literal(through, UtcInstant())), else_=sources.c.complete_through)
        told = await connection.execute(
            update(sources).where(sources.c.name == name).values(complete_through=raised, told_at=now)
        )
        if is_known and not told.rowcount:
            raise GaveWay(f"the source {name} was removed meanwhile")
        if not told.rowcount:
            await connection.execute(
                sources.insert().values(name=name, complete_through=through, told_at=now, registered_at=now)
            )
        ledger.late_sources.forget()
        return await _the_source(connection, name)


@run_again_if_it_gave_way
async def release_source(ledger: Ledger, name: str, *, operator: str, reason: str, now: datetime) -> Source:
    """Lets every day that is over by now be closed without waiting for the source. Later days wait for it again.

    Raises UnknownSource.
    """
    check_words(operator, reason)
    through = start_of(day_of(now))
    async with ledger.write() as connection:
        now_over = literal(through, UtcInstant())
        before = sources.c.released_through
        await connection.execute(
            update(sources)
            .where(sources.c.name == name)
            .values(released_through=case((before > through, before), else_=now_over))
        )
        released = await _the_source(connection, name)
        await _write_act(connection, "release", released, operator, reason, now)
        ledger.late_sources.forget()
        return released


@run_again_if_it_gave_way
async def remove_source(ledger: Ledger, name: str, *, operator: str, reason: str, now: datetime) -> Source:
    """Removes a source, so that no day waits for it until it reports again. Returns the source as it was.

    Raises UnknownSource.
    """
    check_words(operator, reason)
    async with ledger.write() as connection:
        removed = await _the_source(connection, name)
        await connection.execute(sources.delete().where(sources.c.name == name))
        await _write_act(connection, "remove", removed, operator, reason, now)
        ledger.late_sources.forget()
        return removed


async def _complete_through(ledger: Ledger, name: str) -> datetime | None:
    async with ledger.read() as connection:
        return await connection.scalar(select(sources.c.complete_through).where(sources.c.name == name))


async def _write_act(
    connection: AsyncConnection, what: str, source: Source, operator: str, reason: str, now: datetime
) -> None:
    await write_act(
        connection,
        "source_release" if what == "release" else "source_remove",
        f"source_{what}/{source.name}/{now.isoformat()}",
        operator=operator,
        reason=reason,
        recorded_at=now,
        subject=f"source {source.name}, complete through {source.complete_through.isoformat()}",
    )


async def _the_source(connection: AsyncConnection, name: str) -> Source:
    row = (await connection.execute(select(sources).where(sources.c.name == name))).one_or_none()
    if row is None:
        raise UnknownSource(
            f"there is no source {name[:70]!r}; the sources are listed by: starter.py sources list"
        )
    return _source(row)


def _source(row: AnyRow) -> Source:
    return Source(row.name, row.complete_through, row.told_at, row.registered_at, row.released_through)
