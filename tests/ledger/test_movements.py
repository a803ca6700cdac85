"""Live movements: whole, in order, within the range, never held up by soft staking (rule 9, I2, I4)."""

from collections.abc import Mapping

import pytest
from world import LONG_AGO, World, at, day, units

from ledger.errors import AccountFull, InsufficientBalance
from ledger.movements import post_movement
from staking.money import MAX_ACCOUNT_UNITS

pytestmark = pytest.mark.on_both_databases


async def trade(world: World, changes: Mapping[str, int], *, key: str = "trade") -> int:
    return await post_movement(
        world.ledger, "ann", changes, kind="trade", idempotency_key=key, occurred_at=at("2026-10-01 10:00")
    )


async def counts_at(world: World, entry_id: int) -> tuple[int, int | None]:
    ((effective_at, occurred_at),) = await world.sql(
        "SELECT effective_at, occurred_at FROM entries WHERE entry_id = :entry_id", entry_id=entry_id
    )
    return effective_at, occurred_at


def micros(text: str) -> int:
    return int((at(text) - at("1970-01-01")).total_seconds()) * 1_000_000


async def test_a_trade_moves_both_legs_or_none(world: World) -> None:
    await world.move("ann", "10", "SOL", at("2026-10-01"))
    await trade(world, {"SOL": units("-4"), "SUI": units("160")})
    assert await world.balances("ann") == {"SOL": units("6"), "SUI": units("160")}
    before = await world.everything()

    with pytest.raises(InsufficientBalance, match=r"SOL balance is 6\.00000000, which does not allow -7"):
        await trade(world, {"SUI": units("280"), "SOL": units("-7")}, key="too much")

    assert await world.everything() == before


@pytest.mark.parametrize(
    ("first", "then", "refused"),
    [
        ("1E-8", "-1E-8", None),
        ("1E-8", "-2E-8", InsufficientBalance),
        ("90000000000", "-90000000000", None),
        ("90000000000", "1E-8", AccountFull),
        ("89999999999.99999999", "1E-8", None),
        ("1E-8", "90000000000", AccountFull),
    ],
)
async def test_an_account_holds_from_nothing_to_exactly_90_billion(
    world: World, first: str, then: str, refused: type[Exception] | None
) -> None:
    await world.move("ann", first, "SOL", at("2026-10-01"))
    if refused is None:
        await world.move("ann", then, "SOL", at("2026-10-02"))
        assert (await world.balances("ann"))["SOL"] == units(first) + units(then)
    else:
        with pytest.raises(refused, match="user ann's SOL balance is"):
            await world.move("ann", then, "SOL", at("2026-10-02"))
        assert (await world.balances("ann"))["SOL"] == units(first)
    assert (await world.audit()).is_clean


async def test_what_an_account_holds_stays_an_integer_at_the_top_of_the_range(world: World) -> None:
    await world.move("ann", "89999999999.99999999", "SOL", at("2026-10-01"))
    await world.move("ann", "1E-8", "SOL", at("2026-10-01"))
    assert await world.sql("SELECT balance, typeof(balance) FROM accounts WHERE user_id = 'ann'") == [
        (MAX_ACCOUNT_UNITS, "integer")
    ]


async def test_a_movement_is_never_older_than_the_user_s_latest(world: World) -> None:
    await world.move("ann", "10", "SOL", at("2026-10-01 12:00"))
    late = await world.move("ann", "5", "SUI", at("2026-10-01 11:00"))
    assert await counts_at(world, late) == (micros("2026-10-01 12:00"), micros("2026-10-01 11:00"))


async def test_an_instant_that_counts_as_it_occurred_is_not_written_twice(world: World) -> None:
    entry_id = await world.move("ann", "10", "SOL", at("2026-10-01 12:00"))
    assert await counts_at(world, entry_id) == (micros("2026-10-01 12:00"), None)


async def test_a_withdrawal_stamped_before_the_deposit_it_spends_counts_after_it(world: World) -> None:
    await world.move("ann", "10", "SOL", at("2026-10-01 12:00"))
    await world.move("ann", "-10", "SOL", at("2026-10-01 11:00"))
    assert (await world.audit()).is_clean


async def test_one_user_s_late_movement_delays_nobody_else_s(world: World) -> None:
    await world.move("ann", "10", "SOL", at("2026-10-05"))
    entry_id = await world.move("bob", "10", "SOL", at("2026-10-01"))
    assert await counts_at(world, entry_id) == (micros("2026-10-01"), None)


async def test_a_movement_into_a_closed_day_counts_from_the_boundary(world: World) -> None:
    await world.move("ann", "12", "SOL", at("2026-10-01 09:00"))
    await world.enrol("ann", at("2026-10-01 10:00"))
    await world.close("ann", day("2026-10-01"))
    entry_id = await world.move("ann", "-12", "SOL", at("2026-10-01 23:59"))
    assert await counts_at(world, entry_id) == (micros("2026-10-02"), micros("2026-10-01 23:59"))


async def test_an_enrolled_user_may_withdraw_everything_at_any_time(world: World) -> None:
    await world.move("ann", "12", "SOL", at("2026-10-01 09:00"))
    await world.enrol("ann", at("2026-10-01 10:00"))
    await world.move("ann", "-12", "SOL", at("2026-10-01 10:00"))
    assert await world.balances("ann") == {"SOL": 0}


@pytest.mark.parametrize("changes", [{}, {"SOL": 0}])
async def test_a_movement_that_moves_nothing_is_a_mistake(world: World, changes: dict[str, int]) -> None:
    before = await world.everything()
    with pytest.raises(ValueError, match="it has no postings"):
        await trade(world, changes)
    assert await world.everything() == before


async def test_a_leg_of_nothing_leaves_no_posting(world: World) -> None:
    entry_id = await trade(world, {"SOL": 5, "SUI": 0})
    assert await world.sql("SELECT count(*) FROM postings WHERE entry_id = :id", id=entry_id) == [(2,)]


async def test_the_recording_clock_says_when_it_was_written(world: World) -> None:
    entry_id = await world.move("ann", "1", "SOL", at("2026-10-01"))
    ((recorded_at,),) = await world.sql("SELECT recorded_at FROM entries WHERE entry_id = :id", id=entry_id)
    assert recorded_at == int(LONG_AGO.timestamp()) * 1_000_000
