"""When a day may be closed, and what its snapshot has."""

from datetime import date, datetime, timedelta
from pathlib import Path

import pytest
from world import SHIPPED_PROGRAM, World, at, day, program_with, tamper, units

from ledger.errors import NoProgram, NotEnrolled, OutOfOrder
from staking.days import ONE_DAY, end_of
from staking.models import Snapshot

pytestmark = pytest.mark.on_both_databases

D1, D2, D3, D4, D5, D6 = (day("2026-10-01") + n * ONE_DAY for n in range(6))


async def started(world: World, user: str = "ann") -> None:
    await world.move(user, "12", "SOL", at("2026-10-01 09:00"))
    await world.enrol(user, at("2026-10-01 10:00"))


def held(snapshot: Snapshot) -> dict[str, tuple[int, int, int]]:
    return {line.asset: (line.opening, line.closing, line.average) for line in snapshot.holdings}


async def test_a_day_cannot_be_closed_before_it_is_over(world: World) -> None:
    await started(world)
    with pytest.raises(OutOfOrder, match="2026-10-01 is not over"):
        await world.snapshot("ann", D1, now=end_of(D1) - timedelta(microseconds=1))


async def test_a_day_can_be_closed_at_the_very_boundary(world: World) -> None:
    await started(world)
    assert held(await world.snapshot("ann", D1, now=end_of(D1))) == {"SOL": (0, units("12"), units("7.5"))}


async def test_no_day_is_closed_while_the_one_before_is_owed(world: World) -> None:
    await started(world)
    await world.snapshot("ann", D1)
    await world.snapshot("ann", D2)
    with pytest.raises(OutOfOrder, match="2026-10-02 is still owed to user ann"):
        await world.snapshot("ann", D3)


@pytest.mark.parametrize("skipped_to", [D2, D3])
async def test_no_day_is_closed_over_a_gap(world: World, skipped_to: date) -> None:
    await started(world)
    with pytest.raises(OutOfOrder, match=f"{skipped_to - ONE_DAY} is not closed"):
        await world.snapshot("ann", skipped_to)


async def test_no_accrual_day_is_closed_over_a_gap(world: World) -> None:
    await started(world)
    await world.snapshot("ann", D1)
    await world.pay("ann", D2)
    with pytest.raises(OutOfOrder, match="2026-10-03 is not closed"):
        await world.snapshot("ann", D4)


async def test_no_day_is_closed_before_the_activation_day(world: World) -> None:
    await started(world)
    with pytest.raises(NotEnrolled, match="no enrolment enrolment of ann on 2026-09-30"):
        await world.snapshot("ann", D1 - ONE_DAY)


async def test_no_day_is_closed_for_an_unknown_enrolment(world: World) -> None:
    await started(world)
    with pytest.raises(NotEnrolled, match="no enrolment another"):
        await world.snapshot("ann", D1, enrolment_id="another")


async def test_no_day_is_closed_for_another_user_s_enrolment(world: World) -> None:
    await started(world)
    with pytest.raises(NotEnrolled, match="user bob has no enrolment"):
        await world.snapshot("bob", D1, enrolment_id="enrolment of ann")


async def test_no_day_is_closed_after_the_enrolment_s_last_accrual_day(world: World) -> None:
    await started(world)
    await world.snapshot("ann", D1)
    await world.pay("ann", D2)
    await world.end("ann", at("2026-10-03 12:00"))
    with pytest.raises(OutOfOrder, match="2026-10-03 is after the last accrual day"):
        await world.snapshot("ann", D3)


async def test_a_late_closing_of_an_ended_enrolment_leaves_the_day_to_the_next(world: World) -> None:
    await started(world)
    await world.snapshot("ann", D1)
    await world.pay("ann", D2)
    await world.end("ann", at("2026-10-03 12:00"))
    await world.enrol("ann", at("2026-10-03 13:00"), enrolment_id="next")
    with pytest.raises(OutOfOrder):
        await world.snapshot("ann", D3)

    await world.snapshot("ann", D3, enrolment_id="next")

    assert await world.pay("ann", D4, enrolment_id="next")


async def test_the_next_enrolment_waits_for_the_owed_days_of_the_one_before(world: World) -> None:
    await started(world)
    await world.snapshot("ann", D1)
    await world.end("ann", at("2026-10-04 12:00"))
    await world.enrol("ann", at("2026-10-04 13:00"), enrolment_id="next")

    for owed in (D2, D3):
        with pytest.raises(OutOfOrder, match="enrolment of ann are still owed"):
            await world.snapshot("ann", D4, enrolment_id="next")
        await world.pay("ann", owed)

    assert held(await world.snapshot("ann", D4, enrolment_id="next")).keys() == {"SOL"}


async def test_an_enrolment_does_not_wait_for_a_later_one_that_has_ended_too(world: World) -> None:
    await started(world)
    await world.end("ann", at("2026-10-03 12:00"))
    await world.enrol("ann", at("2026-10-03 13:00"), enrolment_id="next")
    await world.end("ann", at("2026-10-06 12:00"), enrolment_id="next")

    await world.snapshot("ann", D1)
    await world.pay("ann", D2)
    await world.snapshot("ann", D3, enrolment_id="next")
    for owed in (D4, D5):
        await world.pay("ann", owed, enrolment_id="next")

    assert (await world.recall("ann")).enrolments == []
    assert (await world.audit()).is_clean


async def test_no_day_is_closed_below_the_watermark(world: World) -> None:
    await started(world)
    await world.sql("UPDATE users SET closed_through = :through", through=20_730 * 86_400_000_000)
    with pytest.raises(OutOfOrder, match="user ann is closed through 2026-10-04T00:00:00"):
        await world.snapshot("ann", D1)


async def test_no_program_no_closing(world: World, tmp_path: Path) -> None:
    await started(world)
    tamper(tmp_path, "UPDATE program_versions SET effective_from = 30000")
    with pytest.raises(NoProgram, match="no program is in force on 2026-10-01"):
        await world.snapshot("ann", D1)


async def test_an_empty_day_is_recorded_and_can_be_distinguished_from_a_lost_one(world: World) -> None:
    await started(world)
    await world.move("ann", "-12", "SOL", at("2026-10-01 11:00"))
    await world.snapshot("ann", D1)

    assert held(await world.snapshot("ann", D2)) == {}
    await world.pay("ann", D2)

    assert [line async for line in _records(world)] == [(D1, False), (D2, True)]


async def _records(world: World):
    for row in await world.sql("SELECT day, credited_at IS NOT NULL FROM days ORDER BY day"):
        yield date(1970, 1, 1) + row[0] * ONE_DAY, bool(row[1])


@pytest.mark.parametrize(
    ("movements", "snapshot"),
    [
        ([], {"SOL": ("12", "12", "12")}),
        ([("2026-10-02 00:00", "12")], {"SOL": ("12", "24", "24")}),
        ([("2026-10-02 12:00", "12")], {"SOL": ("12", "24", "18")}),
        ([("2026-10-03 00:00", "12")], {"SOL": ("12", "12", "12")}),
        ([("2026-10-02 06:00", "-3"), ("2026-10-02 18:00", "1.5")], {"SOL": ("12", "10.5", "10.125")}),
        ([("2026-10-02 00:00", "-12")], {"SOL": ("12", "0", "0")}),
        ([("2026-10-02 23:59:59.999999", "86400")], {"SOL": ("12", "86412", "12.000001")}),
    ],
)
async def test_a_snapshot_is_the_exact_mean_over_the_day(
    world: World, movements: list[tuple[str, str]], snapshot: dict[str, tuple[str, str, str]]
) -> None:
    await started(world)
    for instant, tokens in movements:
        await world.move("ann", tokens, "SOL", at(instant))
    await world.snapshot("ann", D1)

    expected = {asset: tuple(map(units, tokens)) for asset, tokens in snapshot.items()}
    assert held(await world.snapshot("ann", D2)) == expected


async def test_24_hourly_steps_average_to_1250(world: World) -> None:
    await world.move("ann", "1", "SOL", at("2026-10-01 09:00"))
    await world.enrol("ann", at("2026-10-01 10:00"))
    await world.move("ann", "-1", "SOL", at("2026-10-01 11:00"))
    for hour in range(24):
        await world.move("ann", "100", "SOL", at(f"2026-10-02 {hour:02}:00"))
    await world.snapshot("ann", D1)

    assert held(await world.snapshot("ann", D2)) == {"SOL": (0, units("2400"), units("1250"))}


async def test_an_asset_outside_the_program_is_in_no_snapshot(world: World) -> None:
    await started(world)
    await world.move("ann", "1000", "DOGE", at("2026-10-01 12:00"))
    await world.snapshot("ann", D1)
    assert held(await world.snapshot("ann", D2)).keys() == {"SOL"}


async def test_an_asset_that_the_program_adds_opens_with_what_was_held_before(world: World) -> None:
    await started(world)
    await world.move("ann", "1000", "DOGE", at("2026-10-01 12:00"))
    await world.apply(program_with("2026-10-03", DOGE={}))
    await world.fund("DOGE")
    await world.snapshot("ann", D1)
    await world.pay("ann", D2)
    await world.move("ann", "-250", "DOGE", at("2026-10-03 12:00"))
    await world.move("ann", "-50", "DOGE", at("2026-10-04 12:00"))

    third = held(await world.snapshot("ann", D3))
    await world.credit("ann", await world.compute(await world.snapshot("ann", D3)))
    fourth = held(await world.snapshot("ann", D4))

    assert third["DOGE"] == (units("1000"), units("750"), units("875"))
    reward = units("875") * 1 // (100 * 365)
    assert fourth["DOGE"] == (units("750"), units("700") + reward, units("725") + reward)
    assert third["SOL"][0] == units("12")
    assert (await world.audit()).is_clean


async def test_an_asset_that_the_program_removes_earns_no_more_and_what_it_earned_stays(world: World) -> None:
    await started(world)
    await world.move("ann", "200", "SUI", at("2026-10-01 12:00"))
    without = SHIPPED_PROGRAM.model_copy(
        update={
            "effective_from": D3,
            "assets": {asset: terms for asset, terms in SHIPPED_PROGRAM.assets.items() if asset != "SUI"},
        }
    )
    await world.apply(without)
    await world.snapshot("ann", D1)
    await world.pay("ann", D2)
    await world.pay("ann", D3)

    assert [(line.day, line.asset) for line in await world.statement("ann")] == [
        (D2, "SOL"),
        (D2, "SUI"),
        (D3, "SOL"),
    ]
    assert (await world.balances("ann"))["SUI"] > units("200")
    assert (await world.audit()).is_clean


async def test_the_terms_are_those_of_the_accrual_day_however_late_it_is_processed(world: World) -> None:
    await started(world)
    await world.apply(program_with("2026-10-03", SOL={"apr": "0.5"}))
    await world.apply(program_with("2026-10-04", SOL={"apr": "0.016"}))
    much_later = at("2026-12-01")
    await world.snapshot("ann", D1, now=much_later)
    for accrual_day in (D2, D3, D4):
        snapshot = await world.snapshot("ann", accrual_day, now=much_later)
        await world.credit("ann", await world.compute(snapshot), now=much_later)

    assert [line.apr for line in await world.statement("ann")] == ["0.008", "0.5", "0.016"]


async def test_the_reward_counts_from_the_boundary_that_closed_its_day_whenever_it_is_credited(
    world: World,
) -> None:
    await started(world)
    await world.snapshot("ann", D1)
    await world.credit("ann", await world.compute(await world.snapshot("ann", D2)), now=at("2026-10-09 17:00"))

    reward = units("12") * 8 // (1000 * 365)
    assert held(await world.snapshot("ann", D3, now=at("2026-10-09 17:00"))) == {
        "SOL": (units("12"), units("12") + reward, units("12") + reward)
    }


@pytest.mark.parametrize("delay", [timedelta(0), timedelta(days=1), timedelta(days=400)])
async def test_a_snapshot_is_the_same_however_late_it_is_taken(world: World, delay: timedelta) -> None:
    await started(world)
    await world.move("ann", "-3", "SOL", at("2026-10-02 06:00"))
    await world.move("ann", "1.5", "SOL", at("2026-10-02 18:00"))
    if delay:
        await world.move("ann", "700", "SOL", at("2026-10-03 00:00"))
        await world.move("ann", "-5", "SOL", end_of(D2) + delay / 2)
    now: datetime = end_of(D2) + delay
    await world.snapshot("ann", D1, now=now)

    assert held(await world.snapshot("ann", D2, now=now)) == {"SOL": (units("12"), units("10.5"), units("10.125"))}
