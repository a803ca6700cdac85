"""The audit finds no breach in a rich world, lists what is owed, and writes nothing."""

from datetime import timedelta
from pathlib import Path

import pytest
from tamperings.acting import ANN_SOL_2, DAY_5, DAY_US, reversal_of, reward_of
from world import World, at, breaches_of, day, tamper, units

from ledger.auditing.audit import BREACHES_SHOWN_MAX, OwedDays, audit
from staking.days import ONE_DAY

pytestmark = pytest.mark.on_both_databases

D1, D2, D3, D4, D5 = (day("2026-10-01") + n * ONE_DAY for n in range(5))


async def test_a_rich_world_is_clean(rich: World) -> None:
    found = await rich.audit()
    assert breaches_of(found) == []
    assert found.is_clean
    assert found.credited_days == 6
    assert (found.entries, found.postings) == tuple(
        (await rich.sql("SELECT (SELECT count(*) FROM entries), (SELECT count(*) FROM postings)"))[0]
    )


async def test_an_empty_ledger_is_clean(full: World) -> None:
    found = await full.audit()
    assert found.is_clean
    assert (found.entries, found.postings, found.credited_days) == (0, 0, 0)


async def test_every_promise_is_announced_before_it_is_checked(rich: World) -> None:
    heard: list[tuple[str, int, int]] = []
    found = await audit(rich.ledger, now=at("2026-10-06"), on_progress=lambda *announced: heard.append(announced))
    total = len(found.checks)
    assert heard == [(check.promise, number, total) for number, check in enumerate(found.checks, start=1)]


async def test_a_world_that_was_closed_late_is_as_clean(world: World) -> None:
    await world.move("ann", "12", "SOL", at("2026-10-01 09:00"))
    await world.enrol("ann", at("2026-10-01 10:00"))
    for hours in range(0, 96, 5):
        await world.move("ann", "0.5", "SOL", at("2026-10-01 11:00") + timedelta(hours=hours))
    await world.snapshot("ann", D1)
    for each in (D2, D3, D4):
        await world.pay("ann", each)
    assert units("12") < (await world.balances("ann"))["SOL"]
    assert (await world.audit()).is_clean


async def test_the_audit_writes_nothing(rich: World) -> None:
    before = await rich.everything()
    await rich.audit()
    assert await rich.everything() == before


async def test_no_more_breaches_are_kept_than_are_shown_but_all_are_counted(world: World, tmp_path: Path) -> None:
    await world.import_lines(*(f"user{n},2026-10-01 08:00:00,Spot,Deposit,SOL,12," for n in range(150)))
    tamper(tmp_path, "UPDATE accounts SET balance = balance + 1 WHERE kind = 'spot'")
    (broken,) = (check for check in (await world.audit()).checks if check.breaches)
    assert (len(broken.breaches), broken.breach_count) == (BREACHES_SHOWN_MAX, 150)


async def test_a_breach_names_the_row_and_what_it_says(rich: World, tmp_path: Path) -> None:
    tamper(tmp_path, f"UPDATE rewards SET apr = '0.009' WHERE {ANN_SOL_2}")
    ((breach,),) = (check.breaches for check in (await rich.audit()).checks if check.breaches)
    assert (breach.table, breach.key) == ("rewards", {"user_id": "ann", "day": D2, "asset": "SOL"})
    assert breach.values == {
        "minimum": "1",
        "cap": "10000",
        "apr": "0.009",
        "version": 1,
        "minimum_in_program": "1",
        "cap_in_program": "10000",
        "apr_in_program": "0.008",
    }


async def test_a_reversed_reward_is_counted_and_is_no_breach(rich: World, tmp_path: Path) -> None:
    tamper(tmp_path, *reversal_of(reward_of("bob", DAY_5), DAY_5 * DAY_US + DAY_US))
    found = await rich.audit()
    assert breaches_of(found) == []
    assert found.reversed_rewards == 2


@pytest.mark.parametrize(
    ("now", "owed"),
    [
        ("2026-10-04 23:59", []),
        ("2026-10-06 00:00", [OwedDays("ann", 1, D5, D5)]),
        (
            "2026-10-08 09:00",
            [OwedDays("ann", 3, D5, D5 + 2 * ONE_DAY), OwedDays("bob", 2, D5 + ONE_DAY, D5 + 2 * ONE_DAY)],
        ),
    ],
)
async def test_accrual_days_up_to_yesterday_that_are_not_credited_are_owed(
    rich: World, now: str, owed: list[OwedDays]
) -> None:
    found = await rich.audit(at(now))
    assert found.is_clean
    assert (found.owed, found.owed_users, found.owed_days) == (owed, len(owed), sum(each.days for each in owed))


async def test_an_ended_enrolment_is_owed_up_to_its_last_accrual_day(world: World) -> None:
    await world.move("ann", "12", "SOL", at("2026-10-01 09:00"))
    await world.enrol("ann", at("2026-10-01 10:00"))
    await world.end("ann", at("2026-10-04 12:00"))
    assert (await world.audit(at("2026-10-20"))).owed == [OwedDays("ann", 2, D2, D3)]


async def test_owed_users_are_counted_beyond_those_listed(world: World) -> None:
    people = [f"user{n:03}" for n in range(102)]
    await world.import_lines(*(f"{user},2026-10-01 08:00:00,Spot,Deposit,SOL,12," for user in people))
    for user in people:
        await world.enrol(user, at("2026-10-01 10:00"))
    found = await world.audit(at("2026-10-04 10:00"))
    assert [owed.user_id for owed in found.owed] == people[:100]
    assert (found.owed_users, found.owed_days) == (102, 204)
