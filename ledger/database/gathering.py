"""Requests that come while others are being written are written together."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeAlias, TypeVar

from ledger.database.patience import Patience
from ledger.errors import LedgerUnavailable

Item = TypeVar("Item")
Answer = TypeVar("Answer")

WriteTogether: TypeAlias = Callable[[Sequence[Item]], Awaitable[Sequence[Answer]]]
"""One transaction for items of one or more requests; an answer to each, in their order."""


@dataclass(frozen=True)
class _Waiting(Generic[Item, Answer]):
    items: Sequence[Item]
    answers: asyncio.Future[Sequence[Answer]]
    since_s: float


class Gathered(Generic[Item, Answer]):
    """A queue in front of one kind of transaction, for requests of any number of items.

    A request that finds nobody at work is written alone, without delay. Those that come meanwhile are written
    together next, up to ``items_max``: so many that are of one user, and would wait for each other's lock, cost
    one transaction. They are taken in the order in which they came; where two batches are under way at once,
    either may be the first, as with two requests at once. A batch that fails is tried again one request at a time,
    since one may be at fault.
    """

    def __init__(
        self,
        write_together: WriteTogether[Item, Answer],
        *,
        items_max: int,
        at_once: int,
        patience: Patience,
    ) -> None:
        self._write_together = write_together
        self._items_max = items_max
        self._at_once = at_once
        self._patience = patience
        self._waiting: deque[_Waiting[Item, Answer]] = deque()
        self._writers: dict[asyncio.Task[None], float] = {}
        """With when each began its batch."""

    async def answer(self, items: Sequence[Item]) -> Sequence[Answer]:
        """The answers to a request's items, once they are durable. Raises what refuses or hinders it."""
        loop = asyncio.get_running_loop()
        waiting = _Waiting[Item, Answer](items, loop.create_future(), since_s=loop.time())
        self._waiting.append(waiting)
        if len(self._writers) < self._at_once:
            self._writers[asyncio.create_task(self._write_while_any_waits())] = loop.time()
        return await waiting.answers

    def oldest_s(self) -> float:
        """For how long the request has waited that waits longest, or the batch that was begun first; 0 if none."""
        waiting = (waiting.since_s for waiting in self._waiting if not waiting.answers.done())
        since_s = min([*waiting, *self._writers.values()], default=None)
        return 0 if since_s is None else asyncio.get_running_loop().time() - since_s

    async def finish(self) -> None:
        """Waits for what is being written, since a caller may have gone, and its transaction not; but not for a
        database that is silent."""
        if not self._writers:
            return
        await asyncio.wait(self._writers, timeout=self._patience.close_s)
        for writer in self._writers:
            writer.cancel()
        await asyncio.gather(*self._writers, return_exceptions=True)

    async def _write_while_any_waits(self) -> None:
        writer = asyncio.current_task()
        assert writer is not None, "it was started as a task"
        batch: Sequence[_Waiting[Item, Answer]] = ()
        try:
            while batch := self._next_batch():
                self._writers[writer] = asyncio.get_running_loop().time()
                await self._write(batch)
        except asyncio.CancelledError:
            _fail([*batch, *self._waiting], LedgerUnavailable("the ledger is being closed"))
            raise
        finally:
            # In the step in which the queue was found empty: a request that comes later starts another writer.
            del self._writers[writer]

    def _next_batch(self) -> list[_Waiting[Item, Answer]]:
        """The requests that wait longest; at least one, whatever its size. Who has gone is left out."""
        batch: list[_Waiting[Item, Answer]] = []
        count = 0
        while self._waiting:
            waiting = self._waiting[0]
            if not waiting.answers.done():
                count += len(waiting.items)
                if batch and count > self._items_max:
                    break
                batch.append(waiting)
            self._waiting.popleft()
        return batch

    async def _write(self, batch: Sequence[_Waiting[Item, Answer]]) -> None:
        try:
            async with asyncio.timeout(self._patience.batch_s):
                answers = await self._write_together([item for waiting in batch for item in waiting.items])
        except LedgerUnavailable as error:
            _fail(batch, error)
        except TimeoutError:
            # A commit may have been under way: whoever asks again finds what was recorded.
            sentence = f"the ledger has not answered within {self._patience.batch_s:g} s"
            _fail(batch, LedgerUnavailable(sentence))
        except Exception as error:
            if len(batch) == 1:
                _fail(batch, error)
                return
            for waiting in batch:
                await self._write([waiting])
        else:
            first = 0
            for waiting in batch:
                last = first + len(waiting.items)
                if not waiting.answers.done():
                    waiting.answers.set_result(answers[first:last])
                first = last


def _fail(batch: Sequence[_Waiting[Item, Answer]], error: Exception) -> None:
    for waiting in batch:
        if not waiting.answers.done():
            waiting.answers.set_exception(error)
