"""Golden histories: files that show what the histories of running workflows look like.

``first_days.2.json`` is the second shape that the story ``first_days`` has had. Older shapes stay, since workflows
with such histories may still be running. ``first_days.commands.txt`` is the fingerprint of the latest shape: its
commands, to be read in a diff. ``first_days.2.diary.txt`` is what `starter.py history USER` makes of the golden.
"""

import base64
import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from difflib import unified_diff
from functools import cache
from pathlib import Path
from typing import Any

from google.protobuf.json_format import MessageToDict
from temporalio.api.common.v1 import Payload
from temporalio.api.enums.v1 import EventType
from temporalio.api.history.v1 import History, HistoryEvent
from temporalio.client import WorkflowHistory
from temporalio.worker import Replayer, UnsandboxedWorkflowRunner
from temporalio.worker.workflow_sandbox import SandboxedWorkflowRunner

from contract.steps import TASK_QUEUE, workflow_id
from diary.history import LOCAL_ACTIVITY, UserHistory, read_run
from diary.retelling import diary_lines, diary_of
from temporal.payloads import PYDANTIC
from workflows.soft_staking import SoftStakingWorkflow

FOLDER = Path(__file__).parent
_FILE = re.compile(r"(?P<name>[a-z0-9_]+)\.(?P<number>[0-9]+)\.json")
_OF_THIS_MACHINE = {"identity", "binaryChecksum", "stackTrace", "workerVersion"}
"""Keys whose values name a host, a process, a path or a build."""
_NOTE = " · "


@dataclass(frozen=True, order=True)
class Golden:
    """One shape of one run of a story; the story is ann's."""

    name: str
    number: int

    def __str__(self) -> str:
        return f"{self.name}.{self.number}"

    @property
    def file(self) -> Path:
        return FOLDER / f"{self}.json"

    @property
    def diary_file(self) -> Path:
        return FOLDER / f"{self}.diary.txt"

    @property
    def history(self) -> WorkflowHistory:
        """The history; do not change it. It is kept in memory, since reading the file takes as long as most
        tests."""
        return _history(self)

    @property
    def shows(self) -> list[str]:
        """The names of the search attributes that its first event shows."""
        with self.file.open(encoding="utf-8") as lines:
            next(lines)
            started = json.loads(next(lines).rstrip().rstrip(","))["workflowExecutionStartedEventAttributes"]
        return sorted(started.get("searchAttributes", {}).get("indexedFields", {}))

    def write(self, history: History) -> None:
        """The history as text with one event on each line, without anything about the machine that recorded it."""
        events = ",\n".join(
            json.dumps(_without_this_machine(event), separators=(",", ":"))
            for event in MessageToDict(history)["events"]
        )
        self.file.write_text(f'{{"events":[\n{events}\n]}}\n', encoding="utf-8")


@cache
def _history(golden: Golden) -> WorkflowHistory:
    return WorkflowHistory.from_json(workflow_id("ann"), golden.file.read_text(encoding="utf-8"))


def all_goldens() -> list[Golden]:
    matches = [_FILE.fullmatch(file.name) for file in FOLDER.glob("*.json")]
    return sorted(Golden(match["name"], int(match["number"])) for match in matches if match)


def latest_goldens() -> dict[str, Golden]:
    """The goldens by name. Of a story with several shapes this has the latest one."""
    return {golden.name: golden for golden in all_goldens()}


def fingerprint_file(name: str) -> Path:
    return FOLDER / f"{name}.commands.txt"


def fingerprint(history: History | WorkflowHistory) -> str:
    """The commands of a history, one on each line. The text after " · " is for the reader and is not compared."""
    updates: dict[str, str] = {}
    return "".join(f"{line}\n" for event in history.events for line in _command(event, updates))


def commands(fingerprint_text: str) -> list[str]:
    """What must not change: the kinds and names of commands, without their summaries."""
    return [line.split(_NOTE)[0] for line in fingerprint_text.splitlines()]


def fields(history: History | WorkflowHistory) -> set[str]:
    """The names of all fields in the payloads of a history, which today's models must be able to read."""
    found: set[str] = set()

    def look_into(value: Any) -> None:
        for inner in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
            look_into(inner)
        found.update(value if isinstance(value, dict) else ())

    for data in _payloads(MessageToDict(History(events=history.events))):
        look_into(json.loads(base64.b64decode(data)))
    return found


def _payloads(value: Any) -> Iterator[str]:
    if isinstance(value, dict) and {"metadata", "data"} <= value.keys():
        yield value["data"]
    elif isinstance(value, dict | list):
        for inner in value.values() if isinstance(value, dict) else value:
            yield from _payloads(inner)


async def replay_failure(golden: Golden, change: Callable[[HistoryEvent], None] | None = None) -> str | None:
    """Why today's code does not replay a golden; None if it does.

    ``change`` changes what the first event shows. Such a replay repeats one of the same code, so it runs without
    the sandbox, which takes two thirds of the time.
    """
    history = golden.history
    if change is not None:
        first = HistoryEvent()
        first.CopyFrom(history.events[0])
        change(first)
        history = replace(history, events=[first, *history.events[1:]])
    replayer = Replayer(
        workflows=[SoftStakingWorkflow],
        data_converter=PYDANTIC,
        workflow_runner=UnsandboxedWorkflowRunner() if change else SandboxedWorkflowRunner(),
    )
    result = await replayer.replay_workflow(history, raise_on_replay_failure=False)
    return None if result.replay_failure is None else str(result.replay_failure)


async def diary_text(golden: Golden) -> str:
    """The diary of a golden, as the terminal shows it."""
    run = await read_run(golden.history.events, PYDANTIC)
    diary = diary_of(UserHistory(user_id="ann", runs=[run], pending=[], failed_tasks=0, is_cut=False))
    lines = [f"The story {diary.begins}."] if diary.begins else []
    lines += [f"{day:<12}{text}" for day, _, text in diary_lines(diary)]
    return "".join(f"{line}\n" for line in lines)


def differences(before: str, now: str) -> str:
    """The difference of two fingerprints; empty if the commands are the same."""
    if commands(before) == commands(now):
        return ""
    return "\n".join(
        unified_diff(before.splitlines(), now.splitlines(), "as committed", "today", lineterm="", n=3)
    )


def _command(event: HistoryEvent, updates: dict[str, str]) -> Iterator[str]:
    kind = EventType.Name(event.event_type)
    attributes = getattr(event, str(event.WhichOneof("attributes")))
    match kind.removeprefix("EVENT_TYPE_"):
        case "ACTIVITY_TASK_SCHEDULED":
            yield f"activity {attributes.activity_type.name}{_note(event)}"
        case "TIMER_STARTED":
            yield f"timer{_note(event)}"
        case "WORKFLOW_EXECUTION_UPDATE_ACCEPTED":
            updates[attributes.accepted_request.meta.update_id] = attributes.accepted_request.input.name
            yield f"accept update {attributes.accepted_request.input.name}"
        case "WORKFLOW_EXECUTION_UPDATE_COMPLETED":
            yield f"complete update {updates[attributes.meta.update_id]}"
        case "UPSERT_WORKFLOW_SEARCH_ATTRIBUTES":
            yield f"search attributes {', '.join(sorted(attributes.search_attributes.indexed_fields))}"
        case "MARKER_RECORDED":
            if attributes.marker_name == LOCAL_ACTIVITY:
                yield f"at once {_local_activity(attributes.details)}{_note(event)}"
            else:
                yield f"marker {attributes.marker_name} {_patch_id(attributes.details)}".rstrip()
        case "WORKFLOW_EXECUTION_STARTED" | "WORKFLOW_EXECUTION_TERMINATED" | "WORKFLOW_EXECUTION_TIMED_OUT":
            pass  # These events show what others did to the workflow.
        case "TIMER_FIRED" | "WORKFLOW_EXECUTION_UPDATE_ADMITTED" | "WORKFLOW_EXECUTION_SIGNALED":
            pass
        case other if other.startswith("WORKFLOW_TASK_") or re.fullmatch(
            "ACTIVITY_TASK_(STARTED|COMPLETED|FAILED|TIMED_OUT|CANCELED)", other
        ):
            pass  # These events show the result of a command, and not that it was given.
        case other:
            yield other.lower().replace("_", " ")


def _note(event: HistoryEvent) -> str:
    summary = event.user_metadata.summary
    if not summary.data:
        return ""
    [text] = PYDANTIC.payload_converter.from_payloads([summary], [str])
    return f"{_NOTE}{text}"


def _local_activity(details: Any) -> str:
    return str(json.loads(details["data"].payloads[0].data)["activity_type"])


def _patch_id(details: Any) -> str:
    data: Payload = details["patch-data"].payloads[0] if "patch-data" in details else Payload()
    return str(json.loads(data.data)["id"]) if data.data else ""


def _without_this_machine(value: Any) -> Any:
    if isinstance(value, dict):
        return {
            key: {"name": TASK_QUEUE} if key == "taskQueue" else _without_this_machine(inner)
            for key, inner in value.items()
            if key not in _OF_THIS_MACHINE
        }
    return [_without_this_machine(inner) for inner in value] if isinstance(value, list) else value
