"""What a user's day writes to Temporal's history, and what Temporal Cloud would bill for it.

Actions are counted from the events by Temporal's published rule (its page "Temporal Cloud Actions"): one for each
start of a run (also by continue-as-new), timer, activity and retry of it, signal, update that is not rejected, and
upsert of search attributes; the local activities of one workflow task are one together. What the SDK upserts for
`patched()` is free. Rejected updates and queries leave no event, and a day has none.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from temporalio.api.enums.v1 import EventType
from temporalio.api.history.v1 import HistoryEvent
from temporalio.client import Client

_AT_ONCE = 10
_SETTLED_WITHIN_S = 20
_ASKED_AGAIN_AFTER_S = 0.5
_OF_A_TASK_THAT_IS_OPEN = frozenset(
    {
        EventType.EVENT_TYPE_WORKFLOW_TASK_SCHEDULED,
        EventType.EVENT_TYPE_WORKFLOW_TASK_STARTED,
        EventType.EVENT_TYPE_WORKFLOW_EXECUTION_CONTINUED_AS_NEW,
    }
)
"""After one of these events a history goes on by itself."""
_ONE_ACTION = frozenset(
    {
        EventType.EVENT_TYPE_WORKFLOW_EXECUTION_STARTED,
        EventType.EVENT_TYPE_TIMER_STARTED,
        EventType.EVENT_TYPE_WORKFLOW_EXECUTION_SIGNALED,
        EventType.EVENT_TYPE_WORKFLOW_EXECUTION_UPDATE_ACCEPTED,
    }
)
_LOCAL_ACTIVITY = "core_local_activity"
_FREE_ATTRIBUTE = "TemporalChangeVersion"


@dataclass(frozen=True)
class DayInHistory:
    """The means of some users."""

    events: float
    bytes: float
    actions: float
    stored_bytes: float
    """The size of the run's whole history, which is Temporal's active storage."""
    carried_bytes: float
    """The size of what the run began with."""


async def days_in_history(client: Client, workflow_ids: Sequence[str], since: datetime) -> DayInHistory:
    """What these workflows have written since an instant, in all runs that they had since then."""
    turn = asyncio.Semaphore(_AT_ONCE)

    async def read(workflow_id: str) -> tuple[float, ...]:
        async with turn:
            return _measured(await _runs(client, workflow_id, since), since)

    each = await asyncio.gather(*map(read, workflow_ids))
    return DayInHistory(*(sum(figures) / len(each) for figures in zip(*each, strict=True)))


async def _runs(client: Client, workflow_id: str, since: datetime) -> list[list[HistoryEvent]]:
    """The runs that have events since that instant, the oldest first."""
    runs = [await _settled(client, workflow_id)]
    while _time(runs[0][0]) >= since:
        before = runs[0][0].workflow_execution_started_event_attributes.continued_execution_run_id
        if not before:
            break
        history = await client.get_workflow_handle(workflow_id, run_id=before).fetch_history()
        runs.insert(0, list(history.events))
    return runs


async def _settled(client: Client, workflow_id: str) -> list[HistoryEvent]:
    """The latest run's events. This waits until no workflow task is open, since the last task may still be on its
    way."""
    clock = asyncio.get_running_loop().time
    until = clock() + _SETTLED_WITHIN_S
    while True:
        history = await client.get_workflow_handle(workflow_id).fetch_history()
        events = list(history.events)
        if events[-1].event_type not in _OF_A_TASK_THAT_IS_OPEN or clock() > until:
            return events
        await asyncio.sleep(_ASKED_AGAIN_AFTER_S)


def _measured(runs: Sequence[Sequence[HistoryEvent]], since: datetime) -> tuple[float, ...]:
    """The figures in the order of DayInHistory's fields."""
    written = [[event for event in run if _time(event) >= since] for run in runs]
    current = runs[-1]
    begun_with = current[0].workflow_execution_started_event_attributes.input.payloads
    return (
        sum(map(len, written)),
        sum(event.ByteSize() for run in written for event in run),
        sum(map(billed_actions, written)),
        sum(event.ByteSize() for event in current),
        sum(len(payload.data) for payload in begun_with),
    )


def billed_actions(events: Sequence[HistoryEvent]) -> int:
    """How many actions Temporal Cloud bills for these events of one run."""
    tasks_with_local_activities = {
        event.marker_recorded_event_attributes.workflow_task_completed_event_id
        for event in events
        if event.marker_recorded_event_attributes.marker_name == _LOCAL_ACTIVITY
    }
    return len(tasks_with_local_activities) + sum(map(_actions, events))


def _actions(event: HistoryEvent) -> int:
    if event.event_type == EventType.EVENT_TYPE_ACTIVITY_TASK_STARTED:
        return event.activity_task_started_event_attributes.attempt
    if event.event_type == EventType.EVENT_TYPE_UPSERT_WORKFLOW_SEARCH_ATTRIBUTES:
        upserted = event.upsert_workflow_search_attributes_event_attributes.search_attributes.indexed_fields
        return int(set(upserted) != {_FREE_ATTRIBUTE})
    return int(event.event_type in _ONE_ACTION)


def _time(event: HistoryEvent) -> datetime:
    return event.event_time.ToDatetime(UTC)
