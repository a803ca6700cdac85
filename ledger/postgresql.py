"""PostgreSQL: many writers at READ COMMITTED, kept apart by row locks."""

from sqlalchemy import URL, event
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlalchemy.pool import ConnectionPoolEntry

DRIVER = "postgresql+psycopg"
CONNECTIONS_MAX = 8
"""In one process. More do not pay more users: a batch of many is one transaction."""
_STATEMENT_TIMEOUT_S = 8
"""lock timeout < statement timeout < a step's start-to-close timeout, so that the reason comes back."""
_DEADLOCK, _SERIALIZATION_FAILURE, _UNIQUE_VIOLATION = "40P01", "40001", "23505"


def create_engine(url: URL, *, lock_timeout_s: int) -> AsyncEngine:
    """An engine on the URL's database; connects when first used."""
    engine = create_async_engine(
        url.set(drivername=DRIVER),
        hide_parameters=True,
        isolation_level="READ COMMITTED",
        pool_size=CONNECTIONS_MAX,
        max_overflow=0,
        pool_timeout=lock_timeout_s,
        connect_args={"connect_timeout": lock_timeout_s},
    )

    def configure(connection: DBAPIConnection, _: ConnectionPoolEntry) -> None:
        cursor = connection.cursor()
        cursor.execute(f"SET lock_timeout = '{lock_timeout_s}s'")
        cursor.execute(f"SET statement_timeout = '{_STATEMENT_TIMEOUT_S}s'")
        # A process that was stopped in the middle of a transaction must not hold its users' locks for ever.
        cursor.execute(f"SET idle_in_transaction_session_timeout = '{_STATEMENT_TIMEOUT_S}s'")
        cursor.close()
        connection.commit()

    event.listen(engine.sync_engine, "connect", configure)
    return engine


def gave_way(error: object) -> bool:
    """Whether the database gave a transaction up for another's sake (a deadlock, a failed serialization)."""
    return getattr(error, "sqlstate", None) in (_DEADLOCK, _SERIALIZATION_FAILURE)


def is_taken(error: object) -> bool:
    """Whether a unique key was taken already."""
    return getattr(error, "sqlstate", None) == _UNIQUE_VIOLATION
