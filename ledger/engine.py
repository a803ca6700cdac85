"""The ledger's database: opening it, and its transactions."""

import asyncio
import time
from collections.abc import AsyncGenerator, Callable, Coroutine, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, date, datetime
from functools import partial, wraps
from typing import Any, Concatenate, Literal, ParamSpec, TypeAlias, TypeVar

from sqlalchemy import make_url, text
from sqlalchemy.exc import ArgumentError, DBAPIError, IntegrityError, NoSuchModuleError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from ledger import migrations, postgresql, sqlite
from ledger.batches import Answer, Batches, Request
from ledger.errors import LedgerError, LedgerUnavailable
from ledger.migrations import Schema, schema_in
from ledger.observing import NOBODY, Observer

Clock = Callable[[], datetime]
_LOCK_TIMEOUT_S = 4
"""For a place in this process's queue, and then for the database's lock: together shorter than a step's
start-to-close timeout, so that the reason comes back rather than silence."""
_UPGRADE_LOCK_TIMEOUT_S = 60
"""For a SQLite ledger's lock, which another process may hold to upgrade it: nobody's step waits for this one."""
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

    ``clock`` is the recording clock; it says when something was written, never when it counts. ``observer`` hears
    what was done.
    """

    def __init__(
        self,
        engine: AsyncEngine,
        clock: Clock = utc_now,
        observer: Observer = NOBODY,
    ) -> None:
        self._engine = engine
        self._is_sqlite = engine.dialect.name == "sqlite"
        self._writer = asyncio.Lock() if self._is_sqlite else None
        self._batches: dict[Any, Batches[Any, Any]] = {}
        self.clock = clock
        self.observer = observer

    @property
    def where(self) -> str:
        """The database's URL as a person writes it, without a password or what may hide one."""
        url = self._engine.url
        if not self._is_sqlite:
            url = url.set(query={key: url.query[key] for key in ("host", "port") if key in url.query})
        return url.set(drivername=url.get_backend_name()).render_as_string(hide_password=True)

    @property
    def upgrades_when_opened(self) -> bool:
        """Whether whoever opens an older one brings it up to date, since nobody operates an embedded database."""
        return self._is_sqlite

    @asynccontextmanager
    async def write(self) -> AsyncGenerator[AsyncConnection]:
        """A transaction that may write; committed on leaving, rolled back on an exception.

        SQLite has one writer: BEGIN IMMEDIATE takes its lock first, and within a process writers queue here, since
        SQLite's own waiting is by sleeping and unfair. PostgreSQL's writers are kept apart by the locks they take.
        """
        async with (
            self._observed("write"),
            self._turn(),
            self._transaction({sqlite.READ_ONLY: False}) as connection,
        ):
            yield connection

    @asynccontextmanager
    async def read(self, *, takes_long: bool = False) -> AsyncGenerator[AsyncConnection]:
        """A transaction that only reads, as of one instant; ``takes_long`` lifts the statement timeout."""
        options: dict[str, object] = {sqlite.READ_ONLY: True}
        if not self._is_sqlite:
            options = {"isolation_level": "REPEATABLE READ", "postgresql_readonly": True}
        async with self._observed("read"), self._transaction(options) as connection:
            if takes_long and not self._is_sqlite:
                await connection.execute(text("SET LOCAL statement_timeout = 0"))
            yield connection

    def batches(self, answer_day: "AnswerDay[Request, Answer]") -> Batches[Request, Answer]:
        """The queue in front of a kind of transaction; requests that wait in it are answered together."""
        if answer_day not in self._batches:
            at_once = 1 if self._is_sqlite else _BATCHES_AT_ONCE
            self._batches[answer_day] = Batches[Request, Answer](
                partial(answer_day, self), at_once=at_once, on_batch=self.observer.batch
            )
        return self._batches[answer_day]

    async def close(self) -> None:
        """Waits for what is being written, and closes every connection."""
        for batches in self._batches.values():
            await batches.finish()
        await self._engine.dispose()

    @asynccontextmanager
    async def _observed(self, kind: Literal["read", "write"]) -> AsyncGenerator[None]:
        began_s = time.perf_counter()
        try:
            yield
        finally:
            self.observer.transaction(kind, time.perf_counter() - began_s)

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


AnswerDay: TypeAlias = Callable[
    [Ledger, date, Sequence[Request]], Coroutine[Any, Any, Mapping[str, Answer | LedgerError]]
]
"""One transaction for requests of different users for one day; gives each user's answer or refusal."""


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
async def open_ledger(
    url: str,
    *,
    clock: Clock = utc_now,
    observer: Observer = NOBODY,
) -> AsyncGenerator[Ledger]:
    """Opens the ledger at a database URL (``sqlite:///path`` or ``postgresql://user@host/name``).

    A SQLite ledger that is new or older than this program is brought to its schema version first; a PostgreSQL one
    only by ``upgrade_ledger``, since other programs may be using it. Raises LedgerUnavailable, in one sentence, if
    there is no usable database at the URL, or one of another schema version.
    """
    async with _connected(url, clock, observer) as ledger:
        schema = await schema_of(ledger)
        if not schema.is_current:
            if schema.is_newer or not ledger.upgrades_when_opened:
                raise LedgerUnavailable(str(schema))
            await upgrade_ledger(url)
        yield ledger


async def find_schema(url: str) -> Schema:
    """Which schema the ledger at a URL has; makes and changes nothing.

    Raises LedgerUnavailable, in one sentence, if there is no usable database at the URL.
    """
    engine = _create_engine(url)
    if engine.dialect.name == "sqlite" and sqlite.is_missing(engine.url):
        return Schema(Ledger(engine).where, None)
    async with _connected(url) as ledger:
        return await schema_of(ledger)


async def schema_of(ledger: Ledger) -> Schema:
    """Which schema an open ledger has by now. Raises LedgerUnavailable if it does not answer."""
    async with ledger.read() as connection:
        return await connection.run_sync(schema_in, ledger.where)


async def upgrade_ledger(url: str, *, on_version: Callable[[int], None] = lambda version: None) -> Schema:
    """Brings the ledger at a URL to this program's schema version, whole or not at all; answers what it had.

    It may be asked for any number of times, also at once. ``on_version`` hears each version before it is made.
    Raises LedgerUnavailable if the database cannot be used or upgraded, or has a newer version.
    """
    async with _connected(url, sqlite_lock_timeout_s=_UPGRADE_LOCK_TIMEOUT_S) as ledger:
        # Asked first, since reading never waits for a writer, such as a long import.
        schema = await schema_of(ledger)
        if schema.is_current:
            return schema
        if schema.is_newer:
            raise LedgerUnavailable(str(schema))
        try:
            async with ledger.write() as connection:
                if connection.dialect.name == "postgresql":
                    await postgresql.begin_upgrade(connection, lock_timeout_s=_LOCK_TIMEOUT_S)
                return await connection.run_sync(migrations.upgrade, ledger.where, on_version=on_version)
        except LedgerUnavailable as error:
            raise LedgerUnavailable(f"{error}; {schema}") from error


@asynccontextmanager
async def _connected(
    url: str,
    clock: Clock = utc_now,
    observer: Observer = NOBODY,
    *,
    sqlite_lock_timeout_s: int | None = None,
) -> AsyncGenerator[Ledger]:
    """The ledger at a URL, whatever its schema."""
    engine = _create_engine(url, sqlite_lock_timeout_s)
    ledger = Ledger(engine, clock, observer)
    if engine.dialect.name == "sqlite":
        await sqlite.check_it_opens(ledger.where, engine, lock_timeout_s=_LOCK_TIMEOUT_S)
    try:
        yield ledger
    finally:
        await ledger.close()


def _create_engine(url: str, sqlite_lock_timeout_s: int | None = None) -> AsyncEngine:
    try:
        parsed = make_url(url)
        if parsed.drivername in ("sqlite", sqlite.DRIVER):
            timeout_s = _LOCK_TIMEOUT_S if sqlite_lock_timeout_s is None else sqlite_lock_timeout_s
            return sqlite.create_engine(parsed, lock_timeout_s=timeout_s)
        if parsed.drivername in ("postgresql", "postgres", postgresql.DRIVER):
            return postgresql.create_engine(parsed, lock_timeout_s=_LOCK_TIMEOUT_S)
    except (ArgumentError, NoSuchModuleError, ValueError):
        raise LedgerUnavailable(
            f"{_without_secrets(url)!r} is not a database URL such as sqlite:///ledger.db"
        ) from None
    raise LedgerUnavailable(
        f"{parsed.drivername} is not a database that the ledger knows; "
        "use sqlite:///FILE or postgresql://USER@HOST/DATABASE"
    )


def _without_secrets(url: str) -> str:
    """A malformed URL may have a password anywhere behind its scheme, unless it is a file's."""
    scheme, colon, _ = url.partition(":")
    return url if scheme == "sqlite" or not colon else f"{scheme}:…"
