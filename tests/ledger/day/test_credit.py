"""A day is credited whole and once, in time or late (rules 10, 11 and 13)."""

from datetime import datetime, timedelta

import pytest
from world import World, a_world, activation, at, day, program_with, units

from contract.requests import EnrolRequest
from ledger.enrolments import enrol
from ledger.errors import AccountFull, ContentDiffers, OutOfOrder
from ledger.pools import fund_pool, pool_balances
from staking.days import ONE_DAY
from staking.models import CreditReceipt, PoolShort, Rewards
from staking.money import MAX_ACCOUNT_UNITS

pytestmark = pytest.mark.on_both_databases

D1, D2, D3, D4 = (day("2026-10-01") + n * ONE_DAY for n in range(4))


async def started(world: World, **held: str) -> None:
    for asset, tokens in (held or {"SOL": "12"}).items():
        await world.move("ann", tokens, asset, at("2026-10-01 09:00"))
    await world.enrol("ann", at("2026-10-01 10:00"))
    await world.snapshot("ann", D1)


async def pools(world: World) -> dict[str, int]:
    async with world.ledger.read() as connection:
        return await pool_balances(connection)


@pytest.fixture
async def unfunded(tmp_path_factory: pytest.TempPathFactory):
    async with a_world(tmp_path_factory.mktemp("unfunded"), program=None) as world:
        await world.apply(program_with())
        yield world


async def test_a_day_that_is_not_closed_is_not_credited(world: World) -> None:
    await started(world)
    with pytest.raises(OutOfOrder, match="2026-10-02 is not closed for user ann"):
        await world.credit("ann", Rewards(day=D2, program_version=1, lines=[]))


async def test_the_activation_day_is_not_credited(world: World) -> None:
    await started(world)
    with pytest.raises(OutOfOrder, match="2026-10-01 is no accrual day"):
        await world.credit("ann", await world.compute(await world.snapshot("ann", D1)))


async def test_a_day_that_is_no_accrual_day_any_more_is_not_credited(world: World) -> None:
    await started(world)
    rewards = await world.compute(await world.snapshot("ann", D2))
    await world.end("ann", at("2026-10-02"), reason="the region is restricted")
    with pytest.raises(OutOfOrder, match="2026-10-02 is no accrual day"):
        await world.credit("ann", rewards)


async def test_an_owed_day_is_credited_after_the_end(world: World) -> None:
    await started(world)
    await world.end("ann", at("2026-10-03 12:00"))
    assert isinstance(await world.pay("ann", D2), CreditReceipt)


async def test_a_credit_moves_from_the_pool_to_the_user_what_the_rows_say(world: World) -> None:
    await started(world, SOL="12", SUI="200", BNB="0.4")
    before = await pools(world)

    receipt = await world.pay("ann", D2)

    sol, sui = units("12") * 8 // 365_000, units("200") // 36_500
    after = await pools(world)
    assert isinstance(receipt, CreditReceipt)
    assert {asset: before[asset] - after[asset] for asset in after if before[asset] != after[asset]} == {
        "SOL": sol,
        "SUI": sui,
    }
    assert await world.balances("ann") == {
        "SOL": units("12") + sol,
        "SUI": units("200") + sui,
        "BNB": units("0.4"),
    }
    lines = await world.statement("ann")
    assert [(line.asset, line.reward, line.outcome, line.entry_id) for line in lines] == [
        ("BNB", 0, "below_minimum", receipt.entry_id),
        ("SOL", sol, "earned", receipt.entry_id),
        ("SUI", sui, "earned", receipt.entry_id),
    ]


async def test_a_day_that_earns_nothing_is_credited_without_an_entry(world: World) -> None:
    await started(world)
    await world.move("ann", "-12", "SOL", at("2026-10-02"))
    receipt = await world.pay("ann", D2)
    assert isinstance(receipt, CreditReceipt)
    assert receipt.entry_id is None
    assert [line.outcome for line in await world.statement("ann")] == ["below_minimum"]


# Rule 13.


async def test_a_pool_that_was_never_funded_holds_the_whole_day_back(unfunded: World) -> None:
    await started(unfunded)
    await unfunded.snapshot("ann", D2)
    before = await unfunded.everything()
    assert await unfunded.pay("ann", D2) == PoolShort(day=D2, assets=["SOL"])
    assert await unfunded.everything() == before


async def test_one_short_pool_of_several_holds_the_whole_day_back(unfunded: World) -> None:
    await started(unfunded, SOL="12", SUI="200", ADA="200", BNB="0.1")
    due = units("12") * 8 // 365_000
    await unfunded.fund("ADA", "5")
    await fund_pool(unfunded.ledger, "SOL", due - 1, operator="tests", now=at("2026-10-01"))
    await unfunded.snapshot("ann", D2)
    before = await unfunded.everything()

    assert await unfunded.pay("ann", D2) == PoolShort(day=D2, assets=["SOL", "SUI"])
    assert await unfunded.everything() == before

    await fund_pool(unfunded.ledger, "SOL", 1, operator="tests", now=at("2026-10-01"))
    assert await unfunded.pay("ann", D2) == PoolShort(day=D2, assets=["SUI"])
    await unfunded.fund("SUI", "5")
    for _ in range(2):
        assert isinstance(await unfunded.pay("ann", D2), CreditReceipt)

    assert (await pools(unfunded))["SOL"] == 0
    assert (await unfunded.balances("ann"))["SOL"] == units("12") + due
    assert (await unfunded.audit()).is_clean


async def test_an_empty_pool_holds_nobody_else_back(unfunded: World) -> None:
    await started(unfunded)
    await unfunded.move("bob", "200", "SUI", at("2026-10-01 09:00"))
    await unfunded.enrol("bob", at("2026-10-01 10:00"))
    await unfunded.snapshot("bob", D1)
    await unfunded.fund("SUI")
    assert isinstance(await unfunded.pay("ann", D2), PoolShort)
    assert isinstance(await unfunded.pay("bob", D2), CreditReceipt)


async def test_a_withdrawal_passes_while_the_pool_is_short(unfunded: World) -> None:
    await started(unfunded)
    await unfunded.pay("ann", D2)
    assert await unfunded.move("ann", "-12", "SOL", at("2026-10-03 01:00"))


async def test_a_credit_repeated_with_another_formula_is_refused_and_names_both(world: World) -> None:
    await started(world)
    rewards = await world.compute(await world.snapshot("ann", D2))
    await world.credit("ann", rewards)
    lines = [line.model_copy(update={"formula": 2}) for line in rewards.lines]
    with pytest.raises(ContentDiffers, match=r"formula 1\).* formula 2\)"):
        await world.credit("ann", rewards.model_copy(update={"lines": lines}))


# Rule 11.


@pytest.mark.parametrize(
    ("credited_at", "late"),
    [
        ("2026-10-03 00:00", False),
        ("2026-10-03 08:00", False),
        ("2026-10-03 08:00:00.000001", True),
        ("2026-11-01", True),
    ],
)
async def test_a_credit_after_8_00_of_the_next_day_is_late(world: World, credited_at: str, late: bool) -> None:
    await started(world)
    rewards = await world.compute(await world.snapshot("ann", D2))
    receipt = await world.credit("ann", rewards, now=at(credited_at))
    assert isinstance(receipt, CreditReceipt)
    assert (receipt.credited_at, receipt.late) == (at(credited_at), late)
    assert [line.late for line in await world.statement("ann")] == [late]


@pytest.mark.parametrize(
    ("accrual_day", "late"), [(D2, False), (D3, False), (D4, True)], ids=["before", "the same day", "after"]
)
async def test_a_day_that_had_closed_before_the_enrolment_was_recorded_is_not_late(
    world: World, accrual_day: object, late: bool
) -> None:
    await world.move("ann", "12", "SOL", at("2026-10-01 09:00"))
    back_to, recorded_at, now = at("2026-10-01 10:00"), at("2026-10-04 00:00"), at("2026-10-20")
    request = EnrolRequest(
        user_id="ann",
        enrolment_id="enrolment of ann",
        activation=activation(back_dated_to=back_to),
        activated_at=back_to,
        now=recorded_at,
    )
    await enrol(world.ledger, request)
    await world.snapshot("ann", D1, now=now)
    for each in (D2, D3, D4):
        await world.credit("ann", await world.compute(await world.snapshot("ann", each, now=now)), now=now)

    assert [line.late for line in await world.statement("ann") if line.day == accrual_day] == [late]


async def test_credited_at_is_the_later_of_the_workflow_s_now_and_the_recording_clock(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    clock = [at("2026-10-01 10:00")]
    async with a_world(tmp_path_factory.mktemp("clocked"), clock=lambda: clock[0]) as world:
        await started(world)
        rewards = await world.compute(await world.snapshot("ann", D2))
        clock[0] = at("2026-10-03 09:00")

        receipt = await world.credit("ann", rewards, now=at("2026-10-03 00:01"))

        assert isinstance(receipt, CreditReceipt)
        assert (receipt.credited_at, receipt.late) == (at("2026-10-03 09:00"), True)


# The ends of the range.


async def test_the_smallest_reward_is_paid(world: World) -> None:
    await world.apply(program_with("2026-10-02", SOL={"apr": "0.00000365"}))
    await started(world, SOL="1")
    await world.pay("ann", D2)
    assert [line.reward for line in await world.statement("ann")] == [1]
    assert await world.balances("ann") == {"SOL": units("1.00000001")}


async def test_less_than_the_smallest_amount_is_a_zero_with_a_reason(world: World) -> None:
    await world.apply(program_with("2026-10-02", SOL={"apr": "0.00000364"}))
    await started(world, SOL="1")
    await world.pay("ann", D2)
    assert [(line.reward, line.outcome) for line in await world.statement("ann")] == [(0, "rounded_to_zero")]


async def test_a_full_account_earns_up_to_the_cap_and_cannot_take_the_reward(world: World) -> None:
    await started(world, SOL="90000000000")
    snapshot = await world.snapshot("ann", D2)
    assert [line.average for line in snapshot.holdings] == [MAX_ACCOUNT_UNITS]
    before = await world.everything()

    with pytest.raises(AccountFull, match=r"user ann's SOL balance is 90000000000\.00000000; 0\.21917808 more"):
        await world.credit("ann", await world.compute(snapshot))
    assert await world.everything() == before

    await world.move("ann", "-1", "SOL", at("2026-10-03 12:00"))
    assert isinstance(await world.credit("ann", await world.compute(snapshot)), CreditReceipt)
    assert [line.outcome for line in await world.statement("ann")] == ["capped"]
    assert (await world.audit()).is_clean


async def test_many_users_are_credited_one_after_the_other_and_each_once(world: World) -> None:
    when: datetime = at("2026-10-01 09:00")
    users = [f"user{number}" for number in range(20)]
    await world.import_lines(*(f"{user},{when:%Y-%m-%d %H:%M:%S},Spot,Deposit,SOL,5," for user in users))
    for user in users:
        await world.enrol(user, when + timedelta(hours=1))
        await world.snapshot(user, D1)
        await world.pay(user, D2)
    assert len(await world.statement()) == 20
    assert (await pools(world))["SOL"] == units("1000000") - 20 * (units("5") * 8 // 365_000)
    assert (await world.audit()).is_clean
