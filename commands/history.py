"""history: a user's diary, from the history of the user's workflow."""

from contextlib import AbstractContextManager
from datetime import timedelta
from time import monotonic
from typing import Annotated, Any

import typer
from rich.progress import SpinnerColumn, TextColumn
from rich.text import Text

from commands.arguments import TimeoutOption, UserArgument
from commands.output import JsonOption, console, in_lines, print_json, print_prose, progress
from contract.steps import workflow_id
from diary.history import UserHistory, history_of
from diary.retelling import Diary, diary_lines, diary_of, instant_text
from running.process import run
from temporal.connection import connect

_SHOWS_PROGRESS_AFTER_S = 2.0
_DAY_WIDTH = len("2026-10-01") + 2
_STYLES = {
    "activated": "green",
    "ended": "bold",
    "refused": "yellow",
    "held": "yellow",
    "waited_for_pool": "yellow",
    "retried": "yellow",
    "no_worker": "yellow",
    "blocked": "red",
    "code_failed": "red",
    "now": "bold",
}


def history(
    user: UserArgument,
    runs: Annotated[
        int | None,
        typer.Option(
            min=1,
            metavar="N",
            help="Read the latest runs only; a run has 30 accrual days. Default: all there are.",
        ),
    ] = None,
    timeout: TimeoutOption = 10,
    as_json: JsonOption = False,
) -> None:
    """Print day by day what happened to a user and what the loop waited for, as the workflow's history has it.

    The history goes back as far as the Temporal server keeps it; `rewards` and `status` know everything from the
    ledger. Each line stands at the day that it is about, although a day's reward is credited on the next day.

    Example: python starter.py history 1001 --runs 1
    """
    diary = diary_of(run(_read(user, runs, timedelta(seconds=timeout))))
    if as_json:
        print_json(_json(diary))
    else:
        _print(diary)


async def _read(user: str, runs: int | None, timeout: timedelta) -> UserHistory:
    client = await connect(timeout=timeout)
    with _Reading() as reading:
        return await history_of(client, user, runs_max=runs, timeout=timeout, progress=reading.has_read)


class _Reading(AbstractContextManager["_Reading"]):
    """Shows progress if the reading takes a while."""

    def __init__(self) -> None:
        self._began_at = monotonic()
        self._shown = progress(SpinnerColumn(), TextColumn("reading the history: {task.completed} runs"))
        self._task = self._shown.add_task("", total=None)
        self._is_shown = False

    def has_read(self, runs: int) -> None:
        """Called after each run."""
        if not self._is_shown and monotonic() - self._began_at > _SHOWS_PROGRESS_AFTER_S:
            self._is_shown = True
            self._shown.start()
        self._shown.update(self._task, completed=runs)

    def __exit__(self, *_: object) -> None:
        if self._is_shown:
            self._shown.stop()


def _print(diary: Diary) -> None:
    terminal = console()
    runs = "1 run" if len(diary.runs) == 1 else f"{len(diary.runs)} runs"
    since = instant_text(diary.runs[0].started_at)
    heading = f"Soft Staking of {diary.user_id}: {runs} since {since}. Days and instants are UTC."
    print_prose(Text(heading, "bold"))
    if diary.begins:
        print_prose(f"The story {diary.begins}.")
    terminal.print()
    for day, kind, text in diary_lines(diary):
        lines = in_lines(terminal, Text(text, _STYLES.get(kind, "")), terminal.width - _DAY_WIDTH)
        for number, line in enumerate(lines):
            start = "" if number else day
            terminal.print(Text(f"{start:<{_DAY_WIDTH}}") + line, soft_wrap=True)


def _json(diary: Diary) -> dict[str, Any]:
    return {
        "user": diary.user_id,
        "workflow_id": workflow_id(diary.user_id),
        "runs": [
            {
                "run_id": one.run_id,
                "started_at": one.started_at,
                "closed_at": one.closed_at,
                "closed_by": one.closed_by,
            }
            for one in diary.runs
        ],
        "begins": diary.begins,
        "notes": [
            {
                "day": note.day,
                "kind": note.kind,
                "at": note.at,
                "until": note.until,
                "text": note.text,
                "facts": note.facts,
            }
            for note in diary.notes
        ],
        "now": diary.now,
    }
