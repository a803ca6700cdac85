"""Systems that read events, and how far each has read: what they have not had is not pruned."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import case, literal, select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncConnection

from ledger.database.engine import Ledger
from ledger.database.schema import event_readers, events, service_tokens

TOKEN = "token "
"""How the name of a reader begins that reads with a token; its id follows."""
_WEBHOOK = "webhook "
LIVE_FOR = timedelta(days=30)
"""A reader that has asked for nothing for so long is not waited for any more."""


def reader_of(webhook_id: str) -> str:
    """The name under which a webhook is a reader."""
    return f"{_WEBHOOK}{webhook_id}"


@dataclass(frozen=True)
class EventReader:
    """A system that reads events."""

    name: str
    read_through: int
    """It has had every event up to this number."""
    asked_at: datetime

    def is_live(self, now: datetime) -> bool:
        """Whether its events are kept for it."""
        return now - self.asked_at < LIVE_FOR


async def note_reader(ledger: Ledger, name: str, read_through: int, *, now: datetime) -> None:
    """Records that a reader has had every event up to a number. It only rises while the reader is live, so that a
    second look at old events lets nothing be pruned earlier or later."""
    async with ledger.write() as connection:
        insert = (postgresql.insert if connection.dialect.name == "postgresql" else sqlite.insert)(event_readers)
        new = insert.excluded
        before = event_readers.c.read_through
        await connection.execute(
            insert.values(name=name, read_through=read_through, asked_at=now).on_conflict_do_update(
                index_elements=[event_readers.c.name],
                set_={
                    "read_through": case((before > new.read_through, before), else_=new.read_through),
                    "asked_at": new.asked_at,
                },
            )
        )


async def all_readers(connection: AsyncConnection) -> list[EventReader]:
    """Every reader whose token is not revoked, by name."""
    revoked = select(literal(TOKEN) + service_tokens.c.token_id).where(service_tokens.c.revoked_at.is_not(None))
    query = select(event_readers).where(event_readers.c.name.not_in(revoked)).order_by(event_readers.c.name)
    rows = await connection.execute(query)
    return [EventReader(row.name, row.read_through, row.asked_at) for row in rows]


async def unread_since(ledger: Ledger, *, now: datetime) -> datetime | None:
    """When the oldest event was recorded that a live reader has not had; None if every reader has had all."""
    async with ledger.read() as connection:
        live = [reader.read_through for reader in await all_readers(connection) if reader.is_live(now)]
        if not live:
            return None
        unread = select(events.c.recorded_at).where(events.c.event_number > min(live))
        return await connection.scalar(unread.order_by(events.c.event_number).limit(1))
