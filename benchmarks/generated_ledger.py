"""A consistent ledger of any size, written as bulk rows by the real rules, for measuring and testing the audit."""

from collections import defaultdict
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from itertools import count
from typing import Any

from sqlalchemy import Table, func, select, text

from ledger.database.engine import Ledger
from ledger.database.schema import (
    accounts,
    days,
    enrolments,
    entries,
    metadata,
    postings,
    rewards,
    snapshots,
    users,
)
from ledger.pools import fund_pool
from ledger.programs import apply_program
from staking.average import day_holding
from staking.days import ONE_DAY, end_of, start_of
from staking.money import UNITS_PER_TOKEN
from staking.program import Program
from staking.rewards import formula_on, outcome_and_reward

FIRST_DAY = date(2026, 1, 1)
"""The day of every activation."""
ASSETS = ("SOL", "BNB", "ADA", "SUI")
"""What every user holds. Some assets earn, some are capped, and SUI is below the minimum."""
OUTSIDE_THE_PROGRAM = "SHIB"
_TOKENS = {"SOL": 12, "BNB": 1500, "ADA": 5000, "SUI": 20, OUTSIDE_THE_PROGRAM: 1_000_000}
_POSTINGS_PER_DAY = 2 * 3 + 2 / 4
"""How many postings a user has on a day: the rewards of three assets, and a movement every fourth day."""
_ROWS_AT_ONCE = 10_000
_FUNDED_TOKENS = 1_000_000_000
_NEVER = datetime(1970, 1, 1, tzinfo=UTC)
_IN_THE_END = (
    """UPDATE accounts SET balance = (SELECT sum(amount) FROM postings p WHERE p.account_id = accounts.account_id)
       WHERE kind <> 'outside'""",
    """UPDATE users SET closed_through = (SELECT max(day + 1) * 86400000000 FROM days d
                                          WHERE d.user_id = users.user_id),
       latest_effective_at = (SELECT max(effective_at) FROM entries e
                              WHERE e.user_id = users.user_id AND e.kind <> 'reward')""",
)


@dataclass(frozen=True)
class Size:
    """How large a ledger is made."""

    users: int
    days: int
    """The number of days, with the day of activation."""

    @classmethod
    def of_postings(cls, wanted: int, *, days: int = 60) -> "Size":
        """The size that comes nearest to a number of postings."""
        return cls(users=max(round(wanted / (days * _POSTINGS_PER_DAY)), 1), days=days)

    @property
    def now(self) -> datetime:
        """An instant shortly after the last day."""
        return start_of(FIRST_DAY) + self.days * ONE_DAY + timedelta(hours=1)

    def ends_after(self, user: int) -> int | None:
        """The number of days after which the user's enrolment ends; None if it does not end. Every 50th user's
        enrolment ends after half of the days."""
        return self.days // 2 if user % 50 == 7 else None

    def is_owed(self, user: int, day: int) -> bool:
        """Whether the user is still owed the day. Every 50th user waits for the rewards of the last two days."""
        return user % 50 == 9 and day >= self.days - 2


@dataclass
class _User:
    number: int
    accounts: dict[str, int]
    holdings: dict[str, int]
    """The holding of each asset at the end of the last day that was generated."""
    movements: defaultdict[str, list[tuple[datetime, int]]] = field(default_factory=lambda: defaultdict(list))
    """The movements of the next day, by asset."""

    @property
    def user_id(self) -> str:
        return f"user{self.number:06}"

    @property
    def enrolment_id(self) -> str:
        return f"enrolment of {self.user_id}"


async def generate(ledger: Ledger, size: Size, program: Program) -> None:
    """Fills an empty ledger: users with three earning assets of four and one outside the program, movements at
    00:00 and within days, a second program version, ended enrolments and owed days."""
    versions = [program, _second_version(program, size)]
    for version in versions:
        await apply_program(ledger, version, operator="benchmarks", now=start_of(FIRST_DAY))
    for asset in ASSETS:
        await fund_pool(
            ledger, asset, _FUNDED_TOKENS * UNITS_PER_TOKEN, operator="benchmarks", now=start_of(FIRST_DAY)
        )
    await _Generator(ledger, size, versions).run()


def _second_version(program: Program, size: Size) -> Program:
    """The program from half of the days on: one asset has another APR."""
    content = program.model_dump(mode="json")
    content["effective_from"] = (FIRST_DAY + size.days // 2 * ONE_DAY).isoformat()
    content["assets"]["SOL"]["apr"] = "0.0091"
    return Program.model_validate(content)


class _Generator:
    """Generates the days one after the other for all users, so that rows are stored in the order in which they
    would come."""

    def __init__(self, ledger: Ledger, size: Size, versions: list[Program]) -> None:
        self._ledger = ledger
        self._size = size
        self._versions = versions
        self._rows: dict[Table, list[dict[str, Any]]] = {table: [] for table in metadata.sorted_tables}

    async def run(self) -> None:
        await self._number_from_what_is_there()
        people = [self._new_user(number) for number in range(self._size.users)]
        for number in range(self._size.days):
            for user in people:
                self._move(user, number)
                self._close_and_credit(user, number)
                if sum(map(len, self._rows.values())) >= _ROWS_AT_ONCE:
                    await self._write()
        await self._write()
        async with self._ledger.write() as connection:
            for statement in _IN_THE_END:
                await connection.execute(text(statement))

    async def _number_from_what_is_there(self) -> None:
        async with self._ledger.read() as connection:
            rows = await connection.execute(select(accounts.c.kind, accounts.c.asset, accounts.c.account_id))
            self._system = {(row.kind, row.asset): row.account_id for row in rows}
            last_entry = await connection.scalar(select(func.max(entries.c.entry_id)))
        self._account_ids = count(max(self._system.values()) + 1)
        self._entry_ids = count((last_entry or 0) + 1)
        outside = next(self._account_ids)
        self._system["outside", OUTSIDE_THE_PROGRAM] = outside
        self._add(
            accounts, account_id=outside, kind="outside", user_id=None, asset=OUTSIDE_THE_PROGRAM, balance=None
        )

    def _add(self, table: Table, **row: Any) -> None:
        if table is accounts:
            row["shard"] = 0
        self._rows[table].append(row)

    async def _write(self) -> None:
        async with self._ledger.write() as connection:
            for table, rows in self._rows.items():
                if rows:
                    await connection.execute(table.insert(), rows)
                rows.clear()

    def _new_user(self, number: int) -> _User:
        user = _User(number, accounts={}, holdings=dict.fromkeys(_TOKENS, 0))
        self._add(users, user_id=user.user_id, closed_through=_NEVER, latest_effective_at=_NEVER)
        for asset, tokens in _TOKENS.items():
            user.accounts[asset] = account_id = next(self._account_ids)
            self._add(accounts, account_id=account_id, kind="spot", user_id=user.user_id, asset=asset, balance=0)
            amount = tokens * UNITS_PER_TOKEN + number
            self._post_movement(user, asset, amount, start_of(FIRST_DAY) + timedelta(hours=9))
        activated_at = start_of(FIRST_DAY) + timedelta(hours=10)
        ends_after = self._size.ends_after(number)
        last_day = None if ends_after is None else FIRST_DAY + (ends_after - 1) * ONE_DAY
        self._add(
            enrolments,
            enrolment_id=user.enrolment_id,
            user_id=user.user_id,
            region="FR",
            channel="web",
            activated_at=activated_at,
            recorded_at=activated_at,
            first_accrual_day=FIRST_DAY + ONE_DAY,
            ended_at=None if last_day is None else end_of(last_day) + timedelta(hours=10),
            end_reason=None if last_day is None else "asked to stop",
            last_accrual_day=last_day,
            owed_days_at_end=None if last_day is None else 0,
        )
        return user

    def _move(self, user: _User, number: int) -> None:
        """Makes a movement every fourth day: within the day for one half of the users, and at its 00:00 for the
        other half."""
        if number and number % 4 == user.number % 4:
            midnight = start_of(FIRST_DAY + number * ONE_DAY)
            moved_at = midnight + (user.number % 2) * timedelta(hours=6, seconds=user.number, microseconds=number)
            asset = ASSETS[(number // 4) % len(ASSETS)]
            sign = 1 if number // 16 % 2 else -1
            self._post_movement(user, asset, sign * (_TOKENS[asset] * UNITS_PER_TOKEN // 100 + number), moved_at)

    def _post_movement(self, user: _User, asset: str, amount: int, moved_at: datetime) -> None:
        entry_id = self._add_entry(user, "deposit" if amount > 0 else "withdrawal", moved_at)
        self._add_postings(user, entry_id, moved_at, asset, amount, other="outside")

    def _add_entry(self, user: _User, kind: str, effective_at: datetime) -> int:
        entry_id = next(self._entry_ids)
        self._add(
            entries,
            entry_id=entry_id,
            kind=kind,
            user_id=user.user_id,
            idempotency_key=None if kind == "reward" else f"generated {entry_id}",
            effective_at=effective_at,
            recorded_at=effective_at,
        )
        return entry_id

    def _add_postings(
        self, user: _User, entry_id: int, effective_at: datetime, asset: str, amount: int, *, other: str
    ) -> None:
        user.movements[asset].append((effective_at, amount))
        for account_id, signed in ((user.accounts[asset], amount), (self._system[other, asset], -amount)):
            self._add(postings, entry_id=entry_id, account_id=account_id, effective_at=effective_at, amount=signed)

    def _close_and_credit(self, user: _User, number: int) -> None:
        movements, user.movements = user.movements, defaultdict(list)
        day = FIRST_DAY + number * ONE_DAY
        held = {asset: day_holding(day, user.holdings[asset], movements[asset]) for asset in _TOKENS}
        user.holdings = {asset: holding.closing for asset, holding in held.items()}
        ends_after = self._size.ends_after(user.number)
        is_owed, was_owed = self._size.is_owed(user.number, number), self._size.is_owed(user.number, number - 1)
        if was_owed or (ends_after is not None and number >= ends_after):
            return
        version = 1 if day < self._versions[1].effective_from else 2
        averages = {asset: held[asset].average for asset in ASSETS}
        for asset in ASSETS:
            self._add(snapshots, user_id=user.user_id, day=day, asset=asset, **vars(held[asset]))
        credited_at = None if number == 0 or is_owed else end_of(day) + timedelta(minutes=1)
        entry_id = None if credited_at is None else self._credit(user, day, averages, self._versions[version - 1])
        self._add(
            days,
            user_id=user.user_id,
            day=day,
            enrolment_id=user.enrolment_id,
            program_version=version,
            accrues=number > 0,
            closed_at=end_of(day),
            credited_at=credited_at,
            late=None if credited_at is None else False,
            entry_id=entry_id,
        )

    def _credit(self, user: _User, day: date, averages: dict[str, int], program: Program) -> int:
        entry_id = self._add_entry(user, "reward", end_of(day))
        for asset, average in averages.items():
            terms = program.assets[asset]
            formula = formula_on(day)
            outcome, reward = outcome_and_reward(average, terms, formula)
            self._add(
                rewards,
                user_id=user.user_id,
                day=day,
                asset=asset,
                minimum=terms.minimum,
                cap=terms.cap,
                apr=terms.apr,
                reward=reward,
                outcome=outcome.value,
                formula=formula,
            )
            if reward:
                self._add_postings(user, entry_id, end_of(day), asset, reward, other="pool")
        return entry_id
