"""The ledger's database: opening it, and its transactions."""

import asyncio
import logging
import sqlite3
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from datetime import UTC, date, datetime
from functools import partial, wraps
from typing import Any, Concatenate, Literal, ParamSpec, TypeAlias, TypeVar

import psycopg
from sqlalchemy.exc import ArgumentError, DBAPIError, IntegrityError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from ledger.database import migrations, postgresql, sqlite, urls
from ledger.database.clocks import problem_of
from ledger.database.day_queue import Answer, DayQueue, Request
from ledger.database.event_horizon import EventHorizon
from ledger.database.item_queue import Item, ItemQueue
from ledger.database.late_sources import LateSources
from ledger.database.migrations import Schema, schema_in
from ledger.database.observing import NOBODY, Observer
from ledger.database.one_go import BoundStatement, Found
from ledger.database.options import READ_ONLY, TAKES_LONG
from ledger.database.patience import Patience
from ledger.database.program_memory import ProgramMemory
from ledger.database.read_queue import Question, ReadInOneGo, ReadQueue, ReadTogether
from ledger.errors import ClockIsWrong, LedgerError, LedgerUnavailable

Clock = Callable[[], datetime]
_AT_ONCE = 2
"""Transactions of one kind at a time on PostgreSQL: one is computed here while the database works on the other."""
_RUNS_MAX = 5
_DRIVERS_ERRORS = (sqlite3.Error, psycopg.Error)
_Arguments = ParamSpec("_Arguments")
_Answer = TypeVar("_Answer")
_log = logging.getLogger("soft_staking.ledger")


class GaveWay(LedgerUnavailable):
    """The database gave up a transaction in favour of another one; nothing of it was written."""


def utc_now() -> datetime:
    """The recording clock."""
    return datetime.now(UTC)


class Ledger:
    """One open ledger, which the functions of the rooms of ``ledger/`` take.

    ``clock`` is the recording clock; it says when something was written, never when it counts. ``observer`` hears
    what was done. ``patience`` says how long the database may take.
    """

    def __init__(
        self,
        engine: AsyncEngine,
        clock: Clock = utc_now,
        observer: Observer = NOBODY,
        patience: Patience = Patience(),  # noqa: B008  # it is frozen
    ) -> None:
        self._engine = engine
        self._patience = patience
        self._is_sqlite = engine.dialect.name == "sqlite"
        self._writer = asyncio.Lock() if self._is_sqlite else None
        # On PostgreSQL one is prepared here while the database works on the other. SQLite works in this process.
        self._at_once = 1 if self._is_sqlite else _AT_ONCE
        self._queues: dict[Any, Any] = {}
        self._clock_problem: str | None = None
        self.clock = clock
        self.observer = observer
        self.program_memory = ProgramMemory()
        self.late_sources = LateSources()
        self.event_horizon = EventHorizon()
        self.has_written = False
        """Whether a transaction that may write was committed."""

    @property
    def where(self) -> str:
        """The database's URL as a person writes it, without anything that may contain a password."""
        url = self._engine.url
        if not self._is_sqlite:
            url = url.set(query={key: url.query[key] for key in ("host", "port") if key in url.query})
        return url.set(drivername=url.get_backend_name()).render_as_string(hide_password=True)

    @property
    def upgrades_when_opened(self) -> bool:
        """Whether opening an older ledger upgrades it. This is true of an embedded database, which has no
        operator."""
        return self._is_sqlite

    @property
    def has_one_writer(self) -> bool:
        """Whether there is only one writer at a time, for whom the writers of all processes wait."""
        return self._is_sqlite

    @asynccontextmanager
    async def write(self, *, takes_long: bool = False) -> AsyncGenerator[AsyncConnection]:
        """A transaction that may write; committed on leaving, rolled back on an exception.

        SQLite has one writer at a time. BEGIN IMMEDIATE takes its lock first, and within a process writers queue
        here, since SQLite itself waits by sleeping, which is unfair. On PostgreSQL writers are kept apart by the
        locks that they take. Raises LedgerUnavailable if the database does not answer. If it did not answer the
        commit, what was written may be recorded all the same. Raises ClockIsWrong, and writes nothing, if the
        machine's clock is more than 5 s from the database's.
        """
        async with (
            self._observed("write"),
            self._turn(),
            self._transaction(reads=False, takes_long=takes_long) as connection,
        ):
            yield connection
        self.has_written = True

    @asynccontextmanager
    async def read(self, *, takes_long: bool = False) -> AsyncGenerator[AsyncConnection]:
        """A transaction that only reads, as of one instant; ``takes_long`` is for an audit."""
        async with self._observed("read"), self._transaction(reads=True, takes_long=takes_long) as connection:
            yield connection

    async def read_in_one_go(self, *asked: BoundStatement) -> list[list[Any]] | None:
        """The rows of several statements as of one instant, read in one go: see ledger.database.one_go.

        Answers None if that fails for any reason, or takes longer than the beginning of a transaction may take.
        The caller then asks in a transaction of ``read``, which handles every failure.
        """
        began_s = time.perf_counter()
        try:
            found = await self._found_in_one_go(asked)
        except (DBAPIError, PoolTimeout, LedgerUnavailable, *_DRIVERS_ERRORS) as error:
            _log.debug("nothing was read in one go, so a transaction reads it: %s", type(error).__name__)
            return None
        finally:
            self.observer.transaction("read", time.perf_counter() - began_s)
        return [
            each.statement.rows(rows, in_postgresql=not self._is_sqlite)
            for each, rows in zip(asked, found, strict=True)
        ]

    def day_queue(self, answer_day: "AnswerDay[Request, Answer]") -> DayQueue[Request, Answer]:
        """The queue of one kind of transaction, for requests about one user's day each."""
        if answer_day not in self._queues:
            self._queues[answer_day] = DayQueue[Request, Answer](
                partial(answer_day, self),
                at_once=self._at_once,
                patience=self._patience,
                on_batch=self.observer.batch,
            )
        return self._queues[answer_day]

    def item_queue(
        self, write_together: "Callable[[Ledger, Sequence[Item]], Awaitable[Sequence[Answer]]]", *, items_max: int
    ) -> ItemQueue[Item, Answer]:
        """The queue of one kind of transaction, for requests of any number of items."""
        if write_together not in self._queues:
            self._queues[write_together] = ItemQueue[Item, Answer](
                partial(write_together, self),
                items_max=items_max,
                at_once=self._at_once,
                patience=self._patience,
            )
        return self._queues[write_together]

    def read_queue(
        self,
        read_together: ReadTogether[Question, Answer],
        read_in_one_go: ReadInOneGo[Question, Answer] | None = None,
    ) -> ReadQueue[Question, Answer]:
        """A queue of one kind of reading, for questions."""
        return ReadQueue(self.read, read_together, read_in_one_go, at_once=self._at_once)

    def check_clock(self) -> None:
        """Raises ClockIsWrong if the machine's clock differed from the database's when it was asked last."""
        if self._clock_problem is not None:
            raise ClockIsWrong(self._clock_problem)

    def oldest_request_s(self) -> float:
        """For how long a request has waited to be answered together with others; 0 if none waits."""
        return max((queue.oldest_s() for queue in self._queues.values()), default=0)

    async def close(self) -> None:
        """Waits for what is being written, unless the database is silent, and closes every connection."""
        await asyncio.gather(*(queue.finish() for queue in self._queues.values()))
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
            async with asyncio.timeout(self._patience.turn_s):
                await self._writer.acquire()
        except TimeoutError:
            raise LedgerUnavailable(f"the ledger {self.where} is busy: too many writers wait for it") from None
        try:
            yield
        finally:
            self._writer.release()

    async def _found_in_one_go(self, asked: Sequence[BoundStatement]) -> Sequence[Found]:
        async with self._engine.connect() as connection:
            try:
                if self._is_sqlite:
                    return await sqlite.read_in_one_go(connection, asked)
                before = utc_now()
                connection.info[postgresql.CLOCK], found = await postgresql.read_in_one_go(
                    connection, asked, self._patience
                )
                self._watch_clock(before, connection)
                return found
            except BaseException:
                await connection.invalidate()  # nobody knows how far it came
                raise

    @asynccontextmanager
    async def _transaction(self, *, reads: bool, takes_long: bool) -> AsyncGenerator[AsyncConnection]:
        commits = False
        try:
            async with AsyncExitStack() as stack:
                connection = await self._begun(stack, reads=reads, takes_long=takes_long)
                try:
                    if not reads:
                        self.check_clock()
                    yield connection
                except BaseException:
                    with suppress(DBAPIError):  # without an answer the database rolls back by itself
                        await connection.rollback()
                    raise
                commits = True
                await connection.commit()
        except IntegrityError:
            raise
        except DBAPIError as error:
            if reads and commits:
                return  # what was read is complete
            raise self._unavailable(error, commits=commits) from error
        except PoolTimeout as error:
            raise LedgerUnavailable(f"every connection to the ledger {self.where} is in use") from error

    async def _begun(self, stack: AsyncExitStack, *, reads: bool, takes_long: bool) -> AsyncConnection:
        """A connection with a transaction that has begun.

        A pooled connection may have ended meanwhile, for example when the database was restarted. Nothing was
        asked on it yet, so a new one takes its place. All other pooled connections are as old, and are not used
        again.
        """
        options = {READ_ONLY: reads, TAKES_LONG: takes_long}
        while True:
            connection = await self._engine.connect()
            kept = postgresql.CLOCK in connection.info
            try:
                await connection.execution_options(**options)
                before = utc_now()
                await connection.begin()
                self._watch_clock(before, connection)
            except DBAPIError as error:
                await connection.close()
                if not (kept and error.connection_invalidated):
                    raise
            except BaseException:
                await connection.close()
                raise
            else:
                stack.push_async_exit(connection)
                return connection

    def _watch_clock(self, before: datetime, connection: AsyncConnection) -> None:
        """Checks the clock with each transaction, which reads the database's clock anyway. A SQLite file has no
        clock of its own."""
        there: datetime | None = connection.info.get(postgresql.CLOCK)
        if there is not None and self.clock is utc_now:
            self._clock_problem = problem_of(before, there.astimezone(UTC), utc_now())

    def _unavailable(self, error: DBAPIError, *, commits: bool) -> LedgerUnavailable:
        said = "".join(sign for sign in " ".join(str(error.orig).split()) if sign.isprintable())
        sentence = f"the ledger {self.where} cannot be used: {said}"
        if self._is_sqlite and (why := sqlite.who_may_not_write(error.orig, self._engine.url)):
            return LedgerUnavailable(f"{sentence}: {why}")
        if not self._is_sqlite and (hint := postgresql.difference_in_tls(said)):
            return LedgerUnavailable(f"{sentence}; {hint}")
        if postgresql.gave_way(error.orig):
            return GaveWay(sentence)
        if commits and error.connection_invalidated:
            # It is never run again from here: only the caller has the key under which a repeat is safe.
            return LedgerUnavailable(f"{sentence}; it may have been recorded all the same")
        return LedgerUnavailable(sentence)


AnswerDay: TypeAlias = Callable[
    [Ledger, date, Sequence[Request]], Coroutine[Any, Any, Mapping[str, Answer | LedgerError]]
]
"""One transaction for requests of different users for one day; gives each user's answer or refusal."""


def run_again_if_it_gave_way(
    operation: Callable[Concatenate[Ledger, _Arguments], Coroutine[Any, Any, _Answer]],
) -> Callable[Concatenate[Ledger, _Arguments], Coroutine[Any, Any, _Answer]]:
    """Decorates an operation of one transaction that answers a repeat with what was recorded.

    The operation is run again, a few times, if the database gave its transaction up in favour of another, or if
    another transaction took a unique key first. Then nothing was written, and the next run finds what the other
    wrote. It is not run again if the outcome is unknown (the connection broke) or after a lock timeout: the caller
    knows whether there is still time.
    """

    @wraps(operation)
    async def run(ledger: Ledger, *args: _Arguments.args, **kwargs: _Arguments.kwargs) -> _Answer:
        for _ in range(_RUNS_MAX - 1):
            try:
                return await operation(ledger, *args, **kwargs)
            except GaveWay:
                pass
            except IntegrityError as error:
                if not _is_taken(error):
                    raise
        return await operation(ledger, *args, **kwargs)

    return run


def _is_taken(error: IntegrityError) -> bool:
    """Whether another transaction took a unique key first."""
    return postgresql.is_taken(error.orig) or sqlite.is_taken(error.orig)


@asynccontextmanager
async def open_ledger(
    url: str,
    *,
    clock: Clock = utc_now,
    observer: Observer = NOBODY,
    patience: Patience = Patience(),  # noqa: B008  # it is frozen
    prepared_statements: bool = False,
) -> AsyncGenerator[Ledger]:
    """Opens the ledger at a database URL (``sqlite:///path`` or ``postgresql://user@host/name``).

    It never makes a ledger, a folder or a file. A SQLite ledger that is older than this program is brought to its
    schema version first; a PostgreSQL one only by ``upgrade_ledger``, since other programs may be using it.
    ``prepared_statements`` is for a PostgreSQL without a pooler in front of it. Raises LedgerUnavailable, in one
    sentence, if there is no usable ledger at the URL, or one of another schema version.
    """
    if missing := _missing(url):
        raise LedgerUnavailable(str(missing))
    opening = _connected(url, clock, observer, patience, prepared_statements=prepared_statements)
    async with opening as ledger:
        schema = await schema_of(ledger)
        if not schema.is_current:
            if schema.version is None or schema.is_newer or not ledger.upgrades_when_opened:
                raise LedgerUnavailable(str(schema))
            await upgrade_ledger(url)
        yield ledger


async def find_schema(url: str) -> Schema:
    """Which schema the ledger at a URL has; makes and changes nothing.

    Raises LedgerUnavailable, in one sentence, if there is no usable database at the URL.
    """
    if missing := _missing(url):
        return missing
    async with _connected(url) as ledger:
        return await schema_of(ledger)


async def make_ledger(url: str) -> bool:
    """Makes a ledger at a URL if there is none, and says whether it did. An existing ledger is left as it is.

    Raises LedgerUnavailable, in one sentence, if no ledger can be made.
    """
    if (await find_schema(url)).version is not None:
        return False
    return (await upgrade_ledger(url)).version is None


async def schema_of(ledger: Ledger) -> Schema:
    """Which schema an open ledger has by now. Raises LedgerUnavailable if it does not answer."""
    async with ledger.read() as connection:
        return await connection.run_sync(schema_in, ledger.where)


async def upgrade_ledger(
    url: str,
    *,
    on_version: Callable[[int], None] = lambda version: None,
    patience: Patience = Patience(),  # noqa: B008  # it is frozen
) -> Schema:
    """Brings the ledger at a URL to this program's schema version, whole or not at all. Answers the version that
    it had before.

    If there is no ledger, it makes one. It may be called any number of times, also at the same time.
    ``on_version`` is called with each version before the ledger is brought to it. Raises LedgerUnavailable if the
    database cannot be used or upgraded, or has a newer version.
    """
    turn_s = patience.upgrade_turn_s
    async with _connected(url, patience=patience, makes=True, sqlite_lock_timeout_s=turn_s) as ledger:
        # This is read first, since reading never waits for a writer, such as a long import.
        schema = await schema_of(ledger)
        if schema.is_current:
            return schema
        if schema.is_newer:
            raise LedgerUnavailable(str(schema))
        try:
            async with ledger.write(takes_long=True) as connection:
                if connection.dialect.name == "postgresql":
                    await postgresql.begin_upgrade(connection, patience)
                return await connection.run_sync(migrations.upgrade, ledger.where, on_version=on_version)
        except LedgerUnavailable as error:
            raise LedgerUnavailable(f"{error}; {schema}") from error


@asynccontextmanager
async def _connected(
    url: str,
    clock: Clock = utc_now,
    observer: Observer = NOBODY,
    patience: Patience = Patience(),  # noqa: B008  # it is frozen
    *,
    makes: bool = False,
    prepared_statements: bool = False,
    sqlite_lock_timeout_s: float | None = None,
) -> AsyncGenerator[Ledger]:
    """The ledger at a URL, whatever its schema is. With ``makes`` a new, empty SQLite file is made if there is
    none."""
    parsed = urls.parsed(url)
    try:
        if urls.is_sqlite(parsed):
            file = await sqlite.opened(sqlite.ledger_file(parsed, makes=makes), lock_timeout_s=patience.turn_s)
            engine = sqlite.create_engine(file, lock_timeout_s=sqlite_lock_timeout_s or patience.turn_s)
        else:
            engine = postgresql.create_engine(parsed, patience, prepared_statements=prepared_statements)
    except (ArgumentError, ValueError):
        raise urls.not_a_url(url) from None
    ledger = Ledger(engine, clock, observer, patience)
    try:
        yield ledger
    finally:
        await ledger.close()


def _missing(url: str) -> Schema | None:
    """The message about a SQLite file that does not exist."""
    parsed = urls.parsed(url)
    if not urls.is_sqlite(parsed):
        return None
    try:
        file = sqlite.ledger_file(parsed, makes=False)
    except (ArgumentError, ValueError):
        raise urls.not_a_url(url) from None
    return Schema(sqlite.shown(file.url), None) if sqlite.is_missing(file) else None
