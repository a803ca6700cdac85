"""The measurement of a midnight, with a few users, measures what it says."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from temporalio.api.common.v1 import Payload, SearchAttributes
from temporalio.api.enums.v1 import EventType
from temporalio.api.history.v1 import (
    ActivityTaskStartedEventAttributes,
    HistoryEvent,
    MarkerRecordedEventAttributes,
    UpsertWorkflowSearchAttributesEventAttributes,
)
from world import ROOT

from benchmarks.midnight.histories import billed_actions

USERS = 5


def midnight(folder: Path, *arguments: str) -> list[dict[str, Any]]:
    """The rows that one run of the module prints."""
    command = [sys.executable, "-m", "benchmarks.midnight", "--users", str(USERS), "--repeat", "1", "--json"]
    command += ["--database", "sqlite"]
    errors = folder / "errors.txt"
    with errors.open("w") as stream:
        ran = subprocess.run([*command, *arguments], cwd=ROOT, stdout=subprocess.PIPE, stderr=stream)
    assert ran.returncode == 0, errors.read_text()
    return json.loads(ran.stdout)


def test_everybody_who_sleeps_until_one_instant_is_paid_and_every_figure_is_printed(tmp_path: Path) -> None:
    floor, here = midnight(tmp_path, "--rows", "floor,here", "--days-behind", "2")
    for row in (floor, here):
        assert row["finished"] == row["users"] == USERS
        assert 0 < row["late_p50_s"] <= row["late_p99_s"] <= row["late_max_s"]
        assert row["in_all_ms"] == row["worker_ms"] + row["server_ms"]
        assert row["database_ms"] is None
        assert row["worker_rss_mb"] > 0
    # The user's timer fires, one workflow task is executed, and a new timer starts.
    assert (floor["events"], floor["actions"], floor["times_the_floor"]) == (5, 1, 1)
    # There are two days before it. Each has an action for the timer and for at least one step.
    assert here["events"] > floor["events"]
    assert here["actions"] > floor["actions"]
    assert here["stored_bytes"] > 2 * here["history_bytes"] > 0


def test_messages_that_are_sent_while_users_are_paid_are_timed(tmp_path: Path) -> None:
    answers = {row["message"]: row for row in midnight(tmp_path, "--messages")}
    assert answers["Start Earning"]["sent"] >= 1
    for row in answers.values():
        assert row["failures"] == []
        assert 0 < row["p50_s"] <= row["p99_s"] <= row["max_s"]


def test_a_wave_is_measured_without_movements_and_while_they_come_in(tmp_path: Path) -> None:
    (wave,) = midnight(tmp_path, "--feed", "50")
    assert wave["users"] == USERS
    assert wave["ratio"] == wave["fed_users_per_s"] / wave["users_per_s"]
    assert 0 < wave["movements_per_s"] < 75


def test_runs_of_a_length_are_measured_warm_and_cold(tmp_path: Path) -> None:
    (length,) = midnight(tmp_path, "--run-lengths", "1")
    assert length["days"] == 1
    assert length["warm"]["finished"] == length["cold"]["finished"] == USERS


def test_a_worker_s_memory_is_measured_for_each_number_of_sleepers(tmp_path: Path) -> None:
    memories = midnight(tmp_path, "--sleepers", "4,2")
    assert [memory["sleepers"] for memory in memories] == [2, 4]
    assert all(memory["worker_rss_mb"] > 0 for memory in memories)


def test_actions_are_counted_as_they_are_billed() -> None:
    def event(kind: "EventType.ValueType", **attributes: Any) -> HistoryEvent:
        return HistoryEvent(event_type=kind, **attributes)

    def marker(name: str, task: int) -> HistoryEvent:
        recorded = MarkerRecordedEventAttributes(marker_name=name, workflow_task_completed_event_id=task)
        return event(EventType.EVENT_TYPE_MARKER_RECORDED, marker_recorded_event_attributes=recorded)

    def upsert(*names: str) -> HistoryEvent:
        attributes = SearchAttributes(indexed_fields={name: Payload() for name in names})
        upserted = UpsertWorkflowSearchAttributesEventAttributes(search_attributes=attributes)
        kind = EventType.EVENT_TYPE_UPSERT_WORKFLOW_SEARCH_ATTRIBUTES
        return event(kind, upsert_workflow_search_attributes_event_attributes=upserted)

    third_try = ActivityTaskStartedEventAttributes(attempt=3)
    for actions, events in (
        (1, [event(EventType.EVENT_TYPE_WORKFLOW_EXECUTION_STARTED)]),
        (1, [event(EventType.EVENT_TYPE_TIMER_STARTED), event(EventType.EVENT_TYPE_TIMER_FIRED)]),
        (1, [event(EventType.EVENT_TYPE_WORKFLOW_EXECUTION_SIGNALED)]),
        (1, [event(EventType.EVENT_TYPE_WORKFLOW_EXECUTION_UPDATE_ACCEPTED)]),
        (3, [event(EventType.EVENT_TYPE_ACTIVITY_TASK_STARTED, activity_task_started_event_attributes=third_try)]),
        (0, [event(EventType.EVENT_TYPE_WORKFLOW_TASK_SCHEDULED)]),
        (1, [marker("core_local_activity", 4)] * 3),
        (2, [marker("core_local_activity", 4), marker("core_local_activity", 9)]),
        (0, [marker("core_patch", 4), upsert("TemporalChangeVersion")]),
        (1, [upsert("SoftStakingState", "SoftStakingRegion")]),
    ):
        assert billed_actions(events) == actions, events
