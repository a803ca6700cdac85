"""Equal questions that come at the same time are answered together."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

Answer = TypeVar("Answer")


class SharedAnswers(Generic[Answer]):
    """Finds one answer to a question at a time, however many ask it: for what workflows are asked.

    Different questions do not wait for each other, and are not answered together. What the ledger is asked is: see
    ``ledger.database.read_queue``.

    A question that comes while an answer is being found gets the next answer, since an answer that was begun
    before the question came may be out of date. So nothing is kept, and no answer is out of date.
    """

    def __init__(self, find: Callable[[str], Awaitable[Answer]]) -> None:
        self._find = find
        self._waiting: dict[str, list[asyncio.Future[Answer]]] = {}
        self._finding: dict[str, asyncio.Task[None]] = {}

    async def answer(self, question: str) -> Answer:
        """The answer as of now or later. Raises what finding it raises."""
        answer: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(question, []).append(answer)
        if question not in self._finding:
            self._finding[question] = asyncio.create_task(self._find_while_any_waits(question))
        return await answer

    async def _find_while_any_waits(self, question: str) -> None:
        waiting: list[asyncio.Future[Answer]] = []
        try:
            while waiting := [answer for answer in self._waiting.pop(question, ()) if not answer.done()]:
                await self._find_for(question, waiting)
        finally:
            # This happens in the same step in which nobody was found waiting, so a later question starts another
            # task.
            del self._finding[question]
            for answer in waiting:  # Tasks are left here only if the process is being stopped.
                answer.cancel()

    async def _find_for(self, question: str, waiting: list[asyncio.Future[Answer]]) -> None:
        try:
            found = await self._find(question)
        except Exception as error:
            for answer in waiting:
                if not answer.done():
                    answer.set_exception(error)
        else:
            for answer in waiting:
                if not answer.done():
                    answer.set_result(found)
