"""On a good night a day is one task of the workflow. A step that does not succeed at once goes on as an
activity."""

import asyncio
from collections import Counter
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from faults.disturbing import Call, Disturb, disturbed_worker
from polling import PATIENCE, eventually
from servers import full_server
from staking_service import StakingService
from temporalio.api.enums.v1 import EventType
from temporalio.api.history.v1 import HistoryEvent
from temporalio.client import Client, WorkflowExecutionStatus
from temporalio.exceptions import ApplicationError
from world import World, activation

from contract.acts import Act, Hold
from contract.answers import Receipt
from contract.recollection import Recollection, RunSettings
from contract.steps import COMPUTE, CREDIT, RECALL, SNAPSHOT, workflow_id
from running.options import WorkerOptions
from running.worker import build_worker
from staking.days import ONE_DAY, day_of
from temporal.client import SoftStakingClient, send_activation

HOUR = timedelta(hours=1)
STEPS_OF_A_DAY = [SNAPSHOT.name, COMPUTE.name, CREDIT.name]
EVENTS_OF_A_DAY_OF_ACTIVITIES = 23
A_CHECK = Act(operator="anna", reason="a check")

_TASK = [
    EventType.EVENT_TYPE_WORKFLOW_TASK_SCHEDULED,
    EventType.EVENT_TYPE_WORKFLOW_TASK_STARTED,
    EventType.EVENT_TYPE_WORKFLOW_TASK_COMPLETED,
]


class LedgerAway(Exception):
    """The failure of a step that a repetition mends."""


def last_night(events: list[HistoryEvent]) -> list[HistoryEvent]:
    """The events from the last timer that fired to the next timer that was set."""
    fired = max(n for n, event in enumerate(events) if event.event_type == EventType.EVENT_TYPE_TIMER_FIRED)
    return events[fired:]


def activities_of(events: list[HistoryEvent]) -> list[str]:
    return [
        event.activity_task_scheduled_event_attributes.activity_type.name
        for event in events
        if event.event_type == EventType.EVENT_TYPE_ACTIVITY_TASK_SCHEDULED
    ]


async def paid_once_through(service: StakingService, receipt: Receipt, days: int) -> None:
    first = day_of(receipt.first_snapshot_at)
    lines = await service.credited_through(first + (days - 1) * ONE_DAY)
    assert [line.day for line in lines] == [first + n * ONE_DAY for n in range(days)]
    assert await service.audit_is_clean()


async def started_with(service: StakingService, disturb: Disturb) -> None:
    await service._worker.enter_async_context(disturbed_worker(service.temporal, service.world.ledger, disturb))


async def test_a_night_is_one_task_and_eight_events(service: StakingService) -> None:
    await service.deposit()
    receipt = await service.activate()
    await service.skip_to(receipt.first_reward_from + ONE_DAY + HOUR)
    await paid_once_through(service, receipt, 2)
    await service.reaches_state("sleeping")

    (events,) = await service.runs()
    assert [event.event_type for event in last_night(events)] == [
        EventType.EVENT_TYPE_TIMER_FIRED,
        *_TASK,
        *[EventType.EVENT_TYPE_MARKER_RECORDED] * 3,
        EventType.EVENT_TYPE_TIMER_STARTED,
    ]
    assert activities_of(events) == ["recall", "enrol"]


@pytest.mark.parametrize("tries", [1, 4])
@pytest.mark.parametrize("step", STEPS_OF_A_DAY)
async def test_a_step_that_fails_at_once_goes_on_as_an_activity_and_the_night_costs_no_more_events_than_with_three(
    idle_service: StakingService, step: str, tries: int
) -> None:
    service, calls = idle_service, Counter[bool]()

    async def away(call: Call) -> Any:
        if call.step == step and call.request.enrolment_id and is_of_a_reward(call):
            calls[call.at_once] += 1
            if calls.total() <= tries:
                raise LedgerAway("the ledger is away")
        return await call.run()

    def is_of_a_reward(call: Call) -> bool:
        return call.step != SNAPSHOT.name or call.request.day != activated_on

    activated_on = day_of(await service.now())
    await started_with(service, away)
    await service.deposit()
    receipt = await service.activate()
    await service.skip_to(receipt.first_reward_from + HOUR)
    await paid_once_through(service, receipt, 1)
    await service.reaches_state("sleeping")

    (events,) = await service.runs()
    night = last_night(events)
    assert activities_of(night) == [step]
    assert len(night) <= EVENTS_OF_A_DAY_OF_ACTIVITIES
    assert calls == {True: 1, False: tries}


@pytest.mark.parametrize("step", STEPS_OF_A_DAY)
async def test_a_refusal_at_once_blocks_the_user_as_ever_and_ends_no_workflow(
    idle_service: StakingService, step: str
) -> None:
    service, refuses = idle_service, [True]

    async def refuse(call: Call) -> Any:
        if call.step == step and refuses:
            raise ApplicationError("this will not do", type="OutOfOrder", non_retryable=True)
        return await call.run()

    await started_with(service, refuse)
    await service.deposit()
    receipt = await service.activate()
    await service.skip_to(receipt.first_reward_from + HOUR)
    await service.reaches_state("blocked")
    status = await service.client.status("ann")
    assert status is not None
    assert status.blocked is not None
    assert (status.blocked.step, status.blocked.message) == (step, "this will not do")

    refuses.clear()
    await service.client.retry("ann")
    await paid_once_through(service, receipt, 1)


async def test_a_step_that_does_not_answer_at_once_is_given_up_within_its_task(
    idle_service: StakingService,
) -> None:
    service, unanswered = idle_service, Counter[str]()

    async def silent(call: Call) -> Any:
        if call.at_once:
            unanswered[call.step] += 1
            await asyncio.Event().wait()
        return await call.run()

    await started_with(service, silent)
    await service.deposit()
    receipt = await service.activate()
    await service.skip_to(receipt.first_reward_from + HOUR)
    await paid_once_through(service, receipt, 1)
    await service.reaches_state("sleeping")

    assert unanswered == {SNAPSHOT.name: 2, COMPUTE.name: 1, CREDIT.name: 1}
    (events,) = await service.runs()
    assert activities_of(events)[2:] == [SNAPSHOT.name, *STEPS_OF_A_DAY]
    # A task that sends a heartbeat leaves another completed task, or a failed one.
    assert activities_of(last_night(events)) == STEPS_OF_A_DAY
    completed = [event for event in last_night(events) if event.event_type == _TASK[2]]
    assert len(completed) == 1 + len(STEPS_OF_A_DAY)


async def test_a_pool_that_is_short_is_asked_once_at_once(idle_service: StakingService) -> None:
    service, asked = idle_service, Counter[bool]()

    async def count(call: Call) -> Any:
        if call.step == CREDIT.name:
            asked[call.at_once] += 1
        return await call.run()

    await service.world.sql("UPDATE accounts SET balance = 0 WHERE kind = 'pool'")
    await started_with(service, count)
    await service.deposit()
    receipt = await service.activate()
    await service.skip_to(receipt.first_reward_from + timedelta(minutes=1))
    await service.reaches_state("waiting for pool SOL")
    await service.world.fund("SOL")
    await service.client.retry("ann")
    await service.credited_through(day_of(receipt.first_snapshot_at))
    assert asked[True] == 1
    assert asked[False] > 1


# These tests run on the full server, since only there messages and workers can come in between.


@asynccontextmanager
async def someone_found_today(
    world: World, disturb: Disturb, options: WorkerOptions | None = None, **worker: int
) -> AsyncGenerator[tuple[Client, StakingService]]:
    """A service whose user was enrolled two days ago, so that two days' steps begin with the activation."""
    async with full_server() as client:
        service = StakingService(world, client)
        await world.move("ann", "12", "SOL", datetime.now(UTC) - 3 * ONE_DAY)
        async with disturbed_worker(client, world.ledger, disturb, options or WorkerOptions()):
            yield client, service


def two_days_ago() -> datetime:
    return datetime.now(UTC) - 2 * ONE_DAY


async def test_no_task_has_an_answer_to_a_message_or_another_day_beside_a_days_steps(world: World) -> None:
    """So an activation is answered before owed days are processed, and a sender waits for one day at most."""

    async def undisturbed(call: Call) -> Any:
        return await call.run()

    async with someone_found_today(world, undisturbed) as (_, service):
        receipt = await service.activate(back_dated_to=two_days_ago() - ONE_DAY)
        await paid_once_through(service, receipt, 2)
        await service.reaches_state("sleeping")
        (events,) = await service.runs()
    told = {
        EventType.EVENT_TYPE_WORKFLOW_EXECUTION_UPDATE_COMPLETED: "answer",
        EventType.EVENT_TYPE_WORKFLOW_TASK_COMPLETED: "task",
        EventType.EVENT_TYPE_MARKER_RECORDED: "step",
    }
    shape = " ".join(told[event.event_type] for event in events if event.event_type in told)
    of_each_task = [part.split() for part in shape.split("task")]
    assert ["answer"] in of_each_task
    assert all(len(part) <= len(STEPS_OF_A_DAY) for part in of_each_task)


async def test_a_hold_that_comes_during_a_days_steps_is_answered_after_them_and_stops_the_next_day(
    world: World,
) -> None:
    under_way, go_on = asyncio.Event(), asyncio.Event()

    async def wait_at_credit(call: Call) -> Any:
        if call.step == CREDIT.name and not under_way.is_set():
            under_way.set()
            await go_on.wait()
        return await call.run()

    async with someone_found_today(world, wait_at_credit) as (client, service):
        receipt = await service.activate(back_dated_to=two_days_ago() - ONE_DAY)
        await under_way.wait()
        held = asyncio.create_task(service.client.hold("ann", A_CHECK))
        await asyncio.sleep(0)
        go_on.set()
        assert isinstance(await held, Hold)
        await service.reaches_state("held")
        assert len(await service.statement()) == 1
        await SoftStakingClient(client, timeout=PATIENCE).release("ann", A_CHECK)
        await paid_once_through(service, receipt, 2)


async def test_a_signal_that_makes_a_task_run_again_pays_nobody_twice(world: World) -> None:
    """If a signal comes during a task that ends its run, the server repeats the task with all of its steps."""
    under_way, go_on, calls = asyncio.Event(), asyncio.Event(), Counter[str]()

    async def wait_at_first_credit(call: Call) -> Any:
        calls[call.step] += 1
        if call.step == CREDIT.name and not under_way.is_set():
            answer = await call.run()
            under_way.set()
            await go_on.wait()
            return answer
        return await call.run()

    async with full_server() as client:
        service = StakingService(world, client)
        await world.move("ann", "12", "SOL", datetime.now(UTC) - 3 * ONE_DAY)
        from faults.disturbing import disturbed

        async with build_worker(disturbed(client, wait_at_first_credit), world.ledger, days_per_run=1):
            receipt = await service.activate(back_dated_to=two_days_ago())
            await under_way.wait()
            await client.get_workflow_handle(workflow_id("ann")).signal("unknown")
            go_on.set()
            await paid_once_through(service, receipt, 1)

            async def continued() -> bool:
                return len(await service.runs()) == 2

            await eventually(continued)
    assert calls[CREDIT.name] > 1


async def test_users_whose_steps_fail_hold_no_place_that_others_need(world: World) -> None:
    """There are two slots, and three users whose ledger stays away. The fourth user is paid."""
    users = ["bob", "cyd", "dan", "ann"]

    async def away_for_some(call: Call) -> Any:
        if call.step == SNAPSHOT.name and call.request.user_id != "ann":
            raise LedgerAway("the ledger is away")
        return await call.run()

    async with full_server() as client:
        few = replace(WorkerOptions(), max_concurrent_workflow_tasks=2)
        async with disturbed_worker(client, world.ledger, away_for_some, few):
            for user in users:
                await world.move(user, "12", "SOL", datetime.now(UTC) - 3 * ONE_DAY)
                asked = activation(back_dated_to=two_days_ago())
                receipt = await send_activation(client, user, asked, timeout=PATIENCE)
                assert isinstance(receipt, Receipt)
            service = StakingService(world, client)
            await service.credited_through(day_of(receipt.first_snapshot_at))


async def test_a_worker_that_keeps_nobody_in_memory_pushes_nobody_out_in_the_middle_of_a_step(
    world: World,
) -> None:
    """Otherwise the task would be lost, and its steps would be executed again in the next task."""
    users = ["ann", "bob", "cyd", "dan"]
    all_at_work, executed = asyncio.Barrier(len(users)), Counter[str]()

    async def wait_for_the_others(call: Call) -> Any:
        if call.step == SNAPSHOT.name and call.at_once:
            executed[call.request.user_id] += 1
            if executed[call.request.user_id] == 1:
                await all_at_work.wait()
        return await call.run()

    async with full_server() as client:
        none = replace(WorkerOptions(), max_concurrent_workflow_tasks=len(users) + 1, max_cached_workflows=0)
        async with disturbed_worker(client, world.ledger, wait_for_the_others, none):
            for user in users:
                await world.move(user, "12", "SOL", datetime.now(UTC) - 3 * ONE_DAY)
            yesterday = activation(back_dated_to=two_days_ago() + ONE_DAY)
            asked = [send_activation(client, user, yesterday, timeout=PATIENCE) for user in users]
            assert all(isinstance(receipt, Receipt) for receipt in await asyncio.gather(*asked))
            for user in users:
                await StakingService(world, client, user=user).reaches_state("sleeping")
    assert executed == Counter(users)


async def test_a_worker_that_is_stopped_during_a_step_that_is_silent_leaves(world: World) -> None:
    silent, said = asyncio.Event(), asyncio.Event()

    async def silent_at_once(call: Call) -> Any:
        if call.at_once and not said.is_set():
            silent.set()
            await asyncio.Event().wait()
        return await call.run()

    async with full_server() as client:
        service = StakingService(world, client)
        await world.move("ann", "12", "SOL", datetime.now(UTC) - 3 * ONE_DAY)
        worker = disturbed_worker(client, world.ledger, silent_at_once)
        async with worker:
            receipt = await service.activate(back_dated_to=two_days_ago())
            await silent.wait()
        said.set()
        async with disturbed_worker(client, world.ledger, silent_at_once):
            await paid_once_through(service, receipt, 1)


async def test_a_workflow_that_is_cancelled_during_a_step_at_once_ends_cancelled(world: World) -> None:
    under_way, go_on = asyncio.Event(), asyncio.Event()

    async def wait(call: Call) -> Any:
        if call.at_once and not under_way.is_set():
            under_way.set()
            await go_on.wait()
        return await call.run()

    async with someone_found_today(world, wait) as (_, service):
        await service.activate(back_dated_to=two_days_ago())
        await under_way.wait()
        await service.workflow.cancel()
        go_on.set()

        async def cancelled() -> bool:
            return await service.workflow_status() == WorkflowExecutionStatus.CANCELED

        await eventually(cancelled)


async def test_a_run_from_before_takes_its_days_as_activities_and_the_run_that_continues_it_at_once(
    world: World,
) -> None:
    """The state that a run carries says how it takes its steps, so that no run changes in its middle."""
    calls: list[tuple[str, bool]] = []

    async def note(call: Call) -> Any:
        calls.append((call.step, call.at_once))
        answer = await call.run()
        if call.step == RECALL.name:
            assert isinstance(answer, Recollection)
            before = RunSettings(days_per_run=1)
            return answer.model_copy(update={"settings": before})
        return answer

    async with full_server() as client:
        service = StakingService(world, client)
        await world.move("ann", "12", "SOL", datetime.now(UTC) - 4 * ONE_DAY)
        async with disturbed_worker(client, world.ledger, note):
            receipt = await service.activate(back_dated_to=two_days_ago() - ONE_DAY)
            await paid_once_through(service, receipt, 2)
    assert [call for call in calls if call[0] in STEPS_OF_A_DAY] == [
        (SNAPSHOT.name, False),
        *[(step, False) for step in STEPS_OF_A_DAY],
        *[(step, True) for step in STEPS_OF_A_DAY],
    ]
