"""A user's history, decoded into records of what the service did: steps, requests to retry, timers.

Payloads are decoded with the client's data converter, so that encrypted histories are read like others.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, TypeAlias

from google.protobuf.timestamp_pb2 import Timestamp
from pydantic import BaseModel, ValidationError
from temporalio.api.common.v1 import Payload, Payloads
from temporalio.api.enums.v1 import EventType
from temporalio.api.history.v1 import HistoryEvent, MarkerRecordedEventAttributes
from temporalio.api.workflow.v1 import PendingActivityInfo
from temporalio.client import Client, WorkflowHandle
from temporalio.converter import DataConverter
from temporalio.service import RPCError, RPCStatusCode

from contract.acts import Act
from contract.errors import NoAnswer, ServiceError
from contract.recollection import Recollection
from contract.requests import ActRequest, ComputeRequest, CreditRequest, EndRequest, EnrolRequest, SnapshotRequest
from contract.steps import COMPUTE, CREDIT, END_ENROLMENT, ENROL, HOLD, RECALL, RELEASE, SNAPSHOT, workflow_id
from temporal.failures import failure_text, is_defect
from workflows.executing import A_TASK_LATER

RETRY = "retry"
_STEPS: dict[str, tuple[Any, Any]] = {
    RECALL.name: (str, RECALL.answer),
    ENROL.name: (EnrolRequest, ENROL.answer),
    SNAPSHOT.name: (SnapshotRequest, SNAPSHOT.answer),
    COMPUTE.name: (ComputeRequest, COMPUTE.answer),
    CREDIT.name: (CreditRequest, CREDIT.answer),
    END_ENROLMENT.name: (EndRequest, END_ENROLMENT.answer),
    HOLD.name: (ActRequest, HOLD.answer),
    RELEASE.name: (ActRequest, RELEASE.answer),
}
"""The types of the request and of the answer of each step, by its name."""
_OPTIONAL_ACT: Any = Act | None
_NOTICED_AFTER = timedelta(minutes=1)
"""A task that waits less than this for a worker only waits for its turn, which the diary does not mention."""


LOCAL_ACTIVITY = "core_local_activity"
"""The SDK's name of the marker that a local activity leaves."""


class _AtOnce(BaseModel):
    """What the marker of a local activity says beside its answer. This part is never encrypted."""

    class Time(BaseModel):
        seconds: int
        nanos: int

    activity_type: str
    complete_time: Time
    """When the activity ended, by the server's clock. The marker also has its begin, but by the worker's clock."""


class NoHistory(ServiceError):
    """The server has no workflow of the user; the message is one sentence."""


@dataclass
class StepTaken:
    """One activity. Instants are UTC."""

    name: str
    request: Any
    """The request, of the step's own type. None for a step at once, whose request is not kept, and for a step that
    this program does not know."""
    scheduled_at: datetime
    closed_at: datetime | None = None
    attempts: int = 1
    last_failure: str | None = None
    """Why the attempt before the last one failed; None if there was none."""
    answer: Any = None
    error: str | None = None
    """Why the step failed for good, where no retry could mend it."""
    is_for_a_message: bool = False
    """Whether the step began while an update was being answered."""
    was_at_once: bool = False
    """Whether the step was tried once, within a task of the workflow. Where that failed, the same step follows as
    an activity. The server keeps the answer of such a step, and does not keep its request."""


@dataclass(frozen=True)
class RetryAsked:
    """Somebody asked for a blocked step, or for an empty pool, to be tried again."""

    at: datetime
    act: Act | None


@dataclass
class TimerSet:
    """The workflow waits, at most until an instant."""

    fires_at: datetime
    is_over: bool = False


@dataclass(frozen=True)
class NoWorker:
    """No worker took a task of the workflow or a step, for longer than waiting for a turn takes."""

    since: datetime
    until: datetime


@dataclass(frozen=True)
class CodeFailed:
    """A task of the workflow failed: its code has a defect, or the server refused what it asked for."""

    at: datetime
    message: str


Record: TypeAlias = StepTaken | RetryAsked | TimerSet | NoWorker | CodeFailed


@dataclass
class Run:
    """One run of a user's workflow."""

    run_id: str
    started_at: datetime
    continues: str | None
    """The id of the run that continued as this one; None for the first run of an execution."""
    carried: Recollection | None
    records: list[Record] = field(default_factory=list[Record])
    """The records, in the order in which they began."""
    closed_at: datetime | None = None
    closed_by: str | None = None
    """How it closed: ``completed``, ``continued as new``, ``terminated``, ``failed`` and why."""


@dataclass(frozen=True)
class Pending:
    """A step that is under way just now."""

    name: str
    attempt: int
    last_failure: str | None
    next_attempt_at: datetime | None


@dataclass(frozen=True)
class UserHistory:
    """What the server still has of a user's workflow."""

    user_id: str
    runs: list[Run]
    """The runs that were read, oldest first."""
    pending: list[Pending]
    failed_tasks: int
    """How often the workflow's present task has failed in a row."""
    is_cut: bool
    """Whether the server has older runs, which the caller did not ask for."""


async def history_of(
    client: Client, user_id: str, *, runs_max: int | None, timeout: timedelta, progress: Callable[[int], None]
) -> UserHistory:
    """The latest ``runs_max`` runs of a user's workflow that the server still has; None stands for all of them.

    ``progress`` is called after each run, with the number of those that have been read.

    Raises NoHistory, NoAnswer if the server does not answer, and ServiceError where the payloads cannot be read.
    """
    try:
        described = await client.get_workflow_handle(workflow_id(user_id)).describe(rpc_timeout=timeout)
        runs: list[Run] = []
        run_id: str | None = described.run_id
        while run_id is not None and len(runs) != runs_max:
            handle = client.get_workflow_handle(workflow_id(user_id), run_id=run_id)
            runs.insert(0, await read_run(await _events(handle, timeout), client.data_converter))
            progress(len(runs))
            run_id = await _run_before(client, workflow_id(user_id), runs[0], timeout)
        raw = described.raw_description
        return UserHistory(
            user_id=user_id,
            runs=runs,
            pending=[await _pending(activity, client.data_converter) for activity in raw.pending_activities],
            failed_tasks=max(raw.pending_workflow_task.attempt - 1, 0),
            is_cut=run_id is not None,
        )
    except RPCError as error:
        if error.status == RPCStatusCode.NOT_FOUND:
            raise NoHistory(
                f"the Temporal server has no workflow of user {user_id}: there never was one, or it closed longer "
                f"ago than the server keeps histories; `starter.py status {user_id}` says what the ledger knows"
            ) from None
        raise NoAnswer(f"the history cannot be read: {error.message}") from error
    except ValidationError as error:
        raise ServiceError(
            f"a newer version of this program has written the history of user {user_id}, and this one cannot read "
            f"it: {'; '.join(fault['msg'] for fault in error.errors())}"
        ) from error


async def _run_before(client: Client, id_of_workflow: str, run: Run, timeout: timedelta) -> str | None:
    """The id of the same user's run before this one; None if there was none, or if the server has dropped it."""
    before = run.continues or await _execution_before(client, id_of_workflow, run, timeout)
    if before is None:
        return None
    try:
        await client.get_workflow_handle(id_of_workflow, run_id=before).describe(rpc_timeout=timeout)
    except RPCError as error:
        if error.status == RPCStatusCode.NOT_FOUND:
            return None
        raise
    return before


async def _execution_before(client: Client, id_of_workflow: str, run: Run, timeout: timedelta) -> str | None:
    """The id of the user's latest run that began before this one, where this one does not continue another."""
    executions = client.list_workflows(f"WorkflowId = '{id_of_workflow}'", rpc_timeout=timeout)
    try:
        before = [one async for one in executions if one.start_time < run.started_at and one.run_id != run.run_id]
    except RPCError as error:
        # A server without visibility has nothing to say of what closed.
        if error.status in (RPCStatusCode.UNIMPLEMENTED, RPCStatusCode.PERMISSION_DENIED):
            return None
        raise
    return max(before, key=lambda one: one.start_time).run_id if before else None


async def _events(handle: WorkflowHandle[Any, Any], timeout: timedelta) -> list[HistoryEvent]:
    return [event async for event in handle.fetch_history_events(rpc_timeout=timeout)]


async def _pending(activity: PendingActivityInfo, converter: DataConverter) -> Pending:
    waits = activity.HasField("next_attempt_schedule_time")
    return Pending(
        name=activity.activity_type.name,
        attempt=activity.attempt,
        last_failure=await failure_text(activity.last_failure, converter),
        next_attempt_at=_instant(activity.next_attempt_schedule_time) if waits else None,
    )


async def read_run(events: Iterable[HistoryEvent], converter: DataConverter) -> Run:
    """The run of these events. They must be all events of the run, from the first one on."""
    first, *others = events
    reader = _Reader(await _begun(first, converter), converter)
    for event in others:
        await reader.read(event)
    return reader.run


async def _begun(event: HistoryEvent, converter: DataConverter) -> Run:
    started = event.workflow_execution_started_event_attributes
    carried: Recollection | None = None
    if len(started.input.payloads) > 1:
        carried = (await converter.decode(started.input.payloads, [str, Recollection]))[1]
    return Run(
        run_id=started.original_execution_run_id,
        started_at=_instant(event.event_time),
        continues=started.continued_execution_run_id or None,
        carried=carried,
    )


class _Reader:
    """Turns the events of a run into records, one event after the other."""

    def __init__(self, run: Run, converter: DataConverter) -> None:
        self.run = run
        self._converter = converter
        self._begun: dict[int, HistoryEvent] = {}
        """The events of tasks and steps that wait for a worker, by the ids of these events."""
        self._steps: dict[int, StepTaken] = {}
        self._timers: dict[int, TimerSet] = {}
        self._messages: set[str] = set()
        """The ids of updates that are being answered."""

    async def read(self, event: HistoryEvent) -> None:
        at = _instant(event.event_time)
        match event.event_type:
            case EventType.EVENT_TYPE_ACTIVITY_TASK_SCHEDULED:
                self._begun[event.event_id] = event
                await self._step_scheduled(event)
            case EventType.EVENT_TYPE_ACTIVITY_TASK_STARTED:
                await self._step_started(event)
            case EventType.EVENT_TYPE_ACTIVITY_TASK_COMPLETED:
                completed = event.activity_task_completed_event_attributes
                step = self._steps[completed.scheduled_event_id]
                step.closed_at = at
                step.answer = await self._decode_answer(step.name, completed.result)
            case EventType.EVENT_TYPE_ACTIVITY_TASK_FAILED:
                failed = event.activity_task_failed_event_attributes
                step = self._steps[failed.scheduled_event_id]
                step.closed_at, step.error = at, await failure_text(failed.failure, self._converter)
            case EventType.EVENT_TYPE_ACTIVITY_TASK_TIMED_OUT:
                timed_out = event.activity_task_timed_out_event_attributes
                step = self._steps[timed_out.scheduled_event_id]
                step.closed_at, step.error = at, await failure_text(timed_out.failure, self._converter)
            case EventType.EVENT_TYPE_MARKER_RECORDED:
                await self._step_at_once(event.marker_recorded_event_attributes)
            case EventType.EVENT_TYPE_TIMER_STARTED:
                lasts = event.timer_started_event_attributes.start_to_fire_timeout.ToTimedelta()
                self._timers[event.event_id] = TimerSet(at + lasts)
                if lasts > A_TASK_LATER:
                    self.run.records.append(self._timers[event.event_id])
            case EventType.EVENT_TYPE_TIMER_FIRED:
                self._timers[event.timer_fired_event_attributes.started_event_id].is_over = True
            case EventType.EVENT_TYPE_TIMER_CANCELED:
                self._timers[event.timer_canceled_event_attributes.started_event_id].is_over = True
            case EventType.EVENT_TYPE_WORKFLOW_EXECUTION_UPDATE_ACCEPTED:
                await self._update_accepted(event)
            case EventType.EVENT_TYPE_WORKFLOW_EXECUTION_UPDATE_COMPLETED:
                self._messages.discard(event.workflow_execution_update_completed_event_attributes.meta.update_id)
            case _:
                await self._task_or_end(event)

    async def _task_or_end(self, event: HistoryEvent) -> None:
        at = _instant(event.event_time)
        match event.event_type:
            case EventType.EVENT_TYPE_WORKFLOW_TASK_SCHEDULED:
                self._begun[event.event_id] = event
            case EventType.EVENT_TYPE_WORKFLOW_TASK_STARTED:
                self._taken_up(event.workflow_task_started_event_attributes.scheduled_event_id, at)
            case EventType.EVENT_TYPE_WORKFLOW_TASK_FAILED:
                failed = event.workflow_task_failed_event_attributes
                if is_defect(failed.cause):
                    message = await failure_text(failed.failure, self._converter) or "it does not say why"
                    self.run.records.append(CodeFailed(at, message))
            case EventType.EVENT_TYPE_WORKFLOW_EXECUTION_COMPLETED:
                self._closed(at, "completed")
            case EventType.EVENT_TYPE_WORKFLOW_EXECUTION_CONTINUED_AS_NEW:
                self._closed(at, "continued as new")
            case EventType.EVENT_TYPE_WORKFLOW_EXECUTION_TERMINATED:
                reason = event.workflow_execution_terminated_event_attributes.reason
                self._closed(at, f"terminated: {reason}" if reason else "terminated")
            case EventType.EVENT_TYPE_WORKFLOW_EXECUTION_FAILED:
                failure = event.workflow_execution_failed_event_attributes.failure
                self._closed(at, f"failed: {await failure_text(failure, self._converter)}")
            case EventType.EVENT_TYPE_WORKFLOW_EXECUTION_CANCELED:
                self._closed(at, "cancelled")
            case EventType.EVENT_TYPE_WORKFLOW_EXECUTION_TIMED_OUT:
                self._closed(at, "timed out")
            case _:
                pass

    def _closed(self, at: datetime, by: str) -> None:
        self.run.closed_at, self.run.closed_by = at, by

    def _taken_up(self, scheduled_event_id: int, at: datetime) -> None:
        since = _instant(self._begun.pop(scheduled_event_id).event_time)
        if at - since >= _NOTICED_AFTER:
            self.run.records.append(NoWorker(since, at))

    async def _step_scheduled(self, event: HistoryEvent) -> None:
        scheduled = event.activity_task_scheduled_event_attributes
        name = scheduled.activity_type.name
        request = None
        if name in _STEPS:
            [request] = await self._converter.decode(scheduled.input.payloads, [_STEPS[name][0]])
        step = StepTaken(name, request, _instant(event.event_time), is_for_a_message=bool(self._messages))
        self._steps[event.event_id] = step
        self.run.records.append(step)

    async def _step_started(self, event: HistoryEvent) -> None:
        """The server writes this event when a step ends. It shows the last attempt and the failure before it."""
        started = event.activity_task_started_event_attributes
        step = self._steps[started.scheduled_event_id]
        step.attempts = started.attempt
        step.last_failure = await failure_text(started.last_failure, self._converter)
        if started.attempt == 1:
            self._taken_up(started.scheduled_event_id, _instant(event.event_time))

    async def _step_at_once(self, marker: MarkerRecordedEventAttributes) -> None:
        if marker.marker_name != LOCAL_ACTIVITY:
            return
        told = _AtOnce.model_validate_json(marker.details["data"].payloads[0].data)
        at = _instant(Timestamp(seconds=told.complete_time.seconds, nanos=told.complete_time.nanos))
        step = StepTaken(told.activity_type, None, at, at, was_at_once=True)
        if marker.HasField("failure"):
            step.error = await failure_text(marker.failure, self._converter)
        else:
            step.answer = await self._decode_answer(step.name, marker.details["result"])
        self.run.records.append(step)

    async def _update_accepted(self, event: HistoryEvent) -> None:
        request = event.workflow_execution_update_accepted_event_attributes.accepted_request
        self._messages.add(request.meta.update_id)
        asked = request.input
        if asked.name == RETRY:
            act: Act | None = None
            if asked.args.payloads:
                [act] = await self._converter.decode(asked.args.payloads[:1], [_OPTIONAL_ACT])
            self.run.records.append(RetryAsked(_instant(event.event_time), act))

    async def _decode_answer(self, name: str, result: Payloads) -> Any:
        if name not in _STEPS:
            return None
        [answer] = await self._converter.decode(result.payloads or [Payload()], [_STEPS[name][1]])
        return answer


def _instant(timestamp: Timestamp) -> datetime:
    return timestamp.ToDatetime(UTC)
