"""Amounts at the ends of what an account can hold, through the whole service."""

from datetime import timedelta
from pathlib import Path

import pytest
from faults.story import Move, assert_audit_is_clean, post, until_paid
from servers import time_skipping
from world import SHIPPED_PROGRAM, World, a_world, activation, program_with, units

from contract.answers import Receipt
from running.worker import build_worker
from staking.days import ONE_DAY
from staking.program import Program
from temporal.client import send_activation

pytestmark = pytest.mark.on_both_databases


async def first_rewards(world: World, program: Program, **tokens: str) -> dict[str, int]:
    """What a user with these holdings gets for a day, in units by asset. Two days are paid."""
    async with time_skipping() as environment, build_worker(environment.client, world.ledger):
        now = await environment.get_current_time()
        await post(world, "ann", [Move(now - 4 * ONE_DAY, amount, asset) for asset, amount in tokens.items()])
        asked = activation(program, back_dated_to=now - 3 * ONE_DAY)
        receipt = await send_activation(environment.client, "ann", asked)
        assert isinstance(receipt, Receipt)
        await until_paid(world.ledger, 2)
    lines = await world.statement("ann")
    await assert_audit_is_clean(world.ledger)
    first_day = receipt.first_reward_from - timedelta(days=1)
    return {line.asset: line.reward for line in lines if line.day == first_day.date()}


async def test_a_user_with_ten_assets_earns_in_each(world: World) -> None:
    held = dict.fromkeys(SHIPPED_PROGRAM.assets, "1000")

    rewards = await first_rewards(world, SHIPPED_PROGRAM, **held)

    assert len(rewards) == 10
    assert rewards.keys() == SHIPPED_PROGRAM.assets.keys()
    assert all(reward > 0 for reward in rewards.values())


@pytest.mark.parametrize(
    ("held", "reward"),
    [
        ("0.00036500", "0.00000001"),
        ("0.00036499", "0"),
        ("80000000000", "2191780.82191780"),
        ("89900000000.99999999", "2463013.69865753"),
    ],
)
async def test_the_smallest_and_the_largest_holdings_are_paid_exactly(
    tmp_path: Path, held: str, reward: str
) -> None:
    program = program_with(SOL={"minimum": "0.00000001", "cap": "90000000000", "apr": "0.01"})
    async with a_world(tmp_path, program=program) as world:
        await world.fund("SOL", "80000000000")

        assert await first_rewards(world, program, SOL=held) == {"SOL": units(reward)}
