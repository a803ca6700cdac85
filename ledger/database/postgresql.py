"""PostgreSQL: many writers at READ COMMITTED, kept apart by row locks.

A pooler may stand between, which gives each transaction any server connection that is free. So nothing here
outlives a transaction: its limits are set when it begins, and statements are prepared only on request.
"""

import asyncio
import time
from collections.abc import Generator, Sequence
from datetime import datetime
from math import ceil
from typing import Any, Self, TypeVar

from psycopg import AsyncConnection as DriverConnection
from psycopg import AsyncCursor, OperationalError, pq, waiting
from sqlalchemy import URL, Connection, event, text
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine
from sqlalchemy.pool import ConnectionPoolEntry, PoolResetState

from ledger.database.one_go import BoundStatement, Found
from ledger.database.options import READ_ONLY, TAKES_LONG
from ledger.database.patience import Patience
from ledger.errors import LedgerUnavailable

DRIVER = "postgresql+psycopg"
CONNECTIONS_MAX = 8
"""The most connections of one process. More would not pay more users, since a batch of many users is one
transaction."""
CLOCK = "soft_staking_clock"
"""The key in a connection's ``info`` for the database's clock at the beginning of the last transaction."""
_UPGRADES = 0x50F7
"""The advisory lock that an upgrade of the database takes."""
_DEADLOCK, _SERIALIZATION_FAILURE, _UNIQUE_VIOLATION = "40P01", "40001", "23505"
_PREPARED_AT_THE_SIXTH = 5
_Answer = TypeVar("_Answer")


_NO_POSTGRESQL = (
    "what answers there is no PostgreSQL, or one that speaks TLS from the first byte on: for that, "
    "?sslmode=require&sslnegotiation=direct"
)
_HINTS_AT_TLS = {
    "does not support SSL": "for a server without TLS: ?sslmode=disable",
    "no encryption": "the server may want TLS: ?sslmode=require",
    "invalid response to SSL negotiation": _NO_POSTGRESQL,
    "expected authentication request from server": _NO_POSTGRESQL,
}


def create_engine(url: URL, patience: Patience, *, prepared_statements: bool = False) -> AsyncEngine:
    """An engine on the URL's database; connects when first used. Raises LedgerUnavailable for unknown options."""
    _check_options(url)
    engine = create_async_engine(
        url.set(drivername=DRIVER),
        hide_parameters=True,
        pool_size=CONNECTIONS_MAX,
        max_overflow=0,
        pool_timeout=patience.turn_s,
        pool_reset_on_return=None,  # see end_what_was_begun
        connect_args={
            "async_creator_fn": _SilentNoLonger.connect,
            "cursor_factory": _LastResult,
            "autocommit": True,
            "prepare_threshold": _PREPARED_AT_THE_SIXTH if prepared_statements else None,
            **{name: value for name, value in _liveness(patience).items() if name not in url.query},
        },
    )

    def begin(connection: Connection) -> None:
        driver = connection.connection.driver_connection
        assert isinstance(driver, _SilentNoLonger), "it was made by the engine"
        options = connection.get_execution_options()
        reads, takes_long = options.get(READ_ONLY, False), options.get(TAKES_LONG, False)
        statement_s = patience.long_statement_s if takes_long else patience.statement_s
        idle_s = patience.long_idle_s if takes_long and reads else patience.idle_s
        driver.turn_s = driver.answer_s = patience.turn_s
        result = connection.exec_driver_sql(_beginning(patience, statement_s, idle_s, reads=reads))
        connection.info[CLOCK] = result.scalar_one()
        driver.answer_s = statement_s + patience.grace_s

    def end_what_was_begun(connection: DBAPIConnection, _: ConnectionPoolEntry, state: PoolResetState) -> None:
        if state.asyncio_safe and not state.transaction_was_reset and _is_in_transaction(connection):
            connection.rollback()

    event.listen(engine.sync_engine, "begin", begin)
    event.listen(engine.sync_engine, "reset", end_what_was_begun)
    return engine


async def read_in_one_go(
    connection: AsyncConnection, asked: Sequence[BoundStatement], patience: Patience
) -> tuple[datetime, list[Found]]:
    """A transaction that only reads, in one message: the database's clock and the rows of each statement.

    It may take no longer than the beginning of a transaction may take.
    """
    driver = (await connection.get_raw_connection()).driver_connection
    assert isinstance(driver, _SilentNoLonger), "it was made by the engine"
    driver.turn_s = driver.answer_s = patience.turn_s
    escaping = pq.Escaping(driver.pgconn)

    def literal(text: str) -> str:
        return bytes(escaping.escape_literal(text.encode())).decode()

    beginning = _beginning(patience, patience.turn_s, patience.idle_s, reads=True)
    preparations: list[str] = []
    if driver.prepare_threshold is None:
        statements = [each.for_postgresql(literal) for each in asked]
    else:
        preparations = driver.preparations_of(asked)
        beginning += ", set_config('plan_cache_mode', 'force_generic_plan', true)"
        statements = [each.execution(literal) for each in asked]
    cursor = AsyncCursor[Any](driver)
    message = "; ".join([beginning, *preparations, *statements, "COMMIT"])
    await cursor.execute(message.encode(), prepare=False)
    cursor.nextset()  # after BEGIN
    ((clock, *_),) = await cursor.fetchall()
    for _ in preparations:
        cursor.nextset()
    found: list[Found] = []
    for _ in asked:
        cursor.nextset()
        found.append(await cursor.fetchall())
    return clock, found


def _is_in_transaction(connection: DBAPIConnection) -> bool:
    driver = connection.driver_connection
    assert isinstance(driver, _SilentNoLonger), "it was made by the engine"
    return driver.pgconn.transaction_status != pq.TransactionStatus.IDLE


def _beginning(patience: Patience, statement_s: float, idle_s: float, *, reads: bool) -> str:
    """The statements in one message, so that the limits cost no round trip. No limit outlives the transaction."""
    limits_s = {
        "lock_timeout": patience.turn_s,
        "statement_timeout": statement_s,
        # A process that was stopped in the middle of a transaction must not keep its users' locks for ever.
        "idle_in_transaction_session_timeout": idle_s,
    }
    settings = [f"set_config('{name}', '{ceil(1000 * limit_s)}', true)" for name, limit_s in limits_s.items()]
    level = "REPEATABLE READ READ ONLY" if reads else "READ COMMITTED"
    return f"BEGIN ISOLATION LEVEL {level}; SELECT clock_timestamp(), {', '.join(settings)}"


def _liveness(patience: Patience) -> dict[str, int]:
    """The settings by which the operating system notices that the other side has gone, even if packets vanish
    on the way."""
    return {
        "connect_timeout": ceil(patience.turn_s),
        "keepalives_idle": 5,
        "keepalives_interval": 2,
        "keepalives_count": 3,
        "tcp_user_timeout": ceil(1000 * (patience.statement_s + patience.grace_s)),
    }


def _check_options(url: URL) -> None:
    """The options behind the question mark of the URL, as text for libpq."""
    of_libpq = {option.keyword.decode() for option in pq.Conninfo.get_defaults()}
    for name, value in url.query.items():
        if name not in of_libpq:
            raise LedgerUnavailable(f"{name!r} in the ledger's URL is not an option of a PostgreSQL connection")
        if not isinstance(value, str) and name not in ("host", "port"):
            raise LedgerUnavailable(f"{name!r} stands in the ledger's URL more than once")


class _LastResult(AsyncCursor[Any]):
    """A cursor for several statements in one message, which gives the result of the last one."""

    async def execute(self, query: Any, params: Any = None, **options: Any) -> Self:
        if params is None:
            options["prepare"] = False  # it may be several statements, which cannot be prepared
        await super().execute(query, params, **options)
        while self.nextset():
            pass
        return self


class _SilentNoLonger(DriverConnection[Any]):
    """A connection that is closed without notice to the other side, if that side has been silent for too long.

    psycopg would ask the server to cancel, and wait for an answer on the silent connection.
    """

    turn_s: float = Patience.turn_s
    answer_s: float = Patience.turn_s
    """How long the other side may be silent before an answer."""
    _ready_here: set[str] | None = None

    def preparations_of(self, asked: Sequence[BoundStatement]) -> list[str]:
        """What prepares the statements that this connection has not prepared yet. If that fails, the connection
        must be closed."""
        self._ready_here = self._ready_here or set()
        new = {
            each.statement.name: each.statement for each in asked if each.statement.name not in self._ready_here
        }
        self._ready_here |= new.keys()
        return [statement.postgresql_preparation[0] for statement in new.values()]

    @classmethod
    async def connect(cls, conninfo: str = "", **options: Any) -> Self:
        """psycopg's own limit holds for each address of a name, after names are resolved."""
        asked, addresses = str(options["connect_timeout"]), 1 + str(options.get("host", "")).count(",")
        limit_s = (1 + addresses) * max(cls.turn_s, int(asked) if asked.isdecimal() else 0)
        try:
            async with asyncio.timeout(limit_s):
                return await super().connect(conninfo, **options)
        except TimeoutError:
            raise OperationalError(f"no connection within {limit_s:g} s") from None

    async def wait(
        self, gen: Generator[Any, Any, _Answer], interval: float = 0.1, timeout: float | None = None
    ) -> _Answer:
        """Raises OperationalError, and has closed the connection, if no answer comes."""
        try:
            return await waiting.wait_async(
                self._unless_silent(gen), self.pgconn.socket, interval=interval, timeout=timeout
            )
        except asyncio.CancelledError:
            self.pgconn.finish()
            raise

    async def rollback(self) -> None:
        """The answer is not waited for: without it, the server rolls back when the connection ends."""
        self.answer_s = self.turn_s
        await super().rollback()

    def _unless_silent(self, gen: Generator[Any, Any, _Answer]) -> Generator[Any, Any, _Answer]:
        """Waits on, for as long as the other side takes or sends anything."""
        ready, heard_at = None, time.monotonic()
        while True:
            try:
                wanted = gen.send(ready)
            except StopIteration as end:
                return end.value
            ready = yield wanted
            if ready:
                heard_at = time.monotonic()
            elif time.monotonic() - heard_at > self.answer_s:
                self.pgconn.finish()
                raise OperationalError(f"no answer within {self.answer_s:g} s")


async def begin_upgrade(connection: AsyncConnection, patience: Patience) -> None:
    """Allows one upgrade at a time, for as long as it takes. The upgrade does not queue for a table behind a
    long transaction, since all other transactions would then queue behind the upgrade."""
    await connection.execute(text("SET LOCAL lock_timeout = 0"))
    await connection.execute(text(f"SELECT pg_advisory_xact_lock({_UPGRADES})"))
    await connection.execute(text(f"SET LOCAL lock_timeout = {ceil(1000 * patience.turn_s)}"))


def difference_in_tls(said: str) -> str | None:
    """What to do about an error of libpq that comes from TLS; None for any other error."""
    return next((hint for words, hint in _HINTS_AT_TLS.items() if words in said), None)


def gave_way(error: object) -> bool:
    """Whether the database gave up a transaction in favour of another (a deadlock, a failed serialization)."""
    return getattr(error, "sqlstate", None) in (_DEADLOCK, _SERIALIZATION_FAILURE)


def is_taken(error: object) -> bool:
    """Whether a unique key was taken already."""
    return getattr(error, "sqlstate", None) == _UNIQUE_VIOLATION
