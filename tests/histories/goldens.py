"""Golden histories: files that show what the histories of running workflows look like.

``first_days.2.json`` is the second shape that the story ``first_days`` has had. Older shapes stay, since workflows
that look so may be running still. ``first_days.txt`` is the fingerprint of the latest: the commands, to be read in a
diff. ``first_days.2.diary.txt`` is what `starter.py history` makes of the golden.
"""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from google.protobuf.json_format import ParseDict
from temporalio.api.common.v1 import Payload
from temporalio.api.enums.v1 import EventType
from temporalio.api.history.v1 import History, HistoryEvent
from temporalio.client import WorkflowHistory
from temporalio.contrib.pydantic import pydantic_data_converter

from staking.steps import TASK_QUEUE, workflow_id

FOLDER = Path(__file__).parent
_FILE = re.compile(r"(?P<name>[a-z0-9_]+)\.(?P<number>[0-9]+)\.json")
_OF_THIS_MACHINE = {"identity", "binaryChecksum", "stackTrace", "workerVersion"}
"""Keys whose values name a host, a process, a path or a build."""
_NOTE = " · "


@dataclass(frozen=True, order=True)
class Golden:
    """One file."""

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
        return WorkflowHistory.from_json(workflow_id("ann"), self.file.read_text(encoding="utf-8"))

    def write(self, history: dict[str, Any]) -> None:
        """An event a line. Nothing of the machine that recorded it."""
        events = ",\n".join(
            json.dumps(_without_this_machine(event), separators=(",", ":")) for event in history["events"]
        )
        self.file.write_text(f'{{"events":[\n{events}\n]}}\n', encoding="utf-8")


def all_goldens() -> list[Golden]:
    matches = [_FILE.fullmatch(file.name) for file in FOLDER.glob("*.json")]
    return sorted(Golden(match["name"], int(match["number"])) for match in matches if match)


def latest_goldens() -> dict[str, Golden]:
    """By name; of several shapes that a story has had, today's."""
    return {golden.name: golden for golden in all_goldens()}


def fingerprint_file(name: str) -> Path:
    return FOLDER / f"{name}.txt"


def fingerprint(history: History | WorkflowHistory) -> str:
    """The commands of a history, one a line. What follows " · " is for the reader and no part of the comparison."""
    return "".join(f"{line}\n" for event in history.events for line in _command(event))


def commands(fingerprint_text: str) -> list[str]:
    """What must not change: kinds and names, without what summaries say."""
    return [line.split(_NOTE)[0] for line in fingerprint_text.splitlines()]


def history_from(events: dict[str, Any]) -> History:
    return ParseDict(events, History())


def _command(event: HistoryEvent) -> Iterator[str]:
    kind = EventType.Name(event.event_type)
    attributes = getattr(event, str(event.WhichOneof("attributes")))
    match kind.removeprefix("EVENT_TYPE_"):
        case "ACTIVITY_TASK_SCHEDULED":
            yield f"activity {attributes.activity_type.name}{_note(event)}"
        case "TIMER_STARTED":
            yield f"timer{_note(event)}"
        case "WORKFLOW_EXECUTION_UPDATE_ACCEPTED":
            yield f"accept update {attributes.accepted_request.input.name}"
        case "WORKFLOW_EXECUTION_UPDATE_COMPLETED":
            yield "complete update"
        case "UPSERT_WORKFLOW_SEARCH_ATTRIBUTES":
            yield f"search attributes {', '.join(sorted(attributes.search_attributes.indexed_fields))}"
        case "MARKER_RECORDED":
            yield f"marker {attributes.marker_name} {_patch_id(attributes.details)}".rstrip()
        case "WORKFLOW_EXECUTION_STARTED" | "WORKFLOW_EXECUTION_TERMINATED" | "WORKFLOW_EXECUTION_TIMED_OUT":
            pass  # what others did to the workflow
        case "TIMER_FIRED" | "WORKFLOW_EXECUTION_UPDATE_ADMITTED" | "WORKFLOW_EXECUTION_SIGNALED":
            pass
        case other if other.startswith("WORKFLOW_TASK_") or re.fullmatch(
            "ACTIVITY_TASK_(STARTED|COMPLETED|FAILED|TIMED_OUT|CANCELED)", other
        ):
            pass  # how a command went, not that it was given
        case other:
            yield other.lower().replace("_", " ")


def _note(event: HistoryEvent) -> str:
    summary = event.user_metadata.summary
    if not summary.data:
        return ""
    [text] = pydantic_data_converter.payload_converter.from_payloads([summary], [str])
    return f"{_NOTE}{text}"


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
