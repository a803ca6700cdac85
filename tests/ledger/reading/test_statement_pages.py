"""A statement page by page, and the day in progress, on both databases."""

import pytest
from world import World, at, day, units

from ledger.reading.statements import Page, day_if_nothing_moves, rewarded_assets, statement_page
from staking.days import ONE_DAY
from staking.rewards import Outcome

pytestmark = pytest.mark.on_both_databases


async def three_days(world: World) -> None:
    """Days that each have a line of SOL that earned and a line of ADA below the minimum."""
    for user in ("ann", "bob"):
        await world.move(user, "12", "SOL", at("2026-10-01"))
        await world.move(user, "10", "ADA", at("2026-10-01"))
        await world.enrol(user, at("2026-10-01 10:00"))
        await world.snapshot(user, day("2026-10-01"))
        for number in range(3):
            await world.pay(user, day("2026-10-02") + number * ONE_DAY)


async def a_page(world: World, number: int, size: int = 4, **wanted: object) -> Page:
    async with world.ledger.read() as connection:
        return await statement_page(connection, "ann", page=number, size=size, **wanted)  # pyright: ignore


def names(page: Page) -> list[str]:
    return [f"{line.day.day} {line.asset}" for line in page.lines]


async def test_pages_follow_each_other_the_newest_day_first(world: World) -> None:
    await three_days(world)
    first, second, beyond = [await a_page(world, number) for number in (1, 2, 9)]
    assert (names(first), first.offset, first.count) == (["4 ADA", "4 SOL", "3 ADA", "3 SOL"], 0, 6)
    assert (names(second), second.offset, second.count) == (["2 ADA", "2 SOL"], 4, 6)
    assert beyond == second
    assert second.lines[1] == (await world.statement("ann"))[1]


async def test_a_page_holds_what_is_wanted_alone(world: World) -> None:
    await three_days(world)
    wanted = {"asset": "SOL", "outcome": Outcome.EARNED, "first": day("2026-10-03"), "last": day("2026-10-03")}
    assert names(await a_page(world, 1, **wanted)) == ["3 SOL"]
    assert await a_page(world, 3, asset="BNB") == Page([], 0, 0)
    assert (await a_page(world, 1, outcome=Outcome.BELOW_MINIMUM)).count == 3


async def test_the_assets_of_a_statement_are_those_of_its_lines(world: World) -> None:
    await world.move("zoe", "7", "BNB", at("2026-10-01"))
    await three_days(world)
    async with world.ledger.read() as connection:
        assert await rewarded_assets(connection, "ann") == ["ADA", "SOL"]
        assert await rewarded_assets(connection, "zoe") == []


async def test_the_day_in_progress_is_what_it_comes_to_if_nothing_moves_any_more(world: World) -> None:
    await world.move("ann", "12", "SOL", at("2026-10-01"))
    await world.move("ann", "-3", "SOL", at("2026-10-02 06:00"))
    await world.move("ann", "8", "BNB", at("2026-10-02 12:00"))
    await world.move("ann", "1.5", "SOL", at("2026-10-02 18:00"))
    await world.move("bob", "1", "ADA", at("2026-10-02 12:00"))
    async with world.ledger.read() as connection:
        held = await day_if_nothing_moves(connection, "ann", day("2026-10-02"))
        later = await day_if_nothing_moves(connection, "ann", day("2026-10-03"))
    assert {asset: holding.average for asset, holding in held.items()} == {
        "BNB": units("4"),
        "SOL": units("10.125"),
    }
    assert {asset: holding.average for asset, holding in later.items()} == {
        "BNB": units("8"),
        "SOL": units("10.5"),
    }
