"""One installation for all commands; each test has its own folder and its own users."""

from collections.abc import Iterator
from itertools import count
from pathlib import Path

import pytest
from commandline import CommandLine, Installation, an_empty_ledger, stopped
from world import ROOT

_users = count(1)


@pytest.fixture(scope="session")
def installation(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    """worker.py --dev with the shipped program; its pools are empty."""
    installation = Installation(tmp_path_factory.mktemp("installation"))
    try:
        with stopped(installation.start("--program", str(ROOT / "program.toml"))):
            yield installation
    finally:
        installation.kill_what_is_left()


@pytest.fixture
def cli(installation: Installation, tmp_path: Path) -> CommandLine:
    """A shell in a folder of its own, with access to the running installation."""
    return CommandLine(tmp_path, **installation.variables)


@pytest.fixture
def alone(tmp_path: Path) -> CommandLine:
    """A shell with an empty ledger of its own and no Temporal server."""
    return an_empty_ledger(tmp_path)


@pytest.fixture
def nowhere(tmp_path: Path) -> CommandLine:
    """A shell in an empty folder: neither a ledger nor a Temporal server."""
    return CommandLine(tmp_path, TEMPORAL_ADDRESS="127.0.0.1:1")


@pytest.fixture
def user() -> str:
    """The id of a user whom no other test uses."""
    return f"user-{next(_users)}"
