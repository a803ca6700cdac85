"""Several worker processes under one parent: started, watched, replaced when they end, and stopped together.

Each has an interpreter of its own, since the SDK's threads do not survive a fork. Each leads a session of its own,
since Ctrl-C in a terminal reaches the whole foreground process group, and only the parent may ask them to stop.
"""

import asyncio
import signal
import socket
import sys
from asyncio.subprocess import Process
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta

from running.reporting import ProcessState

_REPLACED_AFTER_S = 1.0
"""A process that ended is started again after this time, and then after twice as long each time, up to the
maximum. Otherwise a process that ends soon after its start would be started all the time."""
_REPLACED_AFTER_S_MAX = 60.0
_RAN_WELL_S = 60.0
"""If a process ran for so long, its end has a new cause, and the pauses begin anew."""
_SILENT_AFTER_S = 30.0
"""A process reports every second. If it has not reported for so long, it will not go on by itself. This is also
longer than a start takes on a busy machine."""


@dataclass
class _Place:
    number: int
    process: Process | None = None
    state: ProcessState | None = None
    """None if there is no process at this place."""
    heard_at: float = 0.0

    @property
    def is_running(self) -> bool:
        return self.process is not None and self.process.returncode is None


class Fleet:
    """Worker processes, each this process's own command again with ``--place NUMBER``."""

    def __init__(
        self, size: int, environment: Mapping[str, str], *, killed_after: timedelta, say: Callable[[str], None]
    ) -> None:
        self._places = [_Place(number) for number in range(1, size + 1)]
        self._environment = environment
        self._killed_after_s = killed_after.total_seconds()
        self._say = say
        self._stopping = asyncio.Event()
        self._all_polling: Callable[[], None] = lambda: None
        self._ended_badly: list[str] = []

    @asynccontextmanager
    async def working(self) -> AsyncGenerator[None]:
        """Keeps a process at every place. On leaving, the processes drain; one that has not ended in time is
        killed."""
        keeping = [asyncio.create_task(self._keep(place)) for place in self._places]
        try:
            yield
        finally:
            self._stopping.set()
            for place in self._places:
                _stop(place)
            _, late = await asyncio.wait(keeping, timeout=self._killed_after_s)
            if late:
                _kill(self._places)
            await asyncio.gather(*keeping)

    def when_all_poll(self, tell: Callable[[], None]) -> None:
        """Calls back when every process polls: immediately if all poll already, and again each time when all poll
        again."""
        self._all_polling = tell
        if not self.not_polling():
            tell()

    def not_polling(self) -> list[str]:
        """A sentence for each process that takes no work."""
        return [
            f"worker process {place.number} {f'is {place.state}' if place.state else 'is away'}"
            for place in self._places
            if place.state is not ProcessState.POLLING
        ]

    def silent(self) -> list[str]:
        """A sentence for each process that runs and gives no sign of life."""
        now = asyncio.get_running_loop().time()
        return [
            f"worker process {place.number} has not reported for {now - place.heard_at:.0f} s"
            for place in self._places
            if place.is_running and now - place.heard_at > _SILENT_AFTER_S
        ]

    def ended_badly(self) -> list[str]:
        """A sentence for each process that did not drain when it was asked to stop."""
        return self._ended_badly

    async def _keep(self, place: _Place) -> None:
        clock = asyncio.get_running_loop().time
        replaced_after_s = _REPLACED_AFTER_S
        while not self._stopping.is_set():
            started_at = clock()
            ending = await self._run(place)
            if self._stopping.is_set():
                return
            if clock() - started_at >= _RAN_WELL_S:
                replaced_after_s = _REPLACED_AFTER_S
            self._say(f"worker process {place.number} {ending}; another starts in {replaced_after_s:.0f} s")
            with suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), replaced_after_s)
            replaced_after_s = min(replaced_after_s * 2, _REPLACED_AFTER_S_MAX)

    async def _run(self, place: _Place) -> str:
        """Runs a process until it ends, and says how it ended."""
        ours, its = socket.socketpair()
        with its:
            try:
                place.process = process = await asyncio.create_subprocess_exec(
                    *_this_command(place.number), env=self._environment, stdin=its.fileno(), start_new_session=True
                )
            except OSError as error:
                ours.close()
                return f"cannot be started ({error.strerror})"
        place.state, place.heard_at = ProcessState.STARTING, asyncio.get_running_loop().time()
        if self._stopping.is_set():
            _stop(place)
        await self._listen(place, ours)
        code = await process.wait()
        was_at_work = place.state is not ProcessState.STARTING
        place.state = None
        ending = f"ended by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"
        if self._stopping.is_set() and was_at_work and code != 0:
            self._ended_badly.append(f"worker process {place.number} {ending}")
        return ending

    async def _listen(self, place: _Place, connection: socket.socket) -> None:
        """Reads until the process closes its side of the socket, at the latest by ending."""
        reader, writer = await asyncio.open_connection(sock=connection)
        with suppress(ConnectionError):
            while (report := await reader.readline()).endswith(b"\n"):
                self._hear(place, ProcessState(report.decode().strip()))
        writer.close()

    def _hear(self, place: _Place, state: ProcessState) -> None:
        place.heard_at = asyncio.get_running_loop().time()
        before, place.state = place.state, state
        if state is not before and not self.not_polling():
            self._all_polling()


def _stop(place: _Place) -> None:
    if place.process is None or not place.is_running:
        return
    if place.state is ProcessState.STARTING:
        place.process.kill()  # nothing runs in it, and it may not be able to end in order yet
    elif place.state is not ProcessState.DRAINING:  # a second signal would end it immediately
        place.process.terminate()


def _kill(places: Sequence[_Place]) -> None:
    for place in places:
        if place.process is not None and place.is_running:
            place.process.kill()


def _this_command(place: int) -> list[str]:
    return [sys.executable, *sys.orig_argv[1:], "--place", str(place)]
