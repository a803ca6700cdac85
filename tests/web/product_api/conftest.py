"""The service's application in a test, a token that may read, and a user with two credited days."""

from pathlib import Path

import pytest
from web_api import Web, a_web, make_token
from world import World, at, day

from ledger.service_tokens import Scope


@pytest.fixture
async def web(world: World, tmp_path: Path) -> Web:
    return await a_web(world, tmp_path)


@pytest.fixture
async def reader(web: Web) -> dict[str, str]:
    return await make_token(web.world, Scope.READ)


@pytest.fixture
async def ann(web: Web) -> str:
    """The user ann, who holds 12 SOL and has two credited days."""
    await web.world.move("ann", "12", "SOL", at("2026-09-30"))
    await web.world.enrol("ann", at("2026-10-01 10:00"))
    await web.world.snapshot("ann", day("2026-10-01"))
    for accrual_day in (day("2026-10-02"), day("2026-10-03")):
        await web.world.pay("ann", accrual_day)
    return "ann"
