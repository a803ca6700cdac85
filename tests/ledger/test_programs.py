"""Program versions: which is in force, and what may still be applied (rule 5, I7)."""

import asyncio
from collections.abc import Collection
from datetime import date, datetime
from pathlib import Path

import pytest
from world import SHIPPED_PROGRAM, World, a_world, at, day, program_with

from ledger.errors import NoProgram, ProgramRefused, UnknownAsset
from ledger.programs import (
    Switched,
    all_versions,
    apply_program,
    first_program_day,
    program_on,
    switch_assets,
    timetable,
)
from staking.days import ONE_DAY
from staking.rewards import Outcome, daily_reward

pytestmark = pytest.mark.on_both_databases

NOW = at("2026-10-01 12:00")


async def version_on(world: World, on: str) -> int:
    async with world.ledger.read() as connection:
        return (await program_on(connection, day(on))).version


async def versions(world: World) -> list[int]:
    async with world.ledger.read() as connection:
        return [version.version for version in await all_versions(connection)]


@pytest.mark.parametrize("effective_from", ["1999-12-31", "2026-10-01", "2027-01-01"])
async def test_the_first_version_may_start_whenever(
    tmp_path_factory: pytest.TempPathFactory, effective_from: str
) -> None:
    async with a_world(tmp_path_factory.mktemp("bare"), program=None) as world:
        await apply_program(world.ledger, program_with(effective_from), operator="tests", now=NOW)
        assert await version_on(world, effective_from) == 1
        async with world.ledger.read() as connection:
            assert await first_program_day(connection) == day(effective_from)


async def test_before_the_first_version_there_is_no_program(world: World) -> None:
    with pytest.raises(NoProgram, match="no program is in force on 2025-06-17; apply one with"):
        await version_on(world, "2025-06-17")


@pytest.mark.parametrize(
    ("effective_from", "now", "refused"),
    [
        ("2026-10-02", NOW, False),
        ("2026-10-01", NOW, True),
        ("2026-09-30", NOW, True),
        ("2020-01-01", NOW, True),
        ("2026-10-02", at("2026-10-01 23:59:59.999999"), False),
        ("2026-10-02", at("2026-10-02 00:00"), True),
    ],
)
async def test_a_later_version_starts_after_today(
    world: World, effective_from: str, now: datetime, refused: bool
) -> None:
    if refused:
        with pytest.raises(ProgramRefused, match="the terms of a day that has begun never change"):
            await apply_program(world.ledger, program_with(effective_from), operator="tests", now=now)
        assert await versions(world) == [1]
    else:
        applied = await apply_program(world.ledger, program_with(effective_from), operator="tests", now=now)
        assert (applied.version.version, applied.changed) == (2, True)


async def test_a_later_version_starts_after_every_day_closed_for_anyone(world: World) -> None:
    for user, closed in (("ann", "2026-10-05"), ("bob", "2026-10-03")):
        await world.move(user, "12", "SOL", at(f"{closed} 09:00"))
        await world.enrol(user, at(f"{closed} 10:00"))
        await world.snapshot(user, day(closed))

    with pytest.raises(ProgramRefused, match="set effective_from to 2026-10-06 or later"):
        await apply_program(world.ledger, program_with("2026-10-05"), operator="tests", now=NOW)

    assert (await apply_program(world.ledger, program_with("2026-10-06"), operator="tests", now=NOW)).changed


async def test_a_later_version_starts_after_today_however_long_ago_the_last_day_was_closed(world: World) -> None:
    await world.move("ann", "12", "SOL", at("2026-09-01 09:00"))
    await world.enrol("ann", at("2026-09-01 10:00"))
    await world.snapshot("ann", day("2026-09-01"))
    with pytest.raises(ProgramRefused, match="set effective_from to 2026-10-02 or later"):
        await apply_program(world.ledger, program_with("2026-09-20"), operator="tests", now=NOW)


async def test_a_command_with_a_slow_clock_does_not_change_a_day_that_has_begun(tmp_path: Path) -> None:
    async with a_world(tmp_path, clock=lambda: at("2026-10-02 00:00:04")) as world:
        with pytest.raises(ProgramRefused, match="the terms of a day that has begun never change"):
            await apply_program(
                world.ledger, program_with("2026-10-02"), operator="tests", now=at("2026-10-01 23:59:59")
            )


async def test_a_refusal_names_the_first_day_that_is_possible(world: World) -> None:
    with pytest.raises(ProgramRefused, match=r"starts on 2026-10-01.* set effective_from to 2026-10-02 or later"):
        await apply_program(world.ledger, program_with("2026-10-01"), operator="tests", now=NOW)


async def test_the_same_content_again_changes_nothing(world: World) -> None:
    for asset in SHIPPED_PROGRAM.assets.values():
        daily_reward(10**12, asset, 1)  # Terms that were used are still the same terms.
    again = SHIPPED_PROGRAM.model_validate_json(SHIPPED_PROGRAM.model_dump_json())

    applied = await apply_program(world.ledger, again, operator="tests", now=NOW)

    assert (applied.version.version, applied.changed) == (1, False)
    assert await versions(world) == [1]


async def test_the_same_content_again_changes_nothing_while_it_is_still_to_come(world: World) -> None:
    coming = program_with("2026-10-05", SOL={"apr": "0.1"})
    await apply_program(world.ledger, coming, operator="tests", now=NOW)
    applied = await apply_program(world.ledger, coming, operator="tests", now=NOW)
    assert (applied.version.version, applied.changed) == (2, False)


async def test_other_content_for_a_begun_day_is_refused_and_not_taken_for_the_same(world: World) -> None:
    changed = program_with(str(SHIPPED_PROGRAM.effective_from), SOL={"apr": "0.1"})
    with pytest.raises(ProgramRefused):
        await apply_program(world.ledger, changed, operator="tests", now=NOW)


async def test_a_version_still_to_come_is_superseded_by_the_last_applied(world: World) -> None:
    first, second = (program_with("2026-10-05", SOL={"apr": apr}) for apr in ("0.1", "0.2"))
    for program in (first, second):
        await apply_program(world.ledger, program, operator="tests", now=NOW)
    assert await version_on(world, "2026-10-05") == 3

    await apply_program(world.ledger, first, operator="tests", now=NOW)

    assert await version_on(world, "2026-10-05") == 4
    assert await version_on(world, "2026-10-04") == 1


@pytest.mark.parametrize(
    ("on", "version"),
    [
        ("2025-06-18", 1),
        ("2026-10-04", 1),
        ("2026-10-05", 3),
        ("2026-10-09", 3),
        ("2026-10-10", 2),
        ("2030-01-01", 2),
    ],
)
async def test_the_version_of_the_latest_start_is_in_force_whatever_the_order_of_applying(
    world: World, on: str, version: int
) -> None:
    await apply_program(world.ledger, program_with("2026-10-10", SOL={"apr": "0.2"}), operator="tests", now=NOW)
    await apply_program(world.ledger, program_with("2026-10-05", SOL={"apr": "0.1"}), operator="tests", now=NOW)
    assert await version_on(world, on) == version


async def test_a_stored_version_reads_as_it_was_applied(world: World) -> None:
    program = program_with("2026-10-05", DOGE={"minimum": "0.10", "apr": "0.000000000000000001"})
    await apply_program(world.ledger, program, operator="tests", now=NOW)
    async with world.ledger.read() as connection:
        stored = await program_on(connection, date(2026, 10, 5))
    assert (stored.program, stored.applied_at) == (program, NOW)
    assert stored.program.assets["DOGE"].minimum == "0.10"


async def switch(
    world: World, *assets: str, paused: bool = True, first_day: str | None = None, now: datetime = NOW
) -> Switched:
    from_day = day(first_day) if first_day else None
    return await switch_assets(
        world.ledger, assets, paused=paused, operator="tests", reason="a test", first_day=from_day, now=now
    )


async def paused_on(world: World, on: str) -> Collection[str]:
    async with world.ledger.read() as connection:
        program = (await program_on(connection, day(on))).program
    return {asset for asset, terms in program.assets.items() if terms.paused}


async def test_a_pause_is_the_program_in_force_from_its_day_on_with_nothing_else_changed(world: World) -> None:
    switched = await switch(world, "SOL", "BNB", first_day="2026-10-05")

    assert await versions(world) == [1, 2]
    assert [version.program for version in switched.versions] == [
        program_with("2026-10-05", SOL={"paused": True}, BNB={"paused": True})
    ]
    assert await version_on(world, "2026-10-04") == 1
    assert await paused_on(world, "2026-10-05") == {"SOL", "BNB"}


async def test_a_pause_starts_tomorrow_unless_it_says_otherwise(world: World) -> None:
    assert (await switch(world, "SOL")).first_day == day("2026-10-02")


async def test_a_pause_starts_after_every_day_closed_for_anyone_unless_it_says_otherwise(world: World) -> None:
    await world.move("ann", "12", "SOL", at("2026-10-05 09:00"))
    await world.enrol("ann", at("2026-10-05 10:00"))
    await world.snapshot("ann", day("2026-10-05"))
    assert (await switch(world, "SOL")).first_day == day("2026-10-06")


async def test_a_pause_holds_under_versions_that_are_to_start_later(world: World) -> None:
    without_sol = program_with("2026-10-20")
    del without_sol.assets["SOL"]
    superseded = program_with("2026-10-10", SOL={"apr": "0.3"})
    for coming in (superseded, program_with("2026-10-10", SOL={"apr": "0.1"}), without_sol):
        await apply_program(world.ledger, coming, operator="tests", now=NOW)
    await apply_program(world.ledger, program_with("2026-10-30", SOL={"paused": True}), operator="tests", now=NOW)

    switched = await switch(world, "SOL", first_day="2026-10-05")

    assert [(version.version, version.program) for version in switched.versions] == [
        (6, program_with("2026-10-05", SOL={"paused": True})),
        (7, program_with("2026-10-10", SOL={"apr": "0.1", "paused": True})),
    ]
    assert [await version_on(world, on) for on in ("2026-10-09", "2026-10-10", "2026-10-20", "2026-10-30")] == [
        *(6, 7, 4, 5)
    ]


async def test_a_pause_ends_where_it_is_resumed(world: World) -> None:
    await switch(world, "SOL", "BNB", first_day="2026-10-05")
    await switch(world, "SOL", first_day="2026-10-08", paused=False)
    assert [await paused_on(world, on) for on in ("2026-10-04", "2026-10-05", "2026-10-07", "2026-10-08")] == [
        *(set(), {"SOL", "BNB"}, {"SOL", "BNB"}, {"BNB"})
    ]


async def test_a_pause_resumed_before_it_began_never_was(world: World) -> None:
    await switch(world, "SOL", first_day="2026-10-05")
    await switch(world, "SOL", first_day="2026-10-05", paused=False)
    assert await paused_on(world, "2026-10-05") == set()


@pytest.mark.parametrize("first_day", ["2026-10-05", "2026-10-06", None])
async def test_pausing_what_is_paused_changes_nothing(world: World, first_day: str | None) -> None:
    await switch(world, "SOL", first_day="2026-10-05")
    now = at("2026-10-07 10:00")  # The first day has begun, and is still as requested.
    assert (await switch(world, "SOL", first_day=first_day, now=now)).versions == []
    assert await versions(world) == [1, 2]


async def test_resuming_what_is_not_paused_changes_nothing(world: World) -> None:
    assert (await switch(world, "SOL", paused=False)).versions == []
    assert await versions(world) == [1]


@pytest.mark.parametrize(
    ("assets", "first_day", "error", "sentence"),
    [
        (["SOL"], "2026-10-01", ProgramRefused, "2026-10-01 has begun, .* the first day possible is 2026-10-02"),
        (
            ["SOL", "XRP"],
            "2026-10-05",
            UnknownAsset,
            "XRP is not an asset of the program in force on 2026-10-05, ",
        ),
        (["SOL"], "2025-06-17", NoProgram, "no program is in force on 2025-06-17"),
    ],
)
async def test_a_pause_that_cannot_be_is_refused_whole(
    world: World, assets: list[str], first_day: str, error: type[Exception], sentence: str
) -> None:
    with pytest.raises(error, match=sentence):
        await switch(world, *assets, first_day=first_day)
    assert await versions(world) == [1]


async def test_two_simultaneous_pauses_are_one(world: World, other: World) -> None:
    both = await asyncio.gather(*(switch(one, "SOL", first_day="2026-10-05") for one in (world, other)))
    assert sorted(len(switched.versions) for switched in both) == [0, 1]
    assert await versions(world) == [1, 2]


async def test_a_program_says_which_paused_assets_it_resumes(world: World) -> None:
    await switch(world, "SOL", "BNB", first_day="2026-10-05")
    applied = await apply_program(
        world.ledger, program_with("2026-10-06", BNB={"paused": True}), operator="tests", now=NOW
    )
    assert applied.resumed == ["SOL"]


async def test_the_timetable_has_every_version_that_is_ever_in_force_and_its_last_day(world: World) -> None:
    for coming in ("2026-10-10", "2026-10-05"):
        await apply_program(world.ledger, program_with(coming), operator="tests", now=NOW)
    await switch(world, "SOL", first_day="2026-10-10")
    async with world.ledger.read() as connection:
        spans = timetable(await all_versions(connection))
    assert [(span.version.version, span.first_day, span.last_day) for span in spans] == [
        (1, SHIPPED_PROGRAM.effective_from, day("2026-10-04")),
        (3, day("2026-10-05"), day("2026-10-09")),
        (4, day("2026-10-10"), None),
    ]


async def test_a_paused_asset_earns_nothing_and_keeps_its_average_until_it_is_resumed(world: World) -> None:
    await world.move("ann", "12", "SOL", at("2026-10-01 09:00"))
    await world.move("ann", "200", "SUI", at("2026-10-01 09:00"))
    await world.enrol("ann", at("2026-10-01 10:00"))
    await world.snapshot("ann", day("2026-10-01"))
    first, paused, resumed = (day("2026-10-02") + n * ONE_DAY for n in range(3))

    await world.pay("ann", first)
    assert (await switch(world, "SOL", now=at("2026-10-02 15:00"))).first_day == paused
    await world.pay("ann", paused)
    await switch(world, "SOL", paused=False, now=at("2026-10-03 15:00"))
    await world.pay("ann", resumed)

    lines = await world.statement("ann")
    assert [(line.day, line.outcome) for line in lines if line.asset == "SOL"] == [
        (first, Outcome.EARNED),
        (paused, Outcome.PAUSED),
        (resumed, Outcome.EARNED),
    ]
    before, between, after = (line for line in lines if line.asset == "SOL")
    assert (between.reward, between.average) == (0, 12 * 10**8 + before.reward)
    assert after.average == between.average
    assert {line.outcome for line in lines if line.asset == "SUI"} == {Outcome.EARNED}
    assert (await world.audit()).is_clean
