"""The core of both queues for requests that write: those that come together are written in one transaction.

There are three queues in front of the database, and decision 0005 says why. Requests about one user's day each
wait in a ``DayQueue``; requests of any number of items, such as the movements of a feed, in an ``ItemQueue``; and
questions, which only read, in a ``ReadQueue``.
"""

import asyncio
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from ledger.database.patience import Patience
from ledger.errors import LedgerError, LedgerUnavailable

Asked = TypeVar("Asked")
Answer = TypeVar("Answer")


@dataclass(frozen=True)
class Waiting(Generic[Asked, Answer]):
    """A request that waits for its answer."""

    asked: Asked
    answer: asyncio.Future[Answer]
    since_s: float


class WriteQueue(ABC, Generic[Asked, Answer]):
    """A queue in front of one kind of transaction.

    A request that finds no task at work is answered alone, without delay. Those that come meanwhile are answered
    together next. So a batch grows with the load and only then. A batch that fails is tried again one request at
    a time, which shows whose fault it was. The two queues that are made of this one say which requests make a
    batch, and how one transaction answers them.
    """

    def __init__(self, *, at_once: int, patience: Patience) -> None:
        self._at_once = at_once
        self._patience = patience
        self._waiting: deque[Waiting[Asked, Answer]] = deque()
        self._tasks: dict[asyncio.Task[None], float] = {}
        """The tasks that answer batches, with the time at which each began its batch."""

    @abstractmethod
    def _next_batch(self) -> list[Waiting[Asked, Answer]]:
        """Takes the requests that are answered together next, without those whose callers have gone."""

    @abstractmethod
    async def _answers_to(self, batch: Sequence[Asked]) -> Sequence[Answer | LedgerError]:
        """Answers requests in one transaction: the answer or the refusal of each, in their order."""

    async def _is_worth_taking(self) -> bool:
        """Whether this task takes a batch now. Here a queue may wait for more requests."""
        return bool(self._waiting)

    def oldest_s(self) -> float:
        """Seconds for which the oldest request has waited, or the oldest batch has been under way; 0 if there is
        none."""
        waiting = (waiting.since_s for waiting in self._waiting if not waiting.answer.done())
        since_s = min([*waiting, *self._tasks.values()], default=None)
        return 0 if since_s is None else asyncio.get_running_loop().time() - since_s

    async def finish(self) -> None:
        """Waits for the batches under way, since a caller may have gone while its transaction runs. It does not
        wait for a database that is silent."""
        if not self._tasks:
            return
        await asyncio.wait(self._tasks, timeout=self._patience.close_s)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _join(self, asked: Asked) -> Waiting[Asked, Answer]:
        loop = asyncio.get_running_loop()
        waiting = Waiting[Asked, Answer](asked, loop.create_future(), since_s=loop.time())
        self._waiting.append(waiting)
        return waiting

    def _employ(self) -> None:
        """Has one more task take what waits, if there may be one more."""
        if self._waiting and len(self._tasks) < self._at_once:
            self._tasks[asyncio.create_task(self._answer_while_any_waits())] = asyncio.get_running_loop().time()

    async def _answer_while_any_waits(self) -> None:
        task = asyncio.current_task()
        assert task is not None, "it was started as a task"
        batch: Sequence[Waiting[Asked, Answer]] = ()
        try:
            while await self._is_worth_taking():
                if not (batch := self._next_batch()):
                    break
                self._employ()
                self._tasks[task] = asyncio.get_running_loop().time()
                await self._answer_all(batch)
        except asyncio.CancelledError:
            _fail([*batch, *self._waiting], LedgerUnavailable("the ledger is being closed"))
            raise
        finally:
            # In the step in which the queue was found empty: a request that comes later starts another task.
            del self._tasks[task]

    async def _answer_all(self, batch: Sequence[Waiting[Asked, Answer]]) -> None:
        try:
            async with asyncio.timeout(self._patience.batch_s):
                answers = await self._answers_to([waiting.asked for waiting in batch])
        except LedgerUnavailable as error:
            _fail(batch, error)
        except TimeoutError:
            # A commit may have been under way. If it succeeded, a repeat finds what was recorded.
            sentence = f"the ledger has not answered within {self._patience.batch_s:g} s"
            _fail(batch, LedgerUnavailable(sentence))
        except Exception as error:
            if len(batch) == 1:
                _fail(batch, error)
            else:
                await self._answer_each(batch)
        else:
            for waiting, answer in zip(batch, answers, strict=True):
                if isinstance(answer, LedgerError):
                    _fail([waiting], answer)
                elif not waiting.answer.done():
                    waiting.answer.set_result(answer)

    async def _answer_each(self, batch: Sequence[Waiting[Asked, Answer]]) -> None:
        """Answers each request of a failed batch alone, which shows whose fault it was. A database that is away is
        waited for only once."""
        for number, waiting in enumerate(batch, 1):
            await self._answer_all([waiting])
            if _found_nobody(waiting.answer):
                _fail(batch[number:], LedgerUnavailable("the ledger is away, and was not asked once more"))
                return


def _found_nobody(answer: asyncio.Future[Answer]) -> bool:
    return answer.done() and not answer.cancelled() and isinstance(answer.exception(), LedgerUnavailable)


def _fail(batch: Sequence[Waiting[Asked, Answer]], error: Exception) -> None:
    for waiting in batch:
        if not waiting.answer.done():
            waiting.answer.set_exception(error)
