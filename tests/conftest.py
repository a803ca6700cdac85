"""Fixtures that every room's tests share, and an exit that keeps pytest's true exit code."""

import os
import signal
import sys
from collections.abc import AsyncGenerator, Generator
from pathlib import Path

import commandline
import databases
import pytest
from compiled import share_what_is_compiled
from hypothesis import settings
from world import World, a_world

from embedded.exiting import exit_process

# Tests that run in the background may ignore these signals, and then every process that they start ignores them
# too.
for ignored in (signal.SIGINT, signal.SIGQUIT, signal.SIGHUP):
    if signal.getsignal(ignored) is signal.SIG_IGN:
        signal.signal(ignored, signal.default_int_handler if ignored is signal.SIGINT else signal.SIG_DFL)

# Without compiled files, every process that a test starts would compile everything that it imports.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False

# On a slow machine an example may take long, which is no failure.
settings.register_profile("no_deadline", deadline=None)
settings.load_profile("no_deadline")

share_what_is_compiled()


@pytest.fixture(autouse=True)
def database(request: pytest.FixtureRequest) -> Generator[str]:
    """The kind of database that the test runs on: SQLite, unless it is marked otherwise."""
    databases.kind = getattr(request, "param", databases.SQLITE)
    yield databases.kind
    databases.kind = databases.SQLITE


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--kafka-home",
        type=Path,
        help="The folder of Apache Kafka, with its jars in libs/, for tests on brokers.",
    )


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    kinds = {"on_both_databases": databases.KINDS, "on_postgresql": [databases.POSTGRESQL]}
    for marker, kinds_of_database in kinds.items():
        if metafunc.definition.get_closest_marker(marker):
            metafunc.parametrize("database", kinds_of_database, indirect=True)


@pytest.fixture
async def world(tmp_path: Path) -> AsyncGenerator[World]:
    """A ledger with the shipped program in force and full pools."""
    async with a_world(tmp_path) as made:
        yield made


_exit_code = 0


def pytest_sessionfinish(exitstatus: int) -> None:
    global _exit_code
    _exit_code = int(exitstatus)


@pytest.hookimpl(trylast=True)
def pytest_unconfigure() -> None:
    databases.stop_server()
    commandline.end_forks()
    exit_process(_exit_code)
