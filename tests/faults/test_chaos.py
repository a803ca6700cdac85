"""In a month any step may fail, die after its commit or run twice. Afterwards nothing of it can be seen."""

import random
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from faults.disturbing import (
    Call,
    disturbed_worker,
    killed_after_commit,
    killed_before,
    run_twice_at_once,
)
from faults.story import (
    Span,
    assert_audit_is_clean,
    assert_replays,
    content,
    lines_by_hand,
    movements,
    post,
    while_time_passes,
)
from polling import PATIENCE
from servers import time_skipping
from world import World, activation

from contract.answers import Receipt
from contract.steps import workflow_id
from staking.days import day_of
from temporal.client import SoftStakingClient, send_activation

pytestmark = pytest.mark.on_both_databases

_DISTURBED_OF_100 = 45


@pytest.mark.parametrize("seed", [1, 4000])
async def test_a_month_of_chaos_pays_what_a_quiet_month_pays(world: World, tmp_path: Path, seed: int) -> None:
    print(f"seed {seed}")  # noqa: T201
    dice = random.Random(seed)
    disturbed = 0

    async def disturb(call: Call) -> Any:
        nonlocal disturbed
        if dice.randrange(100) >= _DISTURBED_OF_100:
            return await call.run()
        disturbed += 1
        return await dice.choice([killed_before, killed_after_commit, run_twice_at_once])(call)

    async with time_skipping() as environment, disturbed_worker(environment.client, world.ledger, disturb):
        now = await environment.get_current_time()
        moves = movements(day_of(now), 33)
        await post(world, "ann", moves)
        client = SoftStakingClient(environment.client, timeout=PATIENCE)
        spans: list[Span] = []
        for days in (dice.randrange(5, 15), 16):
            receipt = await while_time_passes(
                environment, send_activation(environment.client, "ann", activation(), timeout=PATIENCE)
            )
            assert isinstance(receipt, Receipt)
            await environment.sleep(timedelta(days=days, hours=dice.randrange(24)))
            end = await while_time_passes(environment, client.deactivate("ann"))
            assert end.last_accrual_day is not None
            spans.append(Span(receipt.activated_at, end.last_accrual_day))
        await environment.client.get_workflow_handle(workflow_id("ann")).result()
        await assert_replays(environment.client, "ann")
    assert content(await world.statement("ann")) == await lines_by_hand(tmp_path / "by hand", "ann", moves, *spans)
    assert disturbed > 20
    await assert_audit_is_clean(world.ledger)
