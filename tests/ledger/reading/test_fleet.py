"""The figures that an operator watches: what is owed, and how long the pools last."""

from collections.abc import AsyncGenerator, Awaitable, Callable
from datetime import timedelta
from math import inf

import pytest
from world import SHIPPED_PROGRAM, World, a_world, at, day, program_with, units

from contract.acts import Act
from contract.requests import ActRequest
from ledger.acts import hold, release
from ledger.pools import pool_balances
from ledger.reading.fleet import FleetFigures, OwedTotals, PoolFigures, fleet_figures, pools
from ledger.reading.waiting import users_to_be_paid
from staking.days import ONE_DAY
from staking.models import CreditReceipt, PoolShort

pytestmark = pytest.mark.on_both_databases

D1, D2, D3, D4 = (day("2026-10-01") + n * ONE_DAY for n in range(4))


async def watched(world: World, now: str) -> FleetFigures:
    return await fleet_figures(world.ledger, at(now))


async def enrolled(world: World, *users: str) -> None:
    for user in users:
        await world.move(user, "12", "SOL", at("2026-10-01 09:00"))
        await world.enrol(user, at("2026-10-01 10:00"))


async def through_many_stages(world: World) -> None:
    """Users at every stage of a day, on Day 5."""
    await enrolled(world, "untouched", "begun", "closed", "credited", "ended", "quick", "anew", "taken-back")
    for user in ("begun", "closed", "credited", "ended", "anew", "taken-back"):
        await world.snapshot(user, D1)
    for user in ("closed", "credited", "anew"):
        await world.pay(user, D2)
    await world.snapshot("closed", D3)
    await world.pay("credited", D3)
    await world.pay("credited", D4)
    await world.end("ended", at("2026-10-04 12:00"))
    await world.end("quick", at("2026-10-01 12:00"))
    await world.end("anew", at("2026-10-04 12:00"))
    await world.enrol("anew", at("2026-10-04 13:00"), enrolment_id="anew again")
    await world.snapshot("taken-back", D2)
    await world.end("taken-back", at("2026-10-02"), reason="the region is restricted")


@pytest.mark.parametrize("now", ["2026-10-05", "2026-10-06 12:00", "2026-10-20 12:00"])
async def test_what_is_owed_is_what_the_audit_finds_owed(world: World, now: str) -> None:
    await through_many_stages(world)
    owed, audited = (await watched(world, now)).owed, await world.audit(at(now))
    oldest = min(each.first for each in audited.owed)
    assert (owed.days, owed.users, owed.oldest_promised) == (audited.owed_days, audited.owed_users, oldest)


async def test_what_is_owed_to_held_users_is_counted_separately(world: World) -> None:
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
    assert found.owed == OwedTotals(days=1, users=1, oldest_promised=D2)
    assert found.owed_to_held == OwedTotals(days=2, users=2, oldest_promised=D2)


async def test_an_owed_day_waits_since_the_boundary_that_closed_it(world: World) -> None:
    await enrolled(world, "ann")
    assert (await watched(world, "2026-10-02 23:59")).owed.days == 0
    owed = (await watched(world, "2026-10-03 06:00")).owed
    assert (owed.days, owed.users, owed.oldest_promised) == (1, 1, D2)
    assert owed.waits_for(at("2026-10-03 06:00")).total_seconds() == 6 * 3600


async def test_a_pool_lasts_as_many_days_as_it_holds_of_an_average_days_outflow(world: World) -> None:
    await enrolled(world, "ann")
    await world.snapshot("ann", D1)
    for paid in (D2, D3, D4):
        await world.pay("ann", paid)
    # Fundings, and payments before these days, are no outflow of these days.
    await world.fund("SOL", "5")
    pool = (await watched(world, "2026-10-05 00:01")).pools["SOL"]

    rewards = [line.reward for line in await world.statement("ann")]
    async with world.ledger.read() as connection:
        balance = (await pool_balances(connection))["SOL"]
    assert len(rewards) == 3
    days_left = pytest.approx(balance / (sum(rewards) / 3))
    assert pool == PoolFigures(balance, days_left, outflow_yesterday=rewards[-1])
    assert (await watched(world, "2026-10-12")).pools["SOL"].days_left == inf


async def test_an_empty_pool_has_no_day_left_before_its_program_is_in_force_too_and_a_full_one_lasts(
    world: World,
) -> None:
    await world.apply(program_with("2026-10-02", DOGE={}), now=at("2026-10-01"))
    for now in ("2026-10-01", "2026-10-02"):
        found = (await watched(world, now)).pools
        assert found["DOGE"] == PoolFigures(0, 0.0)
        assert found["SOL"] == PoolFigures(units("1000000"), inf)


async def test_an_asset_that_no_program_offers_any_more_and_that_has_no_pool_is_not_watched(world: World) -> None:
    await world.apply(program_with("2026-10-02", DOGE={}), now=at("2026-10-01"))
    await world.apply(program_with("2026-10-03"), now=at("2026-10-01"))
    assert "DOGE" in (await watched(world, "2026-10-02")).pools
    assert "DOGE" not in (await watched(world, "2026-10-03")).pools


@pytest.fixture
async def algo(tmp_path_factory: pytest.TempPathFactory) -> AsyncGenerator[World]:
    """A user holds ALGO. The pool holds 0.02, and a day earns 0.0137."""
    async with a_world(tmp_path_factory.mktemp("algo"), program=None) as world:
        await world.apply(SHIPPED_PROGRAM)
        await world.fund("ALGO", "0.02")
        await world.move("ann", "1000.1", "ALGO", at("2026-10-01 09:00"))
        await world.enrol("ann", at("2026-10-01 10:00"))
        await world.snapshot("ann", D1)
        yield world


A_DAY_OF_ALGO = units("0.0137")


async def test_a_pool_that_cannot_pay_what_waits_has_no_day_left_for_as_long_as_somebody_waits(
    algo: World,
) -> None:
    assert isinstance(await algo.pay("ann", D2), CreditReceipt)
    assert (await watched(algo, "2026-10-03 12:00")).pools["ALGO"] == PoolFigures(
        units("0.0063"), pytest.approx(0.0063 / 0.0137), outflow_yesterday=A_DAY_OF_ALGO
    )

    assert isinstance(await algo.pay("ann", D3), PoolShort)
    for now in ("2026-10-04", "2026-10-05", "2026-10-30"):
        pool = (await watched(algo, now)).pools["ALGO"]
        assert (pool.balance, pool.days_left) == (units("0.0063"), 0.0)
        # The reward of a day for 1000.1137 ALGO is 0.01370018.
        assert (pool.waiting_users, pool.missing) == (1, units("0.01370018") - units("0.0063"))
        assert await pools(algo.ledger, at(now)) == (await watched(algo, now)).pools


async def test_a_pool_that_can_pay_what_waits_lasts_for_what_is_left_after_it(algo: World) -> None:
    await algo.snapshot("ann", D2)
    await algo.fund("ALGO", "0.0487")
    pool = (await watched(algo, "2026-10-03")).pools["ALGO"]
    # After the waiting day is paid, 0.0687 lasts for four days more.
    assert pool == PoolFigures(units("0.0687"), pytest.approx(0.055 / 0.0137))


async def test_those_who_wait_are_counted_by_the_pool_that_holds_them_up(algo: World) -> None:
    await algo.fund("SOL", "1")
    await algo.move("ben", "1000.1", "ALGO", at("2026-10-01 09:00"))
    await algo.move("ben", "12", "SOL", at("2026-10-01 09:00"))
    await algo.move("cleo", "12", "SOL", at("2026-10-01 09:00"))
    for user in ("ben", "cleo"):
        await algo.enrol(user, at("2026-10-01 10:00"))
        await algo.snapshot(user, D1)
    for user in ("ann", "ben", "cleo"):
        await algo.pay(user, D2)
    found = (await watched(algo, "2026-10-03 09:00")).pools
    assert (found["ALGO"].waiting_users, found["ALGO"].missing) == (1, A_DAY_OF_ALGO - units("0.0063"))
    assert (found["SOL"].waiting_users, found["SOL"].missing) == (0, 0)
    async with algo.ledger.read() as connection:
        for asset in ("ALGO", "SOL"):
            assert await users_to_be_paid(connection, asset, day("2026-10-03")) == ["ben"]


async def hold_ann(world: World) -> None:
    act = Act(operator="op", reason="asked")
    await hold(world.ledger, ActRequest(act_id="held", user_id="ann", act=act, now=at("2026-10-02")))


async def restrict_her_region(world: World) -> None:
    restricted = SHIPPED_PROGRAM.model_copy(update={"restricted_regions": ["FR"], "effective_from": D2})
    await world.apply(restricted, now=at("2026-10-01"))


async def withdraw(world: World) -> None:
    await world.move("ann", "-500", "ALGO", at("2026-10-01 12:00"))


async def pause(world: World) -> None:
    await world.apply(program_with("2026-10-02", ALGO={"paused": True}), now=at("2026-10-01"))


@pytest.mark.parametrize("before", [hold_ann, restrict_her_region, withdraw, pause])
async def test_nobody_waits_for_a_pool_whose_funding_would_pay_them_nothing(
    algo: World, before: Callable[[World], Awaitable[None]]
) -> None:
    await algo.sql("UPDATE accounts SET balance = 0 WHERE kind = 'pool'")
    await before(algo)
    await algo.snapshot("ann", D2)
    found = await watched(algo, "2026-10-03")
    assert (found.owed.days + found.owed_to_held.days, found.pools["ALGO"]) == (1, PoolFigures(0, 0.0))


async def test_a_day_after_the_end_of_its_enrolment_waits_for_no_pool(algo: World) -> None:
    await algo.sql("UPDATE accounts SET balance = 0 WHERE kind = 'pool'")
    await algo.snapshot("ann", D2)
    assert (await watched(algo, "2026-10-03")).pools["ALGO"].waiting_users == 1
    await algo.end("ann", at("2026-10-02"), reason="the region is restricted")
    assert (await watched(algo, "2026-10-03")).pools["ALGO"] == PoolFigures(0, 0.0)


async def test_days_that_closed_before_the_enrolment_was_recorded_are_owed_and_promised_to_nobody(
    world: World,
) -> None:
    await enrolled(world, "ann", "bob")
    # This is like a back-dated activation of ann that an operator recorded on 4 October at 12:00.
    await world.sql(
        "UPDATE enrolments SET recorded_at = :recorded_at WHERE user_id = 'ann'", recorded_at=1_791_115_200_000_000
    )
    await world.snapshot("bob", D1)
    for paid in (D2, D3):
        await world.pay("bob", paid)

    caught_up = (await watched(world, "2026-10-04 13:00")).owed
    assert caught_up == OwedTotals(days=2, users=1, back_dated_days=2)
    assert (caught_up.promised_days, caught_up.waits_for(at("2026-10-04 13:00"))) == (0, timedelta())

    promised = (await watched(world, "2026-10-05 09:00")).owed
    assert promised == OwedTotals(days=4, users=2, back_dated_days=2, oldest_promised=D4)
    assert promised.waits_for(at("2026-10-05 09:00")) == timedelta(hours=9)
