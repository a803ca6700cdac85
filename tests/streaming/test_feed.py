"""A topic is read into the ledger: once, whole, by however many consumers, whoever is away meanwhile."""

import asyncio
import json
import sqlite3
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, closing
from datetime import UTC, datetime
from pathlib import Path

import pytest
from polling import eventually
from streaming_words import PARTITIONS, Topic, deposits, mark, movement
from temporalio.runtime import Runtime
from world import World, at, units

from benchmarks.brokers import Brokers
from ledger.feed.topics import TopicFeed, offsets_to_read
from settings import Settings
from streaming import feed as feeds
from streaming.connection import configuration
from streaming.feed import KafkaFeed
from telemetry.feed_metrics import FeedMetrics

USERS = [f"user-{number}" for number in range(20)]
GROUP = "staking"


class Reading:
    """A consumer in this process."""

    def __init__(self, world: World, topic: Topic) -> None:
        self._stop = asyncio.Event()
        metrics = FeedMetrics(Runtime.default().metric_meter, topic.name)
        self.feed = KafkaFeed(world.ledger, TopicFeed(topic.name, GROUP), metrics, _now, self._stop)
        self._task = asyncio.create_task(
            self.feed.run(configuration(Settings(), topic.brokers), session_timeout_s=6)
        )

    async def says(self, sentence: str) -> None:
        async def said() -> bool:
            await asyncio.wait([self._task], timeout=0)
            if self._task.done():
                await self._task
            return any(sentence in problem for problem in self.feed.standing.not_ready())

        await eventually(said, f"it says: {sentence}")

    async def is_ready(self) -> None:
        async def ready() -> bool:
            return not self.feed.standing.not_ready()

        await eventually(ready, "it is ready")

    async def end(self) -> None:
        self._stop.set()
        await self._task


@asynccontextmanager
async def reading(world: World, topic: Topic) -> AsyncGenerator[Reading]:
    made = Reading(world, topic)
    try:
        yield made
    finally:
        await made.end()


def _now() -> datetime:
    return datetime.now(UTC)


async def posted(world: World, how_many: int) -> None:
    """Waits until so many movements of topics are in the ledger, and no more are."""
    counted = "SELECT count(*) FROM entries WHERE idempotency_key LIKE 'written %'"

    async def all_there() -> bool:
        return (await world.sql(counted))[0][0] >= how_many

    await eventually(all_there, f"{how_many} movements are posted")
    assert await world.sql(counted) == [(how_many,)]


async def read_through(world: World, topic: Topic) -> int:
    return sum((await offsets_to_read(world.ledger, TopicFeed(topic.name, GROUP), range(PARTITIONS))).values())


@pytest.mark.on_both_databases
async def test_movements_of_a_topic_are_posted_and_marks_of_all_partitions_move_their_source(
    world: World, topic: Topic
) -> None:
    topic.send(deposits(USERS, 500))
    for partition in range(PARTITIONS):
        topic.write([mark(f"2026-10-0{partition + 1}T00:00:00Z")], partition=partition)
    topic.write(["{"], partition=2)

    async with reading(world, topic) as consumer:
        await posted(world, 500)
        await consumer.is_ready()

        async def told() -> bool:
            return await world.sql("SELECT name FROM sources") != []

        await eventually(told, "the source is told")

    assert await read_through(world, topic) == 500 + PARTITIONS + 1
    through = await world.sql("SELECT complete_through FROM sources")
    assert through == [(int(at("2026-10-01").timestamp() * 1_000_000),)]
    assert await world.sql("SELECT partition_number, code FROM refused_messages") == [(2, "message_not_json")]
    assert await world.balances(USERS[0]) == {"SOL": units("25")}
    assert (await world.audit(_now())).is_clean


async def test_a_consumer_reads_on_where_the_ledger_says_and_what_it_had_not_posted_is_read_again(
    world: World, topic: Topic
) -> None:
    topic.send(deposits(USERS, 100))
    async with reading(world, topic):
        await posted(world, 100)
    topic.send(deposits(USERS, 100))
    topic.write([json.dumps(movement("eve", "-1"))], partition=0)

    async with reading(world, topic):
        await posted(world, 200)

        async def refused() -> bool:
            return await world.sql("SELECT times FROM refused_movements") == [(1,)]

        await eventually(refused, "the withdrawal is refused once")
    assert await read_through(world, topic) == 201


async def test_consumers_of_a_group_share_the_partitions_and_take_over_from_one_that_ends(
    world: World, topic: Topic
) -> None:
    topic.send(deposits(USERS, 200))
    async with reading(world, topic) as first:
        await posted(world, 200)
        async with reading(world, topic) as second:
            await second.is_ready()
            topic.send(deposits(USERS, 200))
            await posted(world, 400)
            await first.end()
            topic.send(deposits(USERS, 200))
            await posted(world, 600)

    assert await read_through(world, topic) == 600
    assert await world.balances(USERS[0]) == {"SOL": units("30")}


async def test_while_the_ledger_is_away_nothing_is_skipped_and_the_consumer_says_what_it_waits_for(
    world: World, topic: Topic, tmp_path: Path
) -> None:
    topic.send(deposits(USERS, 50))
    async with reading(world, topic) as consumer:
        await posted(world, 50)
        with closing(sqlite3.connect(tmp_path / "ledger.db", isolation_level=None)) as other:
            other.execute("BEGIN EXCLUSIVE")
            topic.send(deposits(USERS, 50))
            await consumer.says("waits for the ledger")
            other.execute("ROLLBACK")
        await posted(world, 100)
        await consumer.is_ready()
    assert await read_through(world, topic) == 100


async def test_a_consumer_that_begins_while_the_ledger_is_away_waits_and_may_be_stopped(
    world: World, topic: Topic, tmp_path: Path
) -> None:
    topic.send(deposits(USERS, 50))
    with closing(sqlite3.connect(tmp_path / "ledger.db", isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        async with reading(world, topic) as consumer:
            await consumer.says("waits for the ledger")
        other.execute("ROLLBACK")
    assert await world.sql("SELECT count(*) FROM feed_offsets") == [(0,)]


async def test_while_the_brokers_are_silent_the_consumer_says_so_and_then_goes_on(
    world: World, topic: Topic, brokers: Brokers
) -> None:
    topic.send(deposits(USERS, 50))
    async with reading(world, topic) as consumer:
        await posted(world, 50)
        brokers.fall_silent()
        try:
            await consumer.says("the brokers do not answer")
        finally:
            brokers.answer_again()
        topic.send(deposits(USERS, 50))
        await posted(world, 100)
        await consumer.is_ready()


async def test_where_nobody_listens_the_consumer_waits_and_may_be_stopped(world: World, topic: Topic) -> None:
    topic.brokers = "127.0.0.1:1"
    async with reading(world, topic) as consumer:
        await consumer.says("the brokers do not answer")


async def test_messages_that_are_gone_before_they_were_read_are_told_and_never_skipped(
    world: World, topic: Topic
) -> None:
    topic.send(deposits(USERS, 50))
    feed = TopicFeed(topic.name, GROUP)
    await offsets_to_read(world.ledger, feed, [0])
    await world.sql("UPDATE feed_offsets SET next_offset = 1000")

    async with reading(world, topic) as consumer:
        await consumer.says("messages were deleted before they were read, of the partitions 0")

        async def others_are_read() -> bool:
            return await read_through(world, topic) > 1000

        await eventually(others_are_read, "other partitions are read")
    assert (await offsets_to_read(world.ledger, feed, [0])) == {0: 1000}


async def test_the_legs_of_a_group_are_posted_together_also_if_they_come_one_by_one(
    world: World, topic: Topic
) -> None:
    topic.write([json.dumps(movement("ann", "5"))], partition=1)
    async with reading(world, topic):
        await posted(world, 1)
        topic.write([json.dumps(movement("ann", "700", asset="USDT", group="t"))], partition=1)
        topic.write([json.dumps(movement("ann", "-6", group="t"))], partition=1)

        async def both_are_refused() -> bool:
            return await world.sql("SELECT count(*) FROM refused_movements WHERE group_name = 't'") == [(2,)]

        await eventually(both_are_refused, "both legs are refused")
    assert await world.balances("ann") == {"SOL": units("5")}


async def test_what_another_consumer_posted_meanwhile_is_not_posted_again(
    world: World, topic: Topic, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It comes in between when this consumer has read messages, and is about to post them."""
    came_between = asyncio.Event()
    post_messages = feeds.post_messages

    async def overtaken(*args: object) -> object:
        if not came_between.is_set():
            came_between.set()
            ledger, feed, messages = args
            await post_messages(ledger, feed, messages[: len(messages) // 2])  # type: ignore[arg-type, index]
        return await post_messages(*args)  # type: ignore[arg-type]

    monkeypatch.setattr(feeds, "post_messages", overtaken)
    topic.send([*deposits(USERS, 40), *(movement(user, "-100") for user in USERS)])

    async with reading(world, topic):
        await posted(world, 40)

        async def all_refused() -> bool:
            return await world.sql("SELECT sum(times), count(*) FROM refused_movements") == [(20, 20)]

        await eventually(all_refused, "each withdrawal is refused once")
    assert await read_through(world, topic) == 60
