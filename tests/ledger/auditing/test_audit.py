"""The audit: clean on a rich world; of what is broken behind the code's back, exactly what follows is reported."""

import re
from collections.abc import AsyncGenerator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import cast

import databases
import pytest
from world import SHIPPED_PROGRAM, World, a_world, a_world_after, at, day, program_with, tamper, units

from benchmarks.generated_ledger import FIRST_DAY, Size, generate
from ledger.auditing.audit import BREACHES_SHOWN_MAX, Audit, OwedDays, audit
from ledger.auditing.checks import CHECKS, Check
from ledger.pools import fund_pool
from staking.days import ONE_DAY, start_of
from staking.money import MAX_ACCOUNT_UNITS
from staking.program import AssetTerms
from staking.rewards import FORMULAS, Formula

pytestmark = pytest.mark.on_both_databases

D1, D2, D3, D4, D5 = (day("2026-10-01") + n * ONE_DAY for n in range(5))


async def a_rich_world(world: World) -> None:
    """Two users, three assets in the program and one outside, two program versions, imports into closed days, an
    end, a second enrolment, an empty day and one that is closed and owed."""
    await world.apply(program_with("2026-10-04", DOGE={}, SUI={"paused": True}))
    await world.fund("DOGE")
    for user in ("ann", "bob"):
        await world.import_lines(
            f"{user},2026-10-01 08:00:00,Spot,Deposit,SOL,12,",
            f"{user},2026-10-01 09:00:00,Spot,Deposit,SUI,200,",
            f"{user},2026-10-01 09:00:00,Spot,Deposit,DOGE,1000,",
            f"{user},2026-10-01 09:00:00,Spot,Deposit,SHIB,1000,",
        )
        await world.enrol(user, at("2026-10-01 10:00"))
        await world.move(user, "-3", "SOL", at("2026-10-02 06:00"))
        await world.close(user, D1)
        await world.close_and_credit(user, D2)
        await world.move(user, "1.5", "SOL", at("2026-10-02 18:00"))
        await world.import_lines(f"{user},2026-10-03 12:00:00,Spot,Deposit,BNB,0.1,")
        await world.close_and_credit(user, D3)
    await world.end("ann", at("2026-10-04 12:00"))
    await world.enrol("ann", at("2026-10-04 13:00"), enrolment_id="again")
    await world.close("ann", D4, enrolment_id="again")
    await world.close("ann", D5, enrolment_id="again")
    await world.close_and_credit("bob", D4)
    await world.close_and_credit("bob", D5)


@pytest.fixture
async def rich(tmp_path: Path) -> AsyncGenerator[World]:
    async with a_world_after(tmp_path, a_rich_world) as world:
        yield world


@pytest.fixture
async def full(tmp_path_factory: pytest.TempPathFactory) -> AsyncGenerator[World]:
    async with a_world(tmp_path_factory.mktemp("full"), program=None) as world:
        await world.apply(program_with())
        yield world


def sentences(found: Audit) -> list[str]:
    return sorted(f"{check.invariant}: {breach.what}" for check in found.checks for breach in check.breaches)


async def test_a_rich_world_is_clean(rich: World) -> None:
    found = await rich.audit()
    assert sentences(found) == []
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


async def test_sums_beyond_64_bits_are_audited(full: World) -> None:
    for number in range(4):
        await full.move(f"user{number}", "90000000000", "SOL", at("2026-10-01"))
        await full.move(f"user{number}", "-90000000000", "SOL", at("2026-10-02"))
        await full.move(f"user{number}", "90000000000", "SOL", at("2026-10-03"))
    await full.import_lines(
        *["ann,2026-10-01 00:00:00,Spot,Deposit,SOL,90000000000,"] * 3,
        *["ann,2026-10-01 00:00:00,Spot,Withdraw,SOL,-90000000000,"] * 2,
    )
    await fund_pool(full.ledger, "SOL", MAX_ACCOUNT_UNITS, operator="tests", now=at("2026-10-01"))
    assert sentences(await full.audit()) == []


@pytest.fixture
def formula_2(monkeypatch: pytest.MonkeyPatch) -> None:
    """Another divisor, which never applied to a day of the worlds here."""

    def by_360(average: int, terms: AssetTerms) -> int:
        numerator, denominator = terms.apr_ratio
        return min(average, terms.cap_units) * numerator // (denominator * 360)

    monkeypatch.setitem(cast(dict[int, Formula], FORMULAS), 2, by_360)


@pytest.mark.usefixtures("formula_2")
async def test_rewards_of_the_first_formula_are_proved_by_it_after_there_is_another(rich: World) -> None:
    assert sentences(await rich.audit()) == []


@pytest.mark.usefixtures("formula_2")
async def test_each_reward_is_proved_by_the_formula_that_it_names(rich: World, tmp_path: Path) -> None:
    tamper(tmp_path, f"UPDATE rewards SET formula = 2 WHERE {ANN_SOL_2}")
    assert sentences(await rich.audit()) == [
        "rules 3, 4 and 12: user ann's SOL reward for 2026-10-02 is 0.00021369 (earned); an average of 9.75000000 "
        "comes to 0.00021666 (earned) by formula 2"
    ]


@pytest.mark.usefixtures("formula_2")
async def test_a_reward_that_agrees_with_its_formula_is_no_breach(world: World) -> None:
    await world.move("ann", "9.75", "SOL", at("2026-10-01 09:00"))
    await world.enrol("ann", at("2026-10-01 10:00"))
    await world.close("ann", D1)
    computed = await world.rewards(await world.close("ann", D2))
    lines = [line.model_copy(update={"formula": 2, "reward": units("0.00021666")}) for line in computed.lines]
    await world.credit("ann", computed.model_copy(update={"lines": lines}))
    assert [line.formula for line in await world.statement("ann")] == [2]
    assert sentences(await world.audit()) == []


async def test_no_more_breaches_are_kept_than_are_shown_but_all_are_counted(world: World, tmp_path: Path) -> None:
    await world.import_lines(*(f"user{n},2026-10-01 08:00:00,Spot,Deposit,SOL,12," for n in range(150)))
    tamper(tmp_path, "UPDATE accounts SET balance = balance + 1 WHERE kind = 'spot'")
    (broken,) = (check for check in (await world.audit()).checks if check.breaches)
    assert (len(broken.breaches), broken.breach_count) == (BREACHES_SHOWN_MAX, 150)


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


async def test_a_generated_ledger_is_clean_and_only_days_with_movements_leave_sql(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    async with a_world(
        tmp_path_factory.mktemp("generated"), clock=lambda: start_of(FIRST_DAY), program=None
    ) as world:
        size = Size(users=60, days=12)
        await generate(world.ledger, size, SHIPPED_PROGRAM)
        found = await world.audit(size.now)
        ((within_days,),) = await world.sql(
            """SELECT count(*) FROM accounts a JOIN postings p ON p.account_id = a.account_id
               JOIN snapshots s ON s.user_id = a.user_id AND s.asset = a.asset
                               AND s.day = p.effective_at / 86400000000
               WHERE EXISTS (SELECT 1 FROM postings q WHERE q.account_id = p.account_id
                             AND q.effective_at / 86400000000 = s.day AND q.effective_at % 86400000000 <> 0)"""
        )

    assert sentences(found) == []
    assert found.postings > 4000
    assert (found.owed_users, found.owed_days) == (2, 4)
    recomputed = {check.promise: check.recomputed for check in found.checks if check.recomputed}
    assert recomputed == {"every snapshot is what its opening and that day's postings come to": within_days}
    assert within_days < found.postings / 5


async def test_rewards_whose_products_pass_64_bits_are_computed_outside_sql(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    folder = tmp_path_factory.mktemp("large")
    terms = {"SOL": {"cap": "90000000000", "apr": "0.123456789012345678"}, "ADA": {"apr": "0.000000000000000003"}}
    async with a_world(folder, program=program_with(**terms)) as world:
        await world.move("ann", "80000000000", "SOL", at("2026-10-01 09:00"))
        await world.move("ann", "700000", "ADA", at("2026-10-01 09:00"))
        await world.fund("SOL", "80000000000")
        await world.enrol("ann", at("2026-10-01 10:00"))
        await world.close("ann", D1)
        await world.close_and_credit("ann", D2)
        clean = await world.audit()
        tamper(folder, "UPDATE rewards SET outcome = 'capped'")
        broken = await world.audit()

    assert sentences(clean) == []
    assert [check.recomputed for check in clean.checks if "average and terms" in check.promise] == [2]
    assert sentences(broken) == [
        "rules 3, 4 and 12: user ann's ADA reward for 2026-10-02 is 0.00000000 (capped); an average of "
        "700000.00000000 comes to 0.00000000 (rounded_to_zero) by formula 1",
        "rules 3, 4 and 12: user ann's SOL reward for 2026-10-02 is 27059022.24928124 (capped); an average of "
        "80000000000.00000000 comes to 27059022.24928124 (earned) by formula 1",
    ]


DAY_US = 86_400_000_000
DAY_2, DAY_3, DAY_4, DAY_5 = 20728, 20729, 20730, 20731
NEW, NEW_BUT_ONE = "(SELECT max(entry_id) FROM entries)", "(SELECT max(entry_id) - 1 FROM entries)"
FIRST = "(SELECT min(entry_id) FROM entries WHERE user_id = 'ann')"


def account(owner: str, asset: str) -> str:
    return (
        f"(SELECT min(account_id) FROM accounts WHERE coalesce(user_id, kind) = '{owner}' AND asset = '{asset}')"
    )


def reward_of(user: str, closed: int) -> str:
    """The entry that paid a day's rewards."""
    paid = f"kind = 'reward' AND user_id = '{user}' AND effective_at = {(closed + 1) * DAY_US}"
    return f"(SELECT min(entry_id) FROM entries WHERE {paid})"


NAMED = {
    "first": FIRST,
    "first_key": f"(SELECT idempotency_key FROM entries WHERE entry_id = {FIRST})",
    "shib_deposit": f"(SELECT min(entry_id) FROM postings WHERE account_id = {account('ann', 'SHIB')})",
    "ann_reward_2": reward_of("ann", DAY_2),
    "bob_reward_2": reward_of("bob", DAY_2),
    "ann_reward_3": reward_of("ann", DAY_3),
    "bob_reward_3": reward_of("bob", DAY_3),
    "bob_reward_5": reward_of("bob", DAY_5),
    "doge_funding": f"(SELECT min(entry_id) FROM postings WHERE account_id = {account('pool', 'DOGE')})",
    "act_of_version_2": "act_number FROM acts WHERE act_id = 'program_apply/2'",
    "ann_sol": account("ann", "SOL"),
    "bob_sol": account("bob", "SOL"),
    "bob_doge": account("bob", "DOGE"),
    "pool_sol": account("pool", "SOL"),
    "pool_doge": account("pool", "DOGE"),
    "outside_sol": account("outside", "SOL"),
}
"""The numbers that a database gave, by the names under which the breaches below speak of them."""
NAMED_AFTERWARDS = {"new": NEW, "new_but_one": NEW_BUT_ONE}


def entry(
    effective_at: int, amounts: Mapping[tuple[str, str], int], *, kind: str = "deposit", user: str = "ann"
) -> list[str]:
    """An entry behind the code's back, with the balances it makes. Amounts in units, by owner and asset."""
    statements = [
        "INSERT INTO entries (kind, user_id, effective_at, recorded_at) "
        f"VALUES ('{kind}', '{user}', {effective_at}, 0)"
    ]
    for (owner, asset), amount in amounts.items():
        posted = account(owner, asset)
        statements += [
            f"INSERT INTO postings VALUES ({NEW}, {posted}, {effective_at}, {amount})",
            f"UPDATE accounts SET balance = balance + {amount} WHERE account_id = {posted}",
        ]
    return statements


def reversal_of(entry_id: str, effective_at: int, *, change: str = "-amount") -> list[str]:
    """What takes an entry back."""
    return [
        "INSERT INTO entries (kind, user_id, effective_at, recorded_at, operator, reason, reverses) "
        f"SELECT 'reversal', user_id, {effective_at}, 0, 'olga', 'paid in error', entry_id FROM entries "
        f"WHERE entry_id = {entry_id}",
        f"INSERT INTO postings SELECT {NEW}, account_id, {effective_at}, {change} FROM postings "
        f"WHERE entry_id = {entry_id}",
        f"UPDATE accounts SET balance = balance + (SELECT amount FROM postings p WHERE p.entry_id = {NEW} "
        f"AND p.account_id = accounts.account_id) WHERE account_id IN "
        f"(SELECT account_id FROM postings WHERE entry_id = {NEW})",
        "INSERT INTO acts (act_id, user_id, kind, operator, reason, recorded_at) "
        "SELECT 'reverse/' || entry_id, user_id, 'reverse', operator, reason, recorded_at FROM entries "
        f"WHERE entry_id = {NEW}",
    ]


def twice(table: str, where: str) -> list[str]:
    """A row twice, in a table that has lost its keys."""
    cascade = " CASCADE" if databases.kind == databases.POSTGRESQL else ""
    return [
        f"CREATE TABLE copy AS SELECT * FROM {table}",
        f"DROP TABLE {table}{cascade}",
        f"ALTER TABLE copy RENAME TO {table}",
        f"INSERT INTO {table} SELECT * FROM {table} WHERE {where}",
    ]


FIRST_OF_ANN = f"entry_id = {FIRST} AND account_id = {account('ann', 'SOL')}"
NOT_CREDITED = "credited_at = NULL, late = NULL, entry_id = NULL"
ANN_SOL_2 = f"user_id = 'ann' AND asset = 'SOL' AND day = {DAY_2}"
BOB_SOL_5 = f"user_id = 'bob' AND asset = 'SOL' AND day = {DAY_5}"


@dataclass(frozen=True)
class Tampering:
    """What is done behind the code's back, and every breach that follows."""

    statements: list[str]
    breaches: list[str]
    doubles: tuple[str, str] | None = None
    """A table that loses its keys, and the row in it that is written twice."""


def act(number: int, user: str, kind: str, *, act_id: str | None = None) -> str:
    return (
        "INSERT INTO acts (act_number, act_id, user_id, kind, operator, reason, recorded_at) "
        f"VALUES ({number}, '{act_id or number}', '{user}', '{kind}', 'zoe', 'a check', 0)"
    )


TAMPERINGS = {
    "a posting's amount": Tampering(
        [f"UPDATE postings SET amount = amount + 1 WHERE {FIRST_OF_ANN}"],
        [
            (
                "I1: account {ann_sol} (spot SOL of user ann) holds 10.50044383, but its postings sum to "
                "10.50044384"
            ),
            "I1: entry {first} has 0.00000001 too much SOL",
            (
                "I4: user ann's SOL on 2026-10-01 closed at 12.00000000 with an average of 8.00000000; "
                "from 0.00000000 its postings come to 12.00000001 and 8.00000000"
            ),
        ],
    ),
    "an entry without postings": Tampering(
        ["INSERT INTO entries (kind, effective_at, recorded_at) VALUES ('movement', 0, 0)"],
        [
            "I1: entry {new}, a movement of user none, has no postings",
        ],
    ),
    "a posting's instant": Tampering(
        [f"UPDATE postings SET effective_at = effective_at + 1 WHERE {FIRST_OF_ANN}"],
        [
            (
                "I1: entry {first} is of user ann at 2026-10-01 08:00:00+00:00, but its posting to "
                "account {ann_sol} of user ann at 2026-10-01 08:00:00.000001+00:00"
            ),
            (
                "I4: user ann's SOL on 2026-10-01 closed at 12.00000000 with an average of 8.00000000; "
                "from 0.00000000 its postings come to 12.00000000 and 7.99999999"
            ),
        ],
    ),
    "an entry's user": Tampering(
        [f"UPDATE entries SET user_id = 'bob' WHERE entry_id = {FIRST}"],
        [
            (
                "I1: entry {first} is of user bob at 2026-10-01 08:00:00+00:00, but its posting to "
                "account {ann_sol} of user ann at 2026-10-01 08:00:00+00:00"
            ),
        ],
    ),
    "a lost entry": Tampering(
        [f"DELETE FROM entries WHERE entry_id = {FIRST}"],
        [
            (
                "I1: entry {first} is of user none at none, but its posting to account {ann_sol} of user "
                "ann at 2026-10-01 08:00:00+00:00"
            ),
            (
                "I1: entry {first} is of user none at none, but its posting to account {outside_sol} of "
                "user none at 2026-10-01 08:00:00+00:00"
            ),
        ],
    ),
    "a balance": Tampering(
        [f"UPDATE accounts SET balance = balance + 1 WHERE account_id = {account('ann', 'SOL')}"],
        [
            (
                "I1: account {ann_sol} (spot SOL of user ann) holds 10.50044384, but its postings sum to "
                "10.50044383"
            ),
        ],
    ),
    "a pool's balance": Tampering(
        [f"UPDATE accounts SET balance = balance + 1 WHERE account_id = {account('pool', 'SOL')}"],
        [
            (
                "I1: account {pool_sol} (pool SOL of user none) holds 999999.99865206, but its postings "
                "sum to 999999.99865205"
            ),
        ],
    ),
    "an instant below zero": Tampering(
        [
            *entry(
                DAY_2 * DAY_US - 17 * 3_600_000_000,
                {("ann", "SOL"): -100_000_000, ("outside", "SOL"): 100_000_000},
            ),
            *entry(
                DAY_2 * DAY_US - 16 * 3_600_000_000 + 1,
                {("ann", "SOL"): 100_000_000, ("outside", "SOL"): -100_000_000},
            ),
        ],
        [
            "I2: user ann holds -1.00000000 SOL at 2026-10-01 07:00:00+00:00",
            (
                "I4: user ann's SOL on 2026-10-01 closed at 12.00000000 with an average of 8.00000000; "
                "from 0.00000000 its postings come to 12.00000000 and 7.95833333"
            ),
        ],
    ),
    "a pool below zero for a while": Tampering(
        [
            *entry(0, {("pool", "SOL"): -1_000_001 * 10**8, ("outside", "SOL"): 1_000_001 * 10**8}),
            *entry(0, {("pool", "SOL"): 1_000_001 * 10**8, ("outside", "SOL"): -1_000_001 * 10**8}),
        ],
        [
            "I2: the SOL pool holds -1.00134795 after entry {new_but_one}",
        ],
    ),
    "an entry twice": Tampering(
        [],
        [
            "I3: there are 2 entries under the key {first_key}",
        ],
        doubles=("entries", f"entry_id = {FIRST}"),
    ),
    "an account twice": Tampering(
        [],
        [
            "I1: entry {shib_deposit} has 1000.00000000 too much SHIB",
            "I3: there are 2 spot accounts in SHIB of user ann",
        ],
        doubles=("accounts", "user_id = 'ann' AND asset = 'SHIB'"),
    ),
    "a reward twice": Tampering(
        [],
        [
            "I3: user ann has 2 rewards for 2026-10-02 in SOL",
            "I6: for 2026-10-02 the SOL pool paid 0.00042738 and rewards come to 0.00064107",
        ],
        doubles=("rewards", ANN_SOL_2),
    ),
    "a snapshot twice": Tampering(
        [],
        [
            "I3: user bob has 2 snapshots of SOL on 2026-10-05",
        ],
        doubles=("snapshots", BOB_SOL_5),
    ),
    "a day twice": Tampering(
        [],
        [
            "I3: user bob has 2 records of 2026-10-05",
        ],
        doubles=("days", f"user_id = 'bob' AND day = {DAY_5}"),
    ),
    "an open enrolment twice": Tampering(
        [],
        [
            "I3: user bob has 2 open enrolments",
        ],
        doubles=("enrolments", "user_id = 'bob'"),
    ),
    "enrolments that overlap": Tampering(
        ["UPDATE enrolments SET ended_at = ended_at + 7200000000 WHERE enrolment_id = 'enrolment of ann'"],
        [
            (
                "I3: user ann's enrolment again (2026-10-04 13:00:00+00:00 to none) overlaps enrolment of"
                " ann (2026-10-01 10:00:00+00:00 to 2026-10-04 14:00:00+00:00)"
            ),
        ],
    ),
    "a watermark lowered": Tampering(
        [f"UPDATE users SET closed_through = {DAY_2 * DAY_US} WHERE user_id = 'ann'"],
        [
            ("I4: user ann is closed through 2026-10-02 00:00:00+00:00, but the last closed day is 2026-10-05"),
        ],
    ),
    "a watermark raised": Tampering(
        ["UPDATE users SET closed_through = closed_through + 1 WHERE user_id = 'ann'"],
        [
            (
                "I4: user ann is closed through 2026-10-06 00:00:00.000001+00:00, but the last closed day"
                " is 2026-10-05"
            ),
        ],
    ),
    "a day closed before its end": Tampering(
        [f"UPDATE days SET closed_at = {DAY_5 * DAY_US} WHERE user_id = 'bob' AND day = {DAY_5}"],
        [
            "I4: 2026-10-05 of user bob was closed at 2026-10-05 00:00:00+00:00",
        ],
    ),
    "a movement in a closed day": Tampering(
        entry(DAY_2 * DAY_US + 1, {("ann", "SOL"): 5, ("outside", "SOL"): -5}),
        [
            (
                "I4: user ann's SOL on 2026-10-02 closed at 9.00000000 with an average of 9.75000000; "
                "from 12.00000000 its postings come to 9.00000005 and 9.75000004"
            ),
        ],
    ),
    "an average": Tampering(
        [f"UPDATE snapshots SET average = average + 1 WHERE {ANN_SOL_2}"],
        [
            (
                "I4: user ann's SOL on 2026-10-02 closed at 9.00000000 with an average of 9.75000001; "
                "from 12.00000000 its postings come to 9.00000000 and 9.75000000"
            ),
        ],
    ),
    "the average of a day without movements": Tampering(
        [f"UPDATE snapshots SET average = average + 1 WHERE {BOB_SOL_5}"],
        [
            (
                "I4: user bob's SOL on 2026-10-05 closed at 10.50067397 with an average of 10.50067398; "
                "from 10.50044383 its postings come to 10.50067397 and 10.50067397"
            ),
        ],
    ),
    "a closing": Tampering(
        [f"UPDATE snapshots SET closing = closing + 1 WHERE {ANN_SOL_2}"],
        [
            (
                "I4: user ann's SOL on 2026-10-02 closed at 9.00000001 with an average of 9.75000000; "
                "from 12.00000000 its postings come to 9.00000000 and 9.75000000"
            ),
            "I5: user ann opens 2026-10-03 with 9.00000000 SOL; before it were 9.00000001",
        ],
    ),
    "an opening": Tampering(
        [f"UPDATE snapshots SET opening = opening + 1 WHERE {BOB_SOL_5}"],
        [
            (
                "I4: user bob's SOL on 2026-10-05 closed at 10.50067397 with an average of 10.50067397; "
                "from 10.50044384 its postings come to 10.50067398 and 10.50067398"
            ),
            "I5: user bob opens 2026-10-05 with 10.50044384 SOL; before it were 10.50044383",
        ],
    ),
    "another asset in a closed day": Tampering(
        [
            "INSERT INTO accounts (kind, user_id, asset, shard, balance) VALUES ('spot', 'ann', 'ADA', 0, 0)",
            *entry(DAY_2 * DAY_US + 1, {("ann", "ADA"): 5, ("outside", "ADA"): -5}),
        ],
        [
            "I4: user ann's ADA moved on 2026-10-02, which was closed without it",
            ("I5: user ann holds 0.00000005 ADA when 2026-10-04 opens, but the day has no snapshot of it"),
        ],
    ),
    "a snapshot of an asset outside the program": Tampering(
        [f"INSERT INTO snapshots VALUES ('bob', {DAY_5}, 'SHIB', 100000000000, 100000000000, 100000000000)"],
        [
            (
                "I4: user bob has a snapshot of SHIB on 2026-10-05, which is no asset of that day's "
                "program (version 2)"
            ),
            "complete: user bob has no reward row for 2026-10-05 in SHIB",
        ],
    ),
    "a snapshot of a day that is not closed": Tampering(
        [
            "INSERT INTO snapshots SELECT user_id, day + 1, asset, closing, closing + 23015, closing + 23015 "
            f"FROM snapshots WHERE {BOB_SOL_5}"
        ],
        [
            (
                "I4: user bob has a snapshot of SOL on 2026-10-06, which is no asset of that day's "
                "program (version none)"
            ),
        ],
    ),
    "a lost snapshot": Tampering(
        [f"DELETE FROM snapshots WHERE {BOB_SOL_5}"],
        [
            "I4: user bob's SOL moved on 2026-10-05, which was closed without it",
            "I5: user bob closed 2026-10-04 with 10.50044383 SOL, but the next day opens without",
            "I6: user bob has a reward of 0.00023015 SOL for 2026-10-05, but no snapshot",
        ],
    ),
    "a lost first snapshot": Tampering(
        ["DELETE FROM snapshots WHERE asset = 'DOGE' AND user_id = 'bob'"],
        [
            "I4: user bob's DOGE moved on 2026-10-05, which was closed without it",
            ("I5: user bob holds 1000.00000000 DOGE when 2026-10-04 opens, but the day has no snapshot of it"),
            "I6: user bob has a reward of 0.02739726 DOGE for 2026-10-04, but no snapshot",
            "I6: user bob has a reward of 0.02739726 DOGE for 2026-10-05, but no snapshot",
        ],
    ),
    "a reward": Tampering(
        [f"UPDATE rewards SET reward = reward + 1 WHERE {ANN_SOL_2}"],
        [
            "I6: for 2026-10-02 the SOL pool paid 0.00042738 and rewards come to 0.00042739",
            "I6: user ann was to get 0.00021370 SOL for 2026-10-02 and got 0.00021369",
            (
                "rules 3, 4 and 12: user ann's SOL reward for 2026-10-02 is 0.00021370 (earned); an "
                "average of 9.75000000 comes to 0.00021369 (earned) by formula 1"
            ),
        ],
    ),
    "something paid beside a day's rewards": Tampering(
        [
            f"INSERT INTO postings SELECT {reward_of('ann', DAY_2)}, account_id, {DAY_3 * DAY_US}, "
            "CASE kind WHEN 'spot' THEN 7 ELSE -7 END FROM accounts "
            "WHERE asset = 'SHIB' AND (user_id = 'ann' OR kind = 'outside')",
            f"UPDATE accounts SET balance = balance + 7 WHERE account_id = {account('ann', 'SHIB')}",
        ],
        [
            "I6: user ann got 0.00000007 SHIB for 2026-10-02 (entry {ann_reward_2}) without a reward",
        ],
    ),
    "an entry of rewards that no day names": Tampering(
        entry(DAY_5 * DAY_US + DAY_US, {("bob", "SOL"): 1, ("pool", "SOL"): -1}, kind="reward", user="bob"),
        [
            (
                "I6: entry {new} pays rewards to user bob at 2026-10-06 00:00:00+00:00; credited with it:"
                " day none of user none"
            ),
            "I6: for 2026-10-05 the SOL pool paid 0.00023016 and rewards come to 0.00023015",
        ],
    ),
    "a day that names another user's entry": Tampering(
        [
            f"UPDATE days SET entry_id = NULL WHERE user_id = 'ann' AND day = {DAY_2}",
            f"UPDATE days SET entry_id = {reward_of('ann', DAY_2)} WHERE user_id = 'bob' AND day = {DAY_2}",
            f"UPDATE days SET entry_id = {reward_of('bob', DAY_2)} WHERE user_id = 'ann' AND day = {DAY_2}",
        ],
        [
            "I6: 2026-10-02 of user ann names entry {bob_reward_2}, a reward of user bob",
            "I6: 2026-10-02 of user bob names entry {ann_reward_2}, a reward of user ann",
            (
                "I6: entry {ann_reward_2} pays rewards to user ann at 2026-10-03 00:00:00+00:00; credited"
                " with it: day 2026-10-02 of user bob"
            ),
            (
                "I6: entry {bob_reward_2} pays rewards to user bob at 2026-10-03 00:00:00+00:00; credited"
                " with it: day 2026-10-02 of user ann"
            ),
            "I6: user ann was to get 0.00021369 SOL for 2026-10-02 and got 0.00000000",
            "I6: user ann was to get 0.00547945 SUI for 2026-10-02 and got 0.00000000",
            "I6: user bob was to get 0.00021369 SOL for 2026-10-02 and got 0.00000000",
            "I6: user bob was to get 0.00547945 SUI for 2026-10-02 and got 0.00000000",
        ],
    ),
    "a reward that another paid for": Tampering(
        [
            f"UPDATE postings SET account_id = {account('outside', 'SOL')} "
            f"WHERE entry_id = {reward_of('bob', DAY_5)} AND account_id = {account('pool', 'SOL')}",
            f"UPDATE accounts SET balance = balance + 23015 WHERE account_id = {account('pool', 'SOL')}",
        ],
        [
            "I6: for 2026-10-05 the SOL pool paid 0.00000000 and rewards come to 0.00023015",
        ],
    ),
    "rewards of a day that is not credited": Tampering(
        [
            "INSERT INTO rewards SELECT user_id, day, asset, '100', '50000', '0.01', 0, 'paused', 1 "
            f"FROM snapshots WHERE user_id = 'ann' AND day = {DAY_5} AND asset = 'SUI'"
        ],
        [
            "I6: user ann has a reward of 0.00000000 SUI for 2026-10-05, which is not credited",
        ],
    ),
    "another program version on a day": Tampering(
        [f"UPDATE days SET program_version = 2 WHERE user_id = 'ann' AND day = {DAY_3}"],
        [
            ("I5: user ann holds 1000.00000000 DOGE when 2026-10-03 opens, but the day has no snapshot of it"),
            "I7: 2026-10-03 of user ann was closed under version 2; in force was 1",
            (
                "rules 3, 4 and 12: user ann's SUI reward for 2026-10-03 is 0.00547960 (earned); an "
                "average of 200.00547945 comes to 0.00000000 (paused) by formula 1"
            ),
        ],
    ),
    "a program version applied too late": Tampering(
        ["UPDATE program_versions SET applied_at = effective_from * 86400000000 WHERE version = 2"],
        [
            "I7: version 2 starts on 2026-10-04 but was applied at 2026-10-04 00:00:00+00:00",
        ],
    ),
    "a program's content": Tampering(
        ["UPDATE program_versions SET content = replace(content, '2026-10-04', '2026-10-05') WHERE version = 2"],
        [
            (
                "I7: version 2, in force from 2026-10-04, cannot be relied on: its content is effective "
                "from 2026-10-05"
            ),
        ],
    ),
    "a program's terms": Tampering(
        ["UPDATE program_versions SET content = replace(content, '\"0.008\"', '\"0.009\"') WHERE version = 2"],
        [
            (
                "I7: user bob's SOL reward for 2026-10-04 has minimum 1, cap 10000 and APR 0.008; version"
                " 2 says 1, 10000 and 0.009"
            ),
            (
                "I7: user bob's SOL reward for 2026-10-05 has minimum 1, cap 10000 and APR 0.008; version"
                " 2 says 1, 10000 and 0.009"
            ),
            (
                "rules 3, 4 and 12: user bob's SOL reward for 2026-10-04 is 0.00023014 (earned); an "
                "average of 10.50044383 comes to 0.00025891 (earned) by formula 1"
            ),
            (
                "rules 3, 4 and 12: user bob's SOL reward for 2026-10-05 is 0.00023015 (earned); an "
                "average of 10.50067397 comes to 0.00025892 (earned) by formula 1"
            ),
        ],
    ),
    "a reward's terms": Tampering(
        [f"UPDATE rewards SET apr = '0.009' WHERE {ANN_SOL_2}"],
        [
            (
                "I7: user ann's SOL reward for 2026-10-02 has minimum 1, cap 10000 and APR 0.009; version"
                " 1 says 1, 10000 and 0.008"
            ),
        ],
    ),
    "a formula that there is not": Tampering(
        [f"UPDATE rewards SET formula = 7 WHERE {ANN_SOL_2}"],
        [
            (
                "rules 3, 4 and 12: user ann's SOL reward for 2026-10-02, 0.00021369, names formula 7, which this "
                "program does not know"
            ),
        ],
    ),
    "an outcome": Tampering(
        [f"UPDATE rewards SET outcome = 'capped' WHERE {ANN_SOL_2}"],
        [
            (
                "rules 3, 4 and 12: user ann's SOL reward for 2026-10-02 is 0.00021369 (capped); an "
                "average of 9.75000000 comes to 0.00021369 (earned) by formula 1"
            ),
        ],
    ),
    "a credit that hides that it was late": Tampering(
        [f"UPDATE days SET credited_at = credited_at + 86400000000 WHERE user_id = 'bob' AND day = {DAY_5}"],
        [
            ("rule 11: the credit of 2026-10-05 to user bob at 2026-10-07 00:01:00+00:00 says late: False"),
        ],
    ),
    "a first accrual day": Tampering(
        ["UPDATE enrolments SET first_accrual_day = first_accrual_day + 1 WHERE enrolment_id = 'again'"],
        [
            ("complete: 2026-10-05 of user ann says that it accrues: True; the first accrual day is 2026-10-06"),
            (
                "complete: user ann's enrolment again (2026-10-04 13:00:00+00:00 to none) accrues from "
                "2026-10-06 to none"
            ),
        ],
    ),
    "a last accrual day moved on": Tampering(
        ["UPDATE enrolments SET last_accrual_day = last_accrual_day + 1 WHERE enrolment_id = 'enrolment of ann'"],
        [
            (
                "complete: user ann's enrolment enrolment of ann (2026-10-01 10:00:00+00:00 to 2026-10-04"
                " 12:00:00+00:00) accrues from 2026-10-02 to 2026-10-04"
            ),
            (
                "complete: user ann's enrolment enrolment of ann is not credited its last day, "
                "2026-10-04, but a later day is closed"
            ),
        ],
    ),
    "a last accrual day moved back": Tampering(
        ["UPDATE enrolments SET last_accrual_day = last_accrual_day - 1 WHERE enrolment_id = 'enrolment of ann'"],
        [
            "complete: 2026-10-03 of user ann was credited after the last accrual day, 2026-10-02",
        ],
    ),
    "a day closed for another enrolment": Tampering(
        [f"UPDATE days SET enrolment_id = 'enrolment of ann' WHERE user_id = 'bob' AND day = {DAY_5}"],
        [
            (
                "complete: 2026-10-05 of user bob was closed for enrolment enrolment of ann, which is of "
                "user ann from 2026-10-01 10:00:00+00:00"
            ),
            "complete: 2026-10-05 of user bob was credited after the last accrual day, 2026-10-03",
            (
                "complete: user bob has no record of 2026-10-04 for enrolment enrolment of ann, but one "
                "of the next day"
            ),
        ],
    ),
    "a day that should accrue": Tampering(
        [
            f"UPDATE days SET accrues = FALSE WHERE user_id = 'ann' AND day = {DAY_5}",
        ],
        [
            ("complete: 2026-10-05 of user ann says that it accrues: False; the first accrual day is 2026-10-05"),
        ],
    ),
    "a lost day": Tampering(
        [f"DELETE FROM days WHERE user_id = 'bob' AND day = {DAY_3}"],
        [
            (
                "I4: user bob has a snapshot of BNB on 2026-10-03, which is no asset of that day's "
                "program (version none)"
            ),
            (
                "I4: user bob has a snapshot of SOL on 2026-10-03, which is no asset of that day's "
                "program (version none)"
            ),
            (
                "I4: user bob has a snapshot of SUI on 2026-10-03, which is no asset of that day's "
                "program (version none)"
            ),
            (
                "I6: entry {bob_reward_3} pays rewards to user bob at 2026-10-04 00:00:00+00:00; credited"
                " with it: day none of user none"
            ),
            "I6: user bob has a reward of 0.00000000 BNB for 2026-10-03, which is not credited",
            "I6: user bob has a reward of 0.00023014 SOL for 2026-10-03, which is not credited",
            "I6: user bob has a reward of 0.00547960 SUI for 2026-10-03, which is not credited",
            "I6: user bob was to get 0.00023014 SOL for 2026-10-03 and got 0.00000000",
            "I6: user bob was to get 0.00547960 SUI for 2026-10-03 and got 0.00000000",
            (
                "complete: user bob has no record of 2026-10-03 for enrolment enrolment of bob, but one "
                "of the next day"
            ),
        ],
    ),
    "a day's lost credit": Tampering(
        [f"UPDATE days SET {NOT_CREDITED} WHERE user_id = 'ann' AND day = {DAY_2}"],
        [
            (
                "I6: entry {ann_reward_2} pays rewards to user ann at 2026-10-03 00:00:00+00:00; credited"
                " with it: day none of user none"
            ),
            "I6: user ann has a reward of 0.00021369 SOL for 2026-10-02, which is not credited",
            "I6: user ann has a reward of 0.00547945 SUI for 2026-10-02, which is not credited",
            "I6: user ann was to get 0.00021369 SOL for 2026-10-02 and got 0.00000000",
            "I6: user ann was to get 0.00547945 SUI for 2026-10-02 and got 0.00000000",
            "complete: user ann is still owed 2026-10-02, but a later day is closed",
        ],
    ),
    "an ended enrolment's lost last day": Tampering(
        [
            f"DELETE FROM rewards WHERE user_id = 'ann' AND day = {DAY_3}",
            f"UPDATE days SET {NOT_CREDITED} WHERE user_id = 'ann' AND day = {DAY_3}",
        ],
        [
            (
                "I6: entry {ann_reward_3} pays rewards to user ann at 2026-10-04 00:00:00+00:00; credited"
                " with it: day none of user none"
            ),
            "I6: for 2026-10-03 the SOL pool paid 0.00046028 and rewards come to 0.00023014",
            "I6: for 2026-10-03 the SUI pool paid 0.01095920 and rewards come to 0.00547960",
            "complete: user ann is still owed 2026-10-03, but a later day is closed",
            (
                "complete: user ann's enrolment enrolment of ann is not credited its last day, "
                "2026-10-03, but a later day is closed"
            ),
        ],
    ),
    "a lost reward row": Tampering(
        [f"DELETE FROM rewards WHERE {ANN_SOL_2}"],
        [
            "I6: for 2026-10-02 the SOL pool paid 0.00042738 and rewards come to 0.00021369",
            "I6: user ann got 0.00021369 SOL for 2026-10-02 (entry {ann_reward_2}) without a reward",
            "complete: user ann has no reward row for 2026-10-02 in SOL",
        ],
    ),
    "a reversal of a part": Tampering(
        reversal_of(reward_of("bob", DAY_5), DAY_5 * DAY_US + DAY_US, change="-amount / 2"),
        [
            (
                "corrections: entry {new} reverses entry {bob_reward_5}, but in account {bob_doge} it "
                "moves -0.01369863 for 0.02739726"
            ),
            (
                "corrections: entry {new} reverses entry {bob_reward_5}, but in account {bob_sol} it "
                "moves -0.00011507 for 0.00023015"
            ),
            (
                "corrections: entry {new} reverses entry {bob_reward_5}, but in account {pool_doge} it "
                "moves 0.01369863 for -0.02739726"
            ),
            (
                "corrections: entry {new} reverses entry {bob_reward_5}, but in account {pool_sol} it "
                "moves 0.00011507 for -0.00023015"
            ),
        ],
    ),
    "a reversal before what it reverses": Tampering(
        reversal_of(reward_of("bob", DAY_5), DAY_5 * DAY_US + DAY_US - 1),
        [
            (
                "I4: user bob's DOGE on 2026-10-05 closed at 1000.02739726 with an average of "
                "1000.02739726; from 1000.00000000 its postings come to 1000.00000000 and 1000.02739725"
            ),
            (
                "I4: user bob's SOL on 2026-10-05 closed at 10.50067397 with an average of 10.50067397; "
                "from 10.50044383 its postings come to 10.50044382 and 10.50067396"
            ),
            (
                "corrections: entry {new} of user bob at 2026-10-05 23:59:59.999999+00:00 reverses entry "
                "{bob_reward_5} of user bob at 2026-10-06 00:00:00+00:00"
            ),
        ],
    ),
    "a reversal for another user": Tampering(
        [
            *reversal_of(reward_of("bob", DAY_5), DAY_5 * DAY_US + DAY_US),
            f"UPDATE entries SET user_id = 'ann' WHERE entry_id = {NEW}",
        ],
        [
            (
                "I1: entry {new} is of user ann at 2026-10-06 00:00:00+00:00, but its posting to account "
                "{bob_doge} of user bob at 2026-10-06 00:00:00+00:00"
            ),
            (
                "I1: entry {new} is of user ann at 2026-10-06 00:00:00+00:00, but its posting to account "
                "{bob_sol} of user bob at 2026-10-06 00:00:00+00:00"
            ),
            (
                "corrections: entry {new} of user ann at 2026-10-06 00:00:00+00:00 reverses entry "
                "{bob_reward_5} of user bob at 2026-10-06 00:00:00+00:00"
            ),
            (
                "acts: olga did reverse/{new}, user ann, for: paid in error, and told: none; its act says olga, "
                "user bob, for: paid in error, and told: none"
            ),
        ],
    ),
    "a reversal without a reason": Tampering(
        [
            *reversal_of(reward_of("bob", DAY_5), DAY_5 * DAY_US + DAY_US),
            f"UPDATE entries SET reason = '' WHERE entry_id = {NEW}",
        ],
        [
            ("corrections: entry {new}, a reversal, reverses entry {bob_reward_5}; operator: olga, reason: "),
            (
                "acts: olga did reverse/{new}, user bob, for: , and told: none; its act says olga, user bob, for: "
                "paid in error, and told: none"
            ),
        ],
    ),
    "a reversal of nothing": Tampering(
        [
            *reversal_of(reward_of("bob", DAY_5), DAY_5 * DAY_US + DAY_US),
            f"UPDATE entries SET reverses = NULL WHERE entry_id = {NEW}",
        ],
        [
            ("corrections: entry {new}, a reversal, reverses entry none; operator: olga, reason: paid in error"),
        ],
    ),
    "a second reversal": Tampering(
        [
            "DROP INDEX one_reversal",
            *reversal_of(reward_of("bob", DAY_5), DAY_5 * DAY_US + DAY_US),
            *reversal_of(reward_of("bob", DAY_5), DAY_5 * DAY_US + DAY_US),
        ],
        [
            "I3: entry {bob_reward_5} is reversed 2 times",
        ],
    ),
    "a hold of a held user, and a release of one who is not": Tampering(
        [act(101, "ann", "hold"), act(102, "ann", "hold"), act(103, "bob", "retry"), act(104, "bob", "release")],
        [
            "acts: act 102 is a hold of user ann, and the one before it: hold",
            "acts: act 104 is a release of user bob, and the one before it: none",
        ],
    ),
    "an operator's end of an enrolment that goes on, and of none": Tampering(
        [
            act(101, "bob", "deactivate", act_id="deactivate/enrolment of bob"),
            act(102, "bob", "deactivate", act_id="deactivate/another"),
        ],
        [
            "acts: act 101 of zoe, deactivate/enrolment of bob, is of nothing that the ledger has",
            "acts: act 102 of zoe, deactivate/another, is of nothing that the ledger has",
        ],
    ),
    "who ended an enrolment, without an act of it": Tampering(
        ["UPDATE enrolments SET end_operator = 'olga' WHERE enrolment_id = 'enrolment of ann'"],
        [
            (
                "acts: olga did deactivate/enrolment of ann, user ann, for: asked to stop, and told: none; its "
                "act says none, user none, for: none, and told: none"
            ),
        ],
    ),
    "who funded a pool, and that version 2 was applied": Tampering(
        [
            "UPDATE acts SET operator = 'olga' WHERE subject LIKE 'pool DOGE,%'",
            "UPDATE acts SET act_id = 'program_apply/7' WHERE act_id = 'program_apply/2'",
        ],
        [
            (
                "acts: tests did fund/{doge_funding}, user none, for: none, and told: none; its act says olga, "
                "user none, for: none, and told: none"
            ),
            "acts: act {act_of_version_2} of tests, program_apply/7, is of nothing that the ledger has",
        ],
    ),
}


def looked_up(folder: Path, named: Mapping[str, str]) -> dict[str, object]:
    return {name: databases.raw(folder, f"SELECT {query}")[0][0] for name, query in named.items()}


@pytest.mark.parametrize("what", TAMPERINGS)
async def test_exactly_what_follows_from_a_tampering_is_reported(rich: World, tmp_path: Path, what: str) -> None:
    tampering = TAMPERINGS[what]
    doubles = twice(*tampering.doubles) if tampering.doubles else []
    named = looked_up(tmp_path, NAMED)
    tamper(tmp_path, *tampering.statements, *doubles)
    named |= looked_up(tmp_path, NAMED_AFTERWARDS)

    found = await rich.audit()

    assert sentences(found) == sorted(breach.format(**named) for breach in tampering.breaches)


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.promise)
def test_every_promise_is_broken_by_a_tampering(check: Check) -> None:
    said = re.compile(".*".join(map(re.escape, re.split(r"\{\w+\}", f"{check.invariant}: {check.says}"))))
    assert any(said.fullmatch(breach) for tampering in TAMPERINGS.values() for breach in tampering.breaches)


async def test_a_reversed_reward_is_counted_and_is_no_breach(rich: World, tmp_path: Path) -> None:
    tamper(tmp_path, *reversal_of(reward_of("bob", DAY_5), DAY_5 * DAY_US + DAY_US))
    found = await rich.audit()
    assert sentences(found) == []
    assert found.reversed_rewards == 2


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


async def test_the_audit_writes_nothing(rich: World) -> None:
    before = await rich.everything()
    await rich.audit()
    assert await rich.everything() == before


async def test_a_world_that_was_closed_late_is_as_clean(world: World) -> None:
    await world.move("ann", "12", "SOL", at("2026-10-01 09:00"))
    await world.enrol("ann", at("2026-10-01 10:00"))
    for hours in range(0, 96, 5):
        await world.move("ann", "0.5", "SOL", at("2026-10-01 11:00") + timedelta(hours=hours))
    await world.close("ann", D1)
    for each in (D2, D3, D4):
        await world.close_and_credit("ann", each)
    assert units("12") < (await world.balances("ann"))["SOL"]
    assert (await world.audit()).is_clean
