"""Requests that come together are answered together: one transaction, the same few statements, for many.

Decision 0005 says why.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import date
from typing import Generic, Protocol, TypeAlias, TypeVar

from ledger.database.patience import Patience
from ledger.errors import LedgerError, LedgerUnavailable

REQUESTS_MAX = 50
"""The most requests in a batch. They are enough to share the cost of a statement, and few enough that no user's
lock is held for long.

A user's day took this process 7 to 9 ms of CPU alone, 0.47 in batches of 25, 0.39 in batches of 50 and 0.35 in
batches of 100.
"""
GATHER_S = 0.2
"""How long a batch waits for more requests of its day while many come. They come one by one, since each user's
workflow has its own task. Without this wait a wave of users was written in batches of one or two."""
MANY = 4
"""So many requests of one day within twice that time count as many."""


class OfAUser(Protocol):
    """What can be in a batch."""

    @property
    def user_id(self) -> str:
        """Whose request it is."""
        ...


Request = TypeVar("Request", bound=OfAUser)
Answer = TypeVar("Answer")

AnswerTogether: TypeAlias = Callable[[date, Sequence[Request]], Awaitable[Mapping[str, Answer | LedgerError]]]
"""One transaction for requests of different users for one day; gives each user's answer or refusal."""


@dataclass(frozen=True)
class _Waiting(Generic[Request, Answer]):
    day: date
    request: Request
    answer: asyncio.Future[Answer]
    since_s: float


class Batches(Generic[Request, Answer]):
    """A queue in front of one kind of transaction.

    A request that finds nobody at work is answered alone, without delay. Those that come meanwhile are answered
    together next, those of one day in one transaction. While many of one day come, a batch waits for more of them.
    So a batch grows with the load and only then.
    """

    def __init__(
        self,
        answer_together: AnswerTogether[Request, Answer],
        *,
        at_once: int,
        patience: Patience,
        on_batch: Callable[[int], None] = lambda request_count: None,
    ) -> None:
        self._answer_together = answer_together
        self._at_once = at_once
        self._patience = patience
        self._on_batch = on_batch
        self._waiting: deque[_Waiting[Request, Answer]] = deque()
        self._workers: dict[asyncio.Task[None], float] = {}
        """The tasks that answer batches, with the time at which each began its batch."""
        self._arrivals: deque[tuple[date, float]] = deque(maxlen=MANY)
        self._enough: asyncio.Event | None = None
        """Set while a worker gathers a batch, as soon as the batch need not wait any longer."""

    async def answer(self, day: date, request: Request) -> Answer:
        """The answer to one request, once its transaction is committed. Raises the refusal, or the error that
        prevents an answer."""
        loop = asyncio.get_running_loop()
        waiting = _Waiting(day, request, loop.create_future(), since_s=loop.time())
        self._waiting.append(waiting)
        self._arrivals.append((day, waiting.since_s))
        if self._enough is None:
            self._employ()
        elif len(self._waiting) >= REQUESTS_MAX:
            self._enough.set()
        return await waiting.answer

    def oldest_s(self) -> float:
        """Seconds for which the oldest request has waited, or the oldest batch has been under way; 0 if there is
        none."""
        waiting = (waiting.since_s for waiting in self._waiting if not waiting.answer.done())
        since_s = min([*waiting, *self._workers.values()], default=None)
        return 0 if since_s is None else asyncio.get_running_loop().time() - since_s

    async def finish(self) -> None:
        """Waits for the batches under way, since a caller may have gone while its transaction runs. It does not
        wait for a database that is silent."""
        if not self._workers:
            return
        await asyncio.wait(self._workers, timeout=self._patience.close_s)
        for worker in self._workers:
            worker.cancel()
        await asyncio.gather(*self._workers, return_exceptions=True)

    def _employ(self) -> None:
        if self._waiting and len(self._workers) < self._at_once:
            self._workers[asyncio.create_task(self._answer_while_any_waits())] = asyncio.get_running_loop().time()

    def _many_come(self) -> bool:
        """Whether requests come so fast that it is worth waiting for the next one."""
        day, since_s = self._arrivals[0]
        just_now_s = asyncio.get_running_loop().time() - 2 * GATHER_S
        return (
            len(self._arrivals) == MANY and since_s > just_now_s and all(one == day for one, _ in self._arrivals)
        )

    async def _gather(self) -> None:
        if len(self._waiting) >= REQUESTS_MAX or not self._many_come():
            return
        self._enough = asyncio.Event()
        try:
            with suppress(TimeoutError):
                async with asyncio.timeout(GATHER_S):
                    await self._enough.wait()
        finally:
            self._enough = None

    async def _answer_while_any_waits(self) -> None:
        worker = asyncio.current_task()
        assert worker is not None, "it was started as a task"
        batch: Sequence[_Waiting[Request, Answer]] = ()
        try:
            # A worker that is gathering takes what waits.
            while self._waiting and self._enough is None:
                await self._gather()
                if not (batch := self._next_batch()):
                    break
                self._employ()
                self._workers[worker] = asyncio.get_running_loop().time()
                self._on_batch(len(batch))
                await self._answer_all(batch)
        except asyncio.CancelledError:
            _fail([*batch, *self._waiting], LedgerUnavailable("the ledger is being closed"))
            raise
        finally:
            # In the step in which the queue was found empty: a request that comes later starts another worker.
            del self._workers[worker]

    def _next_batch(self) -> list[_Waiting[Request, Answer]]:
        """The oldest waiting request, with others of its day. Of one user it has only the first request."""
        batch: dict[str, _Waiting[Request, Answer]] = {}
        left: deque[_Waiting[Request, Answer]] = deque()
        for waiting in self._waiting:
            if waiting.answer.done():
                continue  # its caller has gone
            fits = not batch or waiting.day == next(iter(batch.values())).day
            if fits and len(batch) < REQUESTS_MAX and waiting.request.user_id not in batch:
                batch[waiting.request.user_id] = waiting
            else:
                left.append(waiting)
        self._waiting = left
        return list(batch.values())

    async def _answer_all(self, batch: Sequence[_Waiting[Request, Answer]]) -> None:
        try:
            async with asyncio.timeout(self._patience.batch_s):
                found = await self._answer_together(batch[0].day, [waiting.request for waiting in batch])
            answers = [found[waiting.request.user_id] for waiting in batch]
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

    async def _answer_each(self, batch: Sequence[_Waiting[Request, Answer]]) -> None:
        """Answers each request of a failed batch alone, which shows whose fault it was. A database that is away is
        waited for only once."""
        for number, waiting in enumerate(batch, 1):
            await self._answer_all([waiting])
            if _found_nobody(waiting.answer):
                _fail(batch[number:], LedgerUnavailable("the ledger is away, and was not asked once more"))
                return


def _found_nobody(answer: asyncio.Future[Answer]) -> bool:
    return answer.done() and not answer.cancelled() and isinstance(answer.exception(), LedgerUnavailable)


def _fail(batch: Sequence[_Waiting[Request, Answer]], error: Exception) -> None:
    for waiting in batch:
        if not waiting.answer.done():
            waiting.answer.set_exception(error)
