"""Who has owed days and since when, and whose loop has something to do: from the ledger, for all users
together."""

from datetime import date

import pytest
from world import World, at, day, program_with

from ledger.reading.owed import (
    NOTHING_OWED,
    AllOwed,
    OwedSpan,
    OwedToUser,
    enrolled_users,
    owed,
    owed_to_each,
    unfinished_users,
)
from staking.days import ONE_DAY, credit_deadline, is_late, last_day_past_its_deadline

pytestmark = pytest.mark.on_both_databases

D1, D2, D3, D4 = (day(f"2026-10-0{number}") for number in range(1, 5))


async def enrolled(world: World, user: str, *, region: str = "FR", when: str = "2026-10-01 10:00") -> None:
    await world.move(user, "12", "SOL", at("2026-09-30"))
    await world.enrol(user, at(when), region=region, enrolment_id=f"{user} {when}")


async def paid(world: World, user: str, *accrual_days: str, when: str = "2026-10-01 10:00") -> None:
    for text in accrual_days:
        await world.pay(user, day(text), enrolment_id=f"{user} {when}")


async def begun(world: World, user: str, *, when: str = "2026-10-01 10:00") -> None:
    await world.snapshot(user, at(when).date(), enrolment_id=f"{user} {when}")


async def all_owed(
    world: World, when: str, *, region: str | None = None, late: bool = False, limit: int = 100
) -> AllOwed:
    async with world.ledger.read() as connection:
        return await owed(connection, now=at(when), region=region, late=late, limit=limit)


async def who(world: World, when: str, *, region: str | None = None, late: bool = False) -> list[str]:
    return [found.user_id for found in (await all_owed(world, when, region=region, late=late)).listed]


async def test_a_day_is_owed_once_it_is_over_whether_it_is_closed_or_not(world: World) -> None:
    await enrolled(world, "ann")
    assert await who(world, "2026-10-02 23:59") == []
    assert await who(world, "2026-10-03 00:00") == ["ann"]
    await begun(world, "ann")
    await world.snapshot("ann", D2, enrolment_id="ann 2026-10-01 10:00")
    assert await who(world, "2026-10-03 00:00") == ["ann"]
    await paid(world, "ann", "2026-10-02")
    assert await who(world, "2026-10-03 23:59") == []


async def test_owed_days_are_listed_with_their_enrolment_and_the_longest_owed_come_first(world: World) -> None:
    for user in ("ann", "ben"):
        await enrolled(world, user, region="UA-30" if user == "ben" else "FR")
        await begun(world, user)
    await paid(world, "ann", "2026-10-02")

    found = await all_owed(world, "2026-10-05 09:00")

    assert found == AllOwed(
        [
            OwedSpan("ben", "ben 2026-10-01 10:00", "UA-30", 3, D2, D4, late_days=3),
            OwedSpan("ann", "ann 2026-10-01 10:00", "FR", 2, D3, D4, late_days=2),
        ],
        users=2,
        days=5,
    )


async def test_an_ended_enrolment_is_owed_up_to_its_last_accrual_day_and_a_later_one_beside_it(
    world: World,
) -> None:
    await enrolled(world, "ann")
    await begun(world, "ann")
    await world.end("ann", at("2026-10-03 12:00"), enrolment_id="ann 2026-10-01 10:00")
    await world.enrol("ann", at("2026-10-03 13:00"), enrolment_id="second")

    found = await all_owed(world, "2026-10-06 07:00")

    assert [(each.enrolment_id, each.first, each.last) for each in found.listed] == [
        ("ann 2026-10-01 10:00", D2, D2),
        ("second", D4, day("2026-10-05")),
    ]
    assert (found.users, found.days) == (1, 3)


async def test_nothing_is_owed_of_an_enrolment_that_ended_before_its_first_accrual_day_was_over(
    world: World,
) -> None:
    await enrolled(world, "ann")
    await world.end("ann", at("2026-10-02 12:00"), enrolment_id="ann 2026-10-01 10:00")
    assert await who(world, "2026-10-09") == []


@pytest.mark.parametrize(
    ("when", "late"), [("2026-10-03 08:00", []), ("2026-10-03 08:01", ["ann"])], ids=["at 08:00", "after 08:00"]
)
async def test_a_day_is_late_once_its_deadline_has_passed(world: World, when: str, late: list[str]) -> None:
    await enrolled(world, "ann")
    assert await who(world, when) == ["ann"]
    assert await who(world, when, late=True) == late


async def test_days_that_were_over_before_the_enrolment_was_recorded_are_owed_and_not_late(world: World) -> None:
    await enrolled(world, "ann")
    # This is like a back-dated activation that an operator recorded on 4 October at 12:00.
    await world.sql("UPDATE enrolments SET recorded_at = :recorded_at", recorded_at=1_791_115_200_000_000)

    [found] = (await all_owed(world, "2026-10-05 07:00")).listed
    assert (found.first, found.days, found.late_days) == (D2, 3, 0)
    [found] = (await all_owed(world, "2026-10-05 09:00")).listed
    recorded_at = at("2026-10-04 12:00")
    assert found.late_days == sum(
        is_late(each, credited_at=at("2026-10-05 09:00"), enrolled_at=recorded_at) for each in (D2, D3, D4)
    )


async def owed_to_ann(world: World, when: str, *, is_held: bool = False) -> OwedToUser:
    async with world.ledger.read() as connection:
        held = ["ann"] if is_held else []
        return (await owed_to_each(connection, ["ann"], now=at(when), held=held)).get("ann", NOTHING_OWED)


@pytest.mark.parametrize(
    ("when", "is_held", "since"),
    [
        ("2026-10-02 23:59", True, None),
        ("2026-10-03 00:00", False, None),
        ("2026-10-03 00:00", True, D2),
        ("2026-10-03 08:00", False, None),
        ("2026-10-03 08:01", False, D2),
        ("2026-10-19 03:00", False, D2),
    ],
)
async def test_rewards_are_delayed_once_a_day_is_late_or_owed_to_a_held_user(
    world: World, when: str, is_held: bool, since: date | None
) -> None:
    await enrolled(world, "ann")
    assert (await owed_to_ann(world, when, is_held=is_held)).delayed_since == since


@pytest.mark.parametrize(
    ("when", "is_held", "since"),
    [
        ("2026-10-04 12:01", False, None),
        ("2026-10-04 12:01", True, D2),
        ("2026-10-05 08:00", False, None),
        ("2026-10-05 08:01", False, D2),
    ],
)
async def test_back_dated_days_are_not_delayed_before_the_first_reward_that_could_be_in_time(
    world: World, when: str, is_held: bool, since: date | None
) -> None:
    await enrolled(world, "ann")
    await world.sql("UPDATE enrolments SET recorded_at = :recorded_at", recorded_at=1_791_115_200_000_000)
    assert (await owed_to_ann(world, when, is_held=is_held)).delayed_since == since


async def test_rewards_are_delayed_since_the_oldest_owed_day_of_all_enrolments(world: World) -> None:
    await enrolled(world, "ann")
    await world.end("ann", at("2026-10-03 12:00"), enrolment_id="ann 2026-10-01 10:00")
    await world.enrol("ann", at("2026-10-03 13:00"), enrolment_id="second")
    assert await owed_to_ann(world, "2026-10-05 02:00") == OwedToUser([D2, D4], D2, {})


@pytest.mark.parametrize(("restricted", "owed_days", "since"), [(D2, [], None), (D3, [D2], D2)])
async def test_a_day_on_which_the_region_is_restricted_is_not_owed_and_nothing_after_it(
    world: World, restricted: date, owed_days: list[date], since: date | None
) -> None:
    await enrolled(world, "ann", region="FR")
    for first_day, regions in ((restricted, ["FR"]), (D4, [])):
        program = program_with(f"{first_day}").model_copy(update={"restricted_regions": regions})
        await world.apply(program, now=at("2026-10-01 12:00"))

    found = await owed_to_ann(world, "2026-10-06 10:00")

    assert found == OwedToUser(owed_days, since, {"ann 2026-10-01 10:00": restricted})


@pytest.mark.parametrize(
    "now", ["2026-10-05 00:00", "2026-10-05 07:59", "2026-10-05 08:00", "2026-10-05 08:01", "2026-10-05 23:59"]
)
def test_the_last_day_past_its_deadline_is_the_last_whose_credit_would_be_late(now: str) -> None:
    last = last_day_past_its_deadline(at(now))
    assert credit_deadline(last) < at(now) <= credit_deadline(last + ONE_DAY)


@pytest.mark.parametrize(
    ("region", "expected"), [("UA", ["ann", "ben"]), ("UA-30", ["ben"]), ("U", []), ("FR", ["cleo"])]
)
async def test_a_country_covers_its_subdivisions(world: World, region: str, expected: list[str]) -> None:
    for user, theirs in (("ann", "UA"), ("ben", "UA-30"), ("cleo", "FR")):
        await enrolled(world, user, region=theirs)

    assert await who(world, "2026-10-05", region=region) == expected
    async with world.ledger.read() as connection:
        assert await enrolled_users(connection, region) == expected
        assert await unfinished_users(connection, region) == expected


async def test_more_than_are_listed_are_counted(world: World) -> None:
    for user in ("ann", "ben", "cleo"):
        await enrolled(world, user)
    found = await all_owed(world, "2026-10-04", limit=2)
    assert ([each.user_id for each in found.listed], found.users, found.days) == (["ann", "ben"], 3, 6)


async def test_the_unfinished_are_those_enrolled_and_those_owed_a_day_of_an_ended_enrolment(world: World) -> None:
    for user in ("enrolled", "owed", "paid", "brief"):
        await enrolled(world, user)
    for user in ("owed", "paid"):
        await begun(world, user)
        await world.end(user, at("2026-10-03 12:00"), enrolment_id=f"{user} 2026-10-01 10:00")
    await paid(world, "paid", "2026-10-02")
    await world.end("brief", at("2026-10-01 12:00"), enrolment_id="brief 2026-10-01 10:00")

    async with world.ledger.read() as connection:
        assert await unfinished_users(connection) == ["enrolled", "owed"]
        assert await enrolled_users(connection, "FR") == ["enrolled"]
