"""A person who sends a message does not wait behind all the users who wake at midnight."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from polling import PATIENCE, eventually
from servers import full_server
from temporalio.api.common.v1 import Priority
from temporalio.api.enums.v1 import EventType, TaskQueueType
from temporalio.api.history.v1 import HistoryEvent
from temporalio.api.taskqueue.v1 import TaskQueue
from temporalio.api.workflowservice.v1 import DescribeTaskQueueRequest
from temporalio.client import Client
from world import World, activation

from contract.acts import Act, Hold
from contract.answers import Receipt
from contract.recollection import RunSettings
from contract.steps import TASK_QUEUE, WORKFLOW_TYPE, workflow_id
from running.options import WorkerOptions
from running.worker import build_worker
from staking.days import ONE_DAY, day_of
from temporal import urgency
from temporal.client import SoftStakingClient, send_activation

WAKING = [f"waking-{number:02}" for number in range(20)]
LAST, ASLEEP, NEW = WAKING[-1], "asleep", "new"
A_CHECK = Act(operator="anna", reason="a check")
FEW_PLACES = replace(WorkerOptions(), max_concurrent_workflow_tasks=2, max_polls=2)
HIGHEST = 1
ONE_PARTITION = {"matching__numTaskqueueReadPartitions": "1", "matching__numTaskqueueWritePartitions": "1"}
"""The server divides a queue into several partitions, each of which has an order of its own."""


async def holds(world: World, *users: str) -> None:
    for user in users:
        await world.move(user, "12", "SOL", datetime.now(UTC) - 3 * ONE_DAY)


async def wakes(client: Client, world: World, user: str) -> None:
    """Starts a run whose user is owed a day, and whose task waits for a worker."""
    activated_at = datetime.now(UTC) - 2 * ONE_DAY
    assert isinstance(await world.enrol(user, activated_at), Receipt)
    await world.snapshot(user, day_of(activated_at))
    known = await world.recall(user)
    carried = known.model_copy(update={"settings": RunSettings(steps_at_once=True)})
    await client.start_workflow(WORKFLOW_TYPE, args=[user, carried], id=workflow_id(user), task_queue=TASK_QUEUE)


async def falls_asleep(service: SoftStakingClient, user: str) -> None:
    async def sleeps() -> bool:
        status = await service.status(user)
        return status is not None and status.state == "sleeping"

    await eventually(sleeps)


async def wait_before_the_others(client: Client, tasks: int) -> None:
    """Waits until so many workflow tasks with the highest priority wait for a worker."""

    async def waiting() -> bool:
        described = await client.workflow_service.describe_task_queue(
            DescribeTaskQueueRequest(
                namespace=client.namespace,
                task_queue=TaskQueue(name=TASK_QUEUE),
                task_queue_type=TaskQueueType.TASK_QUEUE_TYPE_WORKFLOW,
                report_stats=True,
            )
        )
        return described.stats_by_priority_key[HIGHEST].approximate_backlog_count >= tasks

    await eventually(waiting)


async def in_the_order_of_their_tasks(client: Client, users: Sequence[str], since: datetime) -> list[str]:
    """The users, ordered by the first task that a worker began since an instant."""

    async def began_at(user: str) -> tuple[int, str]:
        history = await client.get_workflow_handle(workflow_id(user)).fetch_history()
        return min(
            (event.event_time.ToNanoseconds(), user)
            for event in history.events
            if event.event_type == EventType.EVENT_TYPE_WORKFLOW_TASK_STARTED
            and event.event_time.ToDatetime(UTC) > since
        )

    return [user for _, user in sorted(await asyncio.gather(*map(began_at, users)))]


def priorities(events: Sequence[HistoryEvent]) -> list[Priority]:
    """The priorities that a workflow had, one after the other."""
    return [
        event.workflow_execution_options_updated_event_attributes.priority
        for event in events
        if event.event_type == EventType.EVENT_TYPE_WORKFLOW_EXECUTION_OPTIONS_UPDATED
    ]


async def test_messages_are_answered_before_those_who_wake_whoever_sends_them(world: World) -> None:
    """The messages are for a new user, for a user who sleeps, and for the user who would be the last to be
    paid."""
    async with full_server(**ONE_PARTITION) as client:
        service = SoftStakingClient(client, timeout=PATIENCE)
        await holds(world, *WAKING, ASLEEP, NEW)
        async with build_worker(client, world.ledger):
            assert isinstance(await send_activation(client, ASLEEP, activation(), timeout=PATIENCE), Receipt)
            await falls_asleep(service, ASLEEP)
        since = datetime.now(UTC)
        for user in WAKING:
            await wakes(client, world, user)
        asked = asyncio.gather(
            send_activation(client, NEW, activation(), timeout=PATIENCE),
            service.hold(ASLEEP, A_CHECK),
            service.hold(LAST, A_CHECK),
        )
        await wait_before_the_others(client, 3)
        async with build_worker(client, world.ledger, FEW_PLACES):
            receipt, *held = await asked
            assert isinstance(receipt, Receipt)
            assert all(isinstance(hold, Hold) for hold in held)
            for user in WAKING[:-1]:
                await falls_asleep(service, user)
        order = await in_the_order_of_their_tasks(client, [*WAKING, ASLEEP, NEW], since)
        # A worker has two slots, so two tasks may have begun in either order.
        assert {NEW, ASLEEP, LAST} <= set(order[:5])
        assert await world.statement(LAST) == []
        # After the answer, a user waits like the others again.
        for user in (NEW, ASLEEP, LAST):
            history = await client.get_workflow_handle(workflow_id(user)).fetch_history()
            assert priorities(history.events)[-1] == Priority()


async def test_a_message_that_is_answered_soon_leaves_its_workflow_as_it_is(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(urgency, "ANSWERED_SOON", PATIENCE)
    async with full_server() as client, build_worker(client, world.ledger):
        await holds(world, NEW)
        await send_activation(client, NEW, activation(), timeout=PATIENCE)
        await SoftStakingClient(client, timeout=PATIENCE).hold(NEW, A_CHECK)
        history = await client.get_workflow_handle(workflow_id(NEW)).fetch_history()
        assert priorities(history.events) == []
