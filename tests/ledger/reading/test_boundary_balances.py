"""What everybody held at a boundary: what the day before closed with, in one order, with a digest."""

import hashlib
from datetime import datetime

import pytest
from world import World, at, day, units

from ledger.reading import boundary_balances
from ledger.reading.boundary_balances import AssetTotal, Balance, balances_at, balances_digest

pytestmark = pytest.mark.on_both_databases

BOUNDARY = at("2026-10-03")


async def held_at(world: World, boundary: datetime) -> list[Balance]:
    async with world.ledger.read() as connection:
        return [balance async for part in balances_at(connection, boundary) for balance in part]


async def test_a_balance_at_a_boundary_is_what_the_day_before_closed_with(world: World) -> None:
    await world.move("ann", "12", "SOL", at("2026-10-01 10:00"))
    await world.enrol("ann", at("2026-10-01 10:00"))
    await world.snapshot("ann", day("2026-10-01"))
    await world.move("ann", "-3", "SOL", at("2026-10-02 06:00"))
    snapshot = await world.snapshot("ann", day("2026-10-02"))
    await world.credit("ann", await world.compute(snapshot))
    await world.move("ann", "5", "SOL", BOUNDARY)

    assert await held_at(world, BOUNDARY) == [("ann", "SOL", snapshot.holdings[0].closing)]
    assert await held_at(world, at("2026-10-01")) == []
    assert (await held_at(world, at("2026-10-04")))[0].units > units("14")


async def test_balances_come_by_the_bytes_of_user_and_asset_in_parts_of_any_size(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    held = [
        (user, asset) for user in ("Z", "a", "a.b", "a-b", "a1") for asset in ("SOL", "1INCH", "币安人生", "ADA")
    ]
    for user, asset in held:
        await world.move(user, "1", asset, at("2026-10-01"))
    await world.move("gone", "1", "SOL", at("2026-10-01"))
    await world.move("gone", "-1", "SOL", at("2026-10-02"))
    in_order = sorted(held, key=lambda key: (key[0].encode(), key[1].encode()))

    whole = await held_at(world, BOUNDARY)
    monkeypatch.setattr(boundary_balances, "_PART", boundary_balances._PART.limit(3))
    monkeypatch.setattr(boundary_balances, "_IN_A_PART", 3)

    assert whole == await held_at(world, BOUNDARY) == [(*key, units("1")) for key in in_order]


async def test_totals_and_digest_are_those_of_all_balances(world: World) -> None:
    await world.move("bob", "0.5", "SOL", at("2026-10-01"))
    await world.move("ann", "12", "SOL", at("2026-10-01"))
    await world.move("ann", "90000000000", "ADA", at("2026-10-01"))
    await world.move("bob", "90000000000", "ADA", at("2026-10-01"))
    lines = "ann ADA 90000000000.00000000\nann SOL 12.00000000\nbob ADA 90000000000.00000000\nbob SOL 0.50000000\n"

    async with world.ledger.read() as connection:
        found = await balances_digest(connection, BOUNDARY)
        nothing = await balances_digest(connection, at("2026-09-01"))

    assert found.totals == {
        "ADA": AssetTotal(2 * units("90000000000"), 2),
        "SOL": AssetTotal(units("12.5"), 2),
    }
    assert found.digest == hashlib.sha256(lines.encode()).hexdigest()
    assert (nothing.totals, nothing.digest) == ({}, hashlib.sha256().hexdigest())
