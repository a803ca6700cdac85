"""The life of a process: how its work runs, what stops it, and with which exit code it ends."""

import asyncio
import signal
import sys
from collections.abc import Callable, Coroutine
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

from embedded.exiting import exit_process
from running.orphans import reaping_orphans
from settings import BadConfiguration
from telemetry.address import Address
from telemetry.runtime import start_runtime

_Answer = TypeVar("_Answer")
DONE, FAILED, WRONG_USAGE, INTERRUPTED = 0, 1, 2, 130


class CommandFailed(Exception):
    """A command was refused or failed; each of the sentences goes to stderr."""

    def __init__(self, *sentences: str) -> None:
        self.sentences = sentences
        super().__init__("; ".join(sentences))


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
    """Set by the first SIGTERM, SIGINT or SIGHUP; a second one ends the process immediately."""
    loop, stop = asyncio.get_running_loop(), asyncio.Event()
    counts_again_at = 0.0

    def on_signal() -> None:
        nonlocal counts_again_at
        if not stop.is_set():
            # `timeout` and `make` pass on a signal that the terminal has already sent to the whole group.
            counts_again_at = loop.time() + 1
            stop.set()
        elif loop.time() > counts_again_at:
            say("stopped immediately; what was running will be repeated safely")
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
    """The machine's clock, in UTC. A command reads it once, or passes this function on; nothing below reads it."""
    return datetime.now(UTC)
