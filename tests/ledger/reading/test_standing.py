import pytest
from world import World, at, day, program_with

from contract.live_status import LiveStatus
from ledger.reading.doing import Doing, doing, doing_nothing, may_be_at_work
from ledger.reading.standing import Standing, standing_of
from staking.days import end_of

D1, D2 = day("2026-10-01"), day("2026-10-02")
pytestmark = pytest.mark.on_both_databases


async def enrolled(world: World) -> None:
    await world.move("ann", "12", "SOL", at("2026-10-01 09:00"))
    await world.enrol("ann", at("2026-10-01 10:00"))


async def stands(world: World, instant: str) -> Standing:
    return await standing_of(world.ledger, "ann", now=at(instant))


async def test_the_tag_turns_yellow_with_the_activation_and_grey_with_the_end(world: World) -> None:
    await world.move("ann", "12", "SOL", at("2026-10-01 09:00"))
    before = await stands(world, "2026-10-01 09:30")
    await world.enrol("ann", at("2026-10-01 10:00"))
    during = await stands(world, "2026-10-01 11:00")
    await world.end("ann", at("2026-10-01 12:00"))
    after = await stands(world, "2026-10-01 13:00")

    assert [(one.tagged_asset, one.tag_colour) for one in (before, during, after)] == [
        ("SOL", "grey"),
        ("SOL", "yellow"),
        ("SOL", "grey"),
    ]


async def test_the_tag_is_grey_once_the_region_is_restricted_though_the_loop_has_not_come_there(
    world: World,
) -> None:
    await enrolled(world)
    restricted = program_with(f"{D2}").model_copy(update={"restricted_regions": ["FR"]})
    await world.apply(restricted, now=at("2026-10-01 12:00"))

    standing = await stands(world, "2026-10-02 08:00")

    assert (standing.enrolled, standing.restricted_since, standing.tag_colour) == (True, D2, "grey")
    assert may_be_at_work(standing)


async def test_what_the_loop_does_is_what_the_workflow_says_or_follows_from_the_ledger(world: World) -> None:
    stranger = await stands(world, "2026-10-01 09:00")
    await enrolled(world)
    on = await stands(world, "2026-10-01 11:00")
    live = LiveStatus(state="processing", enrolment_id="e", day_in_progress=D1, next_boundary=end_of(D1))

    assert doing(on, live) == Doing("processing", D1, end_of(D1))
    assert doing(on, None).state == "not running"
    assert doing_nothing(on, D1) == Doing("sleeping", D1, end_of(D1))
    assert not may_be_at_work(on)
    assert doing_nothing(stranger, D1) == doing(stranger, None) == Doing("not enrolled")

    await world.end("ann", at("2026-10-01 12:00"))
    assert doing(await stands(world, "2026-10-01 13:00"), None) == Doing("ended")
