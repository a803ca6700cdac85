"""Logs: JSON for programs, text on a terminal. Every line about a step has the user, the day and the attempt.

The message of an error may contain amounts and regions. It is in the workflow's history, for those who may read
it. A line has only the kind of the error and the places where it arose, and the message only if that says nothing
about a user.
"""

import json
import logging
import sys
import traceback
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any, TextIO

from temporalio import activity, workflow
from temporalio.exceptions import ApplicationError
from temporalio.service import RPCError

from contract.steps import workflow_id
from ledger.errors import LedgerUnavailable
from settings import Settings
from telemetry.step_telemetry import day_in_progress

OURS = "soft_staking"
"""What our own loggers' names begin with."""
_WORKFLOW_ID_PREFIX = workflow_id("")
_SAY_NOTHING_OF_USERS = (LedgerUnavailable, RPCError, OSError)
_FIELDS_OF_THE_CORE = ("workflow_id", "run_id", "error")


def start_logging(settings: Settings, stream: TextIO = sys.stderr) -> None:
    """Sends everything that is logged from now on to a stream, according to the settings."""
    is_json = settings.log_format == "json" or (settings.log_format == "auto" and not stream.isatty())
    level = settings.log_level or ("INFO" if is_json else "WARNING")
    handler = logging.StreamHandler(stream)
    handler.setFormatter(JsonFormatter() if is_json else TextFormatter())
    logging.disable(logging.NOTSET)
    # Other packages log statements and messages at lower levels, which contain amounts.
    logging.basicConfig(
        level=max(logging.getLevelNamesMapping()[level], logging.WARNING), handlers=[handler], force=True
    )
    logging.getLogger(OURS).setLevel(level)
    # As fields, not as the text of a Python dictionary after each message.
    activity.logger.activity_info_on_message = False
    workflow.logger.workflow_info_on_message = False


class JsonFormatter(logging.Formatter):
    """A line of JSON for each record."""

    def format(self, record: logging.LogRecord) -> str:
        line = {
            "time": _time(record),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
            **_context(record),
        }
        if record.exc_info and record.exc_info[1]:
            line["error"] = " caused by ".join(_chain(record.exc_info[1]))
            line["stack"] = _stack(record.exc_info[1])
        return json.dumps(line, default=str, ensure_ascii=False)


class TextFormatter(logging.Formatter):
    """A line for a person, and the stack below it."""

    def format(self, record: logging.LogRecord) -> str:
        context = "".join(f" {name}={value}" for name, value in _context(record).items())
        line = f"{_time(record)} {record.levelname} {record.name}: {record.getMessage()}{context}"
        if record.exc_info and record.exc_info[1]:
            line += f"\n  {' caused by '.join(_chain(record.exc_info[1]))}"
            line += "".join(f"\n    {place}" for place in _stack(record.exc_info[1]))
        return line


def _time(record: logging.LogRecord) -> str:
    return datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _context(record: logging.LogRecord) -> dict[str, Any]:
    """User, day and attempt of a step, as far as the SDK or the step has them."""
    found: dict[str, Any] = {}
    fields: Mapping[str, Any] = getattr(record, "temporal_activity", None) or getattr(
        record, "temporal_workflow", {}
    )
    if not fields and activity.in_activity():
        info = activity.info()
        fields = {
            "workflow_id": info.workflow_id,
            "workflow_run_id": info.workflow_run_id,
            "activity_type": info.activity_type,
            "attempt": info.attempt,
        }
    if core := getattr(record, "temporal_log", None):
        fields = {name: value for name, value in core.fields.items() if name in _FIELDS_OF_THE_CORE}
    identity = str(fields.get("workflow_id") or "")
    if identity.startswith(_WORKFLOW_ID_PREFIX):
        found["user"] = identity.removeprefix(_WORKFLOW_ID_PREFIX)
    if told := getattr(record, "day", None):
        found["day"] = told
    elif (day := day_in_progress.get()) is not None:
        found["day"] = day.isoformat()
    names = {
        "step": fields.get("activity_type"),
        "attempt": fields.get("attempt"),
        "workflow_id": identity,
        "run_id": fields.get("workflow_run_id") or fields.get("run_id"),
        "error": fields.get("error"),
    }
    return found | {name: value for name, value in names.items() if value}


def _chain(error: BaseException) -> Iterator[str]:
    seen: set[int] = set()
    link: BaseException | None = error
    while link is not None and id(link) not in seen:
        seen.add(id(link))
        yield _named(link)
        link = link.__cause__ or (None if link.__suppress_context__ else link.__context__)


def _named(error: BaseException) -> str:
    kind = type(error).__name__
    if isinstance(error, ApplicationError) and error.type:
        kind = error.type
    if isinstance(error, _SAY_NOTHING_OF_USERS) or kind == LedgerUnavailable.__name__:
        return f"{kind}: {' '.join(str(error).split())}"
    return kind


def _stack(error: BaseException) -> list[str]:
    return [
        f"{frame.filename}:{frame.lineno} in {frame.name}" for frame in traceback.extract_tb(error.__traceback__)
    ]
