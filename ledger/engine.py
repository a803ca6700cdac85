"""The ledger's database: opening it, and its transactions."""

import asyncio
import sqlite3
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager, closing
from datetime import UTC, datetime
from pathlib import Path
from time import monotonic

from sqlalchemy import Connection, event, inspect, make_url
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.exc import ArgumentError, DBAPIError, IntegrityError, NoSuchModuleError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine
from sqlalchemy.pool import AsyncAdaptedQueuePool, ConnectionPoolEntry

from ledger.errors import LedgerUnavailable
from ledger.schema import metadata

_LAST_TABLE = metadata.sorted_tables[-1].name
Clock = Callable[[], datetime]
_LOCK_TIMEOUT_S = 4
"""For a place in this process's queue, and then for the database's lock: together shorter than a step's
start-to-close timeout, so that the reason comes back rather than silence."""
_ASK_AGAIN_S = 0.02
_READ_ONLY = "soft_staking_read_only"


def utc_now() -> datetime:
    """The recording clock."""
    return datetime.now(UTC)


class Ledger:
    """One open ledger. Every function of this room takes one.

    ``clock`` is the recording clock; it says when something was written, never when it counts.
    """

    def __init__(self, engine: AsyncEngine, clock: Clock = utc_now) -> None:
        self._engine = engine
        self._writer = asyncio.Lock() if engine.dialect.name == "sqlite" else None
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
        SQLite's own waiting is by sleeping and unfair.
        """
        async with self._turn(), self._transaction(read_only=False) as connection:
            yield connection

    @asynccontextmanager
    async def read(self) -> AsyncGenerator[AsyncConnection]:
        """A transaction that only reads."""
        async with self._transaction(read_only=True) as connection:
            yield connection

    async def close(self) -> None:
        """Closes every connection."""
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
    async def _transaction(self, *, read_only: bool) -> AsyncGenerator[AsyncConnection]:
        try:
            async with self._engine.connect() as connection:
                await connection.execution_options(**{_READ_ONLY: read_only})
                async with connection.begin():
                    yield connection
        except IntegrityError:
            raise
        except DBAPIError as error:
            raise LedgerUnavailable(f"the ledger {self.where} cannot be used: {error.orig}") from error
        except PoolTimeout as error:
            raise LedgerUnavailable(f"every connection to the ledger {self.where} is in use") from error


@asynccontextmanager
async def open_ledger(url: str, *, clock: Clock = utc_now) -> AsyncGenerator[Ledger]:
    """Opens the ledger at a database URL (``sqlite:///path``), making its tables where there are none.

    Raises LedgerUnavailable, in one sentence, if there is no usable database at the URL.
    """
    engine = _create_engine(url)
    ledger = Ledger(engine, clock)
    await _check_it_opens(ledger.where, engine)
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
        if parsed.drivername == "sqlite":
            parsed = parsed.set(drivername="sqlite+aiosqlite")
        if parsed.drivername != "sqlite+aiosqlite":
            raise LedgerUnavailable(
                f"{parsed.drivername} is not a database that the ledger knows; use sqlite:///FILE"
            )
        engine = create_async_engine(
            parsed,
            hide_parameters=True,
            poolclass=AsyncAdaptedQueuePool,
            pool_timeout=_LOCK_TIMEOUT_S,
            connect_args={"isolation_level": None, "timeout": _LOCK_TIMEOUT_S},
        )
    except (ArgumentError, NoSuchModuleError, ValueError):
        raise LedgerUnavailable(f"{url!r} is not a database URL such as sqlite:///ledger.db") from None
    if not parsed.database or parsed.database == ":memory:" or "\0" in parsed.database:
        raise LedgerUnavailable(f"{url!r} names no file; the ledger needs one, as in sqlite:///ledger.db")
    if not parsed.database.startswith("file:"):
        _make_folder(Path(parsed.database))
    event.listen(engine.sync_engine, "connect", _configure_sqlite)
    event.listen(engine.sync_engine, "begin", _begin)
    return engine


async def _check_it_opens(where: str, engine: AsyncEngine) -> None:
    """The first connection is a plain one, and makes a new file a WAL one.

    When aiosqlite cannot connect it leaves a thread behind, which prints a traceback if it finds the event loop
    closed already. And SQLite fails, rather than waits, where several connections turn a new file to WAL at once.
    """
    arguments, options = engine.dialect.create_connect_args(engine.url)
    give_up_at = monotonic() + _LOCK_TIMEOUT_S
    while True:
        try:
            with closing(sqlite3.connect(arguments[0], uri="uri" in options)) as connection:
                connection.execute("PRAGMA journal_mode = WAL")
                return
        except sqlite3.Error as error:
            is_busy = error.sqlite_errorcode & 0xFF == sqlite3.SQLITE_BUSY
            if not is_busy or monotonic() >= give_up_at:
                raise LedgerUnavailable(f"the ledger {where} cannot be used: {error}") from error
        await asyncio.sleep(_ASK_AGAIN_S)


def _make_folder(database: Path) -> None:
    try:
        if database.is_dir():
            raise LedgerUnavailable(f"{database} is a folder; the ledger needs a file name")
        database.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise LedgerUnavailable(
            f"the ledger's folder {database.parent} cannot be made: {error.strerror}"
        ) from None


def _configure_sqlite(connection: DBAPIConnection, _: ConnectionPoolEntry) -> None:
    cursor = connection.cursor()
    # Full durability: a commit that was answered survives a power cut.
    for pragma in ("journal_mode = WAL", "synchronous = FULL", "foreign_keys = ON"):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def _begin(connection: Connection) -> None:
    read_only = connection.get_execution_options().get(_READ_ONLY, False)
    connection.exec_driver_sql("BEGIN" if read_only else "BEGIN IMMEDIATE")
