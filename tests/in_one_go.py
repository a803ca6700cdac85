"""Reading in one go, with prepared statements and without."""

from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, TypeAlias

import databases
from world import LONG_AGO, World

from ledger.database.engine import open_ledger
from ledger.database.one_go import BoundStatement

InOneGo: TypeAlias = Callable[..., Awaitable[list[Any]]]


@asynccontextmanager
async def reading_in_one_go(world: World, folder: Path) -> AsyncGenerator[InOneGo]:
    """Reads by the world's ledger, and twice by one that prepares statements: the first time and a later time.
    All must find the same."""
    url = databases.url_in(folder)
    async with open_ledger(url, clock=lambda: LONG_AGO, prepared_statements=True) as preparing:

        async def in_one_go(*asked: BoundStatement) -> list[Any]:
            found = await world.ledger.read_in_one_go(*asked)
            assert found is not None
            for _ in ("prepares them", "has prepared them"):
                assert await preparing.read_in_one_go(*asked) == found
            return found

        yield in_one_go
