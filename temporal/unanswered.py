"""Why nobody has answered a request, found out from Temporal: the workflow's task, its step, and the workers."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from google.protobuf.timestamp_pb2 import Timestamp
from temporalio.api.common.v1 import WorkflowExecution
from temporalio.api.enums.v1 import EventType, TaskQueueType, WorkflowTaskFailedCause
from temporalio.api.history.v1 import WorkflowTaskFailedEventAttributes
from temporalio.api.taskqueue.v1 import TaskQueue
from temporalio.api.workflow.v1 import PendingActivityInfo
from temporalio.api.workflowservice.v1 import (
    DescribeTaskQueueRequest,
    DescribeWorkflowExecutionResponse,
    GetWorkflowExecutionHistoryReverseRequest,
)
from temporalio.client import Client, WorkflowExecutionStatus
from temporalio.converter import DataConverter
from temporalio.service import RPCError

from contract.steps import workflow_id
from temporal.answers import is_no_such_workflow
from temporal.failures import failure_text, is_defect

_LATEST_EVENTS = 50
_TASK_QUEUES = (TaskQueueType.TASK_QUEUE_TYPE_WORKFLOW, TaskQueueType.TASK_QUEUE_TYPE_ACTIVITY)
_POLL_TAKES_AT_MOST = timedelta(seconds=70)
"""A worker without work asks for some again after a minute. One that has not asked for this long has ended."""
_TOLD_IN_SECONDS = timedelta(seconds=100)
_FAILURE_LENGTH_MAX = 180
_WAYS_OUT = {
    WorkflowTaskFailedCause.WORKFLOW_TASK_FAILED_CAUSE_BAD_SEARCH_ATTRIBUTES: (
        "run `starter.py setup`, which says what is missing; no worker must be started again"
    ),
    WorkflowTaskFailedCause.WORKFLOW_TASK_FAILED_CAUSE_NON_DETERMINISTIC_ERROR: (
        "its history was written by another version of the program: start workers of that one"
    ),
}
_LOOK_INTO_THE_LOG = "mend that; the worker's log says more"


@dataclass(frozen=True)
class Unanswered:
    """Two clauses of a sentence: which part is missing and what to do, and what became of the workflow."""

    missing: str
    workflow: str
    is_certain: bool = False
    """Whether Temporal itself reports a failure. If not, ``missing`` is concluded from which part has been
    silent."""


@dataclass(frozen=True)
class _Poll:
    """When a worker last asked for work or took some, in UTC by the server's clock."""

    at: datetime
    identity: str


async def why_unanswered(
    client: Client, user_id: str, task_queue: str, *, asked_at: datetime, now: datetime
) -> Unanswered:
    """Why a request that was sent at ``asked_at``, in UTC, has no answer yet. Raises RPCError."""
    described = await _described(client, user_id)
    if described is None:
        missing = _of_workers(await _polls(client, task_queue), task_queue, asked_at, now)
        return Unanswered(missing, "Temporal has no workflow of the user")
    status = described.workflow_execution_info.status
    name = described.workflow_execution_info.execution.workflow_id
    if status != WorkflowExecutionStatus.RUNNING:
        missing = _of_workers(await _polls(client, task_queue), task_queue, asked_at, now)
        return Unanswered(missing, f"the workflow {name} is not running: {WorkflowExecutionStatus(status).name}")
    recorded = f"Temporal has recorded the workflow {name}"
    if failing := await _failing_task(client, described):
        return Unanswered(failing, recorded, is_certain=True)
    missing = await _failing_step(described, client.data_converter)
    if missing is None:
        polls = [*await _polls(client, task_queue), *_taken_up(described)]
        missing = _of_workers(polls, task_queue, asked_at, now)
    return Unanswered(missing, recorded)


async def _described(client: Client, user_id: str) -> DescribeWorkflowExecutionResponse | None:
    try:
        return (await client.get_workflow_handle(workflow_id(user_id)).describe()).raw_description
    except RPCError as error:
        if is_no_such_workflow(error):
            return None
        raise


async def _failing_task(client: Client, described: DescribeWorkflowExecutionResponse) -> str | None:
    if not described.HasField("pending_workflow_task"):
        return None
    failed = await _last_task_failure(client, described.workflow_execution_info.execution)
    if failed is None or not is_defect(failed.cause):
        return None
    text = await failure_text(failed.failure, client.data_converter)
    way_out = _WAYS_OUT.get(failed.cause, _LOOK_INTO_THE_LOG)
    return f"its workflow task fails: {_brief(text)}; {way_out}. It then goes on by itself within minutes"


async def _last_task_failure(
    client: Client, execution: WorkflowExecution
) -> WorkflowTaskFailedEventAttributes | None:
    """The failure of the latest task; None if that succeeded. A history has only the first try of a task."""
    answer = await client.workflow_service.get_workflow_execution_history_reverse(
        GetWorkflowExecutionHistoryReverseRequest(
            namespace=client.namespace, execution=execution, maximum_page_size=_LATEST_EVENTS
        )
    )
    for event in answer.history.events:
        if event.event_type == EventType.EVENT_TYPE_WORKFLOW_TASK_FAILED:
            return event.workflow_task_failed_event_attributes
        if event.event_type in (
            EventType.EVENT_TYPE_WORKFLOW_TASK_COMPLETED,
            EventType.EVENT_TYPE_WORKFLOW_TASK_TIMED_OUT,
        ):
            return None
    return None


async def _failing_step(described: DescribeWorkflowExecutionResponse, converter: DataConverter) -> str | None:
    for step in described.pending_activities:
        if step.last_failure.HasField("application_failure_info"):
            text = _brief(await failure_text(step.last_failure, converter))
            return f"its step {step.activity_type.name} failed, and is tried again by itself: {text}"
    return None


async def _polls(client: Client, task_queue: str) -> list[_Poll]:
    polls: list[_Poll] = []
    for kind in _TASK_QUEUES:
        answer = await client.workflow_service.describe_task_queue(
            DescribeTaskQueueRequest(
                namespace=client.namespace, task_queue=TaskQueue(name=task_queue), task_queue_type=kind
            )
        )
        polls += [_Poll(_instant(poller.last_access_time), poller.identity) for poller in answer.pollers]
    return polls


def _taken_up(described: DescribeWorkflowExecutionResponse) -> list[_Poll]:
    """The workers that took the pending steps. They may get a step with the answer to a task, without a poll."""
    steps: Sequence[PendingActivityInfo] = described.pending_activities
    return [
        _Poll(_instant(step.last_started_time), step.last_worker_identity)
        for step in steps
        if step.last_worker_identity
    ]


def _of_workers(polls: Sequence[_Poll], task_queue: str, asked_at: datetime, now: datetime) -> str:
    start_one = "start one with: python worker.py"
    if not polls:
        return f"no worker is polling the task queue {task_queue}, nor was one in the last minutes: {start_one}"
    last = max(polls, key=lambda poll: poll.at)
    # The server's clock, and ours.
    silent_for = max(now - last.at, timedelta())
    when = f"{_span(silent_for)} ago ({last.identity})"
    if last.at >= asked_at:
        return f"a worker asks for work, last {when}, but has not answered: it is busy, or its log says why"
    if silent_for <= _POLL_TAKES_AT_MOST:
        return f"the last worker asked for work {when} and has taken nothing since: if it has ended, {start_one}"
    return f"the last worker asked for work {when}, and none since: {start_one}"


def _span(span: timedelta) -> str:
    if span < _TOLD_IN_SECONDS:
        return f"{span.total_seconds():.0f} s"
    return f"{span.total_seconds() / 60:.0f} min"


def _brief(text: str | None) -> str:
    one_line = " ".join((text or "it does not say why").split())
    return one_line if len(one_line) <= _FAILURE_LENGTH_MAX else f"{one_line[:_FAILURE_LENGTH_MAX]}…"


def _instant(timestamp: Timestamp) -> datetime:
    return timestamp.ToDatetime(UTC)
