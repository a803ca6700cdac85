"""Ledgers that the tests of several pages share."""

from collections.abc import AsyncGenerator
from pathlib import Path

import pytest
from world import World, a_world_after, at, day


async def _worked_example(world: World) -> None:
    await world.move("ann", "12", "SOL", at("2026-10-01 10:00"))
    await world.move("ann", "250", "USDT", at("2026-10-01 10:00"))
    await world.enrol("ann", at("2026-10-01 10:00"))
    await world.snapshot("ann", day("2026-10-01"))
    await world.move("ann", "-3", "SOL", at("2026-10-02 06:00"))
    await world.move("ann", "1.5", "SOL", at("2026-10-02 18:00"))
    for number in (2, 3, 4):
        await world.pay("ann", day(f"2026-10-0{number}"))


@pytest.fixture
async def example(tmp_path: Path) -> AsyncGenerator[World]:
    """Ann, of the worked example: active since 1 October, three days credited by the 5th."""
    async with a_world_after(tmp_path, _worked_example) as world:
        yield world
