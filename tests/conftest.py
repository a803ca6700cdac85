"""Fixtures that every room's tests share, and an exit that keeps pytest's true exit code."""

from collections.abc import AsyncGenerator
from pathlib import Path

import pytest
from world import World, a_world

from embedded.exiting import exit_process


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
    exit_process(_exit_code)
