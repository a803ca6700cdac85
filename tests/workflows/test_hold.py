"""An operator's hold stops the loop before its next step. After the release the numbers are the same as without
it."""

from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

from faults.disturbing import Call, disturbed_worker
from faults.story import Move, Span, content, lines_by_hand
from servers import full_server
from staking_service import StakingService, compounding, numbers
from world import World

from contract.acts import Act, Hold
from staking.days import ONE_DAY, credit_deadline, day_of

HOUR = timedelta(hours=1)
A_CHECK = Act(operator="ann", reason="a check")
ALL_WELL = Act(operator="ben", reason="all is well")


async def held_days(service: StakingService) -> list[date]:
    return [line.day for line in await service.statement()]


async def release_and_pay(service: StakingService, through: date) -> None:
    assert await service.client.release("ann", ALL_WELL)
    await service.credited_through(through)
    await service.reaches_state("sleeping")


async def test_a_hold_before_the_boundary_stops_the_loop_and_says_who_and_why(service: StakingService) -> None:
    await service.deposit()
    receipt = await service.activate()
    hold = await service.client.hold("ann", A_CHECK)
    assert (await service.now()) - hold.held_at < HOUR
    assert await service.state() == "held"
    await service.skip_to(receipt.first_reward_from + HOUR)

    status = await service.client.status("ann")
    assert status is not None
    assert (status.state, status.hold) == ("held", hold)
    assert status.day_in_progress == day_of(receipt.activated_at)
    assert (hold.operator, hold.reason) == ("ann", "a check")
    assert await service.closed_days() == []


async def test_days_held_for_come_out_as_those_of_a_twin_who_never_was_and_are_late_past_eight(
    service: StakingService, tmp_path: Path
) -> None:
    await service.deposit()
    receipt = await service.activate()
    moves = [Move(receipt.activated_at - HOUR, "12", "SOL")]
    await service.skip_to(receipt.first_reward_from + HOUR)
    first_day = day_of(receipt.first_snapshot_at)
    await service.credited_through(first_day)
    await service.client.hold("ann", A_CHECK)

    for days, tokens in ((1, "-3"), (2, "1.5"), (4, "7.00000001")):
        moves.append(Move(receipt.first_reward_from + days * ONE_DAY + 5 * HOUR, tokens, "SOL"))
        await service.skip_to(moves[-1].when)
        await service.world.move("ann", tokens, "SOL", moves[-1].when)
    await service.skip_to(receipt.first_reward_from + 5 * ONE_DAY + HOUR)
    assert await held_days(service) == [first_day]
    last_day = first_day + 5 * ONE_DAY
    await release_and_pay(service, last_day)

    lines = await service.statement()
    twin = await lines_by_hand(tmp_path / "twin", "ann", moves, Span(receipt.activated_at, last_day))
    assert content(lines) == twin
    assert [line.late for line in lines] == [False, True, True, True, True, False]
    assert lines[-1].credited_at < credit_deadline(last_day)
    assert await service.audit_is_clean()


async def test_a_hold_between_two_steps_lets_the_first_finish(
    idle_service: StakingService,
) -> None:
    service = idle_service
    held: list[Hold] = []

    async def hold_while_it_computes(call: Call) -> Any:
        if call.step == "compute" and not held:
            held.append(await service.client.hold("ann", A_CHECK))
        return await call.run()

    async with disturbed_worker(service.temporal, service.world.ledger, hold_while_it_computes):
        await service.deposit()
        receipt = await service.activate()
        await service.skip_to(receipt.first_reward_from + HOUR)
        await service.reaches_state("held")
        first_day = day_of(receipt.first_snapshot_at)
        assert await service.closed_days() == [first_day - ONE_DAY, first_day]
        assert await service.statement() == []

        await release_and_pay(service, first_day)
        assert numbers(await service.statement()) == compounding("12", "0.008", 1)


async def test_a_hold_while_the_pool_is_empty_outlasts_the_funding(unfunded_service: StakingService) -> None:
    service = unfunded_service
    await service.deposit()
    receipt = await service.activate()
    await service.skip_to(receipt.first_reward_from + HOUR)
    await service.reaches_state("waiting for pool SOL")
    await service.client.hold("ann", A_CHECK)
    await service.world.fund("SOL")
    await service.skip_to(receipt.first_reward_from + 2 * HOUR)
    assert await service.state() == "held"
    assert await service.statement() == []

    await release_and_pay(service, day_of(receipt.first_snapshot_at))
    [line] = await service.statement()
    assert not line.late


async def test_a_hold_while_a_step_is_blocked_outlasts_the_retry(service: StakingService) -> None:
    await service.deposit("90000000000")
    receipt = await service.activate()
    await service.skip_to(receipt.first_reward_from + HOUR)
    await service.reaches_state("blocked")
    await service.client.hold("ann", A_CHECK)
    status = await service.client.status("ann")
    assert status is not None
    assert (status.state, status.blocked and status.blocked.step) == ("held", "credit")

    await service.world.move("ann", "-1000", "SOL", await service.now())
    await service.client.retry("ann")
    await service.skip_to(receipt.first_reward_from + 2 * HOUR)
    assert await service.statement() == []
    await release_and_pay(service, day_of(receipt.first_snapshot_at))


async def test_stopping_while_held_ends_immediately_and_owed_days_wait_for_the_release(
    service: StakingService,
) -> None:
    await service.deposit()
    receipt = await service.activate()
    await service.client.hold("ann", A_CHECK)
    await service.skip_to(receipt.first_reward_from + ONE_DAY + HOUR)
    end = await service.deactivate()
    assert (end.owed_days, end.last_accrual_day) == (2, day_of(receipt.first_reward_from))
    assert await service.state() == "held"
    assert await service.statement() == []

    await service.client.release("ann", ALL_WELL)
    await service.completes()
    assert numbers(await service.statement()) == compounding("12", "0.008", 2)


async def test_stopping_while_held_with_nothing_owed_completes_the_run(service: StakingService) -> None:
    await service.deposit()
    receipt = await service.activate()
    await service.client.hold("ann", A_CHECK)
    await service.skip_to(receipt.first_snapshot_at + HOUR)
    assert (await service.deactivate()).owed_days == 0
    await service.completes()


async def test_a_hold_again_answers_the_first_and_a_release_again_nothing(service: StakingService) -> None:
    await service.deposit()
    await service.activate()
    first = await service.client.hold("ann", A_CHECK)
    assert await service.client.hold("ann", ALL_WELL) == first
    assert await service.client.release("ann", ALL_WELL) == first
    assert await service.client.release("ann", ALL_WELL) is None


async def test_who_is_not_enrolled_is_held_from_the_next_activation_on(service: StakingService) -> None:
    hold = await service.client.hold("ann", A_CHECK)
    await service.completes()
    await service.deposit()
    receipt = await service.activate()
    await service.skip_to(receipt.first_reward_from + HOUR)

    assert await service.state() == "held"
    assert await service.closed_days() == []
    assert await service.client.release("ann", ALL_WELL) == hold
    await service.credited_through(day_of(receipt.first_snapshot_at))


async def test_a_hold_outlives_a_workflow_that_was_terminated(service: StakingService) -> None:
    await service.deposit()
    receipt = await service.activate()
    await service.skip_to(receipt.first_reward_from + HOUR)
    first_day = day_of(receipt.first_snapshot_at)
    await service.credited_through(first_day)
    hold = await service.client.hold("ann", A_CHECK)
    await service.workflow.terminate()
    await service.skip_to(receipt.first_reward_from + ONE_DAY + HOUR)

    await service.client.resume("ann")
    await service.reaches_state("held")
    status = await service.client.status("ann")
    assert status is not None
    assert status.hold == hold
    assert await held_days(service) == [first_day]
    await release_and_pay(service, first_day + ONE_DAY)
    assert numbers(await service.statement()) == compounding("12", "0.008", 2)


async def test_a_release_reaches_a_user_whose_workflow_was_terminated(service: StakingService) -> None:
    await service.deposit()
    receipt = await service.activate()
    await service.client.hold("ann", A_CHECK)
    await service.workflow.terminate()
    await service.skip_to(receipt.first_reward_from + HOUR)
    await release_and_pay(service, day_of(receipt.first_snapshot_at))


async def test_a_hold_outlives_the_run_that_continues_as_new(world: World) -> None:
    async with full_server(limit__historyCount__suggestContinueAsNew="40") as temporal:
        service = StakingService(world, temporal)
        await service.start_worker()
        await service.client.hold("ann", A_CHECK)
        since = datetime.now(UTC) - 4 * ONE_DAY
        await service.deposit(when=since - HOUR)
        await service.activate(back_dated_to=since)
        await service.reaches_state("held")
        while len(await service.runs()) < 3:
            await service.client.hold("ann", ALL_WELL)
        status = await service.client.status("ann")
        assert status is not None
        assert status.hold is not None
        assert (status.state, status.hold.operator) == ("held", "ann")
        assert await service.closed_days() == []

        await service.client.release("ann", ALL_WELL)
        lines = await service.credited_through(day_of(datetime.now(UTC)) - ONE_DAY)
        assert numbers(lines) == compounding("12", "0.008", 3)
        await service.stop_worker()


async def test_an_operators_end_is_recorded_as_an_act_and_the_same_reason_ends_the_enrolment(
    service: StakingService,
) -> None:
    await service.deposit()
    await service.activate()
    end = await service.client.deactivate("ann", "moved", operator="zoe", tell="Farewell.")
    assert (end.reason, end.operator, end.tell) == ("moved", "zoe", "Farewell.")
    [act] = await service.world.sql("SELECT kind, operator, reason, tell FROM acts WHERE user_id = 'ann'")
    assert tuple(act) == ("deactivate", "zoe", "moved", "Farewell.")
    assert (await service.client.deactivate("ann", "again")) == end
