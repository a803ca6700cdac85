"""A topic's messages on their way into the ledger: read, posted, and only then read on."""

import asyncio
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import datetime

from ledger.database.engine import Ledger
from ledger.errors import LedgerUnavailable
from ledger.feed.deciding import MovementOutcome
from ledger.feed.messages import Mark, Message, Unreadable, said_in
from ledger.feed.reading import MOVEMENTS_MAX
from ledger.feed.topics import (
    ElsewhereRead,
    TopicFeed,
    offsets_to_read,
    post_messages,
    tell_what_is_complete,
)
from streaming.connection import Configuration
from streaming.consumer import SESSION_TIMEOUT_S, BrokersAway, Received, TopicConsumer
from streaming.pending import Pending
from streaming.standing import Standing
from telemetry.feed_metrics import FeedMetrics

_WAITS_S = 0.5
_LOOKS_FOR_LEGS_EVERY_S = 0.1
_LOOKS_EVERY_S = 5.0
_TRIES_AGAIN_AFTER_S = 1.0
_LANES_ON_POSTGRESQL = 2
"""Transactions at a time: one is computed here while the database works on the other."""
_PENDING_MAX = 4 * MOVEMENTS_MAX


class _Stopped(Exception):
    """The process is told to stop while it waits for the ledger."""


class KafkaFeed:
    """Reads one topic as a member of a group, until it is told to stop."""

    def __init__(
        self,
        ledger: Ledger,
        feed: TopicFeed,
        metrics: FeedMetrics,
        now: Callable[[], datetime],
        stop: asyncio.Event,
    ) -> None:
        self._ledger, self._feed, self._metrics, self._now, self._stop = ledger, feed, metrics, now, stop
        self._clock_s = asyncio.get_running_loop().time
        self.standing = Standing(self._clock_s)
        self._pending = Pending()
        self._lanes = [asyncio.Event() for _ in range(1 if ledger.has_one_writer else _LANES_ON_POSTGRESQL)]
        """Each is set when there may be something to post. Partitions are shared among the lanes."""
        self._room = asyncio.Event()
        self._posted: dict[int, int] = {}
        """By partition that this consumer has, the offset from which the ledger has it to be read on."""
        self._written_at: dict[int, float] = {}
        """By partition, when its last posted message was written, or when this consumer got it."""
        self._looked_at_s = -_LOOKS_EVERY_S
        self._has_words_to_give = False
        self._gave_word: set[str] = set()
        """Sources whose word was posted, and is to be given on behalf of all partitions."""

    async def run(
        self,
        configuration: Configuration,
        *,
        on_stop: Callable[[], None] = lambda: None,
        session_timeout_s: float = SESSION_TIMEOUT_S,
    ) -> None:
        """Works until the event is set; what has come until then is posted. Raises KafkaException for what no
        waiting mends."""
        topic, group = self._feed.topic, self._feed.group
        consumer = TopicConsumer(
            configuration, topic, group, self._offsets_to_read, session_timeout_s=session_timeout_s
        )
        lanes = [asyncio.create_task(self._post_all(consumer, lane)) for lane in range(len(self._lanes))]
        telling = asyncio.create_task(_once(self._stop, on_stop))
        try:
            await self._receive_all(consumer, lanes)
            await asyncio.gather(*lanes)
            await consumer.tell_brokers(self._posted)
        except _Stopped:
            pass
        finally:
            for task in (telling, *lanes):
                task.cancel()
            await asyncio.gather(*lanes, return_exceptions=True)
            await consumer.close()

    async def _receive_all(self, consumer: TopicConsumer, lanes: Sequence[asyncio.Task[None]]) -> None:
        generation = consumer.generation
        while not self._stop.is_set():
            self.standing.goes_on()
            await self._look_if_due(consumer)
            received = await self._receive(consumer)
            if generation != consumer.generation:
                generation = consumer.generation
                self._pending.clear()
            now, now_s = self._now(), self._clock_s()
            for one in received:
                if one.generation == generation:
                    self._pending.add(_message(one, now), now_s)
            for lane in self._lanes:
                lane.set()
            for task in lanes:
                if task.done():
                    task.result()
        for lane in self._lanes:
            lane.set()

    async def _receive(self, consumer: TopicConsumer) -> list[Received]:
        """Takes no more than can be posted soon; while nothing can, this consumer stays in its group."""
        if len(self._pending) < _PENDING_MAX:
            return await consumer.receive(MOVEMENTS_MAX, wait_s=_WAITS_S)
        self._room.clear()
        try:
            await asyncio.wait_for(self._room.wait(), _TRIES_AGAIN_AFTER_S)
        except TimeoutError:
            await consumer.stay_in_group()
        return []

    async def _offsets_to_read(self, partitions: Sequence[int]) -> dict[int, int]:
        """Waits for the ledger as long as it takes: without it nobody knows where to read on."""
        while True:
            self.standing.goes_on()
            try:
                offsets = await offsets_to_read(self._ledger, self._feed, partitions)
            except LedgerUnavailable as error:
                self.standing.fails("ledger", "the feed waits for the ledger", error)
                if self._stop.is_set():
                    raise _Stopped from None
                await asyncio.sleep(_TRIES_AGAIN_AFTER_S)
            else:
                break
        self.standing.works("ledger")
        self.standing.works("group")
        self.standing.works("offsets")
        self._posted = offsets
        self._written_at = dict.fromkeys(partitions, self._now().timestamp())
        self._has_words_to_give = True
        return offsets

    async def _post_all(self, consumer: TopicConsumer, lane: int) -> None:
        """Posts what comes in a lane, however long the ledger is away."""
        while True:
            self._lanes[lane].clear()
            messages = self._pending.take(self._clock_s(), lane=lane, of_lanes=len(self._lanes))
            if messages:
                self._room.set()
                await self._post_or_drop(consumer, messages)
            elif self._stop.is_set():
                return
            else:
                # The last legs of a group become due without anything else that comes.
                timeout_s = _LOOKS_FOR_LEGS_EVERY_S if len(self._pending) else None
                with suppress(TimeoutError):
                    await asyncio.wait_for(self._lanes[lane].wait(), timeout_s)

    async def _post_or_drop(self, consumer: TopicConsumer, messages: Sequence[Message]) -> None:
        """What others read by now is dropped, and so is everything if the process is to stop while the ledger is
        away: it comes again."""
        generation = consumer.generation
        while generation == consumer.generation:
            self.standing.goes_on()
            try:
                outcomes = await post_messages(self._ledger, self._feed, messages)
            except ElsewhereRead:
                await consumer.read_again()
                return
            except LedgerUnavailable as error:
                self.standing.fails("ledger", "the feed waits for the ledger", error)
                if self._stop.is_set():
                    return
                await asyncio.sleep(_TRIES_AGAIN_AFTER_S)
            else:
                self.standing.works("ledger")
                self._note(messages, outcomes)
                if self._gave_word:
                    await self._give_words(consumer)
                return

    def _note(self, messages: Sequence[Message], outcomes: Sequence[MovementOutcome]) -> None:
        kinds = Counter[str](outcome.status for outcome in outcomes)
        for message in messages:
            if message.partition in self._posted:
                self._posted[message.partition] = message.offset + 1
            if message.written_at is not None:
                self._written_at[message.partition] = message.written_at
            if isinstance(message.said, Mark):
                kinds["mark"] += 1
                self._gave_word.add(message.said.source)
            elif isinstance(message.said, Unreadable):
                kinds["unreadable"] += 1
        self._metrics.came(kinds)

    async def _give_words(self, consumer: TopicConsumer) -> None:
        """Tells how far sources are complete over all partitions, as many as the topic has by now."""
        try:
            count = await consumer.partition_count()
            if not count:
                return
            new = self._gave_word
            await tell_what_is_complete(self._ledger, self._feed, count, new=new, now=self._now())
        except BrokersAway:
            return
        except LedgerUnavailable as error:
            self.standing.fails("ledger", "the feed waits for the ledger", error)
            return
        self._has_words_to_give = False
        self._gave_word.clear()

    async def _look_if_due(self, consumer: TopicConsumer) -> None:
        if self._clock_s() - self._looked_at_s >= _LOOKS_EVERY_S:
            await self._look(consumer)
            self._looked_at_s = self._clock_s()

    async def _look(self, consumer: TopicConsumer) -> None:
        """Asks the brokers now and then, so that it is known when they are away."""
        try:
            count = await consumer.partition_count()
        except BrokersAway as error:
            self.standing.fails("brokers", "the brokers do not answer, and the feed waits for them", error)
            return
        if not count:
            self.standing.fails("brokers", "the brokers have no such topic", self._feed.topic)
            return
        self.standing.works("brokers")
        self._metrics.answered(self._now())
        if self._has_words_to_give or self._gave_word:
            await self._give_words(consumer)
        await self._look_at_progress(consumer)

    async def _look_at_progress(self, consumer: TopicConsumer) -> None:
        try:
            bounds = await consumer.bounds()
        except BrokersAway:
            return
        now, lags = self._now().timestamp(), dict[int, tuple[int, float]]()
        for partition, (first, end) in bounds.items():
            lag = max(0, end - max(first, self._posted.get(partition, end)))
            lags[partition] = (lag, max(0.0, now - self._written_at.get(partition, now)) if lag else 0.0)
        self._metrics.behind(lags)
        if consumer.gaps:
            numbers = ", ".join(map(str, sorted(consumer.gaps)))
            self.standing.fails(
                "offsets", f"messages were deleted before they were read, of the partitions {numbers}"
            )
        await consumer.tell_brokers(
            {partition: offset for partition, offset in self._posted.items() if partition in bounds}
        )


def _message(one: Received, now: datetime) -> Message:
    written_at = one.written_at_ms / 1000 if one.written_at_ms >= 0 else None
    return Message(one.partition, one.read_from, one.offset, said_in(one.value, now), written_at)


async def _once(stop: asyncio.Event, tell: Callable[[], None]) -> None:
    await stop.wait()
    tell()
