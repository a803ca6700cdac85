"""The audit: clean on a rich world, and it names what was broken behind the code's back."""

from collections.abc import AsyncGenerator
from datetime import timedelta
from pathlib import Path

import pytest
from world import World, a_world, a_world_after, at, day, program_with, tamper, units

from ledger.audit import BREACHES_SHOWN_MAX, audit
from ledger.pools import fund_pool
from staking.days import ONE_DAY
from staking.money import MAX_ACCOUNT_UNITS

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


async def test_a_rich_world_is_clean(rich: World) -> None:
    found = await rich.audit()
    assert [breach for check in found.checks for breach in check.breaches] == []
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
    heard: list[str] = []
    found = await audit(rich.ledger, on_progress=heard.append)
    assert heard == [check.promise for check in found.checks]


async def test_sums_beyond_64_bits_are_audited(full: World) -> None:
    for number in range(4):
        await full.move(f"user{number}", "90000000000", "SOL", at("2026-10-01"))
        await full.move(f"user{number}", "-90000000000", "SOL", at("2026-10-02"))
        await full.move(f"user{number}", "90000000000", "SOL", at("2026-10-03"))
    await fund_pool(full.ledger, "SOL", MAX_ACCOUNT_UNITS, now=at("2026-10-01"))
    assert (await full.audit()).is_clean


async def test_no_more_breaches_are_kept_than_are_shown(world: World, tmp_path: Path) -> None:
    await world.import_lines(*(f"user{n},2026-10-01 08:00:00,Spot,Deposit,SOL,12," for n in range(150)))
    tamper(tmp_path, "UPDATE accounts SET balance = balance + 1 WHERE kind = 'spot'")
    (broken,) = (check for check in (await world.audit()).checks if check.breaches)
    assert len(broken.breaches) == BREACHES_SHOWN_MAX


def without_keys(table: str) -> list[str]:
    """A table that has lost its indexes and constraints."""
    return [
        f"CREATE TABLE copy AS SELECT * FROM {table}",
        f"DROP TABLE {table}",
        f"ALTER TABLE copy RENAME TO {table}",
    ]


ANN_SOL = "(SELECT account_id FROM accounts WHERE user_id = 'ann' AND asset = 'SOL')"
ANN_ADA = "(SELECT account_id FROM accounts WHERE user_id = 'ann' AND asset = 'ADA')"
OUTSIDE_SOL = "(SELECT account_id FROM accounts WHERE kind = 'outside' AND asset = 'SOL')"
POOL_SOL = "(SELECT account_id FROM accounts WHERE kind = 'pool' AND asset = 'SOL')"
MIDNIGHT_2, MIDNIGHT_3 = 20728 * 86_400_000_000, 20729 * 86_400_000_000
FIRST = "(SELECT min(entry_id) FROM entries WHERE user_id = 'ann')"


def entry(effective_at: int, amount: int, account: str, other: str, *, kind: str = "movement") -> list[str]:
    """A balanced entry behind the code's back, with the balances it makes."""
    new = "(SELECT max(entry_id) FROM entries)"
    return [
        "INSERT INTO entries (kind, user_id, effective_at, recorded_at) "
        f"VALUES ('{kind}', 'ann', {effective_at}, 0)",
        f"INSERT INTO postings VALUES ({new}, {account}, {effective_at}, {amount})",
        f"INSERT INTO postings VALUES ({new}, {other}, {effective_at}, {-amount})",
        f"UPDATE accounts SET balance = balance + {amount} WHERE account_id = {account}",
        f"UPDATE accounts SET balance = balance - {amount} WHERE account_id = {other}",
    ]


OPEN_ADA = [
    "INSERT INTO accounts (kind, user_id, asset, shard, balance) VALUES ('spot', 'ann', 'ADA', 0, 0)",
]
POOL_ADA = "(SELECT account_id FROM accounts WHERE kind = 'pool' AND asset = 'ADA')"


@pytest.mark.parametrize(
    ("invariant", "promise", "says", "statements"),
    [
        (
            "I1",
            "every entry's postings sum to zero per asset",
            "has 0.00000001 too much SOL",
            [f"UPDATE postings SET amount = amount + 1 WHERE entry_id = {FIRST} AND account_id = {ANN_SOL}"],
        ),
        (
            "I1",
            "every entry has postings",
            "has no postings",
            ["INSERT INTO entries (kind, effective_at, recorded_at) VALUES ('movement', 0, 0)"],
        ),
        (
            "I1",
            "every balance is the sum of its postings",
            "(ann SOL) holds",
            [f"UPDATE accounts SET balance = balance + 1 WHERE account_id = {ANN_SOL}"],
        ),
        (
            "I1",
            "every balance is the sum of its postings",
            "(pool SOL) holds",
            [f"UPDATE accounts SET balance = balance + 1 WHERE account_id = {POOL_SOL}"],
        ),
        (
            "I2",
            "no user account is below zero at any instant",
            "user ann holds -1.00000000 SOL at 2026-10-01 07:00:00+00:00",
            [
                *entry(MIDNIGHT_2 - 17 * 3_600_000_000, -100_000_000, ANN_SOL, OUTSIDE_SOL),
                *entry(MIDNIGHT_2 - 16 * 3_600_000_000 + 1, 100_000_000, ANN_SOL, OUTSIDE_SOL),
            ],
        ),
        (
            "I2",
            "no pool is below zero in recorded order",
            "pool SOL holds -1.001",
            [
                *entry(0, -1_000_001 * 10**8, POOL_SOL, OUTSIDE_SOL),
                *entry(0, 1_000_001 * 10**8, POOL_SOL, OUTSIDE_SOL),
            ],
        ),
        (
            "I3",
            "one reward per user, asset and day",
            "user ann has 2 rewards for 2026-10-02 in SOL",
            [*without_keys("rewards"), "INSERT INTO rewards SELECT * FROM rewards"],
        ),
        (
            "I3",
            "one record per user and day",
            "user ann has 2 records of 2026-10-02",
            [*without_keys("days"), "INSERT INTO days SELECT * FROM days"],
        ),
        (
            "I3",
            "one open enrolment per user",
            "user bob has 2 open enrolments",
            [*without_keys("enrolments"), "INSERT INTO enrolments SELECT * FROM enrolments"],
        ),
        (
            "I4",
            "the watermark covers every closed day",
            "user ann is closed through 2026-10-02 00:00:00+00:00 but 2026-10-05 is closed",
            [f"UPDATE users SET closed_through = {MIDNIGHT_2} WHERE user_id = 'ann'"],
        ),
        (
            "I4",
            "every snapshot is what its opening and that day's postings come to",
            "user ann's SOL on 2026-10-02 closed at 9.00000000 with an average of 9.75000000",
            entry(MIDNIGHT_2 + 1, 5, ANN_SOL, OUTSIDE_SOL),
        ),
        (
            "I4",
            "every snapshot is what its opening and that day's postings come to",
            "user ann's SOL on 2026-10-02 closed at",
            ["UPDATE snapshots SET average = average + 1 WHERE asset = 'SOL' AND day = 20728"],
        ),
        (
            "I4",
            "no program asset moved on a closed day without a snapshot",
            "user ann's ADA moved on 2026-10-02, which was closed without it",
            [*OPEN_ADA, *entry(MIDNIGHT_2 + 1, 5, ANN_ADA, POOL_ADA)],
        ),
        (
            "I5",
            "each opening is the closing before",
            "user bob opens 2026-10-03 with 9.00000001 SOL but closed the day before with 9.00000000",
            ["UPDATE snapshots SET opening = opening + 1 WHERE asset = 'SOL' AND day = 20729 AND user_id = 'bob'"],
        ),
        (
            "I5",
            "each closing is the opening after",
            "user ann closed 2026-10-02 with 9.00000000 SOL but the next day opens without",
            ["DELETE FROM snapshots WHERE user_id = 'ann' AND day = 20729 AND asset = 'SOL'"],
        ),
        (
            "I5",
            "each first opening is what was posted before",
            "user bob opens 2026-10-04 with 1001.00000000 DOGE; the postings before come to 1000.00000000",
            ["UPDATE snapshots SET opening = opening + 100000000 WHERE asset = 'DOGE' AND day = 20730"],
        ),
        (
            "I5",
            "each first opening is what was posted before",
            "user ann opens 2026-10-04 with 0.00000000 SOL; the postings before come to",
            ["DELETE FROM snapshots WHERE user_id = 'ann' AND day = 20730 AND asset = 'SOL'"],
        ),
        (
            "I6",
            "each credited reward is one posting from the pool to the user",
            "user ann was to get 0.00021370 SOL for 2026-10-02 and got 0.00021369",
            ["UPDATE rewards SET reward = reward + 1 WHERE user_id = 'ann' AND asset = 'SOL' AND day = 20728"],
        ),
        (
            "I6",
            "rewards credited equal the pool's outflow, per asset and day",
            "for 2026-10-02 the SOL pool paid",
            entry(MIDNIGHT_3, 1, ANN_SOL, POOL_SOL, kind="reward"),
        ),
        (
            "I7",
            "each closed day has the program version in force on it",
            "2026-10-03 of user ann was closed under version 2",
            ["UPDATE days SET program_version = 2 WHERE day = 20729"],
        ),
        (
            "I7",
            "no later program version starts on a day that had begun",
            "version 2 starts on 2026-10-04 but was applied on 2026-10-04",
            ["UPDATE program_versions SET applied_at = effective_from * 86400000000 WHERE version = 2"],
        ),
        (
            "I7",
            "each reward keeps the terms of its day's program version",
            "rewards in SOL differ from program version 1",
            ["UPDATE rewards SET apr = '0.009' WHERE user_id = 'ann' AND asset = 'SOL' AND day = 20728"],
        ),
        (
            "rules 3 and 4",
            "each reward is what its average and terms come to",
            "reward for 2026-10-02 is 0.00000005 (earned); its average and terms come to 0.00021369",
            ["UPDATE rewards SET reward = 5 WHERE user_id = 'ann' AND asset = 'SOL' AND day = 20728"],
        ),
        (
            "complete",
            "no enrolment lacks the record of a day between its first and its last closed one",
            "has 3 records of the 4 accrual days closed",
            ["DELETE FROM days WHERE user_id = 'bob' AND day = 20729"],
        ),
        (
            "complete",
            "no day is closed while an earlier one is owed",
            "user ann is still owed 2026-10-02 but a later day is closed",
            [
                "UPDATE days SET credited_at = NULL, late = NULL, entry_id = NULL "
                "WHERE user_id = 'ann' AND day = 20728"
            ],
        ),
        (
            "complete",
            "no day is closed while an ended enrolment is owed an earlier one",
            "enrolment enrolment of ann of user ann is owed days up to 2026-10-03 but a later day is closed",
            ["DELETE FROM days WHERE user_id = 'ann' AND day = 20729"],
        ),
        (
            "complete",
            "every asset of a credited day has its reward row",
            "user ann has no reward row for 2026-10-02 in SOL",
            ["DELETE FROM rewards WHERE user_id = 'ann' AND day = 20728 AND asset = 'SOL'"],
        ),
        (
            "complete",
            "no day is credited after its enrolment's last accrual day",
            "2026-10-03 of user ann was credited after the last accrual day 2026-10-02",
            ["UPDATE enrolments SET last_accrual_day = 20728 WHERE enrolment_id = 'enrolment of ann'"],
        ),
    ],
)
async def test_what_is_broken_behind_the_code_s_back_is_reported_by_the_check_that_names_it(
    rich: World, tmp_path: Path, invariant: str, promise: str, says: str, statements: list[str]
) -> None:
    tamper(tmp_path, "PRAGMA ignore_check_constraints = ON", *statements)

    found = await rich.audit()

    assert not found.is_clean
    (check,) = (check for check in found.checks if check.promise == promise)
    assert check.invariant == invariant
    assert any(says in breach.what for breach in check.breaches), check.breaches


async def test_a_breach_is_written_for_a_person(rich: World, tmp_path: Path) -> None:
    tamper(tmp_path, "UPDATE snapshots SET opening = opening + 1, average = average + 1")
    whats = [breach.what for check in (await rich.audit()).checks for breach in check.breaches]
    assert whats
    assert not any("#" in what for what in whats)


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
