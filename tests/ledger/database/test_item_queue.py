"""The queue in front of a feed: many requests take few transactions, and none suffers from another."""

import asyncio
from collections.abc import Sequence

import pytest
from feeding import NOW, sent, statuses
from sqlalchemy import event
from world import World, paused_before, units

from ledger.database.engine import Ledger
from ledger.database.item_queue import ItemQueue
from ledger.database.patience import Patience
from ledger.errors import LedgerUnavailable
from ledger.feed.deciding import MovementOutcome
from ledger.feed.posting import post_feed
from ledger.feed.reading import Arrived, arrived

pytestmark = pytest.mark.on_both_databases


async def test_a_burst_of_single_requests_for_one_user_takes_few_transactions_and_refuses_none(
    world: World,
) -> None:
    begun = 0

    def begin(_: object) -> None:
        nonlocal begun
        begun += 1

    queue = world.ledger.item_queue(post_feed, items_max=1000)
    event.listen(world.ledger._engine.sync_engine, "begin", begin)
    requests = [queue.answer([arrived(sent("1"), NOW)]) for _ in range(1000)]
    answers = await asyncio.gather(*requests)
    event.remove(world.ledger._engine.sync_engine, "begin", begin)

    assert {statuses(list(outcomes)) for outcomes in answers} == {"posted"}
    assert begun <= 5
    assert await world.balances("ann") == {"SOL": units("1000")}


async def test_requests_are_written_in_the_order_in_which_they_came(world: World) -> None:
    async def post(movements: Sequence[Arrived]) -> list[MovementOutcome]:
        return await post_feed(world.ledger, movements)

    queue = ItemQueue[Arrived, MovementOutcome](post, items_max=2, at_once=1, patience=Patience())
    amounts = ("1", "4", "-5", "-1", "2")

    answers = await asyncio.gather(*(queue.answer([arrived(sent(tokens), NOW)]) for tokens in amounts))

    assert [statuses(list(outcomes)) for outcomes in answers] == [
        "posted",
        "posted",
        "posted",
        "insufficient_balance",
        "posted",
    ]


async def test_a_request_whose_caller_has_gone_while_it_is_written_is_written_once(world: World) -> None:
    queue, movement = world.ledger.item_queue(post_feed, items_max=1000), arrived(sent("1"), NOW)
    pause = paused_before(world.ledger, "INSERT INTO entries")
    gone = asyncio.create_task(queue.answer([movement]))
    await pause.reached.wait()
    gone.cancel()
    await asyncio.gather(gone, return_exceptions=True)
    pause.resume.set()
    await queue.finish()

    assert statuses(list(await queue.answer([movement]))) == "repeated"


async def test_a_request_that_breaks_the_transaction_breaks_it_for_itself_alone(world: World) -> None:
    async def breaking(movements: Sequence[Arrived]) -> list[MovementOutcome]:
        if any(movement.sent.user == "broken" for movement in movements):
            raise ZeroDivisionError
        return await post_feed(world.ledger, movements)

    queue = ItemQueue[Arrived, MovementOutcome](breaking, items_max=1000, at_once=1, patience=Patience())
    users = ("ann", "broken", "bob", "cas")
    tasks = [asyncio.create_task(queue.answer([arrived(sent("1", user=user), NOW)])) for user in users]
    answers = await asyncio.gather(*tasks, return_exceptions=True)

    assert [isinstance(answer, ZeroDivisionError) for answer in answers] == [False, True, False, False]


async def test_a_request_that_waits_when_the_ledger_is_closed_gets_an_error(world: World) -> None:
    never = asyncio.Event()

    async def silent(_: Sequence[Arrived]) -> list[MovementOutcome]:
        await never.wait()
        return []

    queue = ItemQueue[Arrived, MovementOutcome](silent, items_max=1, at_once=1, patience=Patience(close_s=0.01))
    tasks = [asyncio.create_task(queue.answer([arrived(sent("1"), NOW)])) for _ in range(2)]
    await asyncio.sleep(0)
    assert queue.oldest_s() >= 0

    await asyncio.gather(asyncio.sleep(0), queue.finish())

    answers = await asyncio.gather(*tasks, return_exceptions=True)
    assert all(isinstance(answer, LedgerUnavailable) for answer in answers)


def test_the_queue_is_the_ledgers_own(world: World) -> None:
    ledger: Ledger = world.ledger
    assert ledger.item_queue(post_feed, items_max=1000) is ledger.item_queue(post_feed, items_max=1000)
