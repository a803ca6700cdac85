"""The embedded database: one file, one writer at a time, every commit durable (decision 0009)."""

import asyncio
import os
import sqlite3
import stat
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from time import monotonic
from typing import Any
from urllib.parse import quote, unquote

from sqlalchemy import URL, Connection, Dialect, event
from sqlalchemy.dialects.sqlite.pysqlite import SQLiteDialect_pysqlite
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.exc import OperationalError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine
from sqlalchemy.pool import AsyncAdaptedQueuePool, ConnectionPoolEntry, PoolResetState

from ledger.database.migrations import holds_a_ledger
from ledger.database.one_go import BoundStatement, Found
from ledger.database.options import READ_ONLY
from ledger.database.sqlite_connection import WholeStatements
from ledger.errors import LedgerUnavailable

DRIVER = "sqlite+aiosqlite"
_FILE = "soft_staking_file"
"""The key under which a connection's ``info`` has the connection's file."""
_DIALECT = SQLiteDialect_pysqlite()
_URI_SCHEME = "file:"
_CONNECTIONS_MAX = 8
"""The most connections of one process. Each has a thread, and more threads do not read faster: they wait for
each other."""
_ASK_AGAIN_S = 0.02
_SLEEPS_MS_MAX = 20
"""SQLite waits for a lock by sleeping, longer each time, up to 0.1 s. A writer that has waited for long asks so
seldom that others are always first: among four busy processes it waited for seconds. So SQLite sleeps only for
this time in all, and is then asked again. Then nobody waits long."""


@dataclass(frozen=True)
class LedgerFile:
    """A file that holds a ledger or is to hold one, and how it is opened."""

    path: Path
    url: URL
    """The URL with an absolute path, so that it names the same file if the process changes its folder."""
    uri: str
    """The URI for SQLite."""
    options: Mapping[str, Any]
    makes: bool
    """Whether opening the file makes it if it does not exist."""
    is_read_as_it_lies: bool = False
    """Whether the file is read without SQLite's locks, since it cannot be read otherwise."""
    stamp: tuple[int, int, int] | None = None
    """The size and times of such a file before it was read, which show whether it changed meanwhile."""

    def check_unchanged(self) -> None:
        """Raises LedgerUnavailable if such a file was written meanwhile: what was read may be of two instants."""
        if self.is_read_as_it_lies and (_has_wal(self.path) or _stamp(self.path) != self.stamp):
            raise LedgerUnavailable(f"the ledger {self.path} was written while it was read: try again")


def ledger_file(url: URL, *, makes: bool) -> LedgerFile:
    """The file that a URL names.

    Raises LedgerUnavailable for a URL that names none; ArgumentError or ValueError for one that is malformed.
    """
    path = _path(url)
    if path is None:
        raise LedgerUnavailable(f"{shown(url)!r} names no file; the ledger needs one, as in sqlite:///ledger.db")
    (given,), options = _DIALECT.create_connect_args(url)
    mode = "rwc" if makes else "rw"
    if url.database is not None and url.database.startswith(_URI_SCHEME):
        uri = given if "mode" in url.query else f"{given}{'&' if '?' in given else '?'}mode={mode}"
    else:
        url = url.set(database=str(path))
        # Not the bare name, since a connection to that would make a file that is missing.
        uri = f"{_URI_SCHEME}{quote(str(path))}?mode={mode}"
    return LedgerFile(path, url, uri, {**options, "uri": True}, makes)


def create_engine(file: LedgerFile, *, lock_timeout_s: float) -> AsyncEngine:
    """An engine on a file, not connected yet."""
    engine = create_async_engine(
        file.url.set(drivername=DRIVER),
        hide_parameters=True,
        poolclass=AsyncAdaptedQueuePool,
        pool_size=_CONNECTIONS_MAX,
        max_overflow=0,
        pool_timeout=lock_timeout_s,
        pool_reset_on_return=None,  # see end_what_was_begun
        connect_args={
            "async_creator_fn": WholeStatements.connect,
            "isolation_level": None,
            "timeout": lock_timeout_s,
            "uri": True,
        },
    )

    def connect_to_the_file(_: Dialect, __: object, arguments: list[Any], ___: object) -> None:
        arguments[0] = file.uri

    def begin(connection: Connection) -> None:
        if connection.get_execution_options().get(READ_ONLY, False):
            connection.exec_driver_sql("BEGIN")
        else:
            _begin_to_write(connection, give_up_at=monotonic() + lock_timeout_s)

    def end(_: Connection) -> None:
        file.check_unchanged()

    def note_file(_: DBAPIConnection, record: ConnectionPoolEntry) -> None:
        record.info[_FILE] = file

    def end_what_was_begun(connection: DBAPIConnection, _: ConnectionPoolEntry, state: PoolResetState) -> None:
        if state.asyncio_safe and not state.transaction_was_reset and connection.driver_connection.in_transaction:
            connection.rollback()

    event.listen(engine.sync_engine, "do_connect", connect_to_the_file)
    event.listen(engine.sync_engine, "connect", _configure)
    event.listen(engine.sync_engine, "connect", note_file)
    event.listen(engine.sync_engine, "reset", end_what_was_begun)
    event.listen(engine.sync_engine, "begin", begin)
    event.listen(engine.sync_engine, "commit", end)
    return engine


async def read_in_one_go(connection: AsyncConnection, asked: Sequence[BoundStatement]) -> Sequence[Found]:
    """A transaction that only reads, in one hand-over to SQLite's thread: the rows of each statement."""
    driver = (await connection.get_raw_connection()).driver_connection
    assert isinstance(driver, WholeStatements), "it was made by the engine"
    found = await driver.read_in_one_go([each.for_sqlite() for each in asked])
    file: LedgerFile = connection.info[_FILE]
    file.check_unchanged()
    return found


def is_missing(file: LedgerFile) -> bool:
    """Whether there is no such file. Raises LedgerUnavailable if this cannot be found out, or if it is a
    folder."""
    try:
        is_folder = stat.S_ISDIR(file.path.stat().st_mode)
    except (FileNotFoundError, NotADirectoryError):
        return True
    except OSError as error:
        raise LedgerUnavailable(f"the ledger {file.path} cannot be opened: {error.strerror}") from None
    if is_folder:
        raise LedgerUnavailable(f"{file.path} is a folder; the ledger needs a file name")
    return False


def _make_folder(file: LedgerFile) -> None:
    try:
        file.path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise LedgerUnavailable(
            f"the ledger's folder {file.path.parent} cannot be made: {error.strerror}"
        ) from None


async def opened(file: LedgerFile, *, lock_timeout_s: float) -> LedgerFile:
    """The file, in the way in which it can be opened. A ledger, or a file that is to become one, is turned into a
    WAL file; nothing else is changed.

    Raises LedgerUnavailable if it cannot be opened.

    The first connection is made without aiosqlite. When aiosqlite cannot connect, it leaves a thread behind, which
    prints a traceback if the event loop is closed already. And SQLite fails, instead of waiting, if several
    connections turn a new file to WAL at the same time.
    """
    if file.makes:
        _make_folder(file)
    give_up_at = monotonic() + lock_timeout_s
    while True:
        try:
            with closing(sqlite3.connect(file.uri, **file.options)) as connection:
                tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_master")}
                if holds_a_ledger(tables) or (file.makes and not tables):
                    _turn_to_wal(connection)
                return file
        except sqlite3.Error as error:
            if not file.is_read_as_it_lies and _is_kept_from_its_wal(error, file.path):
                file = _read_as_it_lies(file)
                continue
            if not _is_busy(error) or monotonic() >= give_up_at:
                raise LedgerUnavailable(f"the ledger {shown(file.url)} cannot be used: {error}") from error
        await asyncio.sleep(_ASK_AGAIN_S)


def who_may_not_write(error: object, url: URL) -> str | None:
    """Which file or folder may not be written, if this is why SQLite refused a write; else None."""
    path = _path(url)
    if path is None or not isinstance(error, sqlite3.Error) or _code(error) != sqlite3.SQLITE_READONLY:
        return None
    unwritable = [place for place in (path, path.parent) if not os.access(place, os.W_OK)]
    if not unwritable:
        return "it was opened for reading only"
    return f"{' and '.join(map(str, unwritable))} may not be written by this user"


def is_taken(error: object) -> bool:
    """Whether a unique key was taken already."""
    taken = (sqlite3.SQLITE_CONSTRAINT_UNIQUE, sqlite3.SQLITE_CONSTRAINT_PRIMARYKEY)
    return isinstance(error, sqlite3.Error) and error.sqlite_errorcode in taken


def shown(url: URL) -> str:
    """A URL as a person writes it."""
    return url.set(drivername=url.get_backend_name()).render_as_string()


def _is_busy(error: object) -> bool:
    return isinstance(error, sqlite3.Error) and _code(error) == sqlite3.SQLITE_BUSY


def _code(error: sqlite3.Error) -> int:
    return error.sqlite_errorcode & 0xFF


def _path(url: URL) -> Path | None:
    """The absolute path, also for ``sqlite:///file:ledger.db?mode=ro&uri=true``, which SQLite reads itself."""
    name = url.database or ""
    if name.startswith(_URI_SCHEME):
        name = unquote(name.removeprefix(_URI_SCHEME).removeprefix("//"))
    if not name or name == ":memory:" or url.query.get("mode") == "memory" or "\0" in name:
        return None
    return Path(name).absolute()


def _turn_to_wal(connection: sqlite3.Connection) -> None:
    try:
        connection.execute("PRAGMA journal_mode = WAL")
    except sqlite3.Error as error:
        # A copy that is not a WAL file and may only be read is read as it is.
        if _code(error) != sqlite3.SQLITE_READONLY:
            raise


def _is_kept_from_its_wal(error: sqlite3.Error, path: Path) -> bool:
    """A WAL file cannot even be read if the two files beside it are missing and cannot be made."""
    return (
        _code(error) in (sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN)
        and os.access(path, os.R_OK)
        and not os.access(path.parent, os.W_OK)
    )


def _read_as_it_lies(file: LedgerFile) -> LedgerFile:
    """The file read without locks and without a WAL, which is right as long as nobody writes."""
    if _has_wal(file.path):
        raise LedgerUnavailable(
            f"the ledger {file.path} cannot be read safely: {file.path.name}-wal beside it holds what was written "
            f"last, and taking it up needs the right to write to {file.path.parent}: copy both files to a folder "
            "of your own, or read as the user who runs the worker"
        )
    return replace(file, uri=f"{file.uri}&immutable=1", is_read_as_it_lies=True, stamp=_stamp(file.path))


def _has_wal(path: Path) -> bool:
    try:
        return path.with_name(f"{path.name}-wal").stat().st_size > 0
    except OSError:
        return False


def _stamp(path: Path) -> tuple[int, int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_ino, found.st_size, found.st_mtime_ns


def _configure(connection: DBAPIConnection, _: ConnectionPoolEntry) -> None:
    cursor = connection.cursor()
    # Full durability: a commit that was answered survives a power failure. This is last, since only an open
    # connection waits for nothing but the writer's lock.
    timeout = f"busy_timeout = {_SLEEPS_MS_MAX}"
    for pragma in ("synchronous = FULL", "foreign_keys = ON", timeout):
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
