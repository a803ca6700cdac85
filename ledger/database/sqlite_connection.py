"""A connection to SQLite whose thread is asked once for a statement, and not four times.

aiosqlite asks the thread of a connection for a cursor, for the execution, for the rows and for the cursor's end.
Each of the four hands the interpreter over and back, which takes longer than most statements do.
"""

import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from functools import partial
from typing import Any, Self

import aiosqlite

_ROWS_AT_ONCE = 1000
"""How many rows come with the execution. A caller that streams many more has no more than these in memory."""


class WholeStatements(aiosqlite.Connection):
    """A connection whose cursors execute and fetch in one request to the thread."""

    @classmethod
    def connect(cls, database: str, **options: Any) -> Self:
        """Connects; to be awaited, as aiosqlite.connect is."""
        connection = cls(partial(sqlite3.connect, database, **options), _ROWS_AT_ONCE)
        # SQLAlchemy does the same with connections that it makes: a thread that is left over does not delay the
        # exit.
        connection._thread.daemon = True
        return connection

    def cursor(self) -> Any:
        return _Cursor(self)

    async def in_thread(self, asked: Any, *args: Any) -> Any:
        """The result of a function that is called in the connection's thread."""
        return await self._execute(asked, *args)  # pyright: ignore[reportUnknownMemberType]  # it has no types

    async def read_in_one_go(self, asked: Sequence[tuple[str, Mapping[str, Any]]]) -> list[list[Any]]:
        """The rows of each of some statements, in a transaction of their own."""
        return await self.in_thread(self._read_in_one_go, asked)

    def _read_in_one_go(self, asked: Sequence[tuple[str, Mapping[str, Any]]]) -> list[list[Any]]:
        cursor = self.new_cursor()
        cursor.execute("BEGIN")
        try:
            return [cursor.execute(words, given).fetchall() for words, given in asked]
        finally:
            cursor.execute("ROLLBACK")  # nothing was written

    def new_cursor(self) -> sqlite3.Cursor:
        """Only for the connection's thread."""
        return self._conn.cursor()


class _Cursor(AbstractAsyncContextManager["_Cursor"]):
    """What SQLAlchemy asks of an asynchronous cursor."""

    def __init__(self, connection: WholeStatements) -> None:
        self._connection = connection
        self._cursor: sqlite3.Cursor | None = None
        self._rows: list[Any] = []
        self._is_exhausted = True
        self.arraysize = 1

    @property
    def description(self) -> Any:
        return None if self._cursor is None else self._cursor.description

    @property
    def rowcount(self) -> int:
        return -1 if self._cursor is None else self._cursor.rowcount

    @property
    def lastrowid(self) -> int | None:
        return None if self._cursor is None else self._cursor.lastrowid

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def execute(self, sql: str, parameters: Sequence[Any] = ()) -> Self:
        self._rows = await self._connection.in_thread(self._executed, sql, parameters)
        return self

    async def executemany(self, sql: str, parameters: Iterable[Any]) -> Self:
        await self._connection.in_thread(self._executed_for_many, sql, parameters)
        return self

    async def fetchone(self) -> Any:
        rows = await self.fetchmany(1)
        return rows[0] if rows else None

    async def fetchmany(self, size: int | None = None) -> list[Any]:
        size = size or self.arraysize
        if len(self._rows) < size and not self._is_exhausted:
            self._rows += await self._connection.in_thread(self._more)
        rows, self._rows = self._rows[:size], self._rows[size:]
        return rows

    async def fetchall(self) -> list[Any]:
        rows, self._rows = self._rows, []
        if not self._is_exhausted:
            assert self._cursor is not None, "it has rows"
            rows += await self._connection.in_thread(self._cursor.fetchall)
            self._is_exhausted = True
        return rows

    async def close(self) -> None:
        # A statement has ended already when all its rows are fetched.
        if not self._is_exhausted:
            assert self._cursor is not None, "it has rows"
            await self._connection.in_thread(self._cursor.close)
            self._is_exhausted = True

    # In the connection's thread.

    def _executed(self, sql: str, parameters: Sequence[Any]) -> list[Any]:
        self._cursor = self._connection.new_cursor()
        self._cursor.execute(sql, parameters)
        return self._more() if self._cursor.description else []

    def _executed_for_many(self, sql: str, parameters: Iterable[Any]) -> None:
        self._cursor = self._connection.new_cursor()
        self._cursor.executemany(sql, parameters)

    def _more(self) -> list[Any]:
        assert self._cursor is not None, "it was executed"
        rows = self._cursor.fetchmany(_ROWS_AT_ONCE)
        self._is_exhausted = len(rows) < _ROWS_AT_ONCE
        return rows
