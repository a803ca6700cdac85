"""Behind a pooler in transaction mode every transaction may get another server connection. Everything works as
without it."""

import asyncio
from collections.abc import AsyncGenerator
from pathlib import Path

import databases
import pytest
from pooler import pooler
from world import LONG_AGO, SHIPPED_PROGRAM, World, at, day, units

from ledger.database.engine import open_ledger, upgrade_ledger
from ledger.database.patience import Patience
from ledger.pools import fund_pool
from ledger.programs import apply_program
from staking.models import CreditReceipt

pytestmark = pytest.mark.on_postgresql

FIRST, SECOND = day("2026-10-01"), day("2026-10-02")
REWARD = 26301
"""The reward of a day for 12 SOL, in units."""
PATIENT = Patience(turn_s=60, statement_s=60, idle_s=60)
"""A long limit, since a slow machine is not a fault of the pooler."""


@pytest.fixture
async def pooled(tmp_path: Path) -> AsyncGenerator[World]:
    """A ledger that was made, and is reached, through a pooler with two connections to it."""
    with pooler(databases.url_in(tmp_path), connections=2) as url:
        await upgrade_ledger(url, patience=PATIENT)
        async with open_ledger(url, clock=lambda: LONG_AGO, patience=PATIENT) as ledger:
            yield World(ledger)
    databases.forget(tmp_path)


async def test_a_whole_life_behind_a_pooler(pooled: World) -> None:
    await apply_program(pooled.ledger, SHIPPED_PROGRAM, operator="tests", now=LONG_AGO)
    await fund_pool(pooled.ledger, "SOL", units("1000"), operator="tests", now=LONG_AGO)
    users = [f"user{number}" for number in range(12)]

    async def move(number: int) -> int:
        return await pooled.move(users[number % 12], "1.2", "SOL", at("2026-10-01 10:00"), key=f"key {number}")

    entries, *_ = await asyncio.gather(
        asyncio.gather(*(move(number) for number in range(120))),
        *(pooled.balances(users[number % 12]) for number in range(60)),
    )
    assert len(set(entries)) == 120

    await asyncio.gather(*(pooled.enrol(user, at("2026-10-01 11:00")) for user in users))
    await asyncio.gather(*(pooled.snapshot(user, FIRST) for user in users))
    snapshots = await asyncio.gather(*(pooled.snapshot(user, SECOND) for user in users))
    rewards = await asyncio.gather(*(pooled.compute(snapshot) for snapshot in snapshots))
    for _ in range(2):
        credited = await asyncio.gather(
            *(pooled.credit(user, each) for user, each in zip(users, rewards, strict=True))
        )
        assert all(isinstance(each, CreditReceipt) for each in credited)

    assert await pooled.balances("user0") == {"SOL": units("12") + REWARD}
    assert (await pooled.audit(at("2026-10-03"))).is_clean


async def test_limits_hold_for_their_transaction_and_no_longer(pooled: World) -> None:
    async def limits(world: World, *, write: bool) -> list[str]:
        async with world.ledger.write() if write else world.ledger.read() as connection:
            return [
                (await connection.exec_driver_sql(f"SHOW {name}")).scalar_one()
                for name in ("lock_timeout", "statement_timeout", "transaction_read_only")
            ]

    assert await limits(pooled, write=False) == ["1min", "1min", "on"]
    assert await limits(pooled, write=True) == ["1min", "1min", "off"]
    async with (
        pooled.ledger._engine.connect() as connection
    ):  # This transaction is not ours, but uses the same connections.
        raw = await connection.get_raw_connection()
        cursor = await raw.driver_connection.execute("SHOW lock_timeout")  # type: ignore[union-attr]
        assert await cursor.fetchone() == ("0",)
