"""Statements of credited days: a line for every accrual day and asset."""

from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any

from sqlalchemy import Select, and_, func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from ledger.database.engine import Ledger
from ledger.database.schema import days, rewards, snapshots, users
from ledger.day.facts import day_facts
from ledger.programs import all_versions
from ledger.reversals import REVERSALS, is_reversal_of
from staking.average import DayHolding, day_holding
from staking.days import ONE_DAY
from staking.rewards import Outcome

_DAYS_PER_PART = 366


@dataclass(frozen=True)
class StatementLine:
    """One credited accrual day and asset, with everything that is needed to recompute its reward. Amounts in
    units."""

    user_id: str
    day: date
    asset: str
    opening: int
    closing: int
    average: int
    minimum: str
    cap: str
    apr: str
    reward: int
    outcome: Outcome
    formula: int
    """The number of rule 3's formula with which the reward was computed."""
    credited_at: datetime
    late: bool
    reference_value: int
    """USDT in units: the reward at the reference price of the program version that the day was closed under,
    rounded down."""
    entry_id: int | None
    reversed_by: int | None
    """The entry that took the day's rewards back."""
    reversal_tell: str | None
    """The text for the user of the operator who reversed it."""

    @property
    def kept(self) -> int:
        """The reward, net of its reversal."""
        return self.reward if self.reversed_by is None else 0


async def statement(
    connection: AsyncConnection,
    user_ids: Sequence[str] | None = None,
    *,
    first: date | None = None,
    last: date | None = None,
) -> list[StatementLine]:
    """The credited lines, ordered by user, day and asset; of all users if none are named."""
    query = _credited_lines(first, last).order_by(snapshots.c.user_id, snapshots.c.day, snapshots.c.asset)
    if user_ids is not None:
        query = query.where(snapshots.c.user_id.in_(user_ids))
    return await _read_lines(connection, query)


@dataclass(frozen=True)
class Page:
    """A page of a user's lines, the newest day first."""

    lines: list[StatementLine]
    count: int
    """How many lines there are in all."""
    offset: int
    """How many of them come before."""


async def statement_page(
    connection: AsyncConnection,
    user_id: str,
    *,
    first: date | None = None,
    last: date | None = None,
    asset: str | None = None,
    outcome: Outcome | None = None,
    page: int,
    size: int,
) -> Page:
    """A page, from 1 on, of a user's credited lines, the newest day first. A number beyond the last page gives
    the last page."""
    query = _credited_lines(first, last).where(snapshots.c.user_id == user_id)
    if asset is not None:
        query = query.where(snapshots.c.asset == asset)
    if outcome is not None:
        query = query.where(rewards.c.outcome == outcome.value)
    count = await connection.scalar(select(func.count()).select_from(query.subquery())) or 0
    offset = min(page - 1, max(count - 1, 0) // size) * size
    newest_first = query.order_by(snapshots.c.day.desc(), snapshots.c.asset).limit(size).offset(offset)
    return Page(await _read_lines(connection, newest_first), count, offset)


async def rewarded_assets(connection: AsyncConnection, user_id: str) -> list[str]:
    """The assets in a user's statement, by code."""
    rows = await connection.execute(
        select(rewards.c.asset).where(rewards.c.user_id == user_id).distinct().order_by(rewards.c.asset)
    )
    return list(rows.scalars())


async def day_if_nothing_moves(connection: AsyncConnection, user_id: str, day: date) -> dict[str, DayHolding]:
    """For each asset, the opening, closing and average of a day in progress if the holdings stay as they are."""
    facts = (await day_facts(connection, day, None, {user_id: None}))[user_id]
    return {
        asset: day_holding(day, facts.openings.get(asset, 0), facts.movements.get(asset, ()))
        for asset in sorted(facts.openings.keys() | facts.movements.keys())
    }


def _credited_lines(first: date | None, last: date | None) -> Select[*tuple[Any, ...]]:
    columns = [snapshots.c[name] for name in ("user_id", "day", "asset", "opening", "closing", "average")]
    terms = [rewards.c[name] for name in ("minimum", "cap", "apr", "reward", "outcome", "formula")]
    credit = [days.c[name] for name in ("credited_at", "late", "entry_id", "program_version")]
    reversal = [REVERSALS.c.entry_id.label("reversed_by"), REVERSALS.c.tell.label("reversal_tell")]
    query = (
        select(*columns, *terms, *credit, *reversal)
        .join_from(
            snapshots,
            rewards,
            and_(
                rewards.c.user_id == snapshots.c.user_id,
                rewards.c.day == snapshots.c.day,
                rewards.c.asset == snapshots.c.asset,
            ),
        )
        .join(days, and_(days.c.user_id == snapshots.c.user_id, days.c.day == snapshots.c.day))
        .outerjoin(REVERSALS, is_reversal_of(days.c.entry_id))
        .where(days.c.credited_at.is_not(None))
    )
    for table in (
        snapshots,
        rewards,
        days,
    ):  # each table has its own bounds, since PostgreSQL infers none from joins
        if first is not None:
            query = query.where(table.c.day >= first)
        if last is not None:
            query = query.where(table.c.day <= last)
    return query


async def _read_lines(connection: AsyncConnection, query: Select[*tuple[Any, ...]]) -> list[StatementLine]:
    programs = {version.version: version.program for version in await all_versions(connection)}
    return [
        StatementLine(
            user_id=row.user_id,
            day=row.day,
            asset=row.asset,
            opening=row.opening,
            closing=row.closing,
            average=row.average,
            minimum=row.minimum,
            cap=row.cap,
            apr=row.apr,
            reward=row.reward,
            outcome=Outcome(row.outcome),
            formula=row.formula,
            credited_at=row.credited_at,
            late=row.late,
            reference_value=programs[row.program_version].assets[row.asset].reference_value(row.reward),
            entry_id=row.entry_id,
            reversed_by=row.reversed_by,
            reversal_tell=row.reversal_tell,
        )
        for row in await connection.execute(query)
    ]


async def statement_in_parts(
    ledger: Ledger, user_id: str, *, first: date | None = None, last: date | None = None
) -> AsyncGenerator[list[StatementLine]]:
    """A user's credited lines, ordered by day and asset, in parts of at most a year.

    Each part is a transaction of its own, so that a reader who takes long over one holds none open. Lines are
    written once, so the parts agree.
    """
    from_day = first or date.min
    while True:
        async with ledger.read() as connection:
            next_day = await first_credited_day(connection, user_id, from_day)
            if next_day is None or (last is not None and next_day > last):
                return
            end = next_day + timedelta(days=_DAYS_PER_PART)
            until = end - ONE_DAY if last is None else min(end - ONE_DAY, last)
            part = await statement(connection, [user_id], first=next_day, last=until)
        yield part
        from_day = end


async def credited_days(connection: AsyncConnection, *, last: date) -> int:
    """How many accrual days up to a day are credited, over all users."""
    count: int | None = await connection.scalar(
        select(func.count()).select_from(days).where(days.c.credited_at.is_not(None), days.c.day <= last)
    )
    return count or 0


async def known_users(connection: AsyncConnection, user_ids: Sequence[str]) -> set[str]:
    """The users about whom anything is recorded."""
    rows = await connection.execute(select(users.c.user_id).where(users.c.user_id.in_(user_ids)))
    return set(rows.scalars())


async def first_credited_day(connection: AsyncConnection, user_id: str, from_day: date) -> date | None:
    """The user's first credited day that is not before a day."""
    return await connection.scalar(
        select(days.c.day)
        .where(days.c.user_id == user_id, days.c.day >= from_day, days.c.credited_at.is_not(None))
        .order_by(days.c.day)
        .limit(1)
    )
