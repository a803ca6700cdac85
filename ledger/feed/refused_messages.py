"""Messages of a topic that say nothing that can be posted: they are kept, so that somebody looks at them."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import bindparam, delete, func, select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncConnection

from contract.acts import check_words
from ledger.acts import write_act
from ledger.database.engine import Ledger, run_again_if_it_gave_way
from ledger.database.schema import AnyRow, refused_messages
from ledger.errors import UnknownMovement
from ledger.feed.messages import Message, Unreadable
from ledger.feed.reading import Reason


@dataclass(frozen=True)
class RefusedMessage:
    """A message that waits among what was refused."""

    topic: str
    partition: int
    offset: int
    size_bytes: int
    content: str
    """Its beginning."""
    reason: Reason
    refused_at: datetime

    @property
    def place(self) -> str:
        """Where it is in Kafka."""
        return place_of(self.topic, self.partition, self.offset)


def place_of(topic: str, partition: int, offset: int) -> str:
    """The place of a message, as people name it: TOPIC/PARTITION/OFFSET."""
    return f"{topic}/{partition}/{offset}"


async def keep_refused_messages(
    connection: AsyncConnection, topic: str, messages: Sequence[Message], *, now: datetime
) -> None:
    """Keeps the messages among these that say nothing. One that another group has kept already stays as it is."""
    rows = [
        {
            "topic": topic,
            "partition_number": message.partition,
            "message_offset": message.offset,
            "size_bytes": message.said.size_bytes,
            "content": message.said.content,
            "code": message.said.reason.code,
            "sentence": message.said.reason.sentence,
            "refused_at": now,
        }
        for message in messages
        if isinstance(message.said, Unreadable)
    ]
    if rows:
        insert = (postgresql.insert if connection.dialect.name == "postgresql" else sqlite.insert)(
            refused_messages
        )
        await connection.execute(insert.on_conflict_do_nothing(), rows)


async def all_refused_messages(connection: AsyncConnection, *, last: int | None = None) -> list[RefusedMessage]:
    """Refused messages in the order in which they came; only the ``last`` of them, if so many are asked."""
    newest = select(refused_messages).order_by(refused_messages.c.message_number.desc()).limit(last)
    return [_refused(row) for row in reversed((await connection.execute(newest)).all())]


async def refused_message_count(connection: AsyncConnection) -> int:
    """How many messages wait among what was refused."""
    return await connection.scalar(select(func.count()).select_from(refused_messages)) or 0


_ONE = [
    getattr(refused_messages.c, name) == bindparam(name)
    for name in ("topic", "partition_number", "message_offset")
]


@run_again_if_it_gave_way
async def dismiss_refused_messages(
    ledger: Ledger, places: Sequence[str], *, operator: str, reason: str, now: datetime
) -> list[RefusedMessage]:
    """Takes messages off what was refused; answers what they were.

    Raises UnknownMovement, with nothing taken off, if any is not among it.
    """
    check_words(operator, reason)
    dismissed: list[RefusedMessage] = []
    async with ledger.write() as connection:
        for place in sorted(set(places)):
            deleted = await connection.execute(
                delete(refused_messages).where(*_ONE).returning(refused_messages), _named(place)
            )
            row = deleted.one_or_none()
            if row is None:
                raise _unknown(place)
            one = _refused(row)
            await write_act(
                connection,
                "movement_dismiss",
                f"movement_dismiss/{one.refused_at.isoformat()}/{now.isoformat()}/message {place}",
                operator=operator,
                reason=reason,
                recorded_at=now,
                subject=f"message {place}: {one.content}",
            )
            dismissed.append(one)
    return dismissed


def _named(place: str) -> dict[str, str | int]:
    topic, partition, offset = ["", "", *place.rsplit("/", 2)][-3:]
    if not (topic and partition.isdecimal() and offset.isdecimal()):
        raise _unknown(place)
    return {"topic": topic, "partition_number": int(partition), "message_offset": int(offset)}


def _unknown(place: str) -> UnknownMovement:
    return UnknownMovement(
        f"no message {place[:300]!r} is among what was refused; those are listed by: starter.py movements refused"
    )


def _refused(row: AnyRow) -> RefusedMessage:
    return RefusedMessage(
        row.topic,
        row.partition_number,
        row.message_offset,
        row.size_bytes,
        row.content,
        Reason(row.code, row.sentence),
        row.refused_at,
    )
