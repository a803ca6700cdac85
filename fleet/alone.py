"""The one worker, in this process: the same words as for several."""

from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager

from temporalio.worker import Worker


class Alone:
    """One worker that is this process's own."""

    def __init__(self, worker: Worker) -> None:
        self._worker = worker

    @asynccontextmanager
    async def working(self) -> AsyncGenerator[None]:
        """Polls; on leaving, running steps finish first."""
        async with self._worker:
            yield

    def when_all_poll(self, tell: Callable[[], None]) -> None:
        """Tells at once, since it does from the start."""
        tell()

    def not_polling(self) -> list[str]:
        """A sentence if it takes no work."""
        return [] if self._worker.is_running else ["the worker does not poll"]

    def silent(self) -> list[str]:
        """Nothing: whoever asks has heard from this process."""
        return []

    def ended_badly(self) -> list[str]:
        """Nothing: an error of the worker's is raised."""
        return []
