"""A ledger reports to its observer what was done, once."""

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import pytest
from world import World, a_world, at, day

from staking.days import ONE_DAY
from staking.models import CreditReceipt, RewardLine

pytestmark = pytest.mark.on_both_databases

D1, D2 = (day("2026-10-01") + n * ONE_DAY for n in range(2))


class Listener:
    """An observer that remembers."""

    def __init__(self) -> None:
        self.transactions: list[str] = []
        self.batches: list[int] = []
        self.credits: list[tuple[CreditReceipt, list[RewardLine]]] = []

    def transaction(self, kind: Literal["read", "write"], duration_s: float) -> None:
        assert duration_s > 0
        self.transactions.append(kind)

    def batch(self, request_count: int) -> None:
        self.batches.append(request_count)

    def credited(self, receipt: CreditReceipt, lines: Sequence[RewardLine]) -> None:
        self.credits.append((receipt, list(lines)))


async def activation_day_closed(world: World, *users: str) -> None:
    for user in users:
        await world.move(user, "12", "SOL", at("2026-10-01 09:00"))
        await world.enrol(user, at("2026-10-01 10:00"))
        await world.snapshot(user, D1)


async def test_a_credit_is_reported_once_however_often_it_is_asked(tmp_path: Path) -> None:
    heard = Listener()
    async with a_world(tmp_path, observer=heard) as world:
        await activation_day_closed(world, "ann")
        rewards = await world.compute(await world.snapshot("ann", D2))
        receipts = [await world.credit("ann", rewards) for _ in range(3)]
    assert heard.credits == [(receipts[0], rewards.lines)]


async def test_a_credit_that_the_pool_cannot_pay_is_not_reported(tmp_path: Path) -> None:
    heard = Listener()
    async with a_world(tmp_path, observer=heard) as world:
        await activation_day_closed(world, "ann")
        rewards = await world.compute(await world.snapshot("ann", D2))
        await world.sql("UPDATE accounts SET balance = 0 WHERE kind = 'pool'")
        await world.credit("ann", rewards)
    assert heard.credits == []


async def test_every_transaction_is_reported_with_how_many_requests_share_it(tmp_path: Path) -> None:
    heard = Listener()
    async with a_world(tmp_path, observer=heard) as world:
        await activation_day_closed(world, "ann", "bob", "eve")
        await world.balances("ann")
        assert {"read", "write"} == set(heard.transactions)
        assert heard.batches == [1, 1, 1]
        await asyncio.gather(*(world.snapshot(user, D2) for user in ("ann", "bob", "eve")))
    assert sum(heard.batches[3:]) == 3
