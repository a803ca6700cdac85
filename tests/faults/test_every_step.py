"""Each step is disturbed once in the life of a user. The account comes out as if nothing had happened."""

import asyncio
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from faults.disturbing import (
    Call,
    Disturb,
    Once,
    disturbed_worker,
    killed_after_commit,
    killed_before,
    run_twice_at_once,
)
from faults.story import (
    Span,
    assert_audit_is_clean,
    content,
    lines_by_hand,
    movements,
    post,
    while_time_passes,
)
from polling import PATIENCE
from servers import time_skipping
from world import World, a_world, activation

from contract.answers import Receipt
from contract.steps import COMPUTE, CREDIT, END_ENROLMENT, ENROL, RECALL, SNAPSHOT, workflow_id
from staking.days import ONE_DAY, day_of
from temporal.client import SoftStakingClient, send_activation

STEPS = [step.name for step in (RECALL, ENROL, SNAPSHOT, COMPUTE, CREDIT, END_ENROLMENT)]


def silent_until_asked_again() -> Disturb:
    """The attempt commits, and does not answer before the next attempt has begun. Then its answer comes too
    late."""
    asked_again = asyncio.Event()
    is_first = True

    async def disturb(call: Call) -> Any:
        nonlocal is_first
        if not is_first:
            asked_again.set()
            return await call.run()
        is_first = False
        answer = await call.run()
        await asked_again.wait()
        return answer

    return disturb


async def a_life_with(world: World, tmp_path: Path, disturb: Disturb) -> None:
    """The user activates, is paid for three days, and deactivates. The statement is the one made by hand, and the
    run has ended."""
    async with time_skipping() as environment, disturbed_worker(environment.client, world.ledger, disturb):
        now = await environment.get_current_time()
        moves = movements(day_of(now), 5)
        await post(world, "ann", moves)
        receipt = await while_time_passes(
            environment, send_activation(environment.client, "ann", activation(), timeout=PATIENCE)
        )
        assert isinstance(receipt, Receipt)
        await environment.sleep(receipt.first_reward_from + timedelta(days=2, hours=3) - now)
        client = SoftStakingClient(environment.client, timeout=PATIENCE)
        end = await while_time_passes(environment, client.deactivate("ann"))
        await environment.client.get_workflow_handle(workflow_id("ann")).result()

        last_day = day_of(receipt.activated_at) + 3 * ONE_DAY
        assert end.last_accrual_day == last_day
        expected = await lines_by_hand(tmp_path / "by hand", "ann", moves, Span(receipt.activated_at, last_day))
        assert content(await world.statement("ann")) == expected
        await assert_audit_is_clean(world.ledger)


@pytest.mark.on_both_databases
@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("disturb", [killed_before, killed_after_commit, run_twice_at_once])
async def test_a_fault_in_a_step_changes_nothing(
    world: World, tmp_path: Path, step: str, disturb: Disturb
) -> None:
    once = Once(step, disturb)

    await a_life_with(world, tmp_path, once)

    assert once.disturbed


async def test_steps_that_time_out_and_answer_late_change_nothing(tmp_path: Path) -> None:
    async def a_life_with_silence_in(step: str) -> None:
        folder = tmp_path / step
        folder.mkdir()
        silent = silent_until_asked_again()

        async def disturb(call: Call) -> Any:
            return await (silent(call) if call.step == step else call.run())

        async with a_world(folder) as world:
            await a_life_with(world, folder, disturb)

    # All at the same time, since no server skips the ten seconds of a step's timeout; and on one kind of database,
    # since a ledger sees only a repeat.
    await asyncio.gather(*(a_life_with_silence_in(step) for step in STEPS))


@pytest.mark.on_both_databases
async def test_a_step_that_runs_again_a_day_later_answers_the_same(world: World, tmp_path: Path) -> None:
    before: dict[str, tuple[Call, Any]] = {}
    repeated: set[str] = set()

    async def disturb(call: Call) -> Any:
        answer = await call.run()
        if call.step in before:
            earlier, said_then = before[call.step]
            assert await earlier.run() == said_then
            repeated.add(call.step)
        before[call.step] = call, answer
        return answer

    await a_life_with(world, tmp_path, disturb)

    assert repeated == {SNAPSHOT.name, COMPUTE.name, CREDIT.name}
