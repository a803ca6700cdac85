"""Worker processes that are all alike, and what they report about users: ``["done", USER, INSTANT]`` in JSON."""

import asyncio
import json
from collections import defaultdict
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

from benchmarks.midnight.processes import BenchmarkFailed, Child, child

POLLING = "polling"
"""The words in a worker's log from which it is known that the worker works."""
_READY_WITHIN_S = 120
_LOOKED_EVERY_S = 0.1


class Workers:
    """Several processes of one command. What they have reported is kept when they are restarted."""

    def __init__(
        self,
        command: Sequence[str | Path],
        count: int,
        log_folder: Path,
        *,
        folder: Path | None = None,
        variables: Mapping[str, str] = {},
    ) -> None:
        self._command = command
        self._count = count
        self._log_folder = log_folder
        self._folder = folder
        self._variables = variables
        self._running = AsyncExitStack()
        self._children: list[Child] = []
        self._listening: list[asyncio.Task[None]] = []
        self.told: dict[str, dict[str, float]] = defaultdict(dict)
        """For each word, the users about whom it was reported, and when."""

    @property
    def pids(self) -> list[int]:
        """The ids of the processes that run now."""
        return [worker.pid for worker in self._children]

    async def start(self, *arguments: str) -> None:
        """Starts the processes, with these arguments after the others. Returns when all of them work."""
        for number in range(self._count):
            running = child(
                [*self._command, *arguments],
                self._log_folder / f"worker-{number}.log",
                folder=self._folder,
                variables=self._variables,
            )
            self._children.append(await self._running.enter_async_context(running))
        try:
            async with asyncio.timeout(_READY_WITHIN_S):
                for worker in self._children:
                    await worker.has_logged(POLLING)
        except TimeoutError:
            raise BenchmarkFailed(f"a worker did not work within {_READY_WITHIN_S} s") from None
        self._listening = [asyncio.create_task(self._listen(worker)) for worker in self._children]

    async def stop(self) -> None:
        """Stops all of them in good order, at the same time."""
        await asyncio.gather(*(worker.stop() for worker in self._children))
        await self._running.aclose()
        await asyncio.gather(*self._listening)
        self._children, self._listening = [], []

    async def restart(self, *arguments: str) -> None:
        """Stops the processes and starts them again, as ``start`` does."""
        await self.stop()
        await self.start(*arguments)

    async def tell(self, sentence: Mapping[str, Any]) -> None:
        """Sends a sentence to each of the processes."""
        for worker in self._children:
            await worker.tell(sentence)

    async def all_told(self, word: str, users: Sequence[str]) -> None:
        """Waits until a word was reported about all of these users. Raises BenchmarkFailed if a process has
        ended."""
        while not self.told[word].keys() >= set(users):
            if any(listening.done() for listening in self._listening):
                raise BenchmarkFailed("a worker of what is measured has ended by itself")
            await asyncio.sleep(_LOOKED_EVERY_S)

    async def _listen(self, worker: Child) -> None:
        while line := await worker.line():
            word, user, instant = json.loads(line)
            self.told[word][user] = instant


@asynccontextmanager
async def working(workers: Workers, *arguments: str) -> AsyncGenerator[Workers]:
    """Starts the processes, and stops them when the context is left."""
    try:
        await workers.start(*arguments)
        yield workers
    finally:
        await workers.stop()
