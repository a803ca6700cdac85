"""The same ledger is opened twice, so that nothing in the memory of one process can replace the database's
guards."""

from collections.abc import AsyncGenerator
from pathlib import Path

import databases
import pytest
from world import LONG_AGO, World

from ledger.database.engine import open_ledger


@pytest.fixture
async def other(world: World, tmp_path: Path) -> AsyncGenerator[World]:
    """The world's ledger, opened a second time as another process would."""
    async with open_ledger(databases.url_in(tmp_path), clock=lambda: LONG_AGO) as ledger:
        yield World(ledger, first_key=1_000_000)
