"""Questions that come together are answered from one transaction, and never from an earlier one."""

import asyncio
from collections.abc import Sequence

import pytest
from sqlalchemy.ext.asyncio import AsyncConnection
from world import World, at

from ledger.api_keys import ApiKey, KeyKind, add_key, keys_in_use, revoke_key
from ledger.database.read_queue import ReadQueue
from ledger.errors import LedgerUnavailable

pytestmark = pytest.mark.on_both_databases

NOW = at("2026-10-05 12:00")


class Reading:
    """A reading of keys that waits until the test lets it go on, and records which questions came together."""

    def __init__(self) -> None:
        self.asked: list[list[str]] = []
        self.goes_on = asyncio.Event()

    async def __call__(self, connection: AsyncConnection, asked: Sequence[str]) -> dict[str, ApiKey | None]:
        self.asked.append(list(asked))
        known = await keys_in_use(connection, asked)
        await self.goes_on.wait()
        if "a defect" in asked:
            raise AssertionError("a defect")
        return {key: known.get(key) for key in asked}


@pytest.fixture
def reading() -> Reading:
    return Reading()


@pytest.fixture
def reads(world: World, reading: Reading) -> ReadQueue[str, ApiKey | None]:
    """A ledger with one transaction at a time, so that it is known which questions wait."""
    return ReadQueue(world.ledger.read, reading, at_once=1)


async def _asking(reads: ReadQueue[str, ApiKey | None], *questions: str) -> list[asyncio.Task[ApiKey | None]]:
    """Asks the questions, and returns when all of them are asked."""
    asking = [asyncio.create_task(reads.answer(question)) for question in questions]
    await asyncio.sleep(0)
    return asking


async def test_questions_that_come_while_another_is_read_are_read_together_and_equal_ones_once(
    reads: ReadQueue[str, ApiKey | None], reading: Reading
) -> None:
    asking = await _asking(reads, "a")
    await asyncio.sleep(0)  # Its transaction begins here.
    asking += await _asking(reads, "b", "c", "b")
    reading.goes_on.set()

    assert await asyncio.gather(*asking) == [None] * 4
    assert reading.asked == [["a"], ["b", "c"]]


async def test_a_question_sees_what_was_committed_before_it_was_asked_also_while_an_equal_one_is_read(
    world: World, reads: ReadQueue[str, ApiKey | None], reading: Reading
) -> None:
    key = ApiKey("key", "ann", KeyKind.HMAC, False, "FR", NOW, sealed_secret=b"sealed")
    await add_key(world.ledger, key, {}, operator="tests")
    [before] = await _asking(reads, "key")
    while not reading.asked:  # noqa: ASYNC110  # it tells nobody
        await asyncio.sleep(0.001)
    await revoke_key(world.ledger, "key", operator="tests", now=NOW)
    [after] = await _asking(reads, "key")
    reading.goes_on.set()

    assert (await after) is None
    assert (await before) in (key, None)


async def test_a_caller_who_goes_away_does_not_cancel_the_answers_of_others(
    reads: ReadQueue[str, ApiKey | None], reading: Reading
) -> None:
    first, leaves, stays = await _asking(reads, "a", "b", "b")
    [alone] = await _asking(reads, "nobody waits for this")
    leaves.cancel()
    alone.cancel()
    reading.goes_on.set()

    assert await asyncio.gather(first, stays) == [None, None]
    assert reading.asked == [["a", "b"]]


async def test_a_question_that_cannot_be_answered_is_no_others_fault(
    reads: ReadQueue[str, ApiKey | None], reading: Reading
) -> None:
    asking = await _asking(reads, "a", "b", "a defect", "c")
    reading.goes_on.set()
    answers = await asyncio.gather(*asking, return_exceptions=True)

    assert [type(answer) for answer in answers] == [type(None), type(None), AssertionError, type(None)]


async def test_with_the_ledger_away_everyone_gets_the_error_and_later_questions_are_asked_anew(
    world: World, reading: Reading
) -> None:
    def begin() -> object:
        if len(reading.asked) == 0:
            reading.asked.append([])
            raise LedgerUnavailable("the ledger is away")
        return world.ledger.read()

    reads: ReadQueue[str, ApiKey | None] = ReadQueue(begin, reading, at_once=1)  # pyright: ignore[reportArgumentType]  # a context or an error
    reading.goes_on.set()
    away = await asyncio.gather(*await _asking(reads, "a", "b"), return_exceptions=True)

    assert [type(answer) for answer in away] == [LedgerUnavailable, LedgerUnavailable]
    assert await reads.answer("a") is None
