"""A real PgBouncer in transaction mode in front of the tests' PostgreSQL, if PgBouncer is installed."""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Generator, Iterable
from contextlib import contextmanager
from pathlib import Path

import databases
import pytest
from sqlalchemy import make_url

REQUIRED = "REQUIRE_POOLER_TESTS"

_CONFIGURATION = """
[databases]
* = host={server} user=postgres
[pgbouncer]
pool_mode = transaction
default_pool_size = {connections}
max_client_conn = 200
auth_type = any
listen_port = 6432
log_connections = 0
log_disconnections = 0
unix_socket_dir = {folder}
"""


@contextmanager
def pooler(url: str, *, connections: int) -> Generator[str]:
    """The URL of the same database behind a pooler that has this many connections to it."""
    program = shutil.which(
        "pgbouncer", path=f"{os.environ['PATH']}:/usr/sbin"
    )  # The program may be in a folder that is not on the user's PATH.
    if program is None:
        if os.environ.get(REQUIRED):
            pytest.fail(f"{REQUIRED} is set, and there is no pgbouncer here")
        pytest.skip("there is no pgbouncer here")  # In CI a pooler is required.
    database = make_url(url)
    with tempfile.TemporaryDirectory(prefix="pooler-") as folder:
        Path(folder).chmod(0o777)  # The pooler refuses to run as root.
        configuration = Path(folder) / "pgbouncer.ini"
        configuration.write_text(
            _CONFIGURATION.format(server=database.query["host"], folder=folder, connections=connections)
        )
        running = subprocess.Popen(
            [program, configuration],
            stderr=subprocess.PIPE,
            text=True,
            user=databases.server_s_user(),
        )
        try:
            assert running.stderr is not None
            log = _lines_until(running.stderr, "process up")
            assert "process up" in log[-1], f"the pooler did not start: {log}"
            yield f"postgresql://{database.username}@/{database.database}?host={folder}&port=6432"
        finally:
            running.kill()
            running.communicate()


def _lines_until(lines: Iterable[str], word: str) -> list[str]:
    found: list[str] = []
    for line in lines:
        found.append(line)
        if word in line:
            break
    return found
