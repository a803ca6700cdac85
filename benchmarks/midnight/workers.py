"""Worker processes that are all alike, and what they tell of users: ``["done", USER, INSTANT]`` in JSON."""

import asyncio
import json
from collections import defaultdict
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

from benchmarks.midnight.processes import BenchmarkFailed, Child, child

POLLING = "polling"
"""What a worker's log says once it works."""
_READY_WITHIN_S = 120
_LOOKED_EVERY_S = 0.1


class Workers:
    """So many processes of one command; what they tell is kept when they are restarted."""

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
        """By word: of whom, and when."""

    @property
    def pids(self) -> list[int]:
        """Of the processes that run now."""
        return [worker.pid for worker in self._children]

    async def start(self, *arguments: str) -> None:
        """With these arguments after the others; returns when all of them work."""
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
        """As start."""
        await self.stop()
        await self.start(*arguments)

    async def tell(self, sentence: Mapping[str, Any]) -> None:
        """Each of them."""
        for worker in self._children:
            await worker.tell(sentence)

    async def all_told(self, word: str, users: Sequence[str]) -> None:
        """Waits until they have told a word of all of these users. Raises BenchmarkFailed where one has ended."""
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
    """They are stopped when the context is left."""
    try:
        await workers.start(*arguments)
        yield workers
    finally:
        await workers.stop()
