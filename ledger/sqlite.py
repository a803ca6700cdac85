"""The embedded database: one file, one writer at a time, every commit durable."""

import asyncio
import sqlite3
from contextlib import closing
from pathlib import Path
from time import monotonic

from sqlalchemy import URL, Connection, event
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.exc import OperationalError
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlalchemy.pool import AsyncAdaptedQueuePool, ConnectionPoolEntry

from ledger.errors import LedgerUnavailable
from ledger.options import READ_ONLY

DRIVER = "sqlite+aiosqlite"
_CONNECTIONS_MAX = 8
"""In one process. Each has a thread, and more threads read no faster: they wait for each other."""
_ASK_AGAIN_S = 0.02
_SLEEPS_MS_MAX = 20
"""SQLite waits for a lock by sleeping, ever longer, up to 0.1 s at a time. Who has waited long asks so seldom that
others are always first, and waited for seconds among four busy processes. So it sleeps for so long in all, and is
asked anew: then nobody waits long."""


def create_engine(url: URL, *, lock_timeout_s: float) -> AsyncEngine:
    """An engine on the URL's file, not connected yet. Raises LedgerUnavailable for a URL that names none."""
    if not url.database or url.database == ":memory:" or "\0" in url.database:
        raise LedgerUnavailable(f"{_shown(url)!r} names no file; the ledger needs one, as in sqlite:///ledger.db")
    engine = create_async_engine(
        url.set(drivername=DRIVER),
        hide_parameters=True,
        poolclass=AsyncAdaptedQueuePool,
        pool_size=_CONNECTIONS_MAX,
        max_overflow=0,
        pool_timeout=lock_timeout_s,
        connect_args={"isolation_level": None, "timeout": lock_timeout_s},
    )
    event.listen(engine.sync_engine, "connect", _configure)

    def begin(connection: Connection) -> None:
        if connection.get_execution_options().get(READ_ONLY, False):
            connection.exec_driver_sql("BEGIN")
        else:
            _begin_to_write(connection, give_up_at=monotonic() + lock_timeout_s)

    event.listen(engine.sync_engine, "begin", begin)
    return engine


def is_missing(url: URL) -> bool:
    """Whether opening the URL's file would make it."""
    file = _file(url)
    try:
        return file is not None and not file.exists()
    except OSError:
        return False


async def check_it_opens(where: str, engine: AsyncEngine, *, lock_timeout_s: float) -> None:
    """The first connection is a plain one, and makes a new file a WAL one, with the folders on the way.

    When aiosqlite cannot connect it leaves a thread behind, which prints a traceback if it finds the event loop
    closed already. And SQLite fails, rather than waits, where several connections turn a new file to WAL at once.
    """
    if file := _file(engine.url):
        _make_folder(file)
    arguments, options = engine.dialect.create_connect_args(engine.url)
    give_up_at = monotonic() + lock_timeout_s
    while True:
        try:
            with closing(sqlite3.connect(arguments[0], uri="uri" in options)) as connection:
                connection.execute("PRAGMA journal_mode = WAL")
                return
        except sqlite3.Error as error:
            if not _is_busy(error) or monotonic() >= give_up_at:
                raise LedgerUnavailable(f"the ledger {where} cannot be used: {error}") from error
        await asyncio.sleep(_ASK_AGAIN_S)


def is_taken(error: object) -> bool:
    """Whether a unique key was taken already."""
    taken = (sqlite3.SQLITE_CONSTRAINT_UNIQUE, sqlite3.SQLITE_CONSTRAINT_PRIMARYKEY)
    return isinstance(error, sqlite3.Error) and error.sqlite_errorcode in taken


def _is_busy(error: object) -> bool:
    return isinstance(error, sqlite3.Error) and error.sqlite_errorcode & 0xFF == sqlite3.SQLITE_BUSY


def _file(url: URL) -> Path | None:
    """None where the URL leaves it to SQLite, as in ``sqlite:///file:ledger.db?mode=ro&uri=true``."""
    return None if not url.database or url.database.startswith("file:") else Path(url.database)


def _shown(url: URL) -> str:
    return url.set(drivername=url.get_backend_name()).render_as_string()


def _make_folder(database: Path) -> None:
    try:
        if database.is_dir():
            raise LedgerUnavailable(f"{database} is a folder; the ledger needs a file name")
        database.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise LedgerUnavailable(
            f"the ledger's folder {database.parent} cannot be made: {error.strerror}"
        ) from None


def _configure(connection: DBAPIConnection, _: ConnectionPoolEntry) -> None:
    cursor = connection.cursor()
    # Full durability: a commit that was answered survives a power cut.
    # And the last of them, since only an open connection never waits for anything but the writer's lock.
    timeout = f"busy_timeout = {_SLEEPS_MS_MAX}"
    for pragma in ("journal_mode = WAL", "synchronous = FULL", "foreign_keys = ON", timeout):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def _begin_to_write(connection: Connection, *, give_up_at: float) -> None:
    """Takes the one writer's lock, which another process may hold."""
    while True:
        try:
            connection.exec_driver_sql("BEGIN IMMEDIATE")
            return
        except OperationalError as error:
            if not _is_busy(error.orig) or monotonic() >= give_up_at:
                raise
