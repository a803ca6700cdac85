"""Reward pools are funded by name, never fall below zero and never rise above the range."""

from datetime import UTC, datetime

import pytest
from world import LONG_AGO, World, a_world, at, program_with, units

from ledger.accounts import OUTSIDE, POOL
from ledger.errors import AccountFull, InsufficientBalance, NoProgram, UnknownAsset
from ledger.journal import Leg, NewEntry, post
from ledger.pools import fund_pool, pool_balances

pytestmark = pytest.mark.on_both_databases


async def test_funding_answers_the_new_balance(world: World) -> None:
    assert await fund_pool(world.ledger, "SOL", units("5"), operator="tests", now=LONG_AGO) == units("1000005")


async def test_only_an_asset_of_some_program_version_is_funded(world: World) -> None:
    with pytest.raises(UnknownAsset, match=r"DOGE is not an asset of the program, which has ADA, ALGO, AXS"):
        await fund_pool(world.ledger, "DOGE", 1, operator="tests", now=LONG_AGO)


async def test_an_asset_of_a_coming_program_version_is_funded(world: World) -> None:
    await world.apply(program_with("2026-10-02", DOGE={}), now=at("2026-10-01"))
    assert await fund_pool(world.ledger, "DOGE", 1, operator="tests", now=LONG_AGO) == 1


async def test_without_a_program_there_is_nothing_to_fund(tmp_path_factory: pytest.TempPathFactory) -> None:
    async with a_world(tmp_path_factory.mktemp("bare"), program=None) as world:
        with pytest.raises(NoProgram, match="apply one with"):
            await fund_pool(world.ledger, "SOL", 1, operator="tests", now=LONG_AGO)


@pytest.mark.parametrize("amount", [0, -1])
async def test_a_pool_is_not_funded_with_nothing_or_less(world: World, amount: int) -> None:
    before = await world.everything()
    with pytest.raises(ValueError, match="above zero"):
        await fund_pool(world.ledger, "SOL", amount, operator="tests", now=LONG_AGO)
    assert await world.everything() == before


async def test_a_pool_holds_90_billion_and_no_more(world: World) -> None:
    assert await fund_pool(world.ledger, "SOL", units("89999000000"), operator="tests", now=LONG_AGO) == units(
        "90000000000"
    )
    with pytest.raises(AccountFull, match="the reward pool's SOL balance"):
        await fund_pool(world.ledger, "SOL", 1, operator="tests", now=LONG_AGO)


async def test_no_pool_falls_below_zero(world: World) -> None:
    now = datetime(2026, 10, 1, tzinfo=UTC)
    amount = units("1000000.00000001")
    drain = NewEntry("drain", [Leg(POOL, "SOL", -amount), Leg(OUTSIDE, "SOL", amount)], now, now)

    async def drain_it() -> None:
        async with world.ledger.write() as connection:
            await post(connection, drain)

    with pytest.raises(InsufficientBalance, match="the reward pool's SOL balance"):
        await drain_it()


async def test_several_pool_accounts_of_an_asset_are_shown_as_one(world: World) -> None:
    await world.sql("INSERT INTO accounts (kind, asset, shard, balance) VALUES ('pool', 'SOL', 1, 5)")
    async with world.ledger.read() as connection:
        assert (await pool_balances(connection))["SOL"] == units("1000000") + 5
