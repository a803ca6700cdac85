"""The ledger's database: opening it, and its transactions."""

import asyncio
from collections.abc import AsyncGenerator, Callable, Coroutine, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, date, datetime
from functools import partial, wraps
from typing import Any, Concatenate, ParamSpec, TypeAlias, TypeVar

from sqlalchemy import inspect, make_url, text
from sqlalchemy.exc import ArgumentError, DBAPIError, IntegrityError, NoSuchModuleError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from ledger import postgresql, sqlite
from ledger.batches import Answer, Batches, Request
from ledger.errors import LedgerError, LedgerUnavailable
from ledger.schema import metadata

_LAST_TABLE = metadata.sorted_tables[-1].name
Clock = Callable[[], datetime]
_LOCK_TIMEOUT_S = 4
"""For a place in this process's queue, and then for the database's lock: together shorter than a step's
start-to-close timeout, so that the reason comes back rather than silence."""
_BATCHES_AT_ONCE = 2
"""Of one kind, on PostgreSQL: one is computed here while the database works on the other."""
_RUNS_MAX = 5
_Arguments = ParamSpec("_Arguments")
_Answer = TypeVar("_Answer")


class _GaveWay(LedgerUnavailable):
    """The database gave a transaction up for another's sake; nothing of it was written."""


def utc_now() -> datetime:
    """The recording clock."""
    return datetime.now(UTC)


class Ledger:
    """One open ledger. Every function of this room takes one.

    ``clock`` is the recording clock; it says when something was written, never when it counts.
    """

    def __init__(self, engine: AsyncEngine, clock: Clock = utc_now) -> None:
        self._engine = engine
        self._is_sqlite = engine.dialect.name == "sqlite"
        self._writer = asyncio.Lock() if self._is_sqlite else None
        self._batches: dict[Any, Batches[Any, Any]] = {}
        self.clock = clock

    @property
    def where(self) -> str:
        """The database's URL as a person writes it, without a password."""
        url = self._engine.url
        return url.set(drivername=url.get_backend_name()).render_as_string(hide_password=True)

    @asynccontextmanager
    async def write(self) -> AsyncGenerator[AsyncConnection]:
        """A transaction that may write; committed on leaving, rolled back on an exception.

        SQLite has one writer: BEGIN IMMEDIATE takes its lock first, and within a process writers queue here, since
        SQLite's own waiting is by sleeping and unfair. PostgreSQL's writers are kept apart by the locks they take.
        """
        async with self._turn(), self._transaction({sqlite.READ_ONLY: False}) as connection:
            yield connection

    @asynccontextmanager
    async def read(self, *, takes_long: bool = False) -> AsyncGenerator[AsyncConnection]:
        """A transaction that only reads, as of one instant; ``takes_long`` lifts the statement timeout."""
        options: dict[str, object] = {sqlite.READ_ONLY: True}
        if not self._is_sqlite:
            options = {"isolation_level": "REPEATABLE READ", "postgresql_readonly": True}
        async with self._transaction(options) as connection:
            if takes_long and not self._is_sqlite:
                await connection.execute(text("SET LOCAL statement_timeout = 0"))
            yield connection

    def batches(self, write: "WriteDay[Request, Answer]") -> Batches[Request, Answer]:
        """The queue in front of a kind of transaction; requests that wait in it are written together."""
        if write not in self._batches:
            at_once = 1 if self._is_sqlite else _BATCHES_AT_ONCE
            self._batches[write] = Batches[Request, Answer](partial(write, self), at_once=at_once)
        return self._batches[write]

    async def close(self) -> None:
        """Waits for what is being written, and closes every connection."""
        for batches in self._batches.values():
            await batches.finish()
        await self._engine.dispose()

    @asynccontextmanager
    async def _turn(self) -> AsyncGenerator[None]:
        if self._writer is None:
            yield
            return
        try:
            async with asyncio.timeout(_LOCK_TIMEOUT_S):
                await self._writer.acquire()
        except TimeoutError:
            raise LedgerUnavailable(f"the ledger {self.where} is busy: too many writers wait for it") from None
        try:
            yield
        finally:
            self._writer.release()

    @asynccontextmanager
    async def _transaction(self, options: dict[str, object]) -> AsyncGenerator[AsyncConnection]:
        try:
            async with self._engine.connect() as connection:
                await connection.execution_options(**options)
                async with connection.begin():
                    yield connection
        except IntegrityError:
            raise
        except DBAPIError as error:
            kind = _GaveWay if postgresql.gave_way(error.orig) else LedgerUnavailable
            sentence = " ".join(str(error.orig).split())
            raise kind(f"the ledger {self.where} cannot be used: {sentence}") from error
        except PoolTimeout as error:
            raise LedgerUnavailable(f"every connection to the ledger {self.where} is in use") from error


WriteDay: TypeAlias = Callable[
    [Ledger, date, Sequence[Request]], Coroutine[Any, Any, Mapping[str, Answer | LedgerError]]
]
"""Writes requests of different users for one day in one transaction; answers each user's answer or refusal."""


def run_again_if_it_gave_way(
    operation: Callable[Concatenate[Ledger, _Arguments], Coroutine[Any, Any, _Answer]],
) -> Callable[Concatenate[Ledger, _Arguments], Coroutine[Any, Any, _Answer]]:
    """For an operation of one transaction that answers a repeat with what was recorded.

    Run again, a few times, where the database gave the transaction up for another's sake, or where another took a
    unique key first: then nothing was written, and a second look finds what the other wrote. Not run again where
    the outcome is unknown (the connection broke) or where waiting was the trouble (a lock timeout): that is for
    the caller, who knows whether there is still time.
    """

    @wraps(operation)
    async def run(ledger: Ledger, *args: _Arguments.args, **kwargs: _Arguments.kwargs) -> _Answer:
        for _ in range(_RUNS_MAX - 1):
            try:
                return await operation(ledger, *args, **kwargs)
            except _GaveWay:
                pass
            except IntegrityError as error:
                if not _is_taken(error):
                    raise
        return await operation(ledger, *args, **kwargs)

    return run


def _is_taken(error: IntegrityError) -> bool:
    """Whether another took a unique key first."""
    return postgresql.is_taken(error.orig) or sqlite.is_taken(error.orig)


@asynccontextmanager
async def open_ledger(url: str, *, clock: Clock = utc_now) -> AsyncGenerator[Ledger]:
    """Opens the ledger at a database URL (``sqlite:///path`` or ``postgresql://user@host/name``).

    Raises LedgerUnavailable, in one sentence, if there is no usable database at the URL.
    """
    engine = _create_engine(url)
    ledger = Ledger(engine, clock)
    if engine.dialect.name == "sqlite":
        await sqlite.check_it_opens(ledger.where, engine, lock_timeout_s=_LOCK_TIMEOUT_S)
    try:
        if not await _has_tables(ledger):
            async with ledger.write() as connection:
                await connection.run_sync(metadata.create_all)
        yield ledger
    finally:
        await ledger.close()


async def _has_tables(ledger: Ledger) -> bool:
    """Asked first, since reading never waits for a writer, such as a long import."""
    async with ledger.read() as connection:
        return await connection.run_sync(lambda sync: inspect(sync).has_table(_LAST_TABLE))


def _create_engine(url: str) -> AsyncEngine:
    try:
        parsed = make_url(url)
        if parsed.drivername in ("sqlite", sqlite.DRIVER):
            return sqlite.create_engine(parsed, lock_timeout_s=_LOCK_TIMEOUT_S)
        if parsed.drivername in ("postgresql", "postgres", postgresql.DRIVER):
            return postgresql.create_engine(parsed, lock_timeout_s=_LOCK_TIMEOUT_S)
    except (ArgumentError, NoSuchModuleError, ValueError):
        raise LedgerUnavailable(f"{url!r} is not a database URL such as sqlite:///ledger.db") from None
    raise LedgerUnavailable(
        f"{parsed.drivername} is not a database that the ledger knows; "
        "use sqlite:///FILE or postgresql://USER@HOST/DATABASE"
    )
