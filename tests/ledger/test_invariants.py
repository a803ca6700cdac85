"""I1 to I7 at the places that guard them: what the database refuses from anyone, and what the locks keep apart."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import nullcontext
from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import databases
import pytest
from sqlalchemy.exc import IntegrityError
from world import (
    LONG_AGO,
    Crash,
    World,
    a_world_after,
    at,
    crash_before_statement,
    day,
    paused_before,
    units,
    until_a_lock_is_waited_for,
)

from ledger.accounts import OUTSIDE, POOL
from ledger.database.schema import metadata
from ledger.day.facts import fixed_snapshots
from ledger.errors import AccountFull, InsufficientBalance, LedgerError, LedgerUnavailable
from ledger.journal import Leg, NewEntry, Owner, Spot, post, post_all
from ledger.locking import LockedUser, lock_user
from staking.days import ONE_DAY
from staking.models import Snapshot

pytestmark = pytest.mark.on_both_databases

D1, D2, D3 = (day("2026-10-01") + n * ONE_DAY for n in range(3))
NOW = at("2026-10-01 12:00")


async def two_credited_days(world: World) -> None:
    await world.move("ann", "12", "SOL", at("2026-10-01 09:00"))
    await world.enrol("ann", at("2026-10-01 10:00"))
    await world.snapshot("ann", D1)
    await world.pay("ann", D2)
    await world.pay("ann", D3)


async def posted(world: World, *legs: tuple[str, str, int]) -> None:
    """Writes one entry with legs such as ("ann", "SOL", 5) directly to the journal."""
    async with world.ledger.write() as connection:
        owners: dict[str, Owner] = {POOL: POOL, OUTSIDE: OUTSIDE}
        for name, _, _ in legs:
            if name not in owners:
                owners[name] = Spot(await lock_user(connection, name))
        of_the_first = next((name for name, _, _ in legs if name not in (POOL, OUTSIDE)), None)
        all_legs = [Leg(owners[name], asset, n) for name, asset, n in legs]
        await post(connection, NewEntry("movement", all_legs, NOW, NOW, user_id=of_the_first))


# What the database refuses from anyone: the guard's name on SQLite, its name on PostgreSQL if that differs, and
# the statement that it refuses.

ACCOUNT = "(SELECT account_id FROM accounts WHERE user_id = 'ann' AND asset = 'SOL')"
DAY_1, DAY_2, DAY_4 = 20727, 20728, 20730
REWARD = (
    "INSERT INTO rewards SELECT user_id, {day}, asset, minimum, cap, apr, {reward}, outcome, formula FROM rewards"
)

BALANCES_AND_POSTINGS = [
    ("amount_moves", f"INSERT INTO postings VALUES (1, {ACCOUNT}, 0, 0)"),
    ("FOREIGN KEY", "foreign key constraint", f"INSERT INTO postings VALUES (99999, {ACCOUNT}, 0, 1)"),
    ("FOREIGN KEY", "foreign key constraint", "INSERT INTO postings VALUES (1, 99999, 0, 1)"),
    ("postings.entry_id, postings.account_id", "postings_pkey", "INSERT INTO postings SELECT * FROM postings"),
    ("postings are written once", "UPDATE postings SET amount = amount + 1"),
    ("postings are never deleted", "DELETE FROM postings"),
    ("entries are written once", "UPDATE entries SET effective_at = 0"),
    ("entries are never deleted", "DELETE FROM entries"),
    (
        "entries.idempotency_key",
        "entries_idempotency_key_key",
        "INSERT INTO entries (kind, idempotency_key, effective_at, recorded_at) VALUES ('x', 'movement 1', 0, 0)",
    ),
    (
        "FOREIGN KEY",
        "foreign key constraint",
        "INSERT INTO entries (kind, user_id, effective_at, recorded_at) VALUES ('x', 'nobody', 0, 0)",
    ),
    ("balance_range", f"UPDATE accounts SET balance = -1 WHERE account_id = {ACCOUNT}"),
    ("balance_range", "UPDATE accounts SET balance = -1 WHERE kind = 'pool'"),
    ("balance_range", "UPDATE accounts SET balance = 9000000000000000001 WHERE kind = 'pool'"),
    ("stored_balance", "UPDATE accounts SET balance = NULL WHERE kind = 'pool'"),
    ("stored_balance", "UPDATE accounts SET balance = 1 WHERE kind = 'outside'"),
    ("kind", "UPDATE accounts SET kind = 'loan', user_id = NULL WHERE kind = 'spot'"),
    ("owner", "UPDATE accounts SET user_id = NULL WHERE kind = 'spot'"),
    (
        "accounts.user_id, accounts.asset",
        "one_spot_account",
        "INSERT INTO accounts (kind, user_id, asset, shard, balance) VALUES ('spot', 'ann', 'SOL', 1, 0)",
    ),
    (
        "accounts.kind, accounts.asset, accounts.shard",
        "one_system_account",
        "INSERT INTO accounts (kind, asset, shard, balance) VALUES ('pool', 'SOL', 0, 0)",
    ),
    (
        "FOREIGN KEY",
        "foreign key constraint",
        "INSERT INTO accounts (kind, user_id, asset, shard, balance) VALUES ('spot', 'nobody', 'SOL', 0, 0)",
    ),
]
DAYS_AND_REWARDS = [
    ("rewards.user_id, rewards.day, rewards.asset", "rewards_pkey", "INSERT INTO rewards SELECT * FROM rewards"),
    ("rewards are written once", "UPDATE rewards SET reward = reward + 1"),
    ("rewards are never deleted", "DELETE FROM rewards"),
    (
        "FOREIGN KEY",
        "foreign key constraint",
        REWARD.format(day=DAY_2 + 9, reward="reward") + f" WHERE day = {DAY_2}",
    ),
    ("zero_has_a_reason", REWARD.format(day=DAY_1, reward="0") + f" WHERE day = {DAY_2}"),
    ("zero_has_a_reason", REWARD.format(day=DAY_1, reward="-1") + f" WHERE day = {DAY_2}"),
    ("days.user_id, days.day", "days_pkey", "INSERT INTO days SELECT * FROM days WHERE entry_id IS NULL"),
    (
        "days.entry_id",
        "days_entry_id_key",
        f"UPDATE days SET entry_id = (SELECT max(entry_id) FROM days) WHERE day = {DAY_4}",
    ),
    ("a credited day never changes", f"UPDATE days SET late = NOT late WHERE day = {DAY_2}"),
    ("days are never deleted", f"DELETE FROM days WHERE day = {DAY_4}"),
    ("credit_is_whole", f"UPDATE days SET late = TRUE WHERE day = {DAY_4}"),
    ("only_accrual_days_are_credited", f"UPDATE days SET late = TRUE, credited_at = 0 WHERE day = {DAY_1}"),
    ("FOREIGN KEY", "foreign key constraint", f"UPDATE days SET enrolment_id = 'another' WHERE day = {DAY_4}"),
    ("a closed day is never opened again", "UPDATE users SET closed_through = closed_through - 1"),
    ("FOREIGN KEY", "foreign key constraint", "DELETE FROM users"),
    ("snapshots are written once", "UPDATE snapshots SET average = average + 1"),
    ("snapshots are never deleted", "DELETE FROM snapshots"),
    (
        "snapshots.user_id, snapshots.day, snapshots.asset",
        "snapshots_pkey",
        "INSERT INTO snapshots SELECT * FROM snapshots",
    ),
    (
        "FOREIGN KEY",
        "foreign key constraint",
        f"INSERT INTO snapshots VALUES ('ann', {DAY_2 + 9}, 'SOL', 1, 1, 1)",
    ),
    ("holdings_are_not_negative", f"INSERT INTO snapshots VALUES ('ann', {DAY_2}, 'SUI', -1, 1, 1)"),
]
ENROLMENTS_AND_PROGRAMS = [
    (
        "enrolments.user_id",
        "one_open_enrolment",
        "INSERT INTO enrolments SELECT 'second', user_id, region, channel, app_version, activated_at, recorded_at,"
        " first_accrual_day, operator, operator_reason, NULL, NULL, NULL, NULL, NULL, NULL FROM enrolments",
    ),
    (
        "enrolments.enrolment_id",
        "enrolments_pkey",
        "INSERT INTO enrolments SELECT enrolment_id, user_id, region, channel, app_version, activated_at,"
        " recorded_at, first_accrual_day, operator, operator_reason, 0, 'ended', 0, 0, NULL, NULL FROM enrolments",
    ),
    ("end_is_whole", "UPDATE enrolments SET ended_at = 0"),
    ("acceptances are written once", "UPDATE acceptances SET version = 'x'"),
    ("acceptances are never deleted", "DELETE FROM acceptances"),
    ("program_versions are written once", "UPDATE program_versions SET content = '{}'"),
    ("program_versions are never deleted", "DELETE FROM program_versions"),
    (
        "program_versions.version",
        "program_versions_pkey",
        "INSERT INTO program_versions SELECT * FROM program_versions",
    ),
    ("FOREIGN KEY", "foreign key constraint", f"UPDATE days SET program_version = 9 WHERE day = {DAY_4}"),
]
REFUSED = [
    pytest.param(
        {databases.SQLITE: row[0], databases.POSTGRESQL: row[-2]}, row[-1], id=f"{row[0]}: {row[-1][:40]}"
    )
    for row in BALANCES_AND_POSTINGS + DAYS_AND_REWARDS + ENROLMENTS_AND_PROGRAMS
]
# SQLite's columns would keep these values as they are, so each has a check. PostgreSQL's columns are integers and
# round them.
FRACTIONS = [
    ("amount_is_integer", f"INSERT INTO postings VALUES (1, {ACCOUNT}, 0, 1.5)"),
    ("effective_at_is_integer", f"INSERT INTO postings VALUES (1, {ACCOUNT}, 0.5, 1)"),
    ("balance_is_integer", "UPDATE accounts SET balance = 1.5 WHERE kind = 'pool'"),
    ("reward_is_integer", REWARD.format(day=DAY_1, reward="1.5") + f" WHERE day = {DAY_2}"),
    ("closed_through_is_integer", "UPDATE users SET closed_through = closed_through + 0.5"),
    ("opening_is_integer", f"INSERT INTO snapshots VALUES ('ann', {DAY_2}, 'SUI', 1.5, 1, 1)"),
    ("closing_is_integer", f"INSERT INTO snapshots VALUES ('ann', {DAY_2}, 'SUI', 1, 1.5, 1)"),
    ("average_is_integer", f"INSERT INTO snapshots VALUES ('ann', {DAY_2}, 'SUI', 1, 1, 1.5)"),
]


async def three_accrual_days(world: World) -> None:
    """A world in which two days are credited and one is owed."""
    await two_credited_days(world)
    await world.snapshot("ann", D3 + ONE_DAY)


@pytest.mark.parametrize(("guards", "statement"), REFUSED)
async def test_the_database_refuses_from_anyone(
    tmp_path: Path, database: str, guards: dict[str, str], statement: str
) -> None:
    async with a_world_after(tmp_path, three_accrual_days) as world:
        before = await world.everything()

        with pytest.raises(IntegrityError) as refused:
            await world.sql(statement)

        assert guards[database] in str(refused.value.orig)
        assert await world.everything() == before


@pytest.mark.parametrize(("check", "statement"), FRACTIONS)
async def test_no_fraction_is_ever_stored(tmp_path: Path, database: str, check: str, statement: str) -> None:
    async with a_world_after(tmp_path, three_accrual_days) as world:
        refusal = pytest.raises(IntegrityError, match=check)
        with refusal if database == databases.SQLITE else nullcontext():
            await world.sql(statement)

        for table in metadata.tables:
            for row in databases.raw(tmp_path, f"SELECT * FROM {table}"):
                assert not any(isinstance(value, float | Decimal) for value in row), (table, row)


async def test_a_sum_beyond_64_bits_is_never_stored(tmp_path: Path, database: str) -> None:
    # In SQLite the sum is a float, and fails the same check. PostgreSQL cannot compute it at all.
    says = {databases.SQLITE: "amount_is_integer", databases.POSTGRESQL: "bigint out of range"}
    async with a_world_after(tmp_path, three_accrual_days) as world:
        before = await world.everything()

        with pytest.raises((IntegrityError, LedgerUnavailable), match=says[database]):
            await world.sql(f"INSERT INTO postings VALUES (1, {ACCOUNT}, 0, 9223372036854775807 + 1)")

        assert await world.everything() == before


# I1: balanced entries, and balances that are their sums.


@pytest.mark.parametrize(
    "legs",
    [
        [("ann", "SOL", 5)],
        [("ann", "SOL", 5), (OUTSIDE, "SOL", -4)],
        [("ann", "SOL", 5), (OUTSIDE, "SUI", -5)],
        [],
        [("ann", "SOL", 0), (OUTSIDE, "SOL", 0)],
    ],
)
async def test_an_entry_that_does_not_balance_is_not_written(
    world: World, legs: list[tuple[str, str, int]]
) -> None:
    before = await world.everything()
    with pytest.raises(ValueError, match="does not balance"):
        await posted(world, *legs)
    assert await world.everything() == before


async def test_several_legs_of_one_account_are_one_posting(
    world: World,
) -> None:
    await posted(world, ("ann", "SOL", 5), (OUTSIDE, "SOL", -5), ("ann", "SOL", 7), (OUTSIDE, "SOL", -7))
    assert await world.balances("ann") == {"SOL": 12}
    assert (await world.audit()).is_clean


async def test_legs_that_cancel_leave_the_balance_alone(world: World) -> None:
    await posted(world, ("ann", "SOL", 5), ("ann", "SOL", -5), ("ann", "SUI", 1), (OUTSIDE, "SUI", -1))
    assert await world.balances("ann") == {"SOL": 0, "SUI": 1}
    assert (await world.audit()).is_clean


async def test_entries_posted_together_get_their_own_ids_in_order(world: World) -> None:
    async with world.ledger.write() as connection:
        ann = Spot(await lock_user(connection, "ann"))
        entry = NewEntry("movement", [Leg(ann, "SOL", 1), Leg(OUTSIDE, "SOL", -1)], NOW, NOW)
        ids = await post_all(connection, [replace(entry, note=str(number)) for number in range(700)])
    notes = await world.sql("SELECT note, entry_id FROM entries WHERE note IS NOT NULL")
    assert {int(note): entry_id for note, entry_id in notes} == dict(enumerate(ids))


# I2: in words first.


async def test_one_user_may_pay_another(world: World) -> None:
    await world.move("ann", "5", "SOL", NOW)
    await posted(world, ("ann", "SOL", -units("5")), ("bob", "SOL", units("5")))
    assert await world.balances("bob") == {"SOL": units("5")}


@pytest.mark.parametrize(
    ("legs", "error", "says"),
    [
        ([("ann", "SOL", -1), (OUTSIDE, "SOL", 1)], InsufficientBalance, "user ann's SOL balance is 0.00000000"),
        ([(POOL, "DOGE", -1), (OUTSIDE, "DOGE", 1)], InsufficientBalance, "the reward pool's DOGE balance"),
        ([("ann", "SOL", 9 * 10**18 + 1), (OUTSIDE, "SOL", -(9 * 10**18) - 1)], AccountFull, "90 billion"),
        ([("ann", "SOL", 2**63), (OUTSIDE, "SOL", -(2**63))], AccountFull, "90 billion"),
    ],
)
async def test_a_balance_that_would_leave_its_range_is_refused_by_name(
    world: World, legs: list[tuple[str, str, int]], error: type[LedgerError], says: str
) -> None:
    before = await world.everything()
    with pytest.raises(error) as refused:
        await posted(world, *legs)
    assert says in str(refused.value)
    assert await world.everything() == before


# I4: the lock and the watermark. Two ledgers on one database, as two processes.

Words = Callable[[World], Awaitable[object]]


async def ready_to_close(world: World) -> None:
    await world.move("ann", "12", "SOL", at("2026-10-01 09:00"))
    await world.enrol("ann", at("2026-10-01 10:00"))
    await world.snapshot("ann", D1)


async def still_the_same(world: World, snapshot: Snapshot) -> bool:
    async with world.ledger.read() as connection:
        read = (await fixed_snapshots(connection, snapshot.day, ["ann"]))["ann"]
    return read == snapshot == await world.snapshot("ann", snapshot.day)


async def has_come_to_wait(world: World, folder: Path, words: Awaitable[object]) -> asyncio.Task[object]:
    """A task whose transaction has begun, and which waits while the transaction of another one is open."""
    pause = paused_before(world.ledger, "")
    task = asyncio.ensure_future(words)
    await pause.reached.wait()
    pause.resume.set()
    await until_a_lock_is_waited_for(folder)
    return task


async def test_a_closing_that_waited_for_a_movement_sees_it(world: World, other: World, tmp_path: Path) -> None:
    await ready_to_close(world)
    movement_holds_the_lock = paused_before(other.ledger, "INSERT INTO postings")
    moving = asyncio.ensure_future(other.move("ann", "-6", "SOL", at("2026-10-02 12:00")))
    await movement_holds_the_lock.reached.wait()
    closing = await has_come_to_wait(world, tmp_path, world.snapshot("ann", D2))
    movement_holds_the_lock.resume.set()
    await moving
    snapshot = await closing

    assert isinstance(snapshot, Snapshot)
    assert [(line.closing, line.average) for line in snapshot.holdings] == [(units("6"), units("9"))]
    assert await still_the_same(world, snapshot)
    assert (await world.audit()).is_clean


@pytest.mark.parametrize("asset", ["SOL", "SUI"], ids=["in an account", "that opens an account"])
@pytest.mark.parametrize("step", ["SELECT users.user_id, enrolments", "INSERT INTO days", "UPDATE users"])
async def test_a_movement_during_a_closing_waits_and_lands_in_the_next_day(
    world: World, other: World, tmp_path: Path, asset: str, step: str
) -> None:
    await ready_to_close(world)
    closing_holds_the_lock = paused_before(world.ledger, step)
    closing = asyncio.ensure_future(world.snapshot("ann", D2))
    await closing_holds_the_lock.reached.wait()
    movement = other.move("ann", "6", asset, at("2026-10-02 12:00"))
    moving = await has_come_to_wait(other, tmp_path, movement)
    closing_holds_the_lock.resume.set()
    snapshot = await closing
    await moving

    assert [(line.asset, line.closing) for line in snapshot.holdings] == [("SOL", units("12"))]
    assert await still_the_same(world, snapshot)
    await world.credit("ann", await world.compute(snapshot))
    third = {line.asset: line for line in (await world.snapshot("ann", D3)).holdings}
    assert third[asset].opening == (units("12") if asset == "SOL" else 0)
    assert third[asset].average - third[asset].opening >= units("6")
    assert (await world.audit()).is_clean


async def test_a_movement_stamped_before_midnight_that_comes_after_the_closing_counts_at_the_boundary(
    world: World, other: World
) -> None:
    await ready_to_close(world)
    snapshot = await world.snapshot("ann", D2)

    await other.move("ann", "6", "SOL", at("2026-10-02 23:59:59.999999"))

    assert await still_the_same(world, snapshot)
    await world.credit("ann", await world.compute(snapshot))
    reward = (await world.statement("ann"))[0].reward
    (third,) = (await other.snapshot("ann", D3)).holdings
    assert (third.opening, third.average) == (units("12"), units("18") + reward)


async def test_an_import_that_comes_after_the_closing_counts_at_the_boundary(world: World, other: World) -> None:
    await ready_to_close(world)
    snapshot = await world.snapshot("ann", D2)
    await other.import_lines("ann,2026-10-02 12:00:00,Spot,Deposit,SOL,6,")
    assert await still_the_same(world, snapshot)
    assert (await world.audit()).is_clean


async def test_simultaneous_movements_and_closings_make_one_history(world: World, other: World) -> None:
    await ready_to_close(world)
    moves = [
        each.move("ann", "1", "SOL", at(f"2026-10-02 12:{n:02}")) for n in range(6) for each in (world, other)
    ]
    *_, first, second = await asyncio.gather(*moves, world.snapshot("ann", D2), other.snapshot("ann", D2))
    assert first == second
    assert await world.balances("ann") == {"SOL": units("24")}
    assert await still_the_same(world, first)
    assert (await world.audit()).is_clean


async def test_a_posting_to_a_locked_user_never_counts_in_a_closed_day() -> None:
    user = LockedUser("ann", closed_through=at("2026-10-02"), latest_effective_at=LONG_AGO, generation=0)
    assert user.effective(at("2026-10-01 23:59")) == at("2026-10-02")
    assert user.effective(at("2026-10-02 00:01")) == at("2026-10-02 00:01")


# I5.


async def test_each_opening_is_the_closing_before(world: World) -> None:
    await two_credited_days(world)
    rows = await world.sql("SELECT opening, closing FROM snapshots ORDER BY day")
    assert [row.opening for row in rows[1:]] == [row.closing for row in rows[:-1]]


# I6: a day's rewards, its postings and its mark are one transaction.


async def test_a_reward_row_that_cannot_be_written_rolls_the_payment_back(world: World) -> None:
    await ready_to_close(world)
    rewards = await world.compute(await world.snapshot("ann", D2))
    await world.sql(f"INSERT INTO rewards VALUES ('ann', {DAY_2}, 'SOL', '1', '1', '1', 0, 'paused', 1)")
    before = await world.everything()

    with pytest.raises(IntegrityError):
        await world.credit("ann", rewards)

    assert await world.everything() == before


async def test_a_crash_at_commit_rolls_the_payment_back(world: World) -> None:
    await ready_to_close(world)
    rewards = await world.compute(await world.snapshot("ann", D2))
    before = await world.everything()
    statements: list[str] = []
    for number in range(50):
        try:
            with crash_before_statement(world.ledger, number):
                await world.credit("ann", rewards)
            break
        except Crash as crash:
            statements.append(str(crash))
            assert await world.everything() == before
    assert any(statement.startswith("UPDATE days") for statement in statements)
    assert len(await world.statement("ann")) == 1


async def test_rewards_equal_the_pool_s_outflow(world: World) -> None:
    await two_credited_days(world)
    ((paid,),) = await world.sql("SELECT sum(reward) FROM rewards")
    ((left,),) = await world.sql("SELECT balance FROM accounts WHERE kind = 'pool' AND asset = 'SOL'")
    assert units("1000000") - left == paid
