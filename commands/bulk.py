"""Sends one request for each of many users: some at the same time, with progress, and with a list of the
failures."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import typer
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn

from commands.output import print_json, progress
from contract.errors import ServiceError
from ledger.errors import LedgerError, LedgerUnavailable
from running.process import FAILED, say

AT_ONCE = 20
"""How many requests are open at the same time. A server and its workers can take many more."""
SAID_EVERY = 100
FAILURES_IN_A_ROW_MAX = 3 * AT_ONCE
"""After this many failures in a row the cause is not the users, and each further request would cost a timeout."""


@dataclass
class Results:
    """The result for the users who were to be asked."""

    users: int
    done: int = 0
    failed: dict[str, str] = field(default_factory=dict[str, str])
    """The problem of each user for whom it failed."""

    @property
    def not_asked(self) -> int:
        """How many users had not been asked when the command gave up."""
        return self.users - self.done - len(self.failed)


async def for_each(what: str, user_ids: Sequence[str], do: Callable[[str], Awaitable[object]]) -> Results:
    """Sends the request for every user. A failure of one does not stop the others, unless all fail.

    If the command is interrupted, it says how far it came.
    """
    outcome = Results(len(user_ids))
    columns = (TextColumn(what), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    failed_in_a_row = 0
    waiting = iter(user_ids)

    async def work_off(rest: Iterator[str]) -> None:
        nonlocal failed_in_a_row
        for user_id in rest:
            try:
                await do(user_id)
            except (ServiceError, LedgerError, LedgerUnavailable) as error:
                outcome.failed[user_id] = str(error)
                failed_in_a_row += 1
            else:
                outcome.done += 1
                failed_in_a_row = 0
            show()
            if failed_in_a_row >= FAILURES_IN_A_ROW_MAX:
                return

    with progress(*columns) as shown:
        task = shown.add_task("", total=len(user_ids))

        def show() -> None:
            asked = outcome.done + len(outcome.failed)
            shown.update(task, completed=asked)
            if shown.disable and asked % SAID_EVERY == 0:
                say(f"{what}: {asked} of {len(user_ids)}")

        try:
            async with asyncio.TaskGroup() as group:
                for _ in range(AT_ONCE):
                    group.create_task(work_off(waiting))
        except asyncio.CancelledError:
            say(f"{what}: {outcome.done} of {len(user_ids)} are done; the same command again does the rest")
            raise
    return outcome


def report(outcome: Results, sentence: str, answer: dict[str, Any], *, as_json: bool) -> None:
    """Prints the result, and ends the command with 1 if any user is left."""
    if as_json:
        failed = [{"user": user, "problem": problem} for user, problem in sorted(outcome.failed.items())]
        counts = {"users": outcome.users, "done": outcome.done, "not_asked": outcome.not_asked}
        print_json({**answer, **counts, "failed": failed})
    else:
        print(sentence)
        for user, problem in sorted(outcome.failed.items()):
            say(f"{user}: {problem}")
        if outcome.not_asked:
            say(
                f"given up after {FAILURES_IN_A_ROW_MAX} failures in a row; {outcome.not_asked} users are left, "
                "whom the same command asks once it is mended"
            )
    if outcome.failed or outcome.not_asked:
        raise typer.Exit(FAILED)


def counted(users: int) -> str:
    """A number of users, in words."""
    return f"{users} user" if users == 1 else f"{users} users"
