"""Ledgers of earlier schema versions that have rows."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import databases
from sqlalchemy import Connection, NullPool, create_engine, make_url

from ledger.database import migrations
from ledger.database.migrations import SCHEMA_VERSION

EARLIER = range(1, SCHEMA_VERSION)
_FIRST_VERSION_WITH_ACTS = 4
_VERSIONS = Path(__file__).parent / "ledger" / "database" / "versions"


@contextmanager
def connected(folder: Path) -> Iterator[Connection]:
    """A transaction on a folder's database, whatever its schema is."""
    url = make_url(databases.url_in(folder))
    url = url.set(drivername="postgresql+psycopg") if databases.kind == databases.POSTGRESQL else url
    made = create_engine(url, poolclass=NullPool)
    with made.begin() as connection:
        yield connection


def make(folder: Path, version: int) -> None:
    """Makes a ledger of an earlier version that has rows.

    Its rows are those of every version up to it that has a file in ``ledger/database/versions/``. A version needs
    rows of its own only for tables that it made.
    """
    with connected(folder) as connection:
        migrations.upgrade(connection, "", to=version)
        _fill(connection, version)
    if databases.kind == databases.SQLITE:
        databases.raw(folder, "PRAGMA journal_mode = WAL")


def make_unmarked(folder: Path) -> None:
    """Makes a ledger as programs made it on SQLite before there were versions."""
    with closing(sqlite3.connect(folder / "ledger.db")) as connection:
        connection.executescript((_VERSIONS / "1_unmarked_sqlite.sql").read_text())
        connection.executescript((_VERSIONS / "1_rows.sql").read_text())


def _fill(connection: Connection, version: int) -> None:
    files = [_VERSIONS / f"{earlier}_rows.sql" for earlier in range(1, version + 1)]
    for file in filter(Path.exists, files):
        _run(connection, file.read_text())
    if connection.dialect.name == "postgresql":
        keys = [("accounts", "account_id"), ("entries", "entry_id")]
        if version >= _FIRST_VERSION_WITH_ACTS:
            keys.append(("acts", "act_number"))
        for table, key in keys:
            sequence = f"pg_get_serial_sequence('{table}', '{key}')"
            connection.exec_driver_sql(f"SELECT setval({sequence}, max({key})) FROM {table}")


def _run(connection: Connection, statements: str) -> None:
    """The statements of a file."""
    if connection.dialect.name == "sqlite":
        connection.connection.cursor().executescript(statements)
    else:
        connection.exec_driver_sql(statements.replace("%", "%%"))
