"""Statements, whose lines anyone can recompute, and how a user stands."""

from datetime import date, datetime
from pathlib import Path

import pytest
from world import SHIPPED_PROGRAM, World, a_world, at, day, program_with, tamper, units

from ledger.accounts import POOL
from ledger.journal import Leg, NewEntry, Spot, post
from ledger.locking import lock_user
from ledger.reading import statements
from ledger.reading.standing import Standing, standing_of
from ledger.reading.statements import statement, statement_in_parts
from staking.days import ONE_DAY
from staking.rewards import outcome_and_reward

pytestmark = pytest.mark.on_both_databases

D1, D2, D3, D4 = (day("2026-10-01") + n * ONE_DAY for n in range(4))


async def two_users_for_two_days(world: World) -> None:
    for user in ("bob", "ann"):
        await world.move(user, "200", "SUI", at("2026-10-01 09:00"))
        await world.move(user, "12", "SOL", at("2026-10-01 09:00"))
        await world.enrol(user, at("2026-10-01 10:00"))
        await world.snapshot(user, D1)
        await world.pay(user, D2)
        await world.pay(user, D3)


async def reverse(world: World, user: str, accrual_day: date) -> int:
    """Reverses a day's rewards and returns the reversal."""
    lines = [line for line in await world.statement(user) if line.day == accrual_day]
    now = at("2026-10-10")
    async with world.ledger.write() as connection:
        spot = Spot(await lock_user(connection, user))
        legs = [
            leg
            for line in lines
            for leg in (Leg(spot, line.asset, -line.reward), Leg(POOL, line.asset, line.reward))
        ]
        entry = NewEntry(
            kind="reversal",
            legs=legs,
            effective_at=now,
            recorded_at=now,
            user_id=user,
            operator="olga",
            reason="paid by mistake",
            reverses=lines[0].entry_id,
        )
        return await post(connection, entry)


async def stands(world: World, user: str, when: str) -> Standing:
    return await standing_of(world.ledger, user, now=at(when))


async def test_lines_come_by_user_day_and_asset(world: World) -> None:
    await two_users_for_two_days(world)
    assert [(line.user_id, line.day, line.asset) for line in await world.statement()] == [
        (user, each, asset) for user in ("ann", "bob") for each in (D2, D3) for asset in ("SOL", "SUI")
    ]


@pytest.mark.parametrize(
    ("users", "first", "last", "lines"),
    [
        (["ann"], None, None, 4),
        (["ann", "bob"], None, None, 8),
        (["nobody"], None, None, 0),
        ([], None, None, 0),
        (None, D3, None, 4),
        (None, None, D2, 4),
        (["bob"], D3, D3, 2),
        (None, D4, None, 0),
    ],
)
async def test_lines_are_those_asked_for(
    world: World, users: list[str] | None, first: date | None, last: date | None, lines: int
) -> None:
    await two_users_for_two_days(world)
    async with world.ledger.read() as connection:
        assert len(await statement(connection, users, first=first, last=last)) == lines


async def test_anyone_can_redo_each_line_from_what_it_says(world: World) -> None:
    await two_users_for_two_days(world)
    for line in await world.statement():
        terms = SHIPPED_PROGRAM.assets[line.asset].model_copy(
            update={"minimum": line.minimum, "cap": line.cap, "apr": line.apr}
        )
        assert outcome_and_reward(line.average, terms, line.formula) == (line.outcome, line.reward)


async def test_a_day_that_is_closed_and_not_credited_is_in_no_statement(world: World) -> None:
    await two_users_for_two_days(world)
    await world.snapshot("ann", D4)
    assert D4 not in {line.day for line in await world.statement("ann")}


async def test_a_reward_is_worth_the_reference_price_of_the_program_its_day_was_closed_under(world: World) -> None:
    await world.apply(program_with(str(D3), SOL={"reference_price": "0.33"}), now=at("2026-10-01"))
    await two_users_for_two_days(world)
    first, second = (line for line in await world.statement("ann") if line.asset == "SOL")
    assert (first.reward, first.reference_value) == (26301, 26301 * 150)
    assert (second.reward, second.reference_value) == (26301, 8679)  # 8679.33 is rounded down.


async def test_the_lines_of_a_reversed_day_name_the_entry_that_reversed_it(world: World) -> None:
    await two_users_for_two_days(world)
    reversal = await reverse(world, "ann", D2)

    lines = await world.statement()

    assert {(line.user_id, line.day) for line in lines if line.reversed_by == reversal} == {("ann", D2)}
    assert [line.kept for line in lines if line.reversed_by == reversal] == [0, 0]
    others = [line for line in lines if line.reversed_by is None]
    assert len(others) == 6
    assert all(line.kept == line.reward > 0 for line in others)


async def test_totals_are_net_of_reversals(world: World) -> None:
    await two_users_for_two_days(world)
    await reverse(world, "ann", D2)
    rewards = {(line.day, line.asset): line.reward for line in await world.statement("ann")}

    assert (await stands(world, "ann", "2026-10-11")).totals == {
        asset: rewards[D3, asset] for asset in ("SOL", "SUI")
    }

    await reverse(world, "ann", D3)
    assert (await stands(world, "ann", "2026-10-11")).totals == {}
    assert (await stands(world, "bob", "2026-10-11")).totals.keys() == {"SOL", "SUI"}


async def test_a_statement_in_parts_has_the_lines_of_the_whole(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    await two_users_for_two_days(world)
    await world.end("ann", at("2026-10-04 01:00"))
    again = at("2026-10-20 10:00")
    await world.enrol("ann", again, enrolment_id="again")
    await world.snapshot("ann", again.date(), enrolment_id="again")
    await world.pay("ann", again.date() + ONE_DAY, enrolment_id="again")

    for first, last in [(None, None), (D3, None), (None, D3), (D3, D3), (D4, None)]:
        async with world.ledger.read() as connection:
            whole = await statement(connection, ["ann"], first=first, last=last)
        for days_per_part in (1, 2, 3, 366):
            monkeypatch.setattr(statements, "_DAYS_PER_PART", days_per_part)
            parts = [part async for part in statement_in_parts(world.ledger, "ann", first=first, last=last)]

            assert [line for part in parts for line in part] == whole
            assert all(part and part[-1].day - part[0].day < days_per_part * ONE_DAY for part in parts)


async def test_an_unknown_user_is_simply_not_enrolled(world: World) -> None:
    before = await world.everything()
    assert await stands(world, "nobody", "2026-10-01") == Standing(
        user_id="nobody",
        enrolled=False,
        receipt=None,
        region=None,
        restricted_since=None,
        ended_at=None,
        end_reason=None,
        end_operator=None,
        end_tell=None,
        last_credited_day=None,
        owed_days=[],
        is_behind=False,
        delayed_since=None,
        hold=None,
        holdings={},
        totals={},
        tagged_asset=None,
    )
    assert await world.everything() == before


@pytest.mark.parametrize(
    ("when", "owed"),
    [
        ("2026-10-01 12:00", []),
        ("2026-10-02 23:59", []),
        ("2026-10-03 00:00", [D2]),
        ("2026-10-04 12:00", [D2, D3]),
    ],
)
async def test_owed_days_are_over_and_not_credited_whether_closed_or_not(
    world: World, when: str, owed: list[date]
) -> None:
    await world.move("ann", "12", "SOL", at("2026-10-01 09:00"))
    await world.enrol("ann", at("2026-10-01 10:00"))
    assert (await stands(world, "ann", when)).owed_days == owed


async def test_owed_days_of_both_enrolments_are_listed(world: World) -> None:
    await world.move("ann", "12", "SOL", at("2026-10-01 09:00"))
    await world.enrol("ann", at("2026-10-01 10:00"))
    await world.end("ann", at("2026-10-03 11:00"))
    await world.enrol("ann", at("2026-10-03 12:00"), enrolment_id="again")
    assert (await stands(world, "ann", "2026-10-06")).owed_days == [D2, D4, day("2026-10-05")]


async def test_a_user_stands_as_the_ledger_says(world: World) -> None:
    await two_users_for_two_days(world)
    now = await stands(world, "ann", "2026-10-04 09:00")

    sol = sum(line.reward for line in await world.statement("ann") if line.asset == "SOL")
    assert (now.enrolled, now.last_credited_day, now.owed_days) == (True, D3, [])
    assert now.receipt is not None
    assert now.receipt.enrolment_id == "enrolment of ann"
    assert now.totals["SOL"] == sol
    assert now.holdings["SOL"] == units("12") + sol
    assert now.tagged_asset == "SOL"


async def test_an_end_is_in_the_standing(world: World) -> None:
    await two_users_for_two_days(world)
    await world.end("ann", at("2026-10-04 12:00"), reason="enough")
    now = await stands(world, "ann", "2026-10-04 13:00")
    assert (now.enrolled, now.ended_at, now.end_reason) == (False, at("2026-10-04 12:00"), "enough")
    assert now.receipt is not None


@pytest.mark.parametrize(
    ("holdings", "tagged"),
    [
        ({}, None),
        ({"SOL": "0.5"}, None),
        ({"SOL": "1", "DOGE": "100000"}, "SOL"),
        ({"SOL": "1", "BNB": "0.5"}, "BNB"),
    ],
)
async def test_the_tag_is_on_the_most_valuable_qualifying_asset(
    world: World, holdings: dict[str, str], tagged: str | None
) -> None:
    for asset, tokens in holdings.items():
        await world.move("ann", tokens, asset, at("2026-10-01"))
    assert (await stands(world, "ann", "2026-10-01 01:00")).tagged_asset == tagged


async def test_holdings_are_those_of_the_instant(world: World) -> None:
    when: datetime = at("2026-10-01 12:00")
    await world.move("ann", "12", "SOL", when)
    await world.move("ann", "-12", "SOL", at("2026-10-01 13:00"))
    assert (await standing_of(world.ledger, "ann", now=when)).holdings == {"SOL": units("12")}
    assert (await stands(world, "ann", "2026-10-01 13:00")).holdings == {}


async def test_without_a_program_a_user_bears_no_tag(tmp_path_factory: pytest.TempPathFactory) -> None:
    async with a_world(tmp_path_factory.mktemp("bare"), program=None) as world:
        await world.move("ann", "12", "SOL", at("2026-10-01"))
        assert (await stands(world, "ann", "2026-10-01")).tagged_asset is None


async def test_totals_pass_64_bits_without_a_fault(world: World, tmp_path: Path) -> None:
    await two_users_for_two_days(world)
    tamper(tmp_path, "UPDATE rewards SET reward = 9000000000000000000 WHERE reward > 0")
    assert (await stands(world, "ann", "2026-10-04")).totals["SOL"] == 2 * 9 * 10**18
