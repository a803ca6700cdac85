"""Rule 10: stopping takes effect immediately, and what is owed is paid."""

from datetime import timedelta

import pytest
from staking_service import StakingService
from temporalio.api.sdk.v1 import WorkflowMetadata
from temporalio.client import WorkflowExecutionStatus

from contract.errors import RequestRefused
from staking.days import ONE_DAY, day_of

HOUR = timedelta(hours=1)


async def test_stopping_on_the_activation_day_earns_nothing_and_completes(service: StakingService) -> None:
    await service.deposit()
    receipt = await service.activate()
    end = await service.deactivate()

    assert (end.enrolment_id, end.last_accrual_day, end.owed_days) == (receipt.enrolment_id, None, 0)
    await service.completes()
    await service.skip_to(receipt.first_reward_from + HOUR)
    assert await service.statement() == []


async def test_stopping_on_day_two_earns_nothing_and_completes(service: StakingService) -> None:
    await service.deposit()
    receipt = await service.activate()
    await service.skip_to(receipt.first_snapshot_at + HOUR)
    end = await service.deactivate()

    assert (end.last_accrual_day, end.owed_days) == (None, 0)
    await service.completes()
    await service.skip_to(receipt.first_reward_from + HOUR)
    assert await service.statement() == []


async def test_the_day_of_stopping_earns_nothing_and_the_day_before_is_paid(service: StakingService) -> None:
    await service.deposit()
    receipt = await service.activate()
    await service.skip_to(receipt.first_reward_from + ONE_DAY + HOUR)
    await service.credited_through(day_of(receipt.first_reward_from))
    end = await service.deactivate()

    assert end.last_accrual_day == day_of(receipt.first_reward_from)
    assert end.owed_days == 0
    await service.completes()
    await service.skip_to(receipt.first_reward_from + 3 * ONE_DAY)
    lines = await service.statement()
    assert [line.day for line in lines] == [day_of(receipt.first_snapshot_at), day_of(receipt.first_reward_from)]


async def test_stopping_is_answered_while_the_credit_waits_and_the_owed_day_is_still_paid(
    unfunded_service: StakingService,
) -> None:
    service = unfunded_service
    await service.deposit()
    receipt = await service.activate()
    await service.skip_to(receipt.first_reward_from + HOUR)
    await service.reaches_state("waiting for pool SOL")
    end = await service.deactivate()

    assert (end.last_accrual_day, end.owed_days) == (day_of(receipt.first_snapshot_at), 1)
    assert await service.workflow_status() == WorkflowExecutionStatus.RUNNING
    await service.world.fund("SOL")
    assert await service.client.retry("ann")
    [line] = await service.credited_through(day_of(receipt.first_snapshot_at))
    assert line.day == end.last_accrual_day
    await service.completes()


async def test_the_details_of_a_run_that_has_ended_show_its_last_credit(unfunded_service: StakingService) -> None:
    service = unfunded_service
    await service.deposit()
    receipt = await service.activate()
    await service.skip_to(receipt.first_reward_from + HOUR)
    await service.reaches_state("waiting for pool SOL")
    await service.deactivate()
    await service.world.fund("SOL")
    assert await service.client.retry("ann")
    await service.completes()

    told = await service.workflow.query("__temporal_workflow_metadata", result_type=WorkflowMetadata)
    details = told.current_details.replace("\N{NO-BREAK SPACE}", " ")
    assert "| state  | idle |" in details
    assert f"| last credited day  | {day_of(receipt.first_snapshot_at)} |" in details
    assert "in progress" not in details


async def test_stopping_while_days_are_owed_pays_each_of_them_once(
    unfunded_service: StakingService,
) -> None:
    service = unfunded_service
    await service.deposit()
    receipt = await service.activate()
    await service.skip_to(receipt.first_reward_from + ONE_DAY + HOUR)
    end = await service.deactivate()
    assert end.owed_days == 2

    await service.world.fund("SOL")
    await service.client.retry("ann")
    await service.completes()
    first = day_of(receipt.first_snapshot_at)
    assert [line.day for line in await service.statement()] == [first, first + ONE_DAY]
    assert await service.audit_is_clean()


async def test_stopping_during_an_outage_still_pays_what_was_owed(idle_service: StakingService) -> None:
    service = idle_service
    await service.start_worker(forgetful=True)
    await service.deposit()
    receipt = await service.activate()
    await service.stop_worker_at_rest()
    await service.skip_without_worker_to(receipt.first_reward_from + ONE_DAY + HOUR)
    await service.start_worker(forgetful=True)
    end = await service.deactivate()

    assert end.owed_days == 2
    await service.completes()
    first = day_of(receipt.first_snapshot_at)
    assert [line.day for line in await service.statement()] == [first, first + ONE_DAY]


async def test_stopping_twice_gets_the_first_answer_again(unfunded_service: StakingService) -> None:
    service = unfunded_service
    await service.deposit()
    receipt = await service.activate()
    await service.skip_to(receipt.first_reward_from + HOUR)
    end = await service.client.deactivate("ann", "enough")
    await service.skip_to(receipt.first_reward_from + ONE_DAY)

    assert await service.client.deactivate("ann", "once more") == end
    assert end.reason == "enough"


async def test_stopping_after_the_run_has_completed_gets_the_first_answer_again(service: StakingService) -> None:
    await service.deposit()
    receipt = await service.activate()
    await service.skip_to(receipt.first_reward_from + HOUR)
    end = await service.client.deactivate("ann", "enough")
    await service.completes()
    await service.skip_to(receipt.first_reward_from + 2 * ONE_DAY)

    assert await service.client.deactivate("ann", "once more") == end
    await service.completes()


async def test_stopping_who_never_enrolled_is_refused_and_leaves_no_workflow_running(
    service: StakingService,
) -> None:
    with pytest.raises(RequestRefused, match="user ann is not enrolled") as raised:
        await service.deactivate()

    assert raised.value.code == "NotEnrolled"
    await service.completes()


async def test_stopping_after_a_refused_activation_is_refused(service: StakingService) -> None:
    with pytest.raises(AssertionError, match="no_qualifying_asset"):
        await service.activate()
    with pytest.raises(RequestRefused) as raised:
        await service.deactivate()
    assert raised.value.code == "NotEnrolled"


async def test_stopping_wakes_the_loop_and_completes_the_run_immediately(service: StakingService) -> None:
    await service.deposit()
    receipt = await service.activate()
    await service.skip_to(receipt.first_reward_from + HOUR)
    await service.credited_through(day_of(receipt.first_snapshot_at))
    await service.deactivate()
    await service.completes()

    assert await service.now() < receipt.first_reward_from + 2 * HOUR
    assert await service.client.status("ann") is None


async def test_withdrawing_is_never_held_back_while_enrolled(service: StakingService) -> None:
    await service.deposit("12")
    receipt = await service.activate()
    await service.skip_to(receipt.first_snapshot_at + HOUR)
    await service.deposit("-12", when=receipt.first_snapshot_at + timedelta(minutes=30))
    await service.skip_to(receipt.first_reward_from + HOUR)

    [line] = await service.credited_through(day_of(receipt.first_snapshot_at))
    # Half an hour of 12 SOL is a quarter of one on average.
    assert (line.average, line.closing, str(line.outcome)) == (25_000_000, 0, "below_minimum")
