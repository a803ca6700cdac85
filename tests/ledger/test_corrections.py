"""Corrections: reversals and adjustments are posted once, within the range, and never in a closed day (I2, I4)."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory

import databases
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy.exc import IntegrityError
from world import LONG_AGO, World, a_world, at, day, units

from ledger.corrections import adjust, reverse
from ledger.database.engine import Ledger, open_ledger
from ledger.entries import Entry, Recorded, UserEntries, read_entry, user_entries
from ledger.errors import (
    AccountFull,
    ContentDiffers,
    InsufficientBalance,
    NotReversible,
    UnknownEntry,
)
from ledger.movements import deposit, trade, withdraw
from ledger.pools import fund_pool, pool_balances
from ledger.reading.standing import standing_of
from staking.models import CreditReceipt
from staking.money import MAX_ACCOUNT_UNITS

pytestmark = pytest.mark.on_both_databases

NOW = at("2026-10-03 09:00")


@pytest.fixture
async def ledgers(world: World, tmp_path: Path) -> AsyncGenerator[list[Ledger]]:
    """The world's ledger, opened four times as four processes would."""
    async with AsyncExitStack() as stack:
        url = databases.url_in(tmp_path)
        yield [await stack.enter_async_context(open_ledger(url, clock=lambda: LONG_AGO)) for _ in range(4)]


async def reversed_(
    ledger: Ledger, entry_id: int, *, reason: str = "a mistake", operator: str = "zoe", now: datetime = NOW
) -> Recorded:
    return await reverse(ledger, entry_id, reason=reason, operator=operator, now=now)


async def adjusted(
    ledger: Ledger,
    tokens: str,
    *,
    user: str = "ann",
    asset: str = "SOL",
    reason: str = "lost and found",
    operator: str = "zoe",
    now: datetime = NOW,
    key: str | None = None,
) -> Recorded:
    return await adjust(
        ledger, user, asset, units(tokens), reason=reason, operator=operator, now=now, idempotency_key=key
    )


async def entry(world: World, entry_id: int) -> Entry:
    async with world.ledger.read() as connection:
        found = await read_entry(connection, entry_id)
    assert found is not None
    return found


async def entries_of(world: World, user: str, asset: str | None = None, *, last: int = 50) -> UserEntries:
    async with world.ledger.read() as connection:
        return await user_entries(connection, user, asset, last=last)


async def postings_of(world: World, entry_id: int) -> dict[int, int]:
    rows = await world.sql("SELECT account_id, amount FROM postings WHERE entry_id = :id", id=entry_id)
    return dict(tuple(row) for row in rows)


async def pool(world: World, asset: str = "SOL") -> int:
    async with world.ledger.read() as connection:
        return (await pool_balances(connection))[asset]


async def a_day_paid(world: World) -> CreditReceipt:
    """Pays ann 2026-10-02, on which she held 12 SOL."""
    await world.move("ann", "12", "SOL", at("2026-10-01 09:00"))
    await world.enrol("ann", at("2026-10-01 10:00"))
    await world.snapshot("ann", day("2026-10-01"))
    receipt = await world.pay("ann", day("2026-10-02"))
    assert isinstance(receipt, CreditReceipt)
    return receipt


async def a_deposit(world: World) -> int:
    return await world.move("ann", "12", "SOL", at("2026-10-01 09:00"))


async def a_withdrawal(world: World) -> int:
    await a_deposit(world)
    return await world.move("ann", "-5", "SOL", at("2026-10-01 09:30"))


async def a_trade(world: World) -> int:
    await a_deposit(world)
    answer = await trade(
        world.ledger, "ann", "SOL", units("3"), "DOGE", units("9"), idempotency_key="t", now=at("2026-10-02")
    )
    return answer.entry.entry_id


async def an_adjustment(world: World) -> int:
    return (await adjusted(world.ledger, "7", now=at("2026-10-01"))).entry.entry_id


async def an_imported_line(world: World) -> int:
    await world.import_lines("ann,2026-10-01 10:00:00,Spot,Deposit,SOL,12,")
    ((entry_id,),) = await world.sql("SELECT entry_id FROM entries WHERE kind = 'movement'")
    return entry_id


async def a_reward(world: World) -> int:
    entry_id = (await a_day_paid(world)).entry_id
    assert entry_id is not None
    return entry_id


async def a_funding(world: World) -> int:
    await fund_pool(world.ledger, "SOL", units("5"), operator="tests", now=LONG_AGO)
    ((entry_id,),) = await world.sql("SELECT max(entry_id) FROM entries WHERE kind = 'pool_funding'")
    return entry_id


@pytest.mark.parametrize(
    "make", [a_deposit, a_withdrawal, a_trade, an_adjustment, an_imported_line, a_reward, a_funding]
)
async def test_every_kind_of_entry_is_reversed_on_its_own_accounts(
    world: World, make: Callable[[World], Awaitable[int]]
) -> None:
    entry_id = await make(world)

    answer = await reversed_(world.ledger, entry_id)

    reversal = answer.entry
    assert (reversal.kind, reversal.reverses, reversal.reason, reversal.operator) == (
        "reversal",
        entry_id,
        "a mistake",
        "zoe",
    )
    original = await postings_of(world, entry_id)
    assert await postings_of(world, reversal.entry_id) == {
        account: -amount for account, amount in original.items()
    }
    assert (await entry(world, entry_id)).reversed_by == reversal.entry_id
    assert reversal.effective_at == NOW
    if reversal.user_id:
        held = await world.balances(reversal.user_id)
        assert answer.balances == {asset: held[asset] for asset in reversal.changes}
    else:
        assert answer.balances == {"SOL": await pool(world)} == {"SOL": units("1000000")}
    assert (await world.audit()).is_clean


async def test_an_entry_is_reversed_once_and_a_repeat_answers_the_first_reversal(world: World) -> None:
    entry_id = await a_deposit(world)
    first = await reversed_(world.ledger, entry_id)
    before = await world.everything()

    again = await reversed_(world.ledger, entry_id, reason="another", operator="max", now=NOW + timedelta(days=1))

    assert again == replace(first, recorded_already=True)
    assert (again.entry.reason, again.entry.operator) == ("a mistake", "zoe")
    assert await world.everything() == before


async def test_the_database_itself_knows_one_reversal_of_an_entry(world: World) -> None:
    entry_id = await a_deposit(world)
    await reversed_(world.ledger, entry_id)
    with pytest.raises(IntegrityError):
        await world.sql(
            "INSERT INTO entries (kind, effective_at, recorded_at, reverses) VALUES ('reversal', 0, 0, :id)",
            id=entry_id,
        )


@pytest.mark.parametrize("make", [a_deposit, a_reward, a_funding])
async def test_many_who_reverse_one_entry_at_the_same_time_reverse_it_once(
    world: World, ledgers: list[Ledger], make: Callable[[World], Awaitable[int]]
) -> None:
    entry_id = await make(world)

    answers = await asyncio.gather(*(reversed_(ledger, entry_id) for ledger in ledgers * 2))

    assert [answer.recorded_already for answer in answers].count(False) == 1
    assert all((answer.entry, answer.balances) == (answers[0].entry, answers[0].balances) for answer in answers)
    assert (await world.audit()).is_clean


async def test_a_reversal_is_not_reversed_in_turn(world: World) -> None:
    entry_id = (await reversed_(world.ledger, await a_deposit(world))).entry.entry_id
    pool_entry_id = (await reversed_(world.ledger, await a_funding(world))).entry.entry_id
    before = await world.everything()
    with pytest.raises(
        NotReversible, match=r"reverses entry \d+ and cannot be reversed itself; adjust the balance"
    ):
        await reversed_(world.ledger, entry_id)
    with pytest.raises(NotReversible, match="fund the pool again"):
        await reversed_(world.ledger, pool_entry_id)
    assert await world.everything() == before


async def test_an_unknown_entry_is_named(world: World) -> None:
    with pytest.raises(UnknownEntry, match="there is no entry 999"):
        await reversed_(world.ledger, 999)


async def test_an_entry_whose_tokens_were_spent_since_is_not_reversed(world: World) -> None:
    entry_id = await a_deposit(world)
    await world.move("ann", "-1E-8", "SOL", at("2026-10-02"))
    before = await world.everything()
    with pytest.raises(
        InsufficientBalance, match=r"user ann's SOL balance is 11\.99999999, which does not allow -12\.0"
    ):
        await reversed_(world.ledger, entry_id)
    assert await world.everything() == before


async def test_a_funding_that_was_paid_out_since_is_not_reversed(world: World) -> None:
    await a_day_paid(world)
    ((funding,),) = await world.sql(
        "SELECT p.entry_id FROM postings p JOIN accounts a ON a.account_id = p.account_id"
        " JOIN entries e ON e.entry_id = p.entry_id"
        " WHERE a.kind = 'pool' AND a.asset = 'SOL' AND e.kind = 'pool_funding'"
    )
    with pytest.raises(
        InsufficientBalance,
        match=r"the reward pool's SOL balance is 999999\.99973699, which does not allow -1000000",
    ):
        await reversed_(world.ledger, funding)


async def test_what_would_pass_90_billion_is_not_given_back(world: World) -> None:
    await world.move("ann", "90000000000", "SOL", at("2026-10-01"))
    withdrawal = await world.move("ann", "-1", "SOL", at("2026-10-02"))
    await world.move("ann", "1", "SOL", at("2026-10-02"))
    with pytest.raises(AccountFull, match="would pass the 90 billion"):
        await reversed_(world.ledger, withdrawal)


@pytest.mark.parametrize("correct", [lambda world, id_, now: reversed_(world.ledger, id_, now=now), None])
async def test_a_correction_counts_in_no_closed_day_even_if_the_clock_is_behind(
    world: World, correct: Callable[[World, int, datetime], Awaitable[Recorded]] | None
) -> None:
    await a_day_paid(world)
    ((deposited,),) = await world.sql("SELECT min(entry_id) FROM entries WHERE kind = 'deposit'")
    await world.move("ann", "20", "SOL", at("2026-10-02 23:00"))
    snapshots = (await world.everything())["snapshots"]
    behind = at("2026-10-02 12:00")

    answer = await (correct(world, deposited, behind) if correct else adjusted(world.ledger, "-1", now=behind))

    assert answer.entry.effective_at == at("2026-10-03")
    assert (await world.everything())["snapshots"] == snapshots
    assert (await world.audit()).is_clean


async def test_a_correction_counts_no_earlier_than_the_user_s_latest_movement(world: World) -> None:
    entry_id = await a_deposit(world)
    latest = at("2026-10-02 15:00")
    await world.move("ann", "1", "SOL", latest)
    before = at("2026-10-02 14:00")

    assert (await reversed_(world.ledger, entry_id, now=before)).entry.effective_at == latest
    assert (await adjusted(world.ledger, "1", now=before)).entry.effective_at == latest


async def test_no_movement_counts_before_a_correction_of_the_user(world: World) -> None:
    await adjusted(world.ledger, "5", now=NOW)
    entry_id = await world.move("ann", "-5", "SOL", at("2026-10-01 09:00"))
    assert (await entry(world, entry_id)).effective_at == NOW
    assert (await world.audit()).is_clean


async def test_a_reversed_reward_goes_back_to_its_pool_and_its_day_stays_credited(world: World) -> None:
    receipt = await a_day_paid(world)
    assert receipt.entry_id is not None
    rewards = await world.compute(await world.snapshot("ann", day("2026-10-02")))
    statement = await world.statement("ann")

    reversal = await reversed_(world.ledger, receipt.entry_id)

    assert await world.balances("ann") == {"SOL": units("12")}
    assert await pool(world) == units("1000000")
    before = await world.everything()
    assert await world.credit("ann", rewards, now=at("2026-10-20")) == receipt
    assert await world.everything() == before
    assert await world.statement("ann") == [
        replace(line, reversed_by=reversal.entry.entry_id) for line in statement
    ]
    (unfinished,) = (await world.recall("ann")).enrolments
    assert unfinished.next_day == day("2026-10-03")
    assert (await standing_of(world.ledger, "ann", now=NOW)).owed_days == []
    assert (await world.audit()).is_clean


async def test_days_after_a_reversed_reward_are_closed_and_paid_on_what_was_held(world: World) -> None:
    entry_id = await a_reward(world)
    await reversed_(world.ledger, entry_id, now=at("2026-10-03 12:00"))

    (held,) = (await world.snapshot("ann", day("2026-10-03"))).holdings
    assert (held.opening, held.average, held.closing) == (
        units("12.00026301") - 26301,
        units("12") + 26301 // 2,
        units("12"),
    )
    await world.pay("ann", day("2026-10-03"))
    await world.pay("ann", day("2026-10-04"))
    assert (await world.audit()).is_clean


async def test_an_adjustment_adds_or_takes_with_its_operator_and_reason(world: World) -> None:
    given_ = await adjusted(world.ledger, "7")
    taken = await adjusted(world.ledger, "-0.5", reason="too much", operator="max")

    assert (given_.entry.kind, given_.entry.changes, given_.balances) == (
        "adjustment",
        {"SOL": units("7")},
        {"SOL": units("7")},
    )
    assert (taken.entry.changes, taken.balances) == ({"SOL": units("-0.5")}, {"SOL": units("6.5")})
    assert (taken.entry.reason, taken.entry.operator) == ("too much", "max")
    assert (await world.audit()).is_clean


async def test_the_same_adjustment_again_is_a_repeat_unless_it_says_anything_else(world: World) -> None:
    first = await adjusted(world.ledger, "7")

    again = await adjusted(world.ledger, "7", now=NOW + timedelta(days=30))
    assert again == replace(first, recorded_already=True)

    others = [
        await adjusted(world.ledger, "7", reason="lost and found again"),
        await adjusted(world.ledger, "7", operator="max"),
        await adjusted(world.ledger, "7", asset="SUI"),
        await adjusted(world.ledger, "7", user="bob"),
        await adjusted(world.ledger, "8"),
        await adjusted(world.ledger, "7", key="a key of its own"),
    ]
    assert not any(other.recorded_already for other in others)


async def test_a_repeated_adjustment_says_that_it_was_reversed(world: World) -> None:
    first = await adjusted(world.ledger, "7")
    reversal = await reversed_(world.ledger, first.entry.entry_id)

    again = await adjusted(world.ledger, "7")

    assert (again.entry.entry_id, again.entry.reversed_by) == (first.entry.entry_id, reversal.entry.entry_id)
    assert again.balances == {"SOL": 0}


async def test_an_adjustment_s_key_answers_the_first_and_refuses_other_content(world: World) -> None:
    first = await adjusted(world.ledger, "7", key="ticket 12")
    assert await adjusted(world.ledger, "7", reason="in other words", key="ticket 12") == replace(
        first, recorded_already=True
    )
    with pytest.raises(
        ContentDiffers, match=r"7\.00000000 SOL for user ann, and is now asked as .* 8\.00000000 SOL"
    ):
        await adjusted(world.ledger, "8", key="ticket 12")


async def test_many_equal_adjustments_at_the_same_time_adjust_once(world: World, ledgers: list[Ledger]) -> None:
    answers = await asyncio.gather(*(adjusted(ledger, "7") for ledger in ledgers * 2))

    assert [answer.recorded_already for answer in answers].count(False) == 1
    assert await world.balances("ann") == {"SOL": units("7")}


async def test_an_adjustment_leaves_nothing_below_zero_or_above_90_billion(world: World) -> None:
    await adjusted(world.ledger, "7")
    before = await world.everything()
    with pytest.raises(
        InsufficientBalance, match=r"SOL balance is 7\.00000000, which does not allow -7\.00000001"
    ):
        await adjusted(world.ledger, "-7.00000001")
    with pytest.raises(AccountFull):
        await adjusted(world.ledger, "90000000000")
    with pytest.raises(InsufficientBalance, match="user nobody's SOL balance is 0"):
        await adjusted(world.ledger, "-1", user="nobody")
    assert await world.everything() == before


MALFORMED = {"": "1 to 500", "x" * 501: "1 to 500", " \n": "1 to 500", "nul\0": "no text", "\x1b[2J": "no text"}


@pytest.mark.parametrize(("text", "sentence"), MALFORMED.items(), ids=map(repr, map(len, MALFORMED)))
async def test_a_reason_and_an_operator_are_text_of_1_to_500_characters(
    world: World, text: str, sentence: str
) -> None:
    entry_id = await a_deposit(world)
    before = await world.everything()
    for correct in (
        lambda: reversed_(world.ledger, entry_id, reason=text),
        lambda: reversed_(world.ledger, entry_id, operator=text),
        lambda: adjusted(world.ledger, "1", reason=text),
        lambda: adjusted(world.ledger, "1", operator=text),
    ):
        with pytest.raises(ValueError, match=sentence):
            await correct()
    assert await world.everything() == before


@pytest.mark.parametrize("amount", [0, MAX_ACCOUNT_UNITS + 1, -MAX_ACCOUNT_UNITS - 1])
async def test_an_adjustment_moves_something_that_an_account_can_hold(world: World, amount: int) -> None:
    with pytest.raises(ValueError, match="not 0 and at most 90 billion"):
        await adjust(world.ledger, "ann", "SOL", amount, reason="a", operator="b", now=NOW)


async def test_an_entry_on_another_shard_is_refused_rather_than_reversed_elsewhere(world: World) -> None:
    await world.sql("INSERT INTO accounts (kind, asset, shard, balance) VALUES ('pool', 'SOL', 1, 5)")
    ((shard, outside),) = await world.sql(
        "SELECT (SELECT account_id FROM accounts WHERE shard = 1),"
        " (SELECT account_id FROM accounts WHERE kind = 'outside' AND asset = 'SOL')"
    )
    ((entry_id,),) = await world.sql(
        "INSERT INTO entries (kind, effective_at, recorded_at) VALUES ('pool_funding', 0, 0) RETURNING entry_id"
    )
    for account, amount in ((shard, 5), (outside, -5)):
        await world.sql(
            "INSERT INTO postings (entry_id, account_id, effective_at, amount) VALUES (:e, :a, 0, :n)",
            e=entry_id,
            a=account,
            n=amount,
        )
    with pytest.raises(NotReversible, match="only shard 0 can be corrected"):
        await reversed_(world.ledger, entry_id)


# What a user's journal shows.


async def test_a_journal_is_in_the_order_in_which_entries_count_with_the_holding_after_each(world: World) -> None:
    await world.import_lines("ann,2026-10-02 10:00:00,Spot,Deposit,SOL,5,hello")
    await world.import_lines("ann,2026-10-01 10:00:00,Spot,Deposit,SOL,12,")
    answer = await trade(
        world.ledger, "ann", "SOL", units("2"), "SUI", units("80"), idempotency_key="t", now=at("2026-10-02 11:00")
    )
    reversal = await reversed_(world.ledger, answer.entry.entry_id)

    known = await entries_of(world, "ann")

    assert known.count == 4
    assert [(step.entry.changes, step.holdings) for step in known.steps] == [
        ({"SOL": units("12")}, {"SOL": units("12")}),
        ({"SOL": units("5")}, {"SOL": units("17")}),
        ({"SOL": units("-2"), "SUI": units("80")}, {"SOL": units("15"), "SUI": units("80")}),
        ({"SOL": units("2"), "SUI": units("-80")}, {"SOL": units("17"), "SUI": 0}),
    ]
    assert [step.entry.note for step in known.steps] == ["Deposit", "Deposit: hello", None, None]
    assert known.steps[2].entry.reversed_by == known.steps[3].entry.entry_id == reversal.entry.entry_id
    assert known.steps[3].entry.reverses == answer.entry.entry_id


async def test_a_journal_can_be_of_one_asset_and_of_the_latest_entries(world: World) -> None:
    await a_trade(world)
    await world.move("ann", "1", "SOL", NOW)
    await world.move("bob", "7", "SOL", NOW)

    sol = await entries_of(world, "ann", "SOL", last=2)
    doge = await entries_of(world, "ann", "DOGE")
    latest = await entries_of(world, "ann", last=1)

    assert (sol.count, [step.holdings for step in sol.steps]) == (3, [{"SOL": units("9")}, {"SOL": units("10")}])
    assert (doge.count, [step.entry.changes for step in doge.steps]) == (1, [{"DOGE": units("9")}])
    assert (latest.count, [step.holdings for step in latest.steps]) == (3, [{"SOL": units("10")}])
    assert await entries_of(world, "ann", "BTC") == await entries_of(world, "nobody") == UserEntries([], 0)


async def test_a_reward_in_a_journal_is_seen_from_the_user_s_side(world: World) -> None:
    entry_id = await a_reward(world)
    step = (await entries_of(world, "ann")).steps[-1]
    assert (step.entry.entry_id, step.entry.kind) == (entry_id, "reward")
    assert (step.entry.changes, step.holdings) == ({"SOL": 26301}, {"SOL": units("12") + 26301})


# A property: any movements, reversals, adjustments and repeats, in any order.

USERS, ASSETS = ("ann", "bob"), ("SOL", "DOGE")


@dataclass(frozen=True)
class Act:
    kind: str
    user: str
    asset: str
    amount: int
    which: int
    """Which of the entries so far is reversed, or which of the requests so far is repeated."""


acts = st.builds(
    Act,
    kind=st.sampled_from(["deposit", "withdraw", "trade", "adjust", "reverse", "reverse", "repeat"]),
    user=st.sampled_from(USERS),
    asset=st.sampled_from(ASSETS),
    amount=st.integers(1, 20),
    which=st.integers(0, 30),
)


@dataclass
class Model:
    """What was posted, as a plain list, and the requests that were answered."""

    posted: dict[int, tuple[str, dict[str, int]]] = field(default_factory=dict[int, tuple[str, dict[str, int]]])
    reversals: dict[int, int] = field(default_factory=dict[int, int])
    answered: list[tuple[Callable[[], Awaitable[Recorded]], int]] = field(
        default_factory=list[tuple[Callable[[], Awaitable[Recorded]], int]]
    )

    def balance(self, user: str, asset: str) -> int:
        return sum(changes.get(asset, 0) for whose, changes in self.posted.values() if whose == user)

    def allows(self, user: str, changes: dict[str, int]) -> bool:
        return all(self.balance(user, asset) + amount >= 0 for asset, amount in changes.items())


async def expect(
    model: Model, request: Callable[[], Awaitable[Recorded]], user: str, changes: dict[str, int]
) -> None:
    if not model.allows(user, changes):
        with pytest.raises(InsufficientBalance):
            await request()
        return
    answer = await request()
    assert (answer.recorded_already, answer.entry.changes) == (False, changes)
    model.posted[answer.entry.entry_id] = user, changes
    model.answered.append((request, answer.entry.entry_id))
    if answer.entry.reverses:
        model.reversals[answer.entry.reverses] = answer.entry.entry_id


async def act(ledger: Ledger, model: Model, number: int, what: Act) -> None:
    now = NOW + timedelta(minutes=number)
    user, asset, amount = what.user, what.asset, what.amount
    other = ASSETS[1 - ASSETS.index(asset)]
    key = f"request {number}"
    if what.kind == "deposit":
        await expect(
            model,
            lambda: deposit(ledger, user, asset, amount, idempotency_key=key, now=now),
            user,
            {asset: amount},
        )
    elif what.kind == "withdraw":
        await expect(
            model,
            lambda: withdraw(ledger, user, asset, amount, idempotency_key=key, now=now),
            user,
            {asset: -amount},
        )
    elif what.kind == "trade":
        await expect(
            model,
            lambda: trade(ledger, user, asset, amount, other, amount + 1, idempotency_key=key, now=now),
            user,
            dict(sorted({asset: -amount, other: amount + 1}.items())),
        )
    elif what.kind == "adjust":
        signed = amount if what.which % 2 else -amount
        await expect(
            model,
            lambda: adjust(ledger, user, asset, signed, reason=key, operator="zoe", now=now),
            user,
            {asset: signed},
        )
    elif what.kind == "reverse" and model.posted:
        entry_id = list(model.posted)[what.which % len(model.posted)]
        whose, changes = model.posted[entry_id]

        def request() -> Awaitable[Recorded]:
            return reverse(ledger, entry_id, reason="why not", operator="zoe", now=now)

        if entry_id in model.reversals.values():
            with pytest.raises(NotReversible):
                await request()
        elif entry_id in model.reversals:
            assert (await request()).entry.entry_id == model.reversals[entry_id]
        else:
            await expect(model, request, whose, {name: -change for name, change in changes.items()})
    elif what.kind == "repeat" and model.answered:
        request_again, entry_id = model.answered[what.which % len(model.answered)]
        again = await request_again()
        assert (again.recorded_already, again.entry.entry_id) == (True, entry_id)


@settings(max_examples=10, deadline=None)
@given(st.lists(acts, min_size=5, max_size=25))
def test_whatever_is_moved_reversed_adjusted_and_repeated_adds_up(what: list[Act]) -> None:
    async def go(folder: Path) -> None:
        async with a_world(folder) as world:
            model = Model()
            for number, each in enumerate(what):
                await act(world.ledger, model, number, each)
                for user in USERS:
                    held = await world.balances(user)
                    assert all(held.get(asset, 0) == model.balance(user, asset) for asset in ASSETS)
            for user in USERS:
                steps = (await entries_of(world, user)).steps
                assert [step.entry.entry_id for step in steps] == [
                    entry_id for entry_id, (whose, _) in model.posted.items() if whose == user
                ]
                assert all(min(step.holdings.values()) >= 0 for step in steps)
            audit = await world.audit()
            assert audit.is_clean, [breach for check in audit.checks for breach in check.breaches]

    with TemporaryDirectory() as folder:
        asyncio.run(go(Path(folder)))
