"""Requests about users' days: those of one day are answered together, by the same few statements for many users.

Decision 0005 says why.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from datetime import date
from typing import Generic, Protocol, TypeAlias, TypeVar

from ledger.database.patience import Patience
from ledger.database.write_queue import Answer, Waiting, WriteQueue
from ledger.errors import LedgerError

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
"""If this many requests of one day come within twice that time, users come in a wave."""


class OfAUser(Protocol):
    """A request that can be in a batch."""

    @property
    def user_id(self) -> str:
        """The user whose request it is."""
        ...


Request = TypeVar("Request", bound=OfAUser)

AnswerTogether: TypeAlias = Callable[[date, Sequence[Request]], Awaitable[Mapping[str, Answer | LedgerError]]]
"""One transaction for requests of different users for one day; gives each user's answer or refusal."""


class DayQueue(WriteQueue[tuple[date, Request], Answer], Generic[Request, Answer]):
    """A queue for requests about one user's day each.

    A batch has requests of one day, at most one of each user. While many of one day come, a batch waits for more
    of them.
    """

    def __init__(
        self,
        answer_together: AnswerTogether[Request, Answer],
        *,
        at_once: int,
        patience: Patience,
        on_batch: Callable[[int], None] = lambda request_count: None,
    ) -> None:
        super().__init__(at_once=at_once, patience=patience)
        self._answer_together = answer_together
        self._on_batch = on_batch
        self._arrivals: deque[tuple[date, float]] = deque(maxlen=MANY)
        self._enough: asyncio.Event | None = None
        """Set while a task gathers a batch, as soon as the batch need not wait any longer."""

    async def answer(self, day: date, request: Request) -> Answer:
        """The answer to one request, once its transaction is committed. Raises the refusal, or the error that
        prevents an answer."""
        waiting = self._join((day, request))
        self._arrivals.append((day, waiting.since_s))
        if self._enough is None:
            self._employ()
        elif len(self._waiting) >= REQUESTS_MAX:
            self._enough.set()
        return await waiting.answer

    def _many_come(self) -> bool:
        """Whether requests come so fast that it is worth waiting for the next one."""
        day, since_s = self._arrivals[0]
        just_now_s = asyncio.get_running_loop().time() - 2 * GATHER_S
        return (
            len(self._arrivals) == MANY and since_s > just_now_s and all(one == day for one, _ in self._arrivals)
        )

    async def _is_worth_taking(self) -> bool:
        """Gathers a batch first, while many come. What waits is then left to the task that gathers."""
        if not self._waiting or self._enough is not None:
            return False
        if len(self._waiting) < REQUESTS_MAX and self._many_come():
            self._enough = asyncio.Event()
            try:
                with suppress(TimeoutError):
                    async with asyncio.timeout(GATHER_S):
                        await self._enough.wait()
            finally:
                self._enough = None
        return True

    def _next_batch(self) -> list[Waiting[tuple[date, Request], Answer]]:
        """The oldest waiting request, with others of its day. Of one user it has only the first request."""
        batch: dict[str, Waiting[tuple[date, Request], Answer]] = {}
        left: deque[Waiting[tuple[date, Request], Answer]] = deque()
        of_day: date | None = None
        for waiting in self._waiting:
            if waiting.answer.done():
                continue  # its caller has gone
            day, request = waiting.asked
            if of_day in (None, day) and len(batch) < REQUESTS_MAX and request.user_id not in batch:
                of_day = day
                batch[request.user_id] = waiting
            else:
                left.append(waiting)
        self._waiting = left
        if batch:
            self._on_batch(len(batch))
        return list(batch.values())

    async def _answers_to(self, batch: Sequence[tuple[date, Request]]) -> Sequence[Answer | LedgerError]:
        (day, _), *_ = batch
        requests = [request for _, request in batch]
        found = await self._answer_together(day, requests)
        return [found[request.user_id] for request in requests]
