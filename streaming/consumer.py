"""One consumer of a topic, whose offsets are kept by whoever reads with it.

The client blocks, so all of its calls are made in one thread of their own. It joins its group as any consumer
does, and a callback tells which partitions it has now; then it asks where to read on in each.
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple, TypeVar

from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, KafkaException, Message, TopicPartition

from settings import BadConfiguration
from streaming.connection import Configuration

_Answer = TypeVar("_Answer")
SESSION_TIMEOUT_S = 15.0
"""So long after a consumer has ended without a word, others get its partitions."""
_ANSWERS_WITHIN_S = 3.0
_NOTHING_THERE = frozenset({KafkaError._AUTO_OFFSET_RESET, KafkaError._LOG_TRUNCATION})  # pyright: ignore[reportPrivateUsage]  # their names begin so
_END = KafkaError._PARTITION_EOF  # pyright: ignore[reportPrivateUsage]  # its name begins so
_NO_TOPIC = frozenset({KafkaError.UNKNOWN_TOPIC_OR_PART, KafkaError._UNKNOWN_TOPIC, KafkaError._UNKNOWN_PARTITION})  # pyright: ignore[reportPrivateUsage]  # their names begin so


class Received(NamedTuple):
    """A message as it came."""

    partition: int
    read_from: int
    """The offset from which the partition was to be read when it came."""
    offset: int
    value: bytes | None
    generation: int
    """Of the consumer, when it came."""
    written_at_ms: int
    """Since 1970-01-01 UTC, by whoever wrote it; -1 if that is not known."""


class BrokersAway(Exception):
    """No broker answers; the text says why, if that is known."""


OffsetsToRead = Callable[[Sequence[int]], Awaitable[Mapping[int, int]]]
"""Answers from which offset each of some partitions is to be read; 0: from wherever it begins."""


class TopicConsumer:
    """A member of a group of consumers of one topic."""

    def __init__(
        self,
        configuration: Configuration,
        topic: str,
        group: str,
        offsets_to_read: OffsetsToRead,
        *,
        session_timeout_s: float = SESSION_TIMEOUT_S,
    ) -> None:
        self._topic = topic
        self._offsets_to_read = offsets_to_read
        self._loop = asyncio.get_running_loop()
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="kafka")
        self._last_error = ""
        self._positions: dict[int, int] = {}
        """By partition that this consumer has, the offset of the next message that it will receive."""
        self._read_to_end: dict[int, int] = {}
        """By partition, the offset at which there was nothing more."""
        self.gaps: set[int] = set()
        """Partitions in which the next message to read is not there any more. Nothing of them is read."""
        self.generation = 0
        """Rises whenever partitions come or go: what was received before is received again by whoever has them."""
        self._consumer = _made(
            {
                **configuration,
                "group.id": group,
                "session.timeout.ms": round(session_timeout_s * 1000),
                "heartbeat.interval.ms": round(session_timeout_s * 1000 / 3),
                "enable.auto.commit": False,
                "enable.auto.offset.store": False,
                "enable.partition.eof": True,
                # Whoever wants to know what was lost must not be sent on to what is there.
                "auto.offset.reset": "error",
                "isolation.level": "read_committed",
                "partition.assignment.strategy": "range,roundrobin",
                "error_cb": self._note,
            }
        )
        self._consumer.subscribe([topic], on_assign=self._have, on_revoke=self._have_not, on_lost=self._have_not)

    async def receive(self, count_max: int, *, wait_s: float) -> list[Received]:
        """Waits for a message, and takes what came with it. Raises KafkaException for what no waiting mends."""
        return await self._in_thread(lambda: self._receive(count_max, wait_s))

    async def partition_count(self) -> int:
        """How many partitions the topic has; 0 if there is no such topic. Raises BrokersAway."""
        return await self._in_thread(self._partition_count)

    async def read_again(self) -> None:
        """Drops what was received, and asks anew where to read on in each partition."""
        await self._in_thread(self._read_again)

    async def stay_in_group(self) -> None:
        """Receives nothing, and remains a member of the group."""
        await self._in_thread(self._stay_in_group)

    async def bounds(self) -> dict[int, tuple[int, int]]:
        """By partition that this consumer has, the offsets between which there is something to read by now: the
        first one, and the one after the last. Raises BrokersAway."""
        return await self._in_thread(self._bounds)

    async def tell_brokers(self, offsets: Mapping[int, int]) -> None:
        """Tells the brokers how far the group is, for their own tools to show. Nobody here reads it."""
        places = [TopicPartition(self._topic, partition, offset) for partition, offset in offsets.items()]

        def tell() -> None:
            with contextlib.suppress(KafkaException):
                self._consumer.commit(offsets=places, asynchronous=True)

        if places:
            await self._in_thread(tell)

    async def close(self) -> None:
        """Leaves the group, so that others take over at once."""
        await self._in_thread(self._consumer.close)
        self._thread.shutdown(wait=False)

    async def _in_thread(self, work: Callable[[], _Answer]) -> _Answer:
        return await self._loop.run_in_executor(self._thread, work)

    def _have(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        self.generation += 1
        numbers = [place.partition for place in partitions]
        asked = asyncio.run_coroutine_threadsafe(_awaited(self._offsets_to_read(numbers)), self._loop)
        offsets = asked.result()
        consumer.assign(
            [TopicPartition(self._topic, number, offsets[number] or OFFSET_BEGINNING) for number in numbers]
        )
        self._positions = dict(offsets)
        self._read_to_end.clear()
        self.gaps.clear()

    def _have_not(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        self.generation += 1
        self._positions = {}
        self._read_to_end.clear()
        self.gaps.clear()

    def _note(self, error: KafkaError) -> None:
        self._last_error = error.str()

    def _receive(self, count_max: int, wait_s: float) -> list[Received]:
        first = self._consumer.poll(wait_s)
        if first is None:
            return []
        generation = self.generation
        came = [first, *self._consumer.consume(count_max - 1, 0)]
        if generation != self.generation:
            # Some may have come before the partitions did. All of them come again.
            self._read_again()
            return []
        return [received for message in came if (received := self._received(message)) is not None]

    def _read_again(self) -> None:
        self._have(self._consumer, self._consumer.assignment())

    def _stay_in_group(self) -> None:
        self._consumer.pause(self._consumer.assignment())
        message = self._consumer.poll(0)
        self._consumer.resume(self._consumer.assignment())
        if message is not None and self._received(message) is not None:
            self._read_again()  # it had come before the pause, and must come again

    def _received(self, message: Message) -> Received | None:
        partition, offset = message.partition(), message.offset()
        if (error := message.error()) is not None:
            self._learn_from(error, partition, offset)
            return None
        if (
            partition is None
            or offset is None
            or offset < (read_from := self._positions.get(partition, offset + 1))
        ):
            return None  # of a partition that went, or from before its offset was asked
        self._positions[partition] = offset + 1
        self._read_to_end.pop(partition, None)
        return Received(partition, read_from, offset, message.value(), self.generation, message.timestamp()[1])

    def _learn_from(self, error: KafkaError, partition: int | None, offset: int | None) -> None:
        if error.code() == _END and partition is not None and offset is not None:
            self._read_to_end[partition] = offset
        elif error.code() in _NOTHING_THERE and partition is not None:
            self.gaps.add(partition)
        elif error.fatal():
            raise KafkaException(error)
        else:
            self._last_error = error.str()

    def _partition_count(self) -> int:
        try:
            found = self._consumer.list_topics(self._topic, timeout=_ANSWERS_WITHIN_S).topics[self._topic]
        except KafkaException as error:
            raise BrokersAway(self._last_error or _text_of(error)) from None
        if found.error is not None and found.error.code() not in _NO_TOPIC:
            raise BrokersAway(found.error.str())
        self._last_error = ""
        return len(found.partitions)

    def _bounds(self) -> dict[int, tuple[int, int]]:
        found: dict[int, tuple[int, int]] = {}
        for partition, next_offset in self._positions.items():
            place = TopicPartition(self._topic, partition)
            try:
                low, high = self._consumer.get_watermark_offsets(place, timeout=_ANSWERS_WITHIN_S)
            except KafkaException as error:
                raise BrokersAway(_text_of(error)) from None
            # What follows the last message are the marks of transactions, if anything.
            found[partition] = low, next_offset if high <= self._read_to_end.get(partition, 0) else high
        return found


def _made(configuration: dict[str, object]) -> Consumer:
    try:
        return Consumer(configuration)
    except KafkaException as error:
        raise BadConfiguration(f"these settings of Kafka cannot be used: {_text_of(error)}") from None


def _text_of(error: KafkaException) -> str:
    told: KafkaError = error.args[0]
    return told.str()


async def _awaited(work: Awaitable[_Answer]) -> _Answer:
    return await work
