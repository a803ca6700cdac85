"""A topic as a feed: read once, by whoever has a partition, and never past what is posted."""

import asyncio
import json
from collections.abc import Sequence
from datetime import datetime
from itertools import count
from typing import Any

import pytest
from feeding import NOW, statuses
from world import World, at, units

from ledger.feed.deciding import MovementOutcome
from ledger.feed.messages import MESSAGE_BYTES_MAX, Mark, Message, Unreadable, said_in
from ledger.feed.refused_messages import (
    all_refused_messages,
    dismiss_refused_messages,
    keep_refused_messages,
)
from ledger.feed.sources import all_sources, remove_source
from ledger.feed.topics import (
    ElsewhereRead,
    TopicFeed,
    offsets_to_read,
    post_messages,
    tell_what_is_complete,
)

pytestmark = pytest.mark.on_both_databases
FEED = TopicFeed("movements", "staking")
_numbers = count(1)


def movement(amount: str = "1", **fields: Any) -> bytes:
    said = {"id": f"m-{next(_numbers)}", "user": "ann", "asset": "SOL", "amount": amount}
    return json.dumps(said | {"at": "2026-10-01T10:00:00Z"} | fields).encode()


def mark(through: str, source: str = "wallet") -> bytes:
    return json.dumps({"source": source, "complete_through": through}).encode()


def messages(*values: bytes | None, partition: int = 0, first: int = 0) -> list[Message]:
    return [Message(partition, offset, offset, said_in(value, NOW)) for offset, value in enumerate(values, first)]


async def post(world: World, *values: bytes | None, partition: int = 0) -> list[MovementOutcome]:
    """What a consumer does that has this partition."""
    before = await offsets_to_read(world.ledger, FEED, [partition])
    found = messages(*values, partition=partition, first=before[partition])
    return await post_messages(world.ledger, FEED, found)


async def sources(world: World) -> dict[str, datetime]:
    async with world.ledger.read() as connection:
        return {one.name: one.complete_through for one in await all_sources(connection)}


async def tell(world: World, *new: str, partitions: int = 2) -> dict[str, datetime]:
    await tell_what_is_complete(world.ledger, FEED, partitions, new=new, now=NOW)
    return await sources(world)


async def test_what_messages_say_is_posted_and_read_on_from_in_one_transaction(world: World) -> None:
    legs = json.loads(movement("-2", group="t")), json.loads(movement("200", asset="USDT", group="t"))
    outcomes = await post(world, movement("5"), json.dumps({"movements": legs}).encode(), movement("-9"))

    assert statuses(outcomes) == "posted posted posted insufficient_balance"
    assert await world.balances("ann") == {"SOL": units("3"), "USDT": units("200")}
    assert await offsets_to_read(world.ledger, FEED, [0, 7]) == {0: 3, 7: 0}
    assert await offsets_to_read(world.ledger, TopicFeed("movements", "another"), [0]) == {0: 0}
    assert (await world.audit(NOW)).is_clean


async def test_a_consumer_that_lost_a_partition_writes_nothing_of_any(world: World) -> None:
    await offsets_to_read(world.ledger, FEED, [0, 1])
    await post(world, movement("5"), partition=1)
    late = [*messages(movement("1"), partition=0), *messages(movement("5"), partition=1)]

    with pytest.raises(ElsewhereRead):
        await post_messages(world.ledger, FEED, late)

    assert await world.balances("ann") == {"SOL": units("5")}
    assert await offsets_to_read(world.ledger, FEED, [0, 1]) == {0: 0, 1: 1}


async def test_of_two_consumers_that_post_the_same_messages_at_once_one_does(world: World) -> None:
    await offsets_to_read(world.ledger, FEED, [0, 1])
    same = [*messages(movement("1"), movement("2")), *messages(movement("4"), partition=1)]

    found = await asyncio.gather(
        *(post_messages(world.ledger, FEED, same) for _ in range(4)), return_exceptions=True
    )

    assert sorted(type(one).__name__ for one in found) == ["ElsewhereRead"] * 3 + ["list"]
    assert await world.balances("ann") == {"SOL": units("7")}


async def test_a_transaction_that_fails_reads_nothing_on(world: World) -> None:
    await offsets_to_read(world.ledger, FEED, [0])
    broken = Message(0, 0, 0, Unreadable(said_in(b"{", NOW).reason, None, 1))  # type: ignore[union-attr, arg-type]

    with pytest.raises(Exception, match=r"(?i)null"):
        await post_messages(world.ledger, FEED, [broken, *messages(movement("1"), first=1)])

    assert await offsets_to_read(world.ledger, FEED, [0]) == {0: 0}
    assert await world.balances("ann") == {}


async def test_how_far_a_partition_was_read_never_falls(world: World) -> None:
    await post(world, movement(), movement())

    with pytest.raises(Exception, match="only rises"):
        await world.sql("UPDATE feed_offsets SET next_offset = 1")


async def test_a_source_is_complete_as_far_as_the_lowest_of_all_partitions(world: World) -> None:
    await post(world, mark("2026-10-02T00:00:00Z"), mark("2026-10-01T00:00:00Z"))
    assert await tell(world, "wallet") == {}

    await post(world, mark("2026-10-01T12:00:00Z"), partition=1)
    assert await tell(world) == {}
    assert await tell(world, "wallet") == {"wallet": at("2026-10-01 12:00")}

    await post(world, mark("2026-10-03T00:00:00Z"), mark("2026-10-03T00:00:00Z", "other"), partition=1)
    assert await tell(world) == {"wallet": at("2026-10-02")}
    assert await tell(world, partitions=3) == {"wallet": at("2026-10-02")}


async def test_a_source_that_an_operator_removed_comes_back_with_its_next_word_alone(world: World) -> None:
    for partition in (0, 1):
        await post(world, mark("2026-10-02T00:00:00Z"), partition=partition)
    await tell(world, "wallet")
    await remove_source(world.ledger, "wallet", operator="op", reason="replaced", now=NOW)

    assert await tell(world) == {}
    assert await tell(world, "wallet") == {"wallet": at("2026-10-02")}


DEEP = b"[" * 100_000
UNREADABLE = {
    "message_empty": [None, b""],
    "message_not_json": [b"{", b"\xff\xfe", b"\x00", DEEP, b'{"id": ' + b"9" * 5000 + b"}"],
    "message_malformed": [
        b"[]",
        b"3",
        b"null",
        b"{}",
        movement(id=""),
        movement(id="x" * 129),
        movement(id="\ud800"),
        movement(amount=3),
        movement(more="x"),
        movement(group="a\nb"),
        b'{"movements": []}',
        b'{"movements": [{"id": "a"}]}',
        mark("soon"),
        mark("2026-10-01T00:00:00"),
        mark("2026-10-01T00:00:00Z", "a b"),
        b'{"source": "wallet", "complete_through": 1790812800}',
    ],
    "message_too_large": [b" " * (MESSAGE_BYTES_MAX + 1)],
    "in_the_future": [mark("2026-10-05T12:00:06Z")],
}


@pytest.mark.parametrize("code", UNREADABLE)
async def test_a_message_that_says_nothing_is_kept_with_its_place_and_holds_up_no_other(
    world: World, code: str
) -> None:
    values: Sequence[bytes | None] = UNREADABLE[code]

    outcomes = await post(world, *values, movement("5"))

    async with world.ledger.read() as connection:
        kept = await all_refused_messages(connection)
    assert [(one.place, one.reason.code, one.size_bytes) for one in kept] == [
        (f"movements/0/{offset}", code, len(value or b"")) for offset, value in enumerate(values)
    ]
    assert all(one.content.isprintable() and one.reason.sentence.isprintable() for one in kept)
    assert statuses(outcomes) == "posted"
    assert (await world.audit(NOW)).refused_movements == len(values)


async def test_what_was_refused_is_dismissed_by_its_place_and_another_group_keeps_it_only_once(
    world: World,
) -> None:
    refused = messages(b"{", b"[")
    for _ in range(2):
        async with world.ledger.write() as connection:
            await keep_refused_messages(connection, "movements", refused, now=NOW)

    (dismissed,) = await dismiss_refused_messages(
        world.ledger, ["movements/0/0"], operator="op", reason="a test system", now=NOW
    )

    assert dismissed.content == "{"
    async with world.ledger.read() as connection:
        assert [one.place for one in await all_refused_messages(connection)] == ["movements/0/1"]


def test_the_instants_of_a_mark_are_utc_and_a_clock_may_be_some_seconds_ahead() -> None:
    assert said_in(mark("2026-10-05T14:00:05+02:00"), NOW) == Mark("wallet", at("2026-10-05 12:00:05"))
