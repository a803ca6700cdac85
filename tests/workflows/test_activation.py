"""Activation: one switch, one receipt, and every reason of a refusal (rules 1, 6, 7 and 10)."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import TypeVar

import pytest
from polling import eventually
from servers import full_server
from staking_service import StakingService
from temporalio.client import WorkflowExecutionStatus
from world import SHIPPED_PROGRAM, World, activation

from contract.answers import Receipt, Refusal
from contract.errors import NoAnswer
from contract.steps import STARTED_BY, TASK_QUEUE, WORKFLOW_TYPE, workflow_id
from staking.days import ONE_DAY, day_of, end_of
from staking.models import Activation
from temporal.client import SoftStakingClient, send_activation

DOCUMENTS = SHIPPED_PROGRAM.documents
SHORT = timedelta(seconds=1)
Answer = TypeVar("Answer")


async def test_a_repeated_activation_gets_the_first_receipt(service: StakingService) -> None:
    await service.deposit()
    first = await service.activate()
    await service.skip_to(first.first_reward_from + timedelta(hours=1))

    assert await service.activate() == first
    assert await service.enrolment_count() == 1


@pytest.mark.parametrize("at_once", [2, 10])
async def test_activations_at_one_moment_make_one_enrolment(service: StakingService, at_once: int) -> None:
    await service.deposit()
    receipts = await asyncio.gather(*(service.activate() for _ in range(at_once)))

    assert receipts == [receipts[0]] * at_once
    assert await service.enrolment_count() == 1


async def test_every_asset_of_the_program_earns_with_one_activation(service: StakingService) -> None:
    await service.deposit("12", "SOL")
    receipt = await service.activate()
    await service.deposit("1", "BNB")
    await service.deposit("99", "SUI")
    await service.skip_to(receipt.first_reward_from + timedelta(minutes=1))

    lines = await service.credited_through(receipt.first_snapshot_at.date())
    assert [(line.asset, str(line.outcome)) for line in lines] == [
        ("BNB", "earned"),
        ("SOL", "earned"),
        ("SUI", "below_minimum"),
    ]


# Refusals.

ALL_DOCUMENTS_MISSING = [f"document_not_accepted:{name}" for name in DOCUMENTS]
REFUSED = {
    "a restricted country": (Activation(region="US", channel="web", documents=DOCUMENTS), ["region_restricted"]),
    "a part of a restricted country": (
        Activation(region="us-ca", channel="web", documents=DOCUMENTS),
        ["region_restricted"],
    ),
    "a restricted part of a country": (
        Activation(region="UA-43", channel="web", documents=DOCUMENTS),
        ["region_restricted"],
    ),
    "an old app": (
        Activation(region="FR", channel="app", app_version="3.0.9", documents=DOCUMENTS),
        ["app_version_too_old"],
    ),
    "an app that does not say how old it is": (
        Activation(region="FR", channel="app", documents=DOCUMENTS),
        ["app_version_too_old"],
    ),
    "one document not accepted": (
        Activation(region="FR", channel="web", documents={**DOCUMENTS, "risk_warning": "2025-01-01"}),
        ["document_not_accepted:risk_warning"],
    ),
    "no document accepted": (Activation(region="FR", channel="web"), ALL_DOCUMENTS_MISSING),
}


@pytest.mark.parametrize("case", REFUSED)
async def test_a_refusal_names_its_reason_and_leaves_no_workflow_running(
    service: StakingService, case: str
) -> None:
    await service.deposit()
    asked, codes = REFUSED[case]
    answer = await service.client.activate(
        "ann",
        region=asked.region,
        channel=asked.channel,
        app_version=asked.app_version,
        documents=asked.documents,
    )

    assert isinstance(answer, Refusal)
    assert [reason.code for reason in answer.reasons] == codes
    assert all(reason.sentence.endswith(".") for reason in answer.reasons)
    await service.completes()
    assert await service.enrolment_count() == 0


async def test_holding_less_than_every_minimum_is_refused(service: StakingService) -> None:
    await service.deposit("0.99999999", "SOL")
    answer = await service.answer_to(activation())

    assert isinstance(answer, Refusal)
    assert [reason.code for reason in answer.reasons] == ["no_qualifying_asset"]


async def test_a_refusal_names_all_reasons_together(service: StakingService) -> None:
    answer = await service.answer_to(Activation(region="US", channel="app", app_version="3.0.9"))

    assert isinstance(answer, Refusal)
    assert [reason.code for reason in answer.reasons] == [
        "region_restricted",
        "app_version_too_old",
        *ALL_DOCUMENTS_MISSING,
        "no_qualifying_asset",
    ]
    await service.completes()


async def test_a_refused_user_who_then_qualifies_is_enrolled(service: StakingService) -> None:
    assert isinstance(await service.answer_to(activation()), Refusal)
    await service.deposit()

    assert await service.state() in (None, "idle")
    assert isinstance(await service.answer_to(activation()), Receipt)


# Activating again.


async def test_activating_again_on_the_same_day_starts_over_at_day_one(service: StakingService) -> None:
    await service.deposit()
    first = await service.activate()
    await service.deactivate()
    second = await service.activate()

    assert second.enrolment_id != first.enrolment_id
    assert second.activated_at > first.activated_at
    assert second.first_snapshot_at == first.first_snapshot_at
    await service.skip_to(second.first_reward_from + timedelta(minutes=1))
    lines = await service.credited_through(second.first_snapshot_at.date())
    assert [line.day for line in lines] == [second.first_snapshot_at.date()]
    assert await service.audit_is_clean()


async def test_activating_again_a_day_later_starts_over_at_day_one(service: StakingService) -> None:
    await service.deposit()
    first = await service.activate()
    await service.skip_to(first.first_reward_from + timedelta(hours=10))
    await service.deactivate()
    await service.completes()
    await service.skip_to(first.first_reward_from + timedelta(hours=34))
    second = await service.activate()

    assert second.first_snapshot_at == first.first_reward_from + 2 * ONE_DAY
    await service.skip_to(second.first_reward_from + timedelta(minutes=1))
    lines = await service.credited_through(second.first_snapshot_at.date())
    assert [line.day for line in lines] == [first.first_snapshot_at.date(), second.first_snapshot_at.date()]
    assert await service.audit_is_clean()


async def test_activating_again_on_the_day_of_the_end_pays_that_day_to_nobody(service: StakingService) -> None:
    await service.deposit()
    first = await service.activate()
    await service.skip_to(first.first_reward_from + timedelta(hours=10))
    await service.deactivate()
    second = await service.activate()
    await service.skip_to(second.first_reward_from + timedelta(minutes=1))

    lines = await service.credited_through(second.first_snapshot_at.date())
    day_of_the_end = day_of(first.first_reward_from)
    assert [line.day for line in lines] == [day_of_the_end - ONE_DAY, day_of_the_end + ONE_DAY]
    assert await service.audit_is_clean()


async def test_activating_again_while_old_days_wait_for_the_pool_loses_and_doubles_nothing(
    unfunded_service: StakingService,
) -> None:
    service = unfunded_service
    await service.stop_worker()
    await service.deposit()
    first = await _awake_only_for(service, service.activate)
    await service.skip_without_worker_to(first.first_reward_from + ONE_DAY + timedelta(hours=10))
    end = await _awake_only_for(service, service.deactivate)
    assert end.owed_days == 2
    second = await _awake_only_for(service, service.activate)
    assert second.enrolment_id != first.enrolment_id
    await service.skip_without_worker_to(second.first_reward_from + timedelta(hours=10))
    await service.start_worker(forgetful=True)
    await service.reaches_state("waiting for pool SOL")
    assert await service.statement() == []

    await service.world.fund("SOL")
    await service.client.retry("ann")
    lines = await service.credited_through(second.first_snapshot_at.date())
    day_two = first.first_snapshot_at.date()
    assert [line.day for line in lines] == [day_two, day_two + ONE_DAY, day_two + 3 * ONE_DAY]
    entries = [line.entry_id or 0 for line in lines]
    assert entries == sorted(entries)
    assert await service.audit_is_clean()


async def _awake_only_for(service: StakingService, ask: Callable[[], Awaitable[Answer]]) -> Answer:
    """Sends a request while a worker runs only until it is answered. So the loop does not ask the empty pool again
    and again, which would fill days of skipped time."""
    await service.start_worker(forgetful=True)
    answer = await ask()
    await service.stop_worker_at_rest()
    return answer


# Without a worker.


async def test_without_a_worker_an_activation_says_so_and_what_was_recorded(world: World) -> None:
    async with full_server() as client:
        await world.move("ann", "12", "SOL", world.ledger.clock())
        with pytest.raises(NoAnswer) as raised:
            await send_activation(client, "ann", activation(), timeout=SHORT)

        said = str(raised.value)
        assert "within 1 s" in said
        assert "no worker is polling the task queue soft-staking" in said
        assert "Temporal has recorded the workflow soft-staking/ann" in said
        assert "repeating it is safe" in said


async def test_an_activation_that_got_no_answer_works_when_repeated_with_a_worker(world: World) -> None:
    async with full_server() as client:
        service = StakingService(world, client)
        await world.move("ann", "12", "SOL", world.ledger.clock())
        with pytest.raises(NoAnswer):
            await send_activation(client, "ann", activation(), timeout=SHORT)
        await service.start_worker()
        try:
            receipt = await service.activate()
            assert await service.activate() == receipt
            assert await service.enrolment_count() == 1
        finally:
            await service.stop_worker()


async def test_without_a_worker_every_other_request_says_so_too(world: World) -> None:
    async with full_server() as client:
        asking = SoftStakingClient(client, timeout=SHORT)
        await client.start_workflow(WORKFLOW_TYPE, "ann", id=workflow_id("ann"), task_queue=TASK_QUEUE)
        with pytest.raises(NoAnswer, match="no worker is polling"):
            await asking.deactivate("ann")
        with pytest.raises(NoAnswer, match="no worker is polling"):
            await asking.status("ann")
        with pytest.raises(NoAnswer, match="no worker is polling"):
            await asking.retry("ann")


async def test_day_one_is_when_the_user_asked_though_a_worker_answers_only_after_midnight(
    idle_service: StakingService,
) -> None:
    service = idle_service
    await service.deposit()
    midnight = end_of(day_of(await service.now()))
    await service.skip_to(midnight - timedelta(minutes=1))
    asked = asyncio.create_task(service.activate())
    await _is_started(service)
    await service.skip_without_worker_to(midnight + timedelta(minutes=1))
    await service.start_worker()

    receipt = await asked
    assert receipt.activated_at < midnight
    assert receipt.first_snapshot_at == midnight


async def test_a_later_activation_of_a_run_that_was_never_confirmed_counts_from_itself(
    idle_service: StakingService,
) -> None:
    service = idle_service
    await service.deposit()
    midnight = end_of(day_of(await service.now()))
    await service.skip_to(midnight - timedelta(minutes=1))
    await service.temporal.start_workflow(
        WORKFLOW_TYPE,
        "ann",
        id=workflow_id("ann"),
        task_queue=TASK_QUEUE,
        memo={STARTED_BY: "an activation that was lost"},
    )
    await service.skip_without_worker_to(midnight + timedelta(minutes=1))
    asked = asyncio.create_task(service.activate())
    await service.start_worker()

    receipt = await asked
    assert receipt.activated_at > midnight
    assert receipt.first_snapshot_at == midnight + ONE_DAY


async def test_an_activation_that_finds_a_run_started_by_a_deactivation_counts_from_itself(
    idle_service: StakingService,
) -> None:
    service = idle_service
    await service.deposit()
    midnight = end_of(day_of(await service.now()))
    await service.skip_to(midnight - timedelta(minutes=1))
    stopping = asyncio.create_task(service.deactivate())
    await _is_started(service)
    await service.skip_without_worker_to(midnight + timedelta(minutes=1))
    asked = asyncio.create_task(service.activate())
    await service.start_worker()

    receipt = await asked
    assert receipt.activated_at > midnight
    await asyncio.wait([stopping])


async def _is_started(service: StakingService) -> None:
    async def look() -> bool:
        try:
            return await service.workflow_status() == WorkflowExecutionStatus.RUNNING
        except Exception:
            return False

    await eventually(look)


# What the ledger knows.


async def test_a_fresh_run_takes_up_an_open_enrolment_and_what_it_owes(service: StakingService) -> None:
    await service.deposit()
    first = await service.activate()
    await service.skip_to(first.first_reward_from + timedelta(hours=1))
    await service.credited_through(first.first_snapshot_at.date())
    await service.workflow.terminate()
    await service.skip_to(first.first_reward_from + 3 * ONE_DAY + timedelta(hours=1))

    assert await service.activate() == first
    last = first.first_snapshot_at.date() + 3 * ONE_DAY
    lines = await service.credited_through(last)
    assert [line.day for line in lines] == [first.first_snapshot_at.date() + n * ONE_DAY for n in range(4)]
    assert [line.late for line in lines] == [False, True, True, False]
    assert await service.audit_is_clean()


async def test_a_run_started_without_a_message_pays_what_the_ledger_says_is_owed(service: StakingService) -> None:
    await service.deposit()
    first = await service.activate()
    await service.skip_to(first.first_reward_from - timedelta(hours=1))
    await service.workflow.terminate()
    await service.skip_to(first.first_reward_from + ONE_DAY + timedelta(hours=1))
    await _start_without_message(service)

    lines = await service.credited_through(first.first_snapshot_at.date() + ONE_DAY)
    assert [line.day for line in lines] == [first.first_snapshot_at.date() + n * ONE_DAY for n in range(2)]
    assert await service.state() == "sleeping"


async def test_owed_days_of_an_ended_enrolment_are_taken_up_by_a_fresh_run(
    unfunded_service: StakingService,
) -> None:
    service = unfunded_service
    await service.deposit()
    first = await service.activate()
    await service.skip_to(first.first_reward_from + timedelta(hours=1))
    end = await service.deactivate()
    assert end.owed_days == 1
    await service.workflow.terminate()

    await service.world.fund("SOL")
    await _start_without_message(service)
    assert [line.day for line in await service.credited_through(end.last_accrual_day)] == [end.last_accrual_day]
    await service.completes()


async def test_a_run_that_gets_no_message_completes_after_its_minute(service: StakingService) -> None:
    await _start_without_message(service)
    await service.skip_to(await service.now() + timedelta(seconds=50))
    assert await service.workflow_status() == WorkflowExecutionStatus.RUNNING
    await service.skip_to(await service.now() + timedelta(seconds=20))
    await service.completes()


async def _start_without_message(service: StakingService) -> None:
    await service.temporal.start_workflow(WORKFLOW_TYPE, "ann", id=workflow_id("ann"), task_queue=TASK_QUEUE)
