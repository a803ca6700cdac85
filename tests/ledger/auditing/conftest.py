"""The worlds on which audits are tested."""

from collections.abc import AsyncGenerator
from pathlib import Path

import pytest
from world import World, a_world, a_world_after, at, day, program_with

from staking.days import ONE_DAY

D1, D2, D3, D4, D5 = (day("2026-10-01") + n * ONE_DAY for n in range(5))


async def a_rich_world(world: World) -> None:
    """A world with two users, three assets in the program and one outside, two program versions, imports into
    closed days, an end, a second enrolment, an empty day, and a day that is closed and owed."""
    await world.apply(program_with("2026-10-04", DOGE={}, SUI={"paused": True}))
    await world.fund("DOGE")
    for user in ("ann", "bob"):
        await world.import_lines(
            f"{user},2026-10-01 08:00:00,Spot,Deposit,SOL,12,",
            f"{user},2026-10-01 09:00:00,Spot,Deposit,SUI,200,",
            f"{user},2026-10-01 09:00:00,Spot,Deposit,DOGE,1000,",
            f"{user},2026-10-01 09:00:00,Spot,Deposit,SHIB,1000,",
        )
        await world.enrol(user, at("2026-10-01 10:00"))
        await world.move(user, "-3", "SOL", at("2026-10-02 06:00"))
        await world.snapshot(user, D1)
        await world.pay(user, D2)
        await world.move(user, "1.5", "SOL", at("2026-10-02 18:00"))
        await world.import_lines(f"{user},2026-10-03 12:00:00,Spot,Deposit,BNB,0.1,")
        await world.pay(user, D3)
    await world.end("ann", at("2026-10-04 12:00"))
    await world.enrol("ann", at("2026-10-04 13:00"), enrolment_id="again")
    await world.snapshot("ann", D4, enrolment_id="again")
    await world.snapshot("ann", D5, enrolment_id="again")
    await world.pay("bob", D4)
    await world.pay("bob", D5)


@pytest.fixture
async def rich(tmp_path: Path) -> AsyncGenerator[World]:
    async with a_world_after(tmp_path, a_rich_world) as world:
        yield world


@pytest.fixture
async def full(tmp_path_factory: pytest.TempPathFactory) -> AsyncGenerator[World]:
    async with a_world(tmp_path_factory.mktemp("full"), program=None) as world:
        await world.apply(program_with())
        yield world
