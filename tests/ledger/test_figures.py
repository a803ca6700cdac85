"""What an operator watches: what is owed, and how long the pools last."""

from math import inf

import pytest
from world import World, at, day, program_with, units

from ledger.acts import hold, release
from ledger.figures import Figures, Owed, Pool, figures
from ledger.pools import pool_balances
from staking.days import ONE_DAY
from staking.models import Act, ActRequest

pytestmark = pytest.mark.on_both_databases

D1, D2, D3, D4 = (day("2026-10-01") + n * ONE_DAY for n in range(4))


async def watched(world: World, now: str) -> Figures:
    return await figures(world.ledger, at(now))


async def enrolled(world: World, *users: str) -> None:
    for user in users:
        await world.move(user, "12", "SOL", at("2026-10-01 09:00"))
        await world.enrol(user, at("2026-10-01 10:00"))


async def through_many_stages(world: World) -> None:
    """Users at every stage of a day, on Day 5."""
    await enrolled(world, "untouched", "begun", "closed", "credited", "ended", "quick", "anew", "taken-back")
    for user in ("begun", "closed", "credited", "ended", "anew", "taken-back"):
        await world.close(user, D1)
    for user in ("closed", "credited", "anew"):
        await world.close_and_credit(user, D2)
    await world.close("closed", D3)
    await world.close_and_credit("credited", D3)
    await world.close_and_credit("credited", D4)
    await world.end("ended", at("2026-10-04 12:00"))
    await world.end("quick", at("2026-10-01 12:00"))
    await world.end("anew", at("2026-10-04 12:00"))
    await world.enrol("anew", at("2026-10-04 13:00"), enrolment_id="anew again")
    await world.close("taken-back", D2)
    await world.end("taken-back", at("2026-10-02"), reason="the region is restricted")


@pytest.mark.parametrize("now", ["2026-10-05", "2026-10-06 12:00", "2026-10-20 12:00"])
async def test_what_is_owed_is_what_the_audit_finds_owed(world: World, now: str) -> None:
    await through_many_stages(world)
    owed, audited = (await watched(world, now)).owed, await world.audit(at(now))
    oldest = min(each.first for each in audited.owed)
    assert (owed.days, owed.users, owed.oldest) == (audited.owed_days, audited.owed_users, oldest)


async def test_what_is_owed_to_held_users_is_told_apart(world: World) -> None:
    await enrolled(world, "ann", "bob", "eve")
    for user, done in (("ann", [hold]), ("bob", [hold, release]), ("eve", [hold, release, hold])):
        for number, act in enumerate(done):
            request = ActRequest(
                act_id=f"{user} {number}",
                user_id=user,
                act=Act(operator="op", reason="asked"),
                now=at("2026-10-02"),
            )
            await act(world.ledger, request)
    found = await watched(world, "2026-10-03 06:00")
    assert found.held_users == 2
    assert found.owed == Owed(days=1, users=1, oldest=D2)
    assert found.owed_to_held == Owed(days=2, users=2, oldest=D2)


async def test_an_owed_day_waits_since_the_boundary_that_closed_it(world: World) -> None:
    await enrolled(world, "ann")
    assert (await watched(world, "2026-10-02 23:59")).owed.days == 0
    owed = (await watched(world, "2026-10-03 06:00")).owed
    assert (owed.days, owed.users, owed.oldest) == (1, 1, D2)
    assert owed.waits_for(at("2026-10-03 06:00")).total_seconds() == 6 * 3600


async def test_a_pool_lasts_as_many_days_as_it_holds_of_an_average_days_outflow(world: World) -> None:
    await enrolled(world, "ann")
    await world.close("ann", D1)
    for paid in (D2, D3, D4):
        await world.close_and_credit("ann", paid)
    # Neither is an outflow of a day: what was funded, and what went before.
    await world.fund("SOL", "5")
    pool = (await watched(world, "2026-10-05 00:01")).pools["SOL"]

    rewards = [line.reward for line in await world.statement("ann")]
    async with world.ledger.read() as connection:
        balance = (await pool_balances(connection))["SOL"]
    assert len(rewards) == 3
    assert pool == Pool(balance, pytest.approx(balance / (sum(rewards) / 3)))
    assert (await watched(world, "2026-10-12")).pools["SOL"].days_left == inf


async def test_an_empty_pool_of_the_program_has_no_day_left_and_a_full_one_that_nobody_draws_on_lasts(
    world: World,
) -> None:
    await world.apply(program_with("2026-10-02", DOGE={}), now=at("2026-10-01"))
    assert "DOGE" not in (await watched(world, "2026-10-01")).pools
    pools = (await watched(world, "2026-10-02")).pools
    assert pools["DOGE"] == Pool(0, 0.0)
    assert pools["SOL"] == Pool(units("1000000"), inf)
