"""How a program runs: with one exit code, one sentence for every error, and no traceback."""

import asyncio
import signal
import sys
from collections.abc import AsyncGenerator, Callable, Coroutine
from contextlib import asynccontextmanager, suppress
from datetime import UTC, date, datetime, timedelta
from typing import Any, NoReturn, TypeVar

import typer
from pydantic import ValidationError

from commands.help import command_of
from embedded.exiting import exit_process
from embedded.temporal_server import EmbeddedServerError
from fleet.orphans import reaping_orphans
from ledger.engine import Ledger, make_ledger, open_ledger
from ledger.errors import LedgerError, LedgerUnavailable
from ledger.history_export import ExportError
from settings import Settings, faults_of_settings
from staking.models import check_user_id
from telemetry.address import Address
from telemetry.runtime import start_runtime
from workflows.client import ServiceError
from workflows.connection import BadConfiguration

_Answer = TypeVar("_Answer")
DONE, FAILED, WRONG_USAGE, INTERRUPTED = 0, 1, 2, 130


class CommandFailed(Exception):
    """A command was refused or failed; each of the sentences goes to stderr."""

    def __init__(self, *sentences: str) -> None:
        self.sentences = sentences
        super().__init__("; ".join(sentences))


_EXPECTED = (
    CommandFailed,
    ServiceError,
    LedgerError,
    LedgerUnavailable,
    ExportError,
    EmbeddedServerError,
    BadConfiguration,
)


def main(app: typer.Typer) -> NoReturn:
    """Runs the app and ends the process with 0 done, 1 refused or failed, 2 wrong usage."""
    # If a terminal does not have a character, its number is shown, rather than nothing.
    if reconfigure := getattr(sys.stdout, "reconfigure", None):
        reconfigure(errors="backslashreplace")
    # A terminated command stops what it started, as an interrupted one does.
    for number in stop_signals():
        signal.signal(number, signal.default_int_handler)
    exit_process(_exit_code(app))


def _exit_code(app: typer.Typer) -> int:
    try:
        code = command_of(app)(standalone_mode=False)
        sys.stdout.flush()
        if code == INTERRUPTED:
            raise KeyboardInterrupt
        return code if isinstance(code, int) else DONE
    except typer.TyperException as error:
        say(error.format_message().replace("Value error, ", ""))
        return error.exit_code
    except CommandFailed as error:
        for sentence in error.sentences:
            say(sentence)
    except _EXPECTED as error:
        say(str(error))
    except ValidationError as error:
        for sentence in _faults(error):
            say(sentence)
        return WRONG_USAGE
    except (KeyboardInterrupt, typer.Abort):
        say("interrupted")
        return INTERRUPTED
    except (BrokenPipeError, SystemExit):
        pass  # the reader went away (`| head`), for which typer has an exit of its own
    except Exception as error:
        say(f"unexpected {type(error).__name__}: {' '.join(str(error).split())}")
    return FAILED


def _faults(error: ValidationError) -> list[str]:
    if error.title == Settings.__name__:
        return faults_of_settings(error)
    return [
        f"{'.'.join(str(part) for part in fault['loc'])}: {fault['msg'].removeprefix('Value error, ')}"
        for fault in error.errors()
    ]


def say(sentence: str) -> None:
    """A sentence for a person, on stderr."""
    with suppress(BrokenPipeError):
        print(sentence, file=sys.stderr)


def run(
    work: Coroutine[Any, Any, _Answer],
    *,
    metrics: Address | None = None,
    new_event_loop: Callable[[], asyncio.AbstractEventLoop] | None = None,
) -> _Answer:
    """Runs the asynchronous part of a command until it ends, or until a signal cancels it.

    ``metrics`` is the address at which this process serves its metrics meanwhile. Raises BadConfiguration if it
    cannot be used. ``new_event_loop`` makes another event loop than asyncio's own.
    """

    async def until_told_to_stop() -> _Answer:
        task = asyncio.current_task()
        assert task is not None, "asyncio.run made it"
        # An exception from a signal handler would be raised in whatever code runs at that moment. If that were a
        # step of a workflow, it would count as a failure of that step.
        for number in stop_signals():
            asyncio.get_running_loop().add_signal_handler(number, task.cancel)
        async with reaping_orphans():
            return await work

    try:
        start_runtime(metrics)
        with asyncio.Runner(loop_factory=new_event_loop) as runner:
            return runner.run(until_told_to_stop())
    except BadConfiguration:
        work.close()
        raise
    except asyncio.CancelledError:
        raise KeyboardInterrupt from None


def stop_signal() -> asyncio.Event:
    """Set by the first SIGTERM, SIGINT or SIGHUP; a second one ends the process at once."""
    loop, stop = asyncio.get_running_loop(), asyncio.Event()
    counts_again_at = 0.0

    def on_signal() -> None:
        nonlocal counts_again_at
        if not stop.is_set():
            # `timeout` and `make` pass on a signal that the terminal has already sent to the whole group.
            counts_again_at = loop.time() + 1
            stop.set()
        elif loop.time() > counts_again_at:
            say("stopped at once; what was running will be repeated safely")
            exit_process(FAILED)

    for number in stop_signals():
        loop.add_signal_handler(number, on_signal)
    return stop


def end_within(limit: timedelta) -> None:
    """Ends the process with a failure if it has not ended by itself in this time, so that a stop never takes
    for ever."""

    def give_up() -> None:
        say(f"stopped after {limit.total_seconds():.0f} s; what was running will be repeated safely")
        exit_process(FAILED)

    asyncio.get_running_loop().call_later(limit.total_seconds(), give_up)


def stop_signals() -> list[signal.Signals]:
    """The signals that end a process in order. A hang-up is among them unless it is ignored (nohup)."""
    outlives = signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    return [signal.SIGTERM, signal.SIGINT, *([] if outlives else [signal.SIGHUP])]


def now() -> datetime:
    """The instant at which a command starts; taken once, then passed on."""
    return datetime.now(UTC)


@asynccontextmanager
async def the_ledger(*, new: bool = False) -> AsyncGenerator[Ledger]:
    """The ledger that the settings name; with ``new`` it is made if there is none. A command that wrote says
    into which ledger."""
    url = Settings().ledger_url
    made = new and await make_ledger(url)
    async with open_ledger(url) as ledger:
        if made:
            say(f"made the ledger {ledger.where}")
        yield ledger
        if ledger.has_written:
            say(f"written to the ledger {ledger.where}")


def user_argument(text: str) -> str:
    """A user id from the command line; wrong usage if malformed."""
    try:
        return check_user_id(text)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None


def day_argument(text: str) -> date:
    """A day from the command line; any other text is wrong usage."""
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise typer.BadParameter(f"{text[:40]!r} is not a day such as 2026-10-01") from None
