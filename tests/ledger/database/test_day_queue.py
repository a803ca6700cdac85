"""The queue in front of closings and credits: requests share transactions, and none suffers from the others."""

import asyncio
import sqlite3
from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager, closing, contextmanager
from pathlib import Path

import databases
import psycopg
import pytest
from sqlalchemy import event
from sqlalchemy.exc import IntegrityError
from world import LONG_AGO, SHIPPED_PROGRAM, World, a_world, at, day, paused_before, tamper

from ledger.database import day_queue
from ledger.database.day_queue import MANY, REQUESTS_MAX
from ledger.database.engine import Ledger, open_ledger
from ledger.database.patience import Patience
from ledger.errors import LedgerUnavailable, NotEnrolled
from ledger.pools import fund_pool, pool_balances
from staking.days import ONE_DAY
from staking.models import CreditReceipt, PoolShort

pytestmark = pytest.mark.on_both_databases

ACTIVATED = at("2026-10-01 10:00")
FIRST, SECOND = day("2026-10-01"), day("2026-10-02")
A_REWARD, A_TWELFTH = 26301, 2191
"""The reward of a day for 12 SOL and for 1 SOL, in units."""
BEFORE_CLOSING = "INSERT INTO days"
PATIENCE_S = 60


@contextmanager
def transactions_of(ledger: Ledger) -> Generator[list[str]]:
    """Records every transaction that begins meanwhile."""
    begun: list[str] = []

    def begin(_: object) -> None:
        begun.append("BEGIN")

    sync_engine = ledger._engine.sync_engine
    event.listen(sync_engine, "begin", begin)
    try:
        yield begun
    finally:
        event.remove(sync_engine, "begin", begin)


async def enrolled(world: World, *users: str) -> None:
    """Makes users who hold 12 SOL each."""
    for user in users:
        await world.move(user, "12", "SOL", ACTIVATED)
        await world.enrol(user, ACTIVATED)


def begun(world: World, *users: str) -> list[asyncio.Task[object]]:
    """The closings of their first day, each in the queue."""
    return [asyncio.ensure_future(world.snapshot(user, FIRST)) for user in users]


async def until_they_wait() -> None:
    """Lets every task that was started reach the queue."""
    for _ in range(3):
        await asyncio.sleep(0)


BUSY = ("yves", "zoe")


def busy_users() -> list[str]:
    """Users whose closings keep all writers of closings busy."""
    return list(BUSY[:1] if databases.kind == databases.SQLITE else BUSY)


@asynccontextmanager
async def busy(world: World) -> AsyncGenerator[None]:
    """Keeps all writers busy, so that every request meanwhile has to wait."""
    pauses = [paused_before(world.ledger, BEFORE_CLOSING) for _ in busy_users()]
    tasks: list[asyncio.Task[object]] = []
    for user, pause in zip(busy_users(), pauses, strict=True):
        tasks += begun(world, user)
        await pause.reached.wait()
    yield
    for pause in pauses:
        pause.resume.set()
    await asyncio.gather(*tasks)


async def closed_users(world: World) -> list[str]:
    rows = await world.sql("SELECT user_id FROM days ORDER BY user_id, day")
    return [row.user_id for row in rows]


async def test_requests_that_come_together_share_a_transaction(world: World) -> None:
    users = [f"user{number}" for number in range(10)]
    await enrolled(world, *users)

    with transactions_of(world.ledger) as transactions:
        await asyncio.gather(*(world.snapshot(user, FIRST) for user in users))
    assert len(transactions) == 1

    snapshots = await asyncio.gather(*(world.snapshot(user, SECOND) for user in users))
    rewards = [await world.compute(snapshot) for snapshot in snapshots]
    with transactions_of(world.ledger) as transactions:
        await asyncio.gather(*(world.credit(user, each) for user, each in zip(users, rewards, strict=True)))
    assert len(transactions) == 1


async def test_a_transaction_has_no_more_requests_than_its_locks_should_be_held_for(world: World) -> None:
    users = [f"user{number}" for number in range(REQUESTS_MAX + 1)]

    with transactions_of(world.ledger) as transactions:
        answers = await asyncio.gather(*(world.snapshot(user, FIRST) for user in users), return_exceptions=True)

    assert len(transactions) == 2
    assert [type(answer) for answer in answers] == [NotEnrolled] * len(users)


async def test_requests_that_come_while_others_are_written_are_written_together_next(world: World) -> None:
    await enrolled(world, *BUSY, "ann", "bob", "cyd")

    with transactions_of(world.ledger) as transactions:
        async with busy(world):
            waiting = begun(world, "ann", "bob", "cyd")
            await until_they_wait()
        await asyncio.gather(*waiting)

    assert len(transactions) == len(busy_users()) + 1


async def test_requests_of_different_days_never_share_a_transaction(world: World) -> None:
    await enrolled(world, "ann", "bob", "cyd", "dan")
    await asyncio.gather(*(world.snapshot(user, FIRST) for user in ("ann", "bob")))

    with transactions_of(world.ledger) as transactions:
        snapshots = await asyncio.gather(
            world.snapshot("ann", SECOND),
            world.snapshot("cyd", FIRST),
            world.snapshot("bob", SECOND),
            world.snapshot("dan", FIRST),
        )

    assert [snapshot.day for snapshot in snapshots] == [SECOND, FIRST, SECOND, FIRST]
    assert len(transactions) == 2


async def test_an_original_and_its_retry_get_the_same_answer(world: World) -> None:
    await enrolled(world, "ann", "bob")

    first, other, again = await asyncio.gather(
        world.snapshot("ann", FIRST), world.snapshot("bob", FIRST), world.snapshot("ann", FIRST)
    )

    assert first == again
    assert other.day == FIRST
    assert await closed_users(world) == ["ann", "bob"]


async def test_a_request_that_is_refused_refuses_nobody_else(world: World) -> None:
    await enrolled(world, "ann", "cyd")

    with transactions_of(world.ledger) as transactions:
        ann, bob, cyd = await asyncio.gather(
            *(world.snapshot(user, FIRST) for user in ("ann", "bob", "cyd")), return_exceptions=True
        )

    assert len(transactions) == 1
    assert isinstance(bob, NotEnrolled)
    assert (ann, cyd) == (await world.snapshot("ann", FIRST), await world.snapshot("cyd", FIRST))
    assert await closed_users(world) == ["ann", "cyd"]


async def test_a_request_that_the_database_refuses_fails_alone(world: World, tmp_path: Path) -> None:
    await enrolled(world, "ann", "bob", "cyd")
    tamper(
        tmp_path, "INSERT INTO snapshots VALUES ('bob', 20727, 'SOL', 1, 1, 1)"
    )  # The request is for a day without a record.

    ann, bob, cyd = await asyncio.gather(
        *(world.snapshot(user, FIRST) for user in ("ann", "bob", "cyd")), return_exceptions=True
    )

    assert isinstance(bob, IntegrityError)
    assert (ann, cyd) == (await world.snapshot("ann", FIRST), await world.snapshot("cyd", FIRST))
    assert await closed_users(world) == ["ann", "cyd"]


async def test_a_caller_who_goes_before_its_turn_has_nothing_written(world: World) -> None:
    await enrolled(world, *BUSY, "ann", "bob", "cyd")
    async with busy(world):
        ann, bob, cyd = begun(world, "ann", "bob", "cyd")
        await until_they_wait()
        bob.cancel()

    assert (await ann, await cyd) == (await world.snapshot("ann", FIRST), await world.snapshot("cyd", FIRST))
    assert bob.cancelled()
    assert await closed_users(world) == sorted([*busy_users(), "ann", "cyd"])


async def test_a_caller_who_goes_while_it_is_written_harms_nobody(world: World) -> None:
    await enrolled(world, "ann", "bob")
    pause = paused_before(world.ledger, BEFORE_CLOSING)
    ann, bob = begun(world, "ann", "bob")
    await pause.reached.wait()

    ann.cancel()
    await asyncio.wait([ann])
    pause.resume.set()
    await bob

    assert await closed_users(world) == ["ann", "bob"]


async def test_closing_the_ledger_waits_for_what_is_being_written(world: World, tmp_path: Path) -> None:
    await enrolled(world, "ann")
    async with open_ledger(databases.url_in(tmp_path), clock=lambda: LONG_AGO) as ledger:
        pause = paused_before(ledger, BEFORE_CLOSING)
        (ann,) = begun(World(ledger), "ann")
        await pause.reached.wait()
        ann.cancel()
        await asyncio.wait([ann])

        closing = asyncio.ensure_future(ledger.close())
        await until_they_wait()
        assert not closing.done()
        pause.resume.set()
        await closing

    assert await closed_users(world) == ["ann"]


async def test_a_pool_that_can_pay_some_pays_whom_it_can_in_their_order(tmp_path: Path) -> None:
    (tmp_path / "poor").mkdir()
    async with a_world(tmp_path / "poor", program=None) as world:
        await world.apply(SHIPPED_PROGRAM)
        await fund_pool(world.ledger, "SOL", 3 * A_REWARD - 1, operator="tests", now=LONG_AGO)
        users = ("ann", "bob", "cyd", "dan")
        await enrolled(world, *users)
        await world.move("dan", "-11", "SOL", ACTIVATED)
        await asyncio.gather(*(world.snapshot(user, FIRST) for user in users))
        snapshots = [await world.snapshot(user, SECOND) for user in users]
        rewards = [await world.compute(snapshot) for snapshot in snapshots]
        due = [each.lines[0].reward for each in rewards]
        assert due == [A_REWARD, A_REWARD, A_REWARD, A_TWELFTH]

        with transactions_of(world.ledger) as transactions:
            answers = await asyncio.gather(
                *(world.credit(user, each) for user, each in zip(users, rewards, strict=True))
            )

        assert len(transactions) == 1
        assert [type(answer) for answer in answers] == [CreditReceipt, CreditReceipt, PoolShort, CreditReceipt]
        assert answers[2] == PoolShort(day=SECOND, assets=["SOL"])
        async with world.ledger.read() as connection:
            assert (await pool_balances(connection))["SOL"] == A_REWARD - 1 - A_TWELFTH


async def test_a_database_that_is_away_fails_all_with_one_sentence_and_the_queue_works_again(
    world: World, tmp_path: Path
) -> None:
    await enrolled(world, "ann", "bob", "cyd")
    patience = Patience(turn_s=0 if databases.kind == databases.SQLITE else 4)
    async with open_ledger(databases.url_in(tmp_path), clock=lambda: LONG_AGO, patience=patience) as ledger:
        other = World(ledger)
        with away(tmp_path):
            answers = await asyncio.gather(
                *(other.snapshot(user, FIRST) for user in ("ann", "bob", "cyd")), return_exceptions=True
            )
        assert [type(answer) for answer in answers] == [LedgerUnavailable] * 3
        assert len({str(answer) for answer in answers}) == 1
        assert "\n" not in str(answers[0])

        await asyncio.gather(*(other.snapshot(user, FIRST) for user in ("ann", "bob", "cyd")))
        assert await closed_users(other) == ["ann", "bob", "cyd"]


@contextmanager
def away(folder: Path) -> Generator[None]:
    """Makes the database unusable: another process holds the SQLite file, or PostgreSQL accepts no connection."""
    if databases.kind == databases.SQLITE:
        with closing(sqlite3.connect(folder / "ledger.db", isolation_level=None)) as holder:
            holder.execute("BEGIN IMMEDIATE")
            yield
        return
    with closing(psycopg.connect(databases.url_in(folder), autocommit=True)) as inside:
        inside.execute("UPDATE pg_database SET datallowconn = false WHERE datname = current_database()")
        inside.execute(
            "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
        yield
        inside.execute("UPDATE pg_database SET datallowconn = true WHERE datname = current_database()")


async def test_while_many_of_a_day_come_one_by_one_they_are_gathered_into_one_transaction(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The requests come as in a wave of users, whose workflows each have a task of their own."""
    monkeypatch.setattr(day_queue, "GATHER_S", PATIENCE_S)
    monkeypatch.setattr(day_queue, "REQUESTS_MAX", 6)
    first, wave = [f"first{number}" for number in range(MANY - 1)], [f"user{number}" for number in range(6)]
    await enrolled(world, *first, *wave)
    for user in first:
        await world.snapshot(user, FIRST)

    with transactions_of(world.ledger) as transactions:
        tasks: list[asyncio.Task[object]] = []
        for user in wave:
            tasks += begun(world, user)
            await until_they_wait()
        async with asyncio.timeout(PATIENCE_S):
            await asyncio.gather(*tasks)

    assert len(transactions) == 1


async def test_a_user_who_catches_up_alone_does_not_wait_for_others(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(day_queue, "GATHER_S", 2 * PATIENCE_S)
    await enrolled(world, "ann")
    async with asyncio.timeout(PATIENCE_S):
        await world.snapshot("ann", FIRST)
        for number in range(2 * MANY):
            await world.pay("ann", SECOND + number * ONE_DAY)
