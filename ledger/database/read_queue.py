"""Questions that come together are read together: one transaction, the same few statements, for many."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from itertools import islice
from typing import Generic, TypeAlias, TypeVar

from sqlalchemy.ext.asyncio import AsyncConnection

from ledger.errors import LedgerUnavailable

_QUESTIONS_MAX = 50
"""The most questions in a transaction: enough to share the cost of a statement, and few enough that nobody
waits long."""

Question = TypeVar("Question")
Answer = TypeVar("Answer")

ReadTogether: TypeAlias = Callable[[AsyncConnection, Sequence[Question]], Awaitable[Mapping[Question, Answer]]]
"""Answers several different questions within one transaction."""
ReadInOneGo: TypeAlias = Callable[[Sequence[Question]], Awaitable[Mapping[Question, Answer]]]
"""Answers as many of several questions as can be answered in one go; the others are then read together."""


class ReadQueue(Generic[Question, Answer]):
    """A queue in front of one kind of reading: for questions that many ask at the same time, such as how a user
    stands.

    A question that finds nobody at work is read alone, without delay. Those that come meanwhile are read together
    next, and equal ones only once. So the cost of a transaction is shared under load. No question is answered from
    a transaction that began before the question was asked, so everything that was committed before is always seen.
    """

    def __init__(
        self,
        begin: Callable[[], AbstractAsyncContextManager[AsyncConnection]],
        read_together: ReadTogether[Question, Answer],
        read_in_one_go: ReadInOneGo[Question, Answer] | None = None,
        *,
        at_once: int,
    ) -> None:
        self._begin = begin
        self._read_together = read_together
        self._read_in_one_go = read_in_one_go
        self._at_once = at_once
        self._waiting: dict[Question, list[asyncio.Future[Answer]]] = {}
        self._readers: set[asyncio.Task[None]] = set()

    async def answer(self, question: Question) -> Answer:
        """The answer as of now or later. Raises the error that prevents an answer, such as LedgerUnavailable."""
        answer: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(question, []).append(answer)
        if len(self._readers) < self._at_once:
            self._readers.add(asyncio.create_task(self._read_while_any_waits()))
        return await answer

    async def _read_while_any_waits(self) -> None:
        reader = asyncio.current_task()
        assert reader is not None, "it was started as a task"
        asked: dict[Question, list[asyncio.Future[Answer]]] = {}
        try:
            while asked := self._taken():
                await self._read(asked)
        finally:
            # This happens in the same step in which the queue was found empty, so a question that comes later
            # starts another reader.
            self._readers.discard(reader)
            for answer in _of_all(asked):  # some are left only if the process is being stopped
                answer.cancel()

    def _taken(self) -> dict[Question, list[asyncio.Future[Answer]]]:
        """Takes the questions that have waited longest, before their transaction begins. Questions are left out
        if everyone who asked them has gone."""
        taken = {question: self._waiting.pop(question) for question in [*islice(self._waiting, _QUESTIONS_MAX)]}
        asked = {
            question: answers
            for question, answers in taken.items()
            if any(not answer.done() for answer in answers)
        }
        return asked if asked or not self._waiting else self._taken()

    async def _read(self, asked: dict[Question, list[asyncio.Future[Answer]]]) -> None:
        try:
            if self._read_in_one_go is not None:
                asked = _not_answered(asked, await self._read_in_one_go([*asked]))
            if asked:
                async with self._begin() as connection:
                    found = await self._read_together(connection, [*asked])
                for question, answers in asked.items():
                    _tell(answers, found[question])
        except Exception as error:
            if len(asked) == 1 or isinstance(error, LedgerUnavailable):
                for answer in _of_all(asked):
                    answer.set_exception(error)
                return
            # Reading each question alone shows whose fault it was.
            for question, answers in asked.items():
                await self._read({question: answers})


def _not_answered(
    asked: dict[Question, list[asyncio.Future[Answer]]], found: Mapping[Question, Answer]
) -> dict[Question, list[asyncio.Future[Answer]]]:
    """Gives the answers that were found, and returns the questions that are left."""
    for question, answer in found.items():
        _tell(asked[question], answer)
    return {question: answers for question, answers in asked.items() if question not in found}


def _tell(answers: Sequence[asyncio.Future[Answer]], found: Answer) -> None:
    for answer in answers:
        if not answer.done():
            answer.set_result(found)


def _of_all(asked: Mapping[Question, Sequence[asyncio.Future[Answer]]]) -> list[asyncio.Future[Answer]]:
    return [answer for answers in asked.values() for answer in answers if not answer.done()]
