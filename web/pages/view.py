"""What the pages show of a user, read from the ledger. Amounts in units, instants UTC."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime

from sqlalchemy.ext.asyncio import AsyncConnection

from ledger.database.engine import Ledger
from ledger.errors import NoProgram
from ledger.programs import program_on
from ledger.reading.standing import Standing, TagColour, standing_of
from ledger.reading.statements import (
    StatementLine,
    day_if_nothing_moves,
    rewarded_assets,
    statement,
    statement_page,
)
from staking.days import ONE_DAY, credit_deadline, day_of, end_of, first_accrual_day, start_of
from staking.program import Program
from staking.rewards import Outcome, formula_on, outcome_and_reward
from web.pages import chart, wording
from web.pages.history_filter import Wanted

LINES_PER_PAGE = 20
_USDT = "USDT"


@dataclass(frozen=True)
class SpotRow:
    """An asset of the user's spot account."""

    asset: str
    holding: int
    value: int | None
    """USDT at the reference price; None where the program has none."""
    tag: TagColour | None


@dataclass(frozen=True)
class SpotAccount:
    """The spot account."""

    rows: list[SpotRow]
    total_value: int
    standing: Standing
    is_offered: bool
    why_no_tag: list[str]

    @property
    def is_recommended(self) -> bool:
        """Whether the offer is advertised; not to somebody who still waits for rewards."""
        return not self.standing.enrolled and self.standing.delayed_since is None


@dataclass(frozen=True)
class Worth:
    """An amount of an asset, and its value at the reference price."""

    asset: str
    amount: int
    value: int | None


@dataclass(frozen=True)
class Estimate:
    """What an asset will have earned on a day to come if nothing moves."""

    worth: Worth
    outcome: Outcome
    average: int


@dataclass(frozen=True)
class RewardWindow:
    """When an accrual day's reward is credited."""

    day: date
    opens_at: datetime
    closes_at: datetime
    is_open: bool


@dataclass(frozen=True)
class Overview:
    """How Soft Staking stands for a user who is or was enrolled."""

    standing: Standing
    is_first_day: bool
    """Whether today is the day of activation, which earns nothing."""
    stopped_at: datetime | None
    next_snapshot_at: datetime | None
    next_reward: RewardWindow | None
    """The next reward: of the owed day, or of the estimated day if it earns anything. None while rewards are
    delayed."""
    past_due: Sequence[date]
    """The owed days in order, while their rewards are delayed or being caught up."""
    estimated_day: date | None
    estimates: list[Estimate]
    estimated_value: int
    totals: list[Worth]
    total_value: int

    @property
    def will_earn(self) -> bool:
        """Whether the estimated day earns a reward."""
        return any(estimate.worth.amount for estimate in self.estimates)

    @property
    def first_arrives_on_day_3(self) -> bool:
        """Whether there is no reward yet and none is due, and Day 2 earns if nothing moves."""
        return self.will_earn and self.standing.last_credited_day is None and not self.standing.owed_days


@dataclass(frozen=True)
class DayOfChart:
    """A row of the table beside the chart."""

    day: date
    rewards: list[Worth]
    value: int


@dataclass(frozen=True)
class RewardHistory:
    """The reward history: a chart of the last days, and a page of lines."""

    drawing: chart.Chart | None
    days: list[DayOfChart]
    assets: list[str]
    lines: list[StatementLine]
    count: int
    page: int
    pages: int


@dataclass(frozen=True)
class Stopping:
    """What stopping now would mean."""

    today: date
    is_first_day: bool
    owed_days: int


async def spot(ledger: Ledger, user_id: str, now: datetime) -> SpotAccount:
    """The user's spot account and the tag of rule 8."""
    standing = await standing_of(ledger, user_id, now=now)
    program = await program_in_force(ledger, day_of(now))
    rows = [
        SpotRow(
            asset=asset,
            holding=holding,
            value=_value(program, asset, holding),
            tag=standing.tag_colour if asset == standing.tagged_asset else None,
        )
        for asset, holding in standing.holdings.items()
    ]
    rows.sort(key=lambda row: (row.value is None, -(row.value or 0), row.asset))
    return SpotAccount(
        rows=rows,
        total_value=sum(row.value or 0 for row in rows),
        standing=standing,
        is_offered=program is not None,
        why_no_tag=wording.why_no_tag(standing.holdings, program) if program else [],
    )


async def overview(ledger: Ledger, user_id: str, now: datetime) -> Overview:
    """How Soft Staking stands for a user."""
    standing = await standing_of(ledger, user_id, now=now)
    program = await program_in_force(ledger, day_of(now))
    today = day_of(now)
    totals = [Worth(asset, units, _value(program, asset, units)) for asset, units in standing.totals.items()]
    estimated_day, estimates = None, list[Estimate]()
    if standing.is_on and standing.receipt:
        estimated_day = max(first_accrual_day(standing.receipt.activated_at), today)
        estimates = await _estimates(ledger, standing, estimated_day, today)
    past_due: list[date] = []
    next_reward = None
    if standing.delayed_since is not None or wording.is_being_caught_up(standing, now):
        past_due = standing.owed_days
    elif standing.owed_days:
        next_reward = _window(standing.owed_days[0], now)
    elif estimated_day and any(estimate.worth.amount for estimate in estimates):
        next_reward = _window(estimated_day, now)
    return Overview(
        standing=standing,
        is_first_day=standing.is_on and estimated_day != today,
        stopped_at=standing.ended_at if standing.restricted_since is None else start_of(standing.restricted_since),
        next_snapshot_at=end_of(today) if standing.is_on else None,
        next_reward=next_reward,
        past_due=past_due,
        estimated_day=estimated_day,
        estimates=estimates,
        estimated_value=sum(estimate.worth.value or 0 for estimate in estimates),
        totals=totals,
        total_value=sum(total.value or 0 for total in totals),
    )


def is_getting_started(standing: Standing, now: datetime) -> bool:
    """Whether Day 3, which the page after an activation announces, is still to come."""
    return standing.is_on and standing.receipt is not None and now < standing.receipt.first_reward_from


async def history(ledger: Ledger, user_id: str, wanted: Wanted, last_credited: date | None) -> RewardHistory:
    """The chart of the last days, and the wanted page of lines, the newest day first."""
    async with ledger.read() as connection:
        days = await _days_of_chart(connection, user_id, last_credited)
        page = await statement_page(
            connection,
            user_id,
            first=wanted.first,
            last=wanted.last,
            asset=wanted.asset,
            outcome=wanted.outcome,
            page=wanted.page,
            size=LINES_PER_PAGE,
        )
        return RewardHistory(
            drawing=chart.draw([chart.DayValue(day.day, day.value) for day in days]),
            days=days,
            assets=await rewarded_assets(connection, user_id),
            lines=page.lines,
            count=page.count,
            page=page.offset // LINES_PER_PAGE + 1,
            pages=max(-(-page.count // LINES_PER_PAGE), 1),
        )


def stopping(standing: Standing, now: datetime) -> Stopping:
    """Rule 10: today earns nothing, and what is owed is still paid."""
    today = day_of(now)
    is_first_day = standing.receipt is not None and day_of(standing.receipt.activated_at) == today
    return Stopping(today, is_first_day, len(standing.owed_days))


async def program_in_force(ledger: Ledger, day: date) -> Program | None:
    """The program of a day; None if none is in force."""
    async with ledger.read() as connection:
        try:
            return (await program_on(connection, day)).program
        except NoProgram:
            return None


def _value(program: Program | None, asset: str, amount: int) -> int | None:
    if asset == _USDT:
        return amount
    if program is None or asset not in program.assets:
        return None
    return program.assets[asset].reference_value(amount)


async def _estimates(ledger: Ledger, standing: Standing, day: date, today: date) -> list[Estimate]:
    """The estimate for the day in progress takes its movements so far into account; for a later day it takes
    the present holdings."""
    program = await program_in_force(ledger, day)
    if program is None:
        return []
    averages: Mapping[str, int] = standing.holdings
    if day == today:
        async with ledger.read() as connection:
            if_nothing_moves = await day_if_nothing_moves(connection, standing.user_id, day)
        averages = {asset: holding.average for asset, holding in if_nothing_moves.items()}
    estimates: list[Estimate] = []
    for asset, average in averages.items():
        if average and asset in program.assets:
            outcome, reward = outcome_and_reward(average, program.assets[asset], formula_on(day))
            worth = Worth(asset, reward, program.assets[asset].reference_value(reward))
            estimates.append(Estimate(worth, outcome, average))
    return estimates


def _window(day: date, now: datetime) -> RewardWindow:
    return RewardWindow(day, end_of(day), credit_deadline(day), is_open=now >= end_of(day))


async def _days_of_chart(connection: AsyncConnection, user_id: str, last: date | None) -> list[DayOfChart]:
    if last is None:
        return []
    first = last - (chart.DAYS_MAX - 1) * ONE_DAY
    kept: defaultdict[date, list[Worth]] = defaultdict(list)
    for line in await statement(connection, [user_id], first=first, last=last):
        value = line.reference_value if line.kept else 0
        kept[line.day].append(Worth(line.asset, line.kept, value))
    values = {day: sum(worth.value or 0 for worth in worths) for day, worths in kept.items()}
    return [
        DayOfChart(day.day, [worth for worth in kept.get(day.day, []) if worth.amount], day.value)
        for day in chart.by_day(values)
    ]
