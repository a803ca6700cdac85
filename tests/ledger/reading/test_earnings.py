"""What a user holds and has earned, in the form in which programs ask for it."""

from datetime import datetime, timedelta

import pytest
from world import World, at, day, units

from ledger.corrections import reverse
from ledger.reading.earnings import CreditedReward, Position, credited_rewards, position

pytestmark = pytest.mark.on_both_databases

NOW = at("2026-10-05 12:00")
REWARD = units("0.00026301")


@pytest.fixture
async def ann(world: World) -> World:
    """ann holds 12 SOL and 0.1 BNB, and has two credited days; bob holds as much."""
    for user in ("ann", "bob"):
        await world.move(user, "12", "SOL", at("2026-09-30"))
        await world.move(user, "0.1", "BNB", at("2026-09-30"))
    await world.enrol("ann", at("2026-10-01"))
    await world.snapshot("ann", day("2026-10-01"))
    for accrual_day in (day("2026-10-02"), day("2026-10-03")):
        await world.pay("ann", accrual_day)
    return world


async def position_at(world: World, user: str, instant: datetime = NOW) -> Position:
    async with world.ledger.read() as connection:
        return await position(connection, user, instant)


async def test_a_position_has_enrolment_holdings_and_totals(ann: World) -> None:
    assert await position_at(ann, "ann") == Position(
        True, {"SOL": units("12") + 2 * REWARD, "BNB": units("0.1")}, {"SOL": 2 * REWARD}
    )
    assert await position_at(ann, "bob") == Position(False, {"SOL": units("12"), "BNB": units("0.1")}, {})
    assert await position_at(ann, "nobody") == Position(False, {}, {})


async def test_a_movement_counts_from_its_instant_on(ann: World) -> None:
    await ann.move("ann", "-2", "SOL", at("2026-10-05 13:00"))

    before, after = [await position_at(ann, "ann", at(f"2026-10-05 {hour}")) for hour in ("12:59", "13:00")]

    assert before.holdings["SOL"] - after.holdings["SOL"] == units("2")


async def test_a_reward_that_was_reversed_is_in_no_total_and_was_credited_all_the_same(ann: World) -> None:
    first, *_ = [line for line in await ann.statement("ann") if line.reward]
    assert first.entry_id is not None
    await reverse(ann.ledger, first.entry_id, reason="wrong", operator="tests", now=NOW)

    assert (await position_at(ann, "ann")).totals == {"SOL": REWARD}
    async with ann.ledger.read() as connection:
        page = await credited_rewards(
            connection, "ann", since=at("2026-01-01"), until=NOW, asset=None, offset=0, limit=10
        )
    assert page.total == 2


@pytest.mark.parametrize(
    ("asset", "since", "until", "offset", "limit", "days", "total"),
    [
        (None, "2026-10-01", "2026-10-05", 0, 10, [4, 3], 2),
        ("SOL", "2026-10-01", "2026-10-05", 0, 1, [4], 2),
        ("SOL", "2026-10-01", "2026-10-05", 1, 1, [3], 2),
        ("BNB", "2026-10-01", "2026-10-05", 0, 10, [], 0),
        (None, "2026-10-03 00:01", "2026-10-03 00:01", 0, 10, [3], 1),
        (None, "2026-10-03 00:02", "2026-10-04 00:00", 0, 10, [], 0),
    ],
)
async def test_credited_rewards_above_zero_come_the_newest_first(
    ann: World,
    asset: str | None,
    since: str,
    until: str,
    offset: int,
    limit: int,
    days: list[int],
    total: int,
) -> None:
    async with ann.ledger.read() as connection:
        page = await credited_rewards(
            connection, "ann", since=at(since), until=at(until), asset=asset, offset=offset, limit=limit
        )

    assert ([reward.credited_at.day for reward in page.rewards], page.total) == (days, total)


async def test_a_credited_reward_has_its_average(ann: World) -> None:
    async with ann.ledger.read() as connection:
        page = await credited_rewards(
            connection, "ann", since=at("2026-10-04"), until=NOW, asset=None, offset=0, limit=1
        )

    credited_at = at("2026-10-04") + timedelta(minutes=1)
    assert page.rewards == [CreditedReward("SOL", REWARD, units("12") + REWARD, credited_at)]
