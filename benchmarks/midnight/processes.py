"""Processes that are measured: what they have cost so far, what they hold in memory, and how to talk to them."""

import asyncio
import json
import os
import signal
from asyncio.subprocess import PIPE, Process
from collections import defaultdict
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

_PROC = Path("/proc")
_TICKS_PER_S = os.sysconf("SC_CLK_TCK")
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
_PARENT, _CPU_TICKS, _PAGES = 1, slice(11, 15), 21
"""Positions in /proc/PID/stat after the name. The ticks are those of the process and of its ended children."""
_STOPPED_WITHIN_S = 40
_LOOKED_EVERY_S = 0.05
_LINE_BYTES_MAX = 1 << 24


class BenchmarkFailed(Exception):
    """Something cannot be measured. The message is a sentence."""


def can_be_measured() -> bool:
    """Whether this system reports the CPU and memory of other processes."""
    return (_PROC / "self" / "stat").exists()


def cpu_s(pids: Sequence[int]) -> float:
    """Seconds of CPU that processes and all of their children have used so far, also the children that have
    ended."""
    stats = {pid: stat for pid in _with_descendants(pids) if (stat := _stat(pid))}
    return sum(int(word) for stat in stats.values() for word in stat[_CPU_TICKS]) / _TICKS_PER_S


def resident_bytes(pids: Sequence[int]) -> int:
    """The resident memory of processes, in bytes."""
    return sum(int(stat[_PAGES]) * _PAGE_BYTES for pid in pids if (stat := _stat(pid)))


def parent_of(pid: int) -> int:
    """The process that started a given process."""
    return int(_stat(pid)[_PARENT])


def child_with(word: str) -> int:
    """The child of this process that has a word on its command line."""
    for pid in _with_descendants([os.getpid()]):
        if word in (_PROC / str(pid) / "cmdline").read_text().split("\0"):
            return pid
    raise BenchmarkFailed(f"no child process has {word!r} on its command line")


def _with_descendants(pids: Sequence[int]) -> list[int]:
    children: dict[int, list[int]] = defaultdict(list)
    for folder in _PROC.iterdir():
        if folder.name.isdecimal() and (stat := _stat(int(folder.name))):
            children[int(stat[_PARENT])].append(int(folder.name))
    found = list(pids)
    for pid in found:
        found += children[pid]
    return found


def _stat(pid: int) -> list[str]:
    """The fields of /proc/PID/stat; empty for a process that has ended."""
    try:
        return (_PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return []


class Child:
    """A process that reads and writes lines of JSON. Its stderr goes to a file."""

    def __init__(self, process: Process, log: Path) -> None:
        self._process = process
        self._log = log

    @property
    def pid(self) -> int:
        """The id of the process."""
        return self._process.pid

    async def ask(self, question: Mapping[str, Any]) -> Any:
        """Sends a line and returns the next line of the process. Raises BenchmarkFailed if the process has
        ended."""
        await self.tell(question)
        return await self.heard()

    async def heard(self) -> Any:
        """The next line of the process. Raises BenchmarkFailed if the process has ended."""
        line = await self.line()
        if not line:
            raise self._ended()
        return json.loads(line)

    async def tell(self, sentence: Mapping[str, Any]) -> None:
        """Sends a line."""
        assert self._process.stdin is not None
        with suppress(ConnectionError):
            self._process.stdin.write(json.dumps(sentence).encode() + b"\n")
            await self._process.stdin.drain()

    async def line(self) -> bytes:
        """The next line; empty if there will be no more."""
        assert self._process.stdout is not None
        return await self._process.stdout.readline()

    async def has_logged(self, words: str) -> None:
        """Waits until its log has these words. Raises BenchmarkFailed if the process has ended."""
        while words not in self._log.read_text():
            if self._process.returncode is not None:
                raise self._ended()
            await asyncio.sleep(_LOOKED_EVERY_S)

    async def stop(self) -> None:
        """Stops the process as an operator would, so that it may finish its work."""
        if self._process.returncode is None:
            self._process.send_signal(signal.SIGTERM)
            try:
                async with asyncio.timeout(_STOPPED_WITHIN_S):
                    await self._process.wait()
            except TimeoutError:
                self._process.kill()
                await self._process.wait()

    def _ended(self) -> BenchmarkFailed:
        last = self._log.read_text().strip().splitlines()[-1:]
        return BenchmarkFailed(f"a process of what is measured has ended: {''.join(last)}")


@asynccontextmanager
async def child(
    command: Sequence[str | Path], log: Path, *, folder: Path | None = None, variables: Mapping[str, str] = {}
) -> AsyncGenerator[Child]:
    """Runs a process; it is stopped when the context is left."""
    with log.open("wb") as stderr:
        process = await asyncio.create_subprocess_exec(
            *command,
            cwd=folder,
            env={**os.environ, **variables},
            stdin=PIPE,
            stdout=PIPE,
            stderr=stderr,
            limit=_LINE_BYTES_MAX,
            # Only this process gets a Ctrl-C. It then stops the others.
            start_new_session=True,
        )
    running = Child(process, log)
    try:
        yield running
    finally:
        await running.stop()
