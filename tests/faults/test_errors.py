"""No error of a daily step ends the workflow, whatever its kind."""

import asyncio
import sqlite3
from collections.abc import Awaitable, Callable, Generator
from contextlib import ExitStack, closing, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import databases
import psycopg
import pytest
from faults.disturbing import Call, Once, disturbed_worker
from faults.story import (
    Move,
    Span,
    assert_audit_is_clean,
    assert_replays,
    content,
    credited_days,
    is_running,
    lines_by_hand,
    movements,
    pending_failure,
    post,
    until_paid,
)
from polling import eventually
from servers import full_server, time_skipping
from sqlalchemy.exc import IntegrityError
from temporalio.exceptions import ApplicationError
from world import LONG_AGO, SHIPPED_PROGRAM, World, activation, paused_before

from contract.answers import Receipt
from contract.steps import CREDIT, SNAPSHOT
from ledger.database.engine import open_ledger, upgrade_ledger
from ledger.errors import LedgerUnavailable
from running.worker import build_worker
from staking.days import ONE_DAY, day_of
from temporal.client import SoftStakingClient, send_activation

KINDS = [
    LedgerUnavailable("the database is away"),
    RuntimeError("nobody expected this"),
    KeyError("SOL"),
    OSError(28, "No space left on device"),
    TimeoutError(),
    MemoryError(),
    IntegrityError("INSERT", {}, Exception("UNIQUE constraint failed")),
    ApplicationError("refused for good", type="Refused", non_retryable=True),
    asyncio.CancelledError(),
]


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: type(kind).__name__)
async def test_an_error_in_a_daily_step_neither_ends_the_workflow_nor_loses_the_day(
    world: World, kind: BaseException
) -> None:
    async def fail(call: Call) -> Any:
        raise kind

    once = Once(CREDIT.name, fail)
    async with time_skipping() as environment, disturbed_worker(environment.client, world.ledger, once):
        now = await environment.get_current_time()
        await post(world, "ann", [Move(now - ONE_DAY, "12", "SOL")])
        receipt = await send_activation(environment.client, "ann", activation())
        assert isinstance(receipt, Receipt)
        await environment.sleep(receipt.first_reward_from + timedelta(minutes=5) - now)

        assert once.disturbed
        assert await is_running(environment.client, "ann")
        await SoftStakingClient(environment.client).retry("ann")
        await until_paid(world.ledger, 1)


async def catch_up(world: World, client: Any, days: int) -> tuple[Receipt, list[Move]]:
    """Ann, enrolled so many days ago; so she is owed days immediately."""
    activated_at = datetime.now(UTC) - (days + 1) * ONE_DAY
    moves = movements(day_of(activated_at), days)
    await post(world, "ann", moves)
    receipt = await send_activation(
        client, "ann", activation(back_dated_to=activated_at), timeout=timedelta(seconds=30)
    )
    assert isinstance(receipt, Receipt)
    return receipt, moves


async def assert_paid_as_by_hand(
    world: World, tmp_path: Path, receipt: Receipt, moves: list[Move], days: int
) -> None:
    span = Span(receipt.activated_at, day_of(receipt.activated_at) + days * ONE_DAY)
    assert content(await world.statement("ann")) == await lines_by_hand(tmp_path / "by hand", "ann", moves, span)
    await assert_audit_is_clean(world.ledger)


Outage = Callable[[], Awaitable[None]]


async def a_catch_up_with_an_outage(world: World, tmp_path: Path, go_away: Outage, come_back: Outage) -> None:
    """The ledger goes away before the fifth closing, and comes back after the server has recorded the failure."""
    closings = 0

    async def take_away_on_the_fifth_day(call: Call) -> Any:
        nonlocal closings
        closings += call.step == SNAPSHOT.name
        if call.step == SNAPSHOT.name and closings == 5:
            await go_away()
        return await call.run()

    async with full_server() as client, disturbed_worker(client, world.ledger, take_away_on_the_fifth_day):
        receipt, moves = await catch_up(world, client, 9)

        async def it_is_missed() -> bool:
            return "cannot be used" in await pending_failure(client, "ann")

        await eventually(it_is_missed, "the server knows why the step is retried")
        assert await is_running(client, "ann")
        await come_back()
        await until_paid(world.ledger, 9)
        await assert_replays(client, "ann")
    await assert_paid_as_by_hand(world, tmp_path, receipt, moves, 9)


async def test_a_database_file_that_goes_away_in_the_middle_of_a_catch_up_loses_nothing(
    world: World, tmp_path: Path
) -> None:
    here, away = tmp_path / "ledger.db", tmp_path / "away.db"

    async def go_away() -> None:
        await world.ledger.close()
        here.rename(away)
        here.mkdir()

    async def come_back() -> None:
        here.rmdir()
        away.rename(here)

    await a_catch_up_with_an_outage(world, tmp_path, go_away, come_back)


@pytest.mark.on_postgresql
async def test_a_database_server_that_stops_in_the_middle_of_a_catch_up_loses_nothing(tmp_path: Path) -> None:
    with databases.throwaway_server() as server:
        await upgrade_ledger(server.url())
        async with open_ledger(server.url(), clock=lambda: LONG_AGO) as ledger:
            world = World(ledger)
            await world.apply(SHIPPED_PROGRAM)
            for asset in SHIPPED_PROGRAM.assets:
                await world.fund(asset)

            async def go_away() -> None:
                await asyncio.to_thread(server.stop)

            async def come_back() -> None:
                await asyncio.to_thread(server.start)

            await a_catch_up_with_an_outage(world, tmp_path, go_away, come_back)


@pytest.mark.on_postgresql
async def test_connections_that_are_cut_in_the_middle_of_a_credit_lose_nothing(
    world: World, tmp_path: Path
) -> None:
    credit = paused_before(world.ledger, "INSERT INTO rewards")
    async with full_server() as client, build_worker(client, world.ledger):
        receipt, moves = await catch_up(world, client, 9)
        await credit.reached.wait()
        databases.cut_connections(tmp_path)
        credit.resume.set()
        async with open_ledger(databases.url_in(tmp_path)) as watched:
            await until_paid(watched, 9)
    await assert_paid_as_by_hand(world, tmp_path, receipt, moves, 9)


@contextmanager
def locked_by_another(folder: Path) -> Generator[None]:
    """Another process holds the lock that every step needs, and does not release it."""
    if databases.kind == databases.SQLITE:
        another: Any = sqlite3.connect(
            folder / "ledger.db", isolation_level=None, timeout=60, check_same_thread=False
        )
        statements = ["BEGIN EXCLUSIVE"]
    else:
        another = psycopg.connect(databases.url_in(folder), autocommit=True)
        statements = ["BEGIN", "SELECT * FROM users FOR UPDATE"]
    with closing(another):
        for statement in statements:
            another.execute(statement)
        yield


@pytest.mark.on_both_databases
async def test_a_database_that_is_locked_in_the_middle_of_a_catch_up_loses_nothing(
    world: World, tmp_path: Path, database: str
) -> None:
    says = {databases.SQLITE: "database is locked", databases.POSTGRESQL: "due to lock timeout"}
    lock = ExitStack()
    async with full_server() as client, build_worker(client, world.ledger):
        receipt, moves = await catch_up(world, client, 20)
        await until_paid(world.ledger, 3)
        with lock:
            # This runs in another thread, since the worker needs this thread to end a transaction that may be
            # open.
            await asyncio.to_thread(lock.enter_context, locked_by_another(tmp_path))
            paid = await credited_days(world.ledger)

            async def it_is_missed() -> bool:
                return says[database] in await pending_failure(client, "ann")

            await eventually(it_is_missed, "the server knows why the step is retried")
            assert await credited_days(world.ledger) == paid < 20
            assert await is_running(client, "ann")
        await until_paid(world.ledger, 20)
    await assert_paid_as_by_hand(world, tmp_path, receipt, moves, 20)
