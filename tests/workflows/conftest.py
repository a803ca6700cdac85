"""The service that these tests run: one user on a server whose clock skips."""

from collections.abc import AsyncGenerator
from pathlib import Path

import pytest
from staking_service import StakingService, a_service
from world import SHIPPED_PROGRAM, World, a_world


@pytest.fixture
async def idle_service(world: World) -> AsyncGenerator[StakingService]:
    """Full pools, and no worker yet."""
    async with a_service(world) as made:
        yield made


@pytest.fixture
async def service(idle_service: StakingService) -> StakingService:
    """Full pools, and a worker."""
    await idle_service.start_worker()
    return idle_service


@pytest.fixture
async def unfunded_service(tmp_path: Path) -> AsyncGenerator[StakingService]:
    """Empty pools, and a worker."""
    async with a_world(tmp_path, program=None) as world, a_service(world) as made:
        await world.apply(SHIPPED_PROGRAM)
        await made.start_worker()
        yield made
