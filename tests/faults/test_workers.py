"""Workers work side by side, are killed and are stopped. Every user is paid once.

The tests about several connections or a killed process run on both databases. The others are about Temporal.
"""

import asyncio
import os
import subprocess
import sys
from collections.abc import Generator, Sequence
from contextlib import AsyncExitStack, contextmanager
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import databases
import pytest
from faults.disturbing import Call, Once, disturbed_worker
from faults.story import (
    Move,
    Span,
    assert_audit_is_clean,
    assert_replays,
    content,
    credited_days,
    lines_by_hand,
    movements,
    post,
    until_paid,
)
from polling import PATIENCE
from servers import fleet_skipping, full_server
from temporalio.client import Client
from world import LONG_AGO, ROOT, World, activation

from contract.answers import Receipt
from contract.steps import SNAPSHOT, workflow_id
from diary.history import StepTaken, read_run
from ledger.database.engine import open_ledger
from running.worker import build_worker
from staking.days import ONE_DAY, day_of
from temporal.client import send_activation
from temporal.payloads import PYDANTIC

SCRIPT = Path(__file__).parent / "worker_process.py"


@contextmanager
def worker_process(client: Client, folder: Path) -> Generator[subprocess.Popen[bytes]]:
    command = [sys.executable, str(SCRIPT), client.service_client.config.target_host, databases.url_in(folder)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(command, env=environment) as process:
        try:
            yield process
        finally:
            process.kill()


async def back_dated(world: World, client: Client, user: str, days: int) -> tuple[Receipt, list[Move]]:
    """A user who is owed so many days from the beginning."""
    activated_at = datetime.now(UTC) - (days + 1) * ONE_DAY
    moves = movements(day_of(activated_at), days)
    await post(world, user, moves)
    receipt = await send_activation(client, user, activation(back_dated_to=activated_at), timeout=PATIENCE)
    assert isinstance(receipt, Receipt)
    return receipt, moves


async def assert_each_is_paid_once(
    world: World, folder: Path, users: Sequence[str], told: Sequence[tuple[Receipt, list[Move]]], days: int
) -> None:
    """The statement of every user, up to the last owed day, is the one made by hand."""
    for user, (receipt, moves) in zip(users, told, strict=True):
        last_day = day_of(receipt.activated_at) + days * ONE_DAY
        expected = await lines_by_hand(folder / user, user, moves, Span(receipt.activated_at, last_day))
        found = [line for line in await world.statement(user) if line.day <= last_day]
        assert content(found) == expected
    await assert_audit_is_clean(world.ledger)


async def a_fleet_is_paid_once(world: World, folder: Path, client: Client, *, size: int, days: int) -> None:
    users = [f"user{number}" for number in range(size)]
    told = await asyncio.gather(*(back_dated(world, client, user, days) for user in users))
    await until_paid(world.ledger, size * days)
    await assert_each_is_paid_once(world, folder, users, told, days)
    await assert_replays(client, users[0])


async def test_two_workers_with_a_ledger_each_on_one_database_pay_a_fleet_once(
    world: World, tmp_path: Path
) -> None:
    async with AsyncExitStack() as stack:
        client = await stack.enter_async_context(full_server())
        for _ in range(2):
            url = databases.url_in(tmp_path)
            ledger = await stack.enter_async_context(open_ledger(url, clock=lambda: LONG_AGO))
            # A client of its own, since one client has one worker per task queue.
            own = await Client.connect(
                client.service_client.config.target_host, data_converter=client.data_converter
            )
            await stack.enter_async_context(build_worker(own, ledger))
        await a_fleet_is_paid_once(world, tmp_path, client, size=8, days=5)


@pytest.mark.on_both_databases
async def test_two_worker_processes_on_one_ledger_pay_a_fleet_once(world: World, tmp_path: Path) -> None:
    async with full_server() as client:
        with worker_process(client, tmp_path), worker_process(client, tmp_path):
            await a_fleet_is_paid_once(world, tmp_path, client, size=12, days=6)


async def test_a_worker_killed_in_the_middle_of_a_catch_up_and_replaced_loses_nothing(
    world: World, tmp_path: Path
) -> None:
    async with full_server() as client:
        with worker_process(client, tmp_path) as first:
            told = await back_dated(world, client, "ann", 30)
            await until_paid(world.ledger, 5)
            first.kill()
            first.wait()
        assert 5 <= await credited_days(world.ledger) < 30
        with worker_process(client, tmp_path):
            await until_paid(world.ledger, 30)
    await assert_each_is_paid_once(world, tmp_path, ["ann"], [told], 30)


async def test_a_worker_that_is_stopped_finishes_the_step_in_flight(world: World) -> None:
    in_flight, go_on = asyncio.Event(), asyncio.Event()

    async def slowly(call: Call) -> Any:
        in_flight.set()
        await go_on.wait()
        return await call.run()

    async with full_server() as client:
        worker = disturbed_worker(client, world.ledger, Once(SNAPSHOT.name, slowly))
        running = asyncio.create_task(worker.run())
        await back_dated(world, client, "ann", 1)
        await in_flight.wait()
        stopping = asyncio.create_task(worker.shutdown())
        await asyncio.sleep(0)
        assert not stopping.done()
        go_on.set()
        await stopping
        await running
        history = await client.get_workflow_handle(workflow_id("ann")).fetch_history()

    records = (await read_run(history.events, PYDANTIC)).records
    finished = [record.name for record in records if isinstance(record, StepTaken) and record.answer is not None]
    assert SNAPSHOT.name in finished


async def test_a_fleet_that_sleeps_through_a_week_is_paid_every_day(world: World) -> None:
    users = [f"user{number}" for number in range(30)]
    async with fleet_skipping() as environment, build_worker(environment.client, world.ledger):
        now = datetime.now(UTC)
        for user in users:
            await post(world, user, [Move(now - ONE_DAY, "12", "SOL")])

        async def a_week(user: str) -> date:
            receipt = await send_activation(environment.client, user, activation(), timeout=PATIENCE)
            assert isinstance(receipt, Receipt)
            handle = environment.client.get_workflow_handle(workflow_id(user))
            await environment.fast_forward(handle, 8 * ONE_DAY)
            return day_of(receipt.first_snapshot_at)

        first_days = await asyncio.gather(*(a_week(user) for user in users))
        await until_paid(world.ledger, 7 * len(users))

    for user, first_day in zip(users, first_days, strict=True):
        lines = await world.statement(user)
        assert [line.day for line in lines] == [first_day + number * ONE_DAY for number in range(7)]
        assert not any(line.late for line in lines)
    await assert_audit_is_clean(world.ledger)
