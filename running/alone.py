"""The one worker, in this process, with the same interface as several."""

from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager

from temporalio.worker import Worker


class Alone:
    """A worker that runs in this process."""

    def __init__(self, worker: Worker) -> None:
        self._worker = worker

    @asynccontextmanager
    async def working(self) -> AsyncGenerator[None]:
        """Polls while the context lasts; on leaving, running steps finish first."""
        async with self._worker:
            yield

    def when_all_poll(self, tell: Callable[[], None]) -> None:
        """Calls back immediately, since the worker polls from the start."""
        tell()

    def not_polling(self) -> list[str]:
        """A sentence if the worker takes no work."""
        return [] if self._worker.is_running else ["the worker does not poll"]

    def silent(self) -> list[str]:
        """Always empty: a caller has an answer from this very process."""
        return []

    def ended_badly(self) -> list[str]:
        """Always empty: an error of the worker is raised."""
        return []
