"""Topics as feeds: what messages say is posted in the transaction that says how far their partitions were read.

So nothing is lost and nothing is doubled, wherever a consumer ends. An offset is moved only from where the
consumer believes it to be: one that has lost a partition, and does not know it yet, writes nothing.
"""

from collections import defaultdict
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import bindparam, case, func, select, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncConnection

from ledger.database.engine import Ledger, run_again_if_it_gave_way
from ledger.database.schema import feed_marks, feed_offsets, sources
from ledger.feed.deciding import MovementOutcome
from ledger.feed.messages import Mark, Message, Unreadable
from ledger.feed.posting import post_feed_within
from ledger.feed.reading import Arrived
from ledger.feed.refused_messages import keep_refused_messages
from ledger.feed.sources import tell_complete


@dataclass(frozen=True)
class TopicFeed:
    """A topic, as one group of consumers reads it."""

    topic: str
    group: str


class ElsewhereRead(Exception):
    """Another consumer has read on in one of the partitions; nothing was written."""


_OF_THE_FEED = (
    feed_offsets.c.consumer_group == bindparam("of_group"),
    feed_offsets.c.topic == bindparam("of_topic"),
)
_FOUND = select(feed_offsets.c.partition_number, feed_offsets.c.next_offset).where(
    *_OF_THE_FEED, feed_offsets.c.partition_number.in_(bindparam("partitions", expanding=True))
)
_MOVE = (
    update(feed_offsets)
    .where(
        *_OF_THE_FEED,
        feed_offsets.c.partition_number == bindparam("of_partition"),
        feed_offsets.c.next_offset == bindparam("before"),
    )
    .values(next_offset=bindparam("after"), moved_at=bindparam("at"))
)


@run_again_if_it_gave_way
async def offsets_to_read(ledger: Ledger, feed: TopicFeed, partitions: Collection[int]) -> dict[int, int]:
    """From which offset each partition is to be read; 0 where nothing of it was read yet."""
    async with ledger.write() as connection:
        insert = (postgresql.insert if connection.dialect.name == "postgresql" else sqlite.insert)(feed_offsets)
        new = [
            {
                "consumer_group": feed.group,
                "topic": feed.topic,
                "partition_number": partition,
                "next_offset": 0,
                "moved_at": ledger.clock(),
            }
            for partition in sorted(partitions)
        ]
        if not new:
            return {}
        await connection.execute(insert.on_conflict_do_nothing(), new)
        found = await connection.execute(
            _FOUND, {"of_group": feed.group, "of_topic": feed.topic, "partitions": sorted(partitions)}
        )
        return {row.partition_number: row.next_offset for row in found}


@run_again_if_it_gave_way
async def post_messages(ledger: Ledger, feed: TopicFeed, messages: Sequence[Message]) -> list[MovementOutcome]:
    """Posts what messages say, in their order; answers what became of each movement.

    Those of a partition follow each other. Raises ElsewhereRead, with nothing posted, if any of them begin
    elsewhere than the ledger has the partition to be read on.
    """
    async with ledger.write() as connection:
        await _move_offsets(connection, feed, messages, ledger.clock())
        movements: list[Arrived] = []
        for message in messages:
            if not isinstance(message.said, Mark | Unreadable):
                movements += message.said
        outcomes = await post_feed_within(ledger, connection, movements) if movements else []
        await _keep_marks(connection, feed, messages)
        await keep_refused_messages(connection, feed.topic, messages, now=ledger.clock())
    return outcomes


async def _move_offsets(
    connection: AsyncConnection, feed: TopicFeed, messages: Sequence[Message], now: datetime
) -> None:
    # First of all: a consumer that works on the same partition waits here, and then finds it moved.
    before = {message.partition: message.read_from for message in reversed(messages)}
    after = {message.partition: message.offset + 1 for message in messages}
    moved = await connection.execute(
        _MOVE,
        [
            {
                "of_group": feed.group,
                "of_topic": feed.topic,
                "of_partition": partition,
                "before": before[partition],
                "after": after[partition],
                "at": now,
            }
            for partition in sorted(after)
        ],
    )
    if moved.rowcount != len(after):
        raise ElsewhereRead(f"another consumer of the group {feed.group} reads a partition of {feed.topic}")


async def _keep_marks(connection: AsyncConnection, feed: TopicFeed, messages: Sequence[Message]) -> None:
    highest: defaultdict[tuple[str, int], list[datetime]] = defaultdict(list)
    for message in messages:
        if isinstance(message.said, Mark):
            highest[message.said.source, message.partition].append(message.said.complete_through)
    if not highest:
        return
    insert = (postgresql.insert if connection.dialect.name == "postgresql" else sqlite.insert)(feed_marks)
    known, new = feed_marks.c.complete_through, insert.excluded.complete_through
    await connection.execute(
        insert.on_conflict_do_update(
            index_elements=list(feed_marks.primary_key),
            set_={"complete_through": case((new > known, new), else_=known)},
        ),
        [
            {
                "consumer_group": feed.group,
                "topic": feed.topic,
                "source": source,
                "partition_number": partition,
                "complete_through": max(instants),
            }
            for (source, partition), instants in sorted(highest.items())
        ],
    )


_LOWEST = (
    select(
        feed_marks.c.source,
        func.min(feed_marks.c.complete_through).label("through"),
        sources.c.complete_through.label("told"),
    )
    .join_from(feed_marks, sources, sources.c.name == feed_marks.c.source, isouter=True)
    .where(
        feed_marks.c.consumer_group == bindparam("of_group"),
        feed_marks.c.topic == bindparam("of_topic"),
        feed_marks.c.partition_number < bindparam("partitions"),
    )
    .group_by(feed_marks.c.source, sources.c.complete_through)
    .having(func.count() == bindparam("partitions"))
    .order_by(feed_marks.c.source)
)


async def tell_what_is_complete(
    ledger: Ledger, feed: TopicFeed, partition_count: int, *, new: Collection[str] = (), now: datetime
) -> None:
    """Gives each source's word as far as every partition of the topic is complete.

    After the commit of the messages that say so: of consumers of different partitions, the one that looks last
    sees what all of them wrote. A source that is not registered gets registered only if it is among ``new``, those
    that have just given their word: an operator may have removed it since.
    """
    async with ledger.read() as connection:
        rows = await connection.execute(
            _LOWEST, {"of_group": feed.group, "of_topic": feed.topic, "partitions": partition_count}
        )
        found = [(row.source, row.through, row.told) for row in rows]
    for source, through, told in found:
        if told is None and source not in new:
            continue
        if told is None or through > told:
            await tell_complete(ledger, source, through, now=now)
