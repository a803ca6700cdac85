"""The ledger against a model that keeps a plain list of what counts when, and redoes every sum from it."""

import asyncio
from collections import defaultdict
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from world import World, a_world, activation, at, program_with

from ledger.enrolments import end_enrolment, enrol
from ledger.errors import InsufficientBalance, OutOfOrder
from ledger.imports import ImportRefused
from ledger.movements import post_movement
from ledger.pools import fund_pool
from ledger.programs import Applied, apply_program
from ledger.statements import standing
from staking.days import ONE_DAY, day_of, end_of, start_of
from staking.models import CreditReceipt, EndRequest, EnrolRequest, PoolShort, Receipt, Refusal, Rewards, Snapshot
from staking.program import AssetTerms, Program

pytestmark = pytest.mark.on_both_databases

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
    """What a user's spot account is by the rules: a list of (instant, asset, units)."""

    counts: list[tuple[datetime, str, int]] = field(default_factory=list[tuple[datetime, str, int]])
    closed_through: datetime = NEVER

    def before(self, asset: str, instant: datetime) -> int:
        return sum(units for when, what, units in self.counts if what == asset and when < instant)

    def now(self, asset: str) -> int:
        return sum(units for _, what, units in self.counts if what == asset)

    def average(self, asset: str, day: date) -> int:
        """Rule 2 by integration: each holding times how long it was held."""
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
        """When a live movement counts: never before what the user's own movements reached."""
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
    """Since the activation."""
    late_by: int
    """Minutes that it was stamped before."""
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


@settings(max_examples=15, deadline=None)
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
    snapshot = await world.close("ann", day, now=now)
    account.closed_through = end_of(day)
    assert held(snapshot) == account.snapshot(day, terms)
    before = await world.holdings_before("ann", start_of(day))
    assert all(line.opening == before[line.asset] for line in snapshot.holdings)
    if day == START.date():
        return
    rewards = await world.rewards(snapshot)
    due = {line.asset: reward(line.average, terms.assets[line.asset]) for line in snapshot.holdings}
    assert {line.asset: line.reward for line in rewards.lines} == due
    assert isinstance(await world.credit("ann", rewards, now=now), CreditReceipt)
    account.counts += [(end_of(day), asset, units) for asset, units in due.items() if units]


# The machine.

USERS = st.sampled_from(["ann", "bob"])
AMOUNTS = st.integers(1, 60 * TOKEN)


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


class LedgerMachine(RuleBasedStateMachine):
    """Everything that may come, in any order, twice; time goes on in between."""

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
        self.earlier: list[tuple[Callable[[], Awaitable[Any]], Any]] = []
        self.count = 0

    @initialize()
    def opens(self) -> None:
        self.world: World = self.do(self.stack.enter_async_context(a_world(Path(self.folder.name), program=None)))
        self._apply(program(date(2020, 1, 1), {"SOL": SMALL, "SUI": SMALL}))
        for user in ("ann", "bob"):
            self.deposits(user, "SOL", 50 * TOKEN, late_by=0)
            self.activates(user, "FR")
        self.funds("SOL", TOKEN)

    def do(self, words: Awaitable[Any]) -> Any:
        async def run() -> Any:
            return await words

        return self.runner.run(run())

    def ask(self, words: Callable[[], Awaitable[Any]]) -> Any:
        """A request that may come again."""
        answer = self.do(words())
        self.earlier.append((words, answer))
        return answer

    def terms_on(self, day: date) -> Program:
        in_force = [each for each in self.programs if each.effective_from <= day]
        latest = max(each.effective_from for each in in_force)
        return [each for each in in_force if each.effective_from == latest][-1]

    def _apply(self, new: Program) -> None:
        now = self.now
        self.ask(lambda: apply_program(self.world.ledger, new, now=now))
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

    @rule(user=USERS, asset=st.sampled_from(ASSETS), amount=AMOUNTS, late_by=st.sampled_from([0, 0, 3, 30]))
    def deposits(self, user: str, asset: str, amount: int, late_by: int) -> None:
        self._moves(user, asset, amount, self.now - timedelta(hours=late_by))

    @rule(user=USERS, asset=st.sampled_from(ASSETS), amount=AMOUNTS, late_by=st.sampled_from([0, 0, 3, 30]))
    def withdraws(self, user: str, asset: str, amount: int, late_by: int) -> None:
        self._moves(user, asset, -amount, self.now - timedelta(hours=late_by))

    def _moves(self, user: str, asset: str, units: int, occurred_at: datetime) -> None:
        account = self.accounts[user]
        self.count += 1
        key = f"move {self.count}"

        def words() -> Awaitable[int]:
            return post_movement(
                self.world.ledger,
                user,
                {asset: units},
                kind="transfer",
                idempotency_key=key,
                occurred_at=occurred_at,
            )

        if account.now(asset) + units < 0:
            try:
                self.do(words())
            except InsufficientBalance:
                return
            raise AssertionError("a balance fell below zero")
        when = account.live(occurred_at)
        self.ask(words)
        account.counts.append((when, asset, units))

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
        for hours, asset, tokens in lines:
            instant = self.now - timedelta(hours=hours)
            self.count += 1
            written.append(f"{user},{instant:%Y-%m-%d %H:%M:%S},Spot,Deposit,{asset},{tokens},{self.count}")
            account.counts.append((account.effective(instant), asset, tokens * TOKEN))
        if account.stays_in_range():
            report = self.do(self.world.import_lines(*written))
            assert report.imported == len(lines)
            assert self.do(self.world.import_lines(*reversed(written))).already_imported == len(lines)
            return
        account.counts = before
        try:
            self.do(self.world.import_lines(*written))
        except ImportRefused:
            return
        raise AssertionError("an export that overdraws an account was imported")

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
        answer = self.do(enrol(self.world.ledger, request))
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
        self.earlier.append((lambda: enrol(self.world.ledger, request), answer))

    @rule(user=USERS)
    def deactivates(self, user: str) -> None:
        known = self.enrolled[user]
        if not known or known[-1].last_accrual_day is not None:
            return
        last = known[-1]
        request = EndRequest(user_id=user, enrolment_id=last.enrolment_id, ended_at=self.now, reason="enough")
        end = self.ask(lambda: end_enrolment(self.world.ledger, request))
        last.last_accrual_day = day_of(self.now) - ONE_DAY
        first_owed = max(last.next_day, last.first_accrual_day)
        assert end.owed_days == max((last.last_accrual_day - first_owed).days + 1, 0)

    @rule(user=USERS, steps=st.integers(1, 9))
    def processes(self, user: str, steps: int) -> None:
        """What a worker does after it recalled what is unfinished: some steps, and then it is gone."""
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
        try:
            self.do(self.world.close(user, too_early, enrolment_id=one.enrolment_id, now=end_of(too_early)))
        except OutOfOrder:
            return
        raise AssertionError(f"{too_early} was closed out of turn")

    def _step(self, user: str, one: Enrolled) -> bool:
        """Closes or credits the next day, as the model says; False where the pool is short."""
        account, day, now = self.accounts[user], one.next_day, self.now
        terms = self.terms_on(day)
        close = lambda: self.world.close(user, day, enrolment_id=one.enrolment_id, now=now)  # noqa: E731
        if not one.closed:
            snapshot = self.ask(close)
            account.closed_through = end_of(day)
            assert held(snapshot) == account.snapshot(day, terms)
            one.closed = True
            if day < one.first_accrual_day:
                one.next_day, one.closed = day + ONE_DAY, False
            return True
        rewards: Rewards = self.do(self.world.rewards(self.do(close())))
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
        for asset, units in due.items():
            assert (user, day, asset) not in self.paid
            self.paid[user, day, asset] = units
            self.pools[asset] -= units
            if units:
                account.counts.append((end_of(day), asset, units))
        one.next_day, one.closed = day + ONE_DAY, False
        return True

    @rule(asset=st.sampled_from(ASSETS), units=st.sampled_from([1, TOKEN // 100, TOKEN]))
    def funds(self, asset: str, units: int) -> None:
        if not any(asset in each.assets for each in self.programs):
            return
        self.pools[asset] += units
        assert self.do(fund_pool(self.world.ledger, asset, units, now=self.now)) == self.pools[asset]

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

    @rule(data=st.data())
    def an_earlier_request_comes_again(self, data: st.DataObject) -> None:
        words, answer = data.draw(st.sampled_from(self.earlier), label="request")
        before = self.do(self.world.everything())
        again = self.do(words())
        if isinstance(answer, Applied):
            # Of one that a later one had superseded, this is a change.
            self.programs += [again.version.program] if again.changed else []
        else:
            assert again == answer
            assert self.do(self.world.everything()) == before

    @invariant()
    def balances_are_the_model_s(self) -> None:
        for user, account in self.accounts.items():
            balances = self.do(self.world.balances(user))
            assert {asset: units for asset, units in balances.items() if units} == {
                asset: account.now(asset) for asset in ASSETS if account.now(asset)
            }

    @invariant()
    def what_is_unfinished_is_recalled(self) -> None:
        for user, known in self.enrolled.items():
            recalled = self.do(self.world.recall(user)).enrolments
            assert [(each.receipt.enrolment_id, each.next_day) for each in recalled] == [
                (each.enrolment_id, each.next_day) for each in known if not each.is_finished
            ]

    def _in_the_end_everything_is_paid(self) -> None:
        """Rule 11: late is late, never lost."""
        for asset in ASSETS:
            for _ in range(9):
                self.funds(asset, TOKEN)
        self.days_pass_as_they_should(3)
        for user, known in self.enrolled.items():
            assert all(each.is_finished or each.next_day == day_of(self.now) for each in known)
            assert self.do(standing(self.world.ledger, user, now=self.now)).owed_days == []

    def teardown(self) -> None:
        try:
            if hasattr(self, "world"):
                self._in_the_end_everything_is_paid()
                found = self.do(self.world.audit())
                assert found.is_clean, [breach for check in found.checks for breach in check.breaches]
                lines = self.do(self.world.statement())
                assert {(line.user_id, line.day, line.asset): line.reward for line in lines} == self.paid
        finally:
            self.do(self.stack.aclose())
            self.runner.close()
            self.folder.cleanup()


LedgerMachine.TestCase.settings = settings(max_examples=10, stateful_step_count=30, deadline=None)
TestLedgerMachine = LedgerMachine.TestCase
