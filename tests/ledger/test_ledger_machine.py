"""The ledger is compared with a model that keeps a plain list of what counts when, and recomputes every sum from
it.

The examples are the same every time, so that no run fails by chance. To look for new ones:
``LEDGER_EXAMPLES=1000 pytest tests/ledger/test_ledger_machine.py``.
"""

import asyncio
import os
from collections import defaultdict
from collections.abc import Awaitable, Callable, Collection
from contextlib import AsyncExitStack
from dataclasses import dataclass, field, replace
from datetime import date, datetime, timedelta
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import databases
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from world import World, a_world, activation, at, program_with

from contract.answers import Receipt, Refusal
from contract.recollection import Enrolment
from contract.requests import EndRequest, EnrolRequest
from ledger.corrections import adjust, reverse
from ledger.database.engine import Ledger
from ledger.enrolments import end_enrolment, enrol
from ledger.entries import Entry, Recorded
from ledger.errors import InsufficientBalance, NotReversible, OutOfOrder, ProgramRefused, UnknownAsset
from ledger.imports.importing import ImportRefused
from ledger.movements import deposit, post_movement, trade, withdraw
from ledger.pools import fund_pool
from ledger.programs import Applied, apply_program, program_on, switch_assets
from ledger.reading.recollection import unfinished_of
from ledger.reading.standing import standing_of
from staking.days import ONE_DAY, day_of, end_of, start_of
from staking.models import CreditReceipt, PoolShort, Rewards, Snapshot
from staking.money import format_amount
from staking.program import AssetTerms, Program

pytestmark = pytest.mark.on_both_databases

EXAMPLES = int(os.environ.get("LEDGER_EXAMPLES", "0"))


def examples(few: int) -> settings:
    return settings(max_examples=EXAMPLES or few, derandomize=not EXAMPLES, deadline=None, stateful_step_count=40)


TOKEN = 10**8
ASSETS = ("SOL", "SUI", "DOGE")
"""SOL is always in the program, SUI leaves it and DOGE joins it in some versions."""
SMALL = {"minimum": "1", "cap": "40", "apr": "0.5"}
LARGE = {"minimum": "2", "cap": "90", "apr": "0.25"}
START = at("2026-10-01 10:00")
NEVER = at("1970-01-01")


def program(effective_from: date, terms: dict[str, dict[str, object]]) -> Program:
    full = program_with(str(effective_from), **terms)
    return full.model_copy(update={"assets": {asset: full.assets[asset] for asset in terms}})


@dataclass
class Account:
    """A user's spot account as the rules see it: a list of (instant, asset, units)."""

    counts: list[tuple[datetime, str, int]] = field(default_factory=list[tuple[datetime, str, int]])
    closed_through: datetime = NEVER

    def before(self, asset: str, instant: datetime) -> int:
        return sum(units for when, what, units in self.counts if what == asset and when < instant)

    def now(self, asset: str) -> int:
        return sum(units for _, what, units in self.counts if what == asset)

    def average(self, asset: str, day: date) -> int:
        """Rule 2 by integration: each holding is multiplied by how long it was held."""
        start, end = start_of(day), end_of(day)
        instants = sorted({start, end, *(when for when, what, _ in self.counts if start <= when < end)})
        area = sum(
            self.before(asset, later) * Fraction((later - earlier) // timedelta(microseconds=1))
            for earlier, later in pairwise(instants)
        )
        return area // Fraction(ONE_DAY // timedelta(microseconds=1))

    def snapshot(self, day: date, terms: Program) -> dict[str, tuple[int, int, int]]:
        start, end = start_of(day), end_of(day)
        moved = {what for when, what, _ in self.counts if start <= when < end}
        return {
            asset: (self.before(asset, start), self.before(asset, end), self.average(asset, day))
            for asset in terms.assets
            if self.before(asset, start) or asset in moved
        }

    def effective(self, instant: datetime) -> datetime:
        return max(instant, self.closed_through)

    def live(self, instant: datetime) -> datetime:
        """When a live movement counts: never before the user's latest movement."""
        return max([self.effective(instant), *(when for when, _, _ in self.counts)])

    def stays_in_range(self) -> bool:
        holdings: defaultdict[str, int] = defaultdict(int)
        for instant in sorted({when for when, _, _ in self.counts}):
            for when, asset, units in self.counts:
                if when == instant:
                    holdings[asset] += units
            if min(holdings.values()) < 0:
                return False
        return True


def reward(average: int, terms: AssetTerms) -> int:
    """Rules 3 and 4 in fractions."""
    minimum, cap = (Fraction(text) * TOKEN for text in (terms.minimum, terms.cap))
    if terms.paused or average < minimum:
        return 0
    return min(Fraction(average), cap) * Fraction(terms.apr) // 365


def held(snapshot: Snapshot) -> dict[str, tuple[int, int, int]]:
    return {line.asset: (line.opening, line.closing, line.average) for line in snapshot.holdings}


# A property: whenever the days are closed, the snapshots are those of the model.


@dataclass(frozen=True)
class Move:
    minutes: int
    """The time since the activation."""
    late_by: int
    """How many minutes before it was stamped."""
    asset: str
    units: int
    is_imported: bool


moves = st.builds(
    Move,
    minutes=st.integers(0, 5 * 24 * 60),
    late_by=st.sampled_from([0, 0, 0, 7, 700, 2000]),
    asset=st.sampled_from(ASSETS),
    units=st.integers(-9 * TOKEN, 20 * TOKEN).filter(bool),
    is_imported=st.booleans(),
)


@examples(6)
@given(
    stream=st.lists(moves, max_size=14),
    delays=st.lists(st.integers(0, 3 * 24 * 60), min_size=6, max_size=6),
    changes_on=st.integers(2, 5),
)
def test_every_snapshot_is_the_model_s_however_late_each_day_is_closed(
    stream: list[Move], delays: list[int], changes_on: int
) -> None:
    with TemporaryDirectory() as folder, asyncio.Runner() as runner:
        runner.run(_the_model_s_snapshots(Path(folder), stream, delays, changes_on))


async def _the_model_s_snapshots(folder: Path, stream: list[Move], delays: list[int], changes_on: int) -> None:
    first_day = START.date()
    one = program(date(2020, 1, 1), {"SOL": SMALL, "SUI": SMALL})
    two = program(first_day + changes_on * ONE_DAY, {"SOL": LARGE, "DOGE": SMALL})
    account = Account()
    async with a_world(folder, program=None) as world:
        for each in (one, two):
            await world.apply(each)
        for asset in ASSETS:
            await world.fund(asset)
        await world.move("ann", "100", "SOL", START)
        account.counts.append((START, "SOL", 100 * TOKEN))
        assert isinstance(await world.enrol("ann", START, program=one), Receipt)

        closings: list[tuple[datetime, date]] = []
        for number, delay in enumerate(delays):
            wake = end_of(first_day + number * ONE_DAY) + timedelta(minutes=delay)
            closings.append((max(wake, closings[-1][0]) if closings else wake, first_day + number * ONE_DAY))
        moments: list[tuple[datetime, Move | date]] = [
            *((START + timedelta(minutes=move.minutes), move) for move in stream),
            *closings,
        ]
        for now, what in sorted(moments, key=lambda moment: moment[0]):
            if isinstance(what, Move):
                await _make(world, account, what, now)
            else:
                terms = one if what < two.effective_from else two
                await _close_and_credit(world, account, what, terms, now)
        assert await world.balances("ann") == {
            asset: account.now(asset) for asset in {what for _, what, _ in account.counts}
        }
        assert (await world.audit()).is_clean


async def _make(world: World, account: Account, move: Move, now: datetime) -> None:
    stamped = now - timedelta(minutes=move.late_by)
    when = account.effective(stamped) if move.is_imported else account.live(stamped)
    account.counts.append((when, move.asset, move.units))
    if not account.stays_in_range():
        account.counts.pop()
        return
    if move.is_imported:
        await world.import_lines(
            f"ann,{stamped:%Y-%m-%d %H:%M:%S},Spot,Transfer,{move.asset},{move.units}E-8,{len(account.counts)}"
        )
    else:
        await post_movement(
            world.ledger,
            "ann",
            {move.asset: move.units},
            kind="transfer",
            idempotency_key=f"move {len(account.counts)}",
            occurred_at=stamped,
        )


async def _close_and_credit(world: World, account: Account, day: date, terms: Program, now: datetime) -> None:
    snapshot = await world.snapshot("ann", day, now=now)
    account.closed_through = end_of(day)
    assert held(snapshot) == account.snapshot(day, terms)
    before = await world.holdings_before("ann", start_of(day))
    assert all(line.opening == before[line.asset] for line in snapshot.holdings)
    if day == START.date():
        return
    rewards = await world.compute(snapshot)
    due = {line.asset: reward(line.average, terms.assets[line.asset]) for line in snapshot.holdings}
    assert {line.asset: line.reward for line in rewards.lines} == due
    assert isinstance(await world.credit("ann", rewards, now=now), CreditReceipt)
    account.counts += [(end_of(day), asset, units) for asset, units in due.items() if units]


# The machine.

USERS = st.sampled_from(["ann", "bob"])
AMOUNTS = st.integers(1, 60 * TOKEN)
LATE_BY = st.sampled_from([None, 0, 3, 30])
"""How many hours before now the sender stamped a movement; None if it has no instant."""
REASONS = st.sampled_from(["a mistake", "a fee"])


@dataclass
class Enrolled:
    enrolment_id: str
    activated_at: datetime
    next_day: date
    last_accrual_day: date | None = None
    closed: bool = False
    """Whether ``next_day`` is closed already, and its credit waits."""

    @property
    def first_accrual_day(self) -> date:
        return day_of(self.activated_at) + ONE_DAY

    @property
    def is_finished(self) -> bool:
        last = self.last_accrual_day
        return last is not None and (last < self.first_accrual_day or self.next_day > last)


@dataclass
class Posted:
    """An entry of the ledger in the model."""

    user: str | None
    """The user; None for the reward pool."""
    changes: dict[str, int]
    is_reward: bool = False
    reverses: int | None = None
    reversed_by: int | None = None


class LedgerMachine(RuleBasedStateMachine):
    """Every request may come, in any order and twice, while time goes on."""

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.folder = TemporaryDirectory()
        self.stack = AsyncExitStack()
        self.now = START
        self.accounts: defaultdict[str, Account] = defaultdict(Account)
        self.enrolled: defaultdict[str, list[Enrolled]] = defaultdict(list)
        self.pools: defaultdict[str, int] = defaultdict(int)
        self.programs: list[Program] = []
        self.paid: dict[tuple[str, date, str], int] = {}
        self.paid_by: dict[tuple[str, date], int | None] = {}
        self.posted: dict[int, Posted] = {}
        self.adjusted: dict[tuple[str, str, int, str], int] = {}
        self.earlier: list[tuple[Callable[[], Awaitable[Any]], Any]] = []
        self.count = 0

    @initialize()
    def opens(self) -> None:
        self.world: World = self.do(self.stack.enter_async_context(a_world(Path(self.folder.name), program=None)))
        self._apply(program(date(2020, 1, 1), {"SOL": SMALL, "SUI": SMALL}))
        for user in ("ann", "bob"):
            self.deposits(user, "SOL", 50 * TOKEN, late_by=None)
            self.activates(user, "FR")
        self.funds("SOL", TOKEN)

    @property
    def ledger(self) -> Ledger:
        return self.world.ledger

    def do(self, words: Awaitable[Any]) -> Any:
        async def run() -> Any:
            return await words

        return self.runner.run(run())

    def ask(self, words: Callable[[], Awaitable[Any]]) -> Any:
        """A request that may come again."""
        answer = self.do(words())
        self.earlier.append((words, answer))
        return answer

    def ask_for_an_entry(self, words: Callable[[], Awaitable[Recorded]]) -> Entry:
        """A request that posts an entry, and may come again."""

        async def lasting() -> Entry:
            return replace((await words()).entry, reversed_by=None)

        entry: Entry = self.ask(lasting)
        assert entry.entry_id not in self.posted
        return entry

    def refuses(self, words: Awaitable[Any], refusal: type[Exception]) -> None:
        with pytest.raises(refusal):
            self.do(words)

    def latest_entry_ids(self, number: int) -> list[int]:
        rows = self.do(self.world.sql("SELECT entry_id FROM entries ORDER BY entry_id"))
        return [row.entry_id for row in rows[-number:]]

    def terms_on(self, day: date) -> Program:
        in_force = [each for each in self.programs if each.effective_from <= day]
        latest = max(each.effective_from for each in in_force)
        return [each for each in in_force if each.effective_from == latest][-1]

    def _apply(self, new: Program) -> None:
        now = self.now
        self.ask(lambda: apply_program(self.ledger, new, operator="tests", now=now))
        self.programs.append(new)

    @rule(hours=st.sampled_from([1, 13, 24, 60]))
    def time_passes(self, hours: int) -> None:
        self.now += timedelta(hours=hours)

    @rule(days=st.integers(1, 3))
    def days_pass_as_they_should(self, days: int) -> None:
        for _ in range(days):
            self.now = end_of(day_of(self.now)) + timedelta(hours=1)
            for user in ("ann", "bob"):
                self.processes(user, steps=200)

    @rule(user=USERS, asset=st.sampled_from(ASSETS), amount=AMOUNTS, late_by=LATE_BY)
    def deposits(self, user: str, asset: str, amount: int, late_by: int | None) -> None:
        occurred_at = self.stamped(late_by)
        self._moves(
            user, {asset: amount}, occurred_at, lambda how: deposit(self.ledger, user, asset, amount, **how)
        )

    @rule(user=USERS, asset=st.sampled_from(ASSETS), amount=AMOUNTS, late_by=LATE_BY)
    def withdraws(self, user: str, asset: str, amount: int, late_by: int | None) -> None:
        occurred_at = self.stamped(late_by)
        self._moves(
            user, {asset: -amount}, occurred_at, lambda how: withdraw(self.ledger, user, asset, amount, **how)
        )

    @rule(user=USERS, assets=st.permutations(ASSETS), sold=AMOUNTS, bought=AMOUNTS, late_by=LATE_BY)
    def trades(self, user: str, assets: list[str], sold: int, bought: int, late_by: int | None) -> None:
        one, other, _ = assets
        occurred_at = self.stamped(late_by)
        self._moves(
            user,
            {one: -sold, other: bought},
            occurred_at,
            lambda how: trade(self.ledger, user, one, sold, other, bought, **how),
        )

    def stamped(self, late_by: int | None) -> datetime | None:
        return None if late_by is None else self.now - timedelta(hours=late_by)

    def _moves(
        self,
        user: str,
        changes: dict[str, int],
        occurred_at: datetime | None,
        words: Callable[[dict[str, Any]], Awaitable[Recorded]],
    ) -> None:
        account = self.accounts[user]
        self.count += 1
        how = {"idempotency_key": f"move {self.count}", "now": self.now, "occurred_at": occurred_at}
        if any(account.now(asset) + units < 0 for asset, units in changes.items()):
            self.refuses(words(how), InsufficientBalance)
            return
        when = account.live(occurred_at or self.now)
        entry = self.ask_for_an_entry(lambda: words(how))
        assert (entry.changes, entry.effective_at) == (changes, when)
        self._has_posted(entry.entry_id, Posted(user, changes), when)

    def _has_posted(self, entry_id: int, posted: Posted, when: datetime) -> None:
        self.posted[entry_id] = posted
        for asset, units in posted.changes.items():
            if posted.user is None:
                self.pools[asset] += units
            else:
                self.accounts[posted.user].counts.append((when, asset, units))

    @rule(user=USERS, asset=st.sampled_from(ASSETS), tokens=st.sampled_from([-30, -1, 1]), why=REASONS)
    def is_adjusted(self, user: str, asset: str, tokens: int, why: str) -> None:
        account, amount, now = self.accounts[user], tokens * TOKEN, self.now
        words = lambda: adjust(  # noqa: E731
            self.ledger, user, asset, amount, reason=why, operator="zoe", now=now
        )
        first = self.adjusted.get((user, asset, amount, why))
        if first is not None:
            again: Recorded = self.do(words())
            assert (again.entry.entry_id, again.recorded_already) == (first, True)
        elif account.now(asset) + amount < 0:
            self.refuses(words(), InsufficientBalance)
        else:
            when = account.live(now)
            entry = self.ask_for_an_entry(words)
            assert (entry.changes, entry.effective_at, entry.reason) == ({asset: amount}, when, why)
            self.adjusted[user, asset, amount, why] = entry.entry_id
            self._has_posted(entry.entry_id, Posted(user, {asset: amount}), when)

    @rule(data=st.data(), why=REASONS)
    def an_entry_is_reversed(self, data: st.DataObject, why: str) -> None:
        entry_id = data.draw(st.sampled_from(sorted(self.posted)), label="entry")
        self._reverses(entry_id, why)

    @precondition(lambda self: any(self.paid_by.values()))
    @rule(data=st.data(), why=REASONS)
    def a_reward_is_reversed(self, data: st.DataObject, why: str) -> None:
        entry_ids = sorted(entry_id for entry_id in self.paid_by.values() if entry_id)
        self._reverses(data.draw(st.sampled_from(entry_ids), label="entry"), why)

    def _reverses(self, entry_id: int, why: str) -> None:
        posted, now = self.posted[entry_id], self.now
        words = lambda: reverse(self.ledger, entry_id, reason=why, operator="zoe", now=now)  # noqa: E731
        back = {asset: -units for asset, units in posted.changes.items()}
        if posted.reverses is not None:
            self.refuses(words(), NotReversible)
        elif posted.reversed_by is not None:
            again: Recorded = self.do(words())
            assert (again.entry.entry_id, again.recorded_already) == (posted.reversed_by, True)
        elif any(self._holds(posted.user, asset) + units < 0 for asset, units in back.items()):
            self.refuses(words(), InsufficientBalance)
        else:
            when = self.accounts[posted.user].live(now) if posted.user else now
            entry = self.ask_for_an_entry(words)
            assert (entry.changes, entry.effective_at, entry.reverses) == (back, when, entry_id)
            self._has_posted(entry.entry_id, Posted(posted.user, back, reverses=entry_id), when)
            posted.reversed_by = entry.entry_id
            if posted.is_reward:
                for asset, units in posted.changes.items():
                    self.pools[asset] += units

    def _holds(self, user: str | None, asset: str) -> int:
        return self.accounts[user].now(asset) if user else self.pools[asset]

    @rule(
        user=USERS,
        lines=st.lists(
            st.tuples(st.integers(0, 100), st.sampled_from(ASSETS), st.integers(-20, 30).filter(bool)),
            min_size=1,
            max_size=5,
        ),
    )
    def imports(self, user: str, lines: list[tuple[int, str, int]]) -> None:
        account = self.accounts[user]
        before = list(account.counts)
        written: list[str] = []
        changes: list[dict[str, int]] = []
        for hours, asset, tokens in lines:
            instant = self.now - timedelta(hours=hours)
            self.count += 1
            # Each has an amount of its own, since equal movements of two imports may be the same.
            amount = tokens * TOKEN + self.count
            written.append(f"{user},{instant:%Y-%m-%d %H:%M:%S},Spot,Deposit,{asset},{format_amount(amount)},")
            changes.append({asset: amount})
            account.counts.append((account.effective(instant), asset, amount))
        if account.stays_in_range():
            report = self.do(self.world.import_lines(*written))
            assert report.imported == len(lines)
            imported = zip(self.latest_entry_ids(len(lines)), changes, strict=True)
            self.posted |= {entry_id: Posted(user, change) for entry_id, change in imported}
            assert self.do(self.world.import_lines(*reversed(written))).already_imported == len(lines)
            return
        account.counts = before
        self.refuses(self.world.import_lines(*written), ImportRefused)

    @rule(user=USERS, region=st.sampled_from(["FR", "FR", "FR", "US"]))
    def activates(self, user: str, region: str) -> None:
        self.count += 1
        enrolment_id, now = f"enrolment {self.count}", self.now
        request = EnrolRequest(
            user_id=user,
            enrolment_id=enrolment_id,
            activation=activation(region=region),
            activated_at=now,
            now=now,
        )
        account, known = self.accounts[user], self.enrolled[user]
        answer = self.do(enrol(self.ledger, request))
        if known and known[-1].last_accrual_day is None:
            assert answer.enrolment_id == known[-1].enrolment_id
            return
        since = account.effective(now)
        terms = self.terms_on(day_of(since))
        qualifies = any(
            account.before(asset, since + timedelta(microseconds=1)) >= each.minimum_units
            for asset, each in terms.assets.items()
        )
        if region == "US" or not qualifies:
            assert isinstance(answer, Refusal)
            return
        assert (answer.enrolment_id, answer.activated_at) == (enrolment_id, since)
        known.append(Enrolled(enrolment_id, since, next_day=day_of(since)))
        self.earlier.append((lambda: enrol(self.ledger, request), answer))

    @rule(user=USERS)
    def deactivates(self, user: str) -> None:
        known = self.enrolled[user]
        if not known or known[-1].last_accrual_day is not None:
            return
        last = known[-1]
        request = EndRequest(user_id=user, enrolment_id=last.enrolment_id, ended_at=self.now, reason="enough")
        end = self.ask(lambda: end_enrolment(self.ledger, request))
        last.last_accrual_day = day_of(self.now) - ONE_DAY
        first_owed = max(last.next_day, last.first_accrual_day)
        assert end.owed_days == max((last.last_accrual_day - first_owed).days + 1, 0)

    @rule(user=USERS, steps=st.integers(1, 9))
    def processes(self, user: str, steps: int) -> None:
        """A worker recalls what is unfinished, takes some steps, and then is gone."""
        for _ in range(steps):
            unfinished = [each for each in self.enrolled[user] if not each.is_finished]
            if not unfinished or self.now < end_of(unfinished[0].next_day):
                return
            if not self._step(user, unfinished[0]):
                return

    @rule(user=USERS)
    def a_day_is_closed_out_of_turn(self, user: str) -> None:
        unfinished = [each for each in self.enrolled[user] if not each.is_finished]
        if not unfinished:
            return
        one = unfinished[0]
        too_early = one.next_day + ONE_DAY if one.closed else one.next_day + 2 * ONE_DAY
        now = end_of(too_early)
        self.refuses(self.world.snapshot(user, too_early, enrolment_id=one.enrolment_id, now=now), OutOfOrder)

    def _step(self, user: str, one: Enrolled) -> bool:
        """Closes or credits the next day, as the model says. Returns False if the pool is short."""
        account, day, now = self.accounts[user], one.next_day, self.now
        terms = self.terms_on(day)
        close = lambda: self.world.snapshot(user, day, enrolment_id=one.enrolment_id, now=now)  # noqa: E731
        if not one.closed:
            snapshot = self.ask(close)
            account.closed_through = end_of(day)
            assert held(snapshot) == account.snapshot(day, terms)
            one.closed = True
            if day < one.first_accrual_day:
                one.next_day, one.closed = day + ONE_DAY, False
            return True
        rewards: Rewards = self.do(self.world.compute(self.do(close())))
        due = {
            asset: reward(average, terms.assets[asset])
            for asset, (_, _, average) in account.snapshot(day, terms).items()
        }
        assert {line.asset: line.reward for line in rewards.lines} == due
        credit = lambda: self.world.credit(user, rewards, enrolment_id=one.enrolment_id, now=now)  # noqa: E731
        short = sorted(asset for asset, units in due.items() if units > self.pools[asset])
        answer = self.do(credit())
        if short:
            assert answer == PoolShort(day=day, assets=short)
            return False
        assert isinstance(answer, CreditReceipt)
        self.earlier.append((credit, answer))
        self.paid_by[user, day] = answer.entry_id
        for asset, units in due.items():
            assert (user, day, asset) not in self.paid
            self.paid[user, day, asset] = units
            self.pools[asset] -= units
        earned = {asset: units for asset, units in due.items() if units}
        assert (answer.entry_id is not None) == bool(earned)
        if answer.entry_id is not None:
            self._has_posted(answer.entry_id, Posted(user, earned, is_reward=True), end_of(day))
        one.next_day, one.closed = day + ONE_DAY, False
        return True

    @rule(asset=st.sampled_from(ASSETS), units=st.sampled_from([1, TOKEN // 100, TOKEN]))
    def funds(self, asset: str, units: int) -> None:
        if not any(asset in each.assets for each in self.programs):
            return
        self.count += 1
        key, now = f"funding {self.count}", self.now

        async def funding() -> None:
            await fund_pool(self.ledger, asset, units, operator="tests", now=now, idempotency_key=key)

        self.ask(funding)
        (entry_id,) = self.latest_entry_ids(1)
        self._has_posted(entry_id, Posted(None, {asset: units}), now)

    @rule(
        in_days=st.integers(1, 3),
        terms=st.sampled_from(
            [
                {"SOL": LARGE, "DOGE": SMALL},
                {"SOL": SMALL, "SUI": LARGE},
                {"SOL": SMALL, "SUI": SMALL, "DOGE": LARGE},
                {"SOL": {**SMALL, "paused": True}},
            ]
        ),
    )
    def the_program_changes(self, in_days: int, terms: dict[str, dict[str, object]]) -> None:
        new = program(day_of(self.now) + in_days * ONE_DAY, terms)
        if new in self.programs:
            return
        self._apply(new)

    @rule(
        assets=st.sampled_from([{"SOL"}, {"SOL"}, {"SOL", "SUI"}, {"DOGE"}]),
        paused=st.booleans(),
        in_days=st.sampled_from([None, 0, 1, 2]),
    )
    def assets_are_switched(self, assets: set[str], paused: bool, in_days: int | None) -> None:
        tomorrow = day_of(self.now) + ONE_DAY
        first_day = tomorrow if in_days is None else day_of(self.now) + in_days * ONE_DAY
        words = lambda: switch_assets(  # noqa: E731
            self.ledger,
            assets,
            paused=paused,
            operator="tests",
            reason="a test",
            first_day=in_days and first_day,
            now=self.now,
        )
        if in_days == 0:
            first_day = tomorrow
        if not assets <= self.terms_on(first_day).assets.keys():
            self.refuses(words(), UnknownAsset)
            return
        horizon = [first_day + number * ONE_DAY for number in range(-2, 5)]
        due = {day: self._terms(day, assets if day >= first_day else set(), paused=paused) for day in horizon}
        switched = self.do(words())
        assert switched.first_day == first_day
        self.programs += [version.program for version in switched.versions]
        assert {day: self._terms(day) for day in horizon} == due
        assert {day: self.do(self._recorded_terms(day)) for day in horizon} == due
        assert self.do(words()).versions == []

    def _terms(self, day: date, switched: Collection[str] = (), *, paused: bool = False) -> dict[str, AssetTerms]:
        return {
            asset: terms.model_copy(update={"paused": paused}) if asset in switched else terms
            for asset, terms in self.terms_on(day).assets.items()
        }

    async def _recorded_terms(self, day: date) -> dict[str, AssetTerms]:
        async with self.ledger.read() as connection:
            return (await program_on(connection, day)).program.assets

    @rule(assets=st.sets(st.sampled_from(ASSETS), min_size=1))
    def a_day_that_has_begun_keeps_its_terms(self, assets: set[str]) -> None:
        today = day_of(self.now)
        terms = self.terms_on(today).assets
        if not assets <= terms.keys():
            return
        paused = not terms[min(assets)].paused
        words = switch_assets(
            self.ledger, assets, paused=paused, operator="tests", reason="a test", first_day=today, now=self.now
        )
        self.refuses(words, ProgramRefused)

    @rule(data=st.data())
    def an_earlier_request_comes_again(self, data: st.DataObject) -> None:
        words, answer = data.draw(st.sampled_from(self.earlier), label="request")
        before = self.do(self.world.everything())
        if isinstance(answer, Applied):
            self._applies_again(words, answer.version.program)
            return
        assert self.do(words()) == answer
        assert self.do(self.world.everything()) == before

    def _applies_again(self, words: Callable[[], Awaitable[Applied]], again: Program) -> None:
        """For a program that a later one superseded, this is a change. It is too late if its first day has
        begun."""
        closed_through = max(account.closed_through for account in self.accounts.values())
        is_in_force = self.terms_on(again.effective_from) == again
        if not is_in_force and again.effective_from < day_of(closed_through):
            self.refuses(words(), ProgramRefused)
            return
        assert self.do(words()).changed == (not is_in_force)
        self.programs += [] if is_in_force else [again]

    @invariant()
    def balances_are_the_model_s(self) -> None:
        rows = self.do(self.world.sql("SELECT user_id, asset, balance FROM accounts WHERE balance <> 0"))
        balances = {(row.user_id, row.asset): row.balance for row in rows}
        owners = (None, *self.accounts)
        due = {(owner, asset): self._holds(owner, asset) for owner in owners for asset in ASSETS}
        assert balances == {whose: units for whose, units in due.items() if units}

    @invariant()
    def what_is_unfinished_is_recalled(self) -> None:
        for user, known in self.enrolled.items():
            recalled = self.do(self._unfinished(user))
            assert [(each.receipt.enrolment_id, each.next_day) for each in recalled] == [
                (each.enrolment_id, each.next_day) for each in known if not each.is_finished
            ]

    async def _unfinished(self, user: str) -> list[Enrolment]:
        """What a recall would have, without superseding the run that recalled before."""
        async with self.ledger.read() as connection:
            return (await unfinished_of(connection, user)).enrolments

    def _in_the_end_everything_is_paid(self) -> None:
        """Rule 11: late is late, never lost."""
        for asset in ASSETS:
            for _ in range(9):
                self.funds(asset, TOKEN)
        self.days_pass_as_they_should(3)
        for user, known in self.enrolled.items():
            assert all(each.is_finished or each.next_day == day_of(self.now) for each in known)
            assert self.do(standing_of(self.ledger, user, now=self.now)).owed_days == []

    def _everything_paid_is_told(self) -> None:
        """A reward that was reversed stays in the statement, and is in no total."""
        lines = self.do(self.world.statement())
        assert {(line.user_id, line.day, line.asset): line.reward for line in lines} == self.paid
        totals: defaultdict[str, dict[str, int]] = defaultdict(lambda: defaultdict(int))
        for line in lines:
            entry_id = self.paid_by[line.user_id, line.day]
            assert (line.entry_id, line.reversed_by) == (entry_id, entry_id and self.posted[entry_id].reversed_by)
            totals[line.user_id][line.asset] += line.kept
        for user in self.accounts:
            told = self.do(standing_of(self.ledger, user, now=self.now)).totals
            assert told == {asset: units for asset, units in totals[user].items() if units}

    def teardown(self) -> None:
        try:
            if hasattr(self, "world"):
                self._in_the_end_everything_is_paid()
                found = self.do(self.world.audit())
                assert found.is_clean, [breach for check in found.checks for breach in check.breaches]
                self._everything_paid_is_told()
        finally:
            self.do(self.stack.aclose())
            self.runner.close()
            self.folder.cleanup()


def test_whatever_comes_in_whatever_order_the_ledger_is_the_model_s() -> None:
    # This runs on SQLite alone, since every statement costs PostgreSQL a round trip, and each other test of the
    # ledger runs there.
    run_state_machine_as_test(LedgerMachine, settings=examples(6 if databases.kind == databases.SQLITE else 3))
