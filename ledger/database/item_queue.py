"""Requests of any number of items: those that come while others are being written are written together."""

from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeAlias, TypeVar

from ledger.database.patience import Patience
from ledger.database.write_queue import Answer, Waiting, WriteQueue
from ledger.errors import LedgerError

Item = TypeVar("Item")

WriteTogether: TypeAlias = Callable[[Sequence[Item]], Awaitable[Sequence[Answer]]]
"""One transaction for items of one or more requests; an answer to each, in their order."""


class ItemQueue(WriteQueue[Sequence[Item], Sequence[Answer]], Generic[Item, Answer]):
    """A queue for requests of one item or many, such as the movements that a source sends together.

    A batch has requests in the order in which they came, with up to ``items_max`` items. Many of them may be of
    one user: so they cost one transaction, and do not wait for each other's lock. If two batches are under way
    at the same time, either may be the first, as with two simultaneous requests.
    """

    def __init__(
        self,
        write_together: WriteTogether[Item, Answer],
        *,
        items_max: int,
        at_once: int,
        patience: Patience,
    ) -> None:
        super().__init__(at_once=at_once, patience=patience)
        self._write_together = write_together
        self._items_max = items_max

    async def answer(self, items: Sequence[Item]) -> Sequence[Answer]:
        """The answers to a request's items, once they are durable. Raises what refuses or hinders it."""
        waiting = self._join(items)
        self._employ()
        return await waiting.answer

    def _next_batch(self) -> list[Waiting[Sequence[Item], Sequence[Answer]]]:
        """The requests that wait longest; at least one, whatever its size."""
        batch: list[Waiting[Sequence[Item], Sequence[Answer]]] = []
        count = 0
        while self._waiting:
            waiting = self._waiting[0]
            if not waiting.answer.done():
                count += len(waiting.asked)
                if batch and count > self._items_max:
                    break
                batch.append(waiting)
            self._waiting.popleft()
        return batch

    async def _answers_to(self, batch: Sequence[Sequence[Item]]) -> Sequence[Sequence[Answer] | LedgerError]:
        answers = await self._write_together([item for items in batch for item in items])
        first = 0
        of_each: list[Sequence[Answer]] = []
        for items in batch:
            of_each.append(answers[first : first + len(items)])
            first += len(items)
        return of_each
