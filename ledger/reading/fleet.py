"""What an operator watches: what is owed, what is in the pools, and how long that lasts."""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from math import inf

from sqlalchemy import Integer, bindparam, case, func, select, type_coerce
from sqlalchemy.ext.asyncio import AsyncConnection

from ledger.accounts import POOL
from ledger.acts import HOLDS_IN_FORCE
from ledger.database.engine import Ledger
from ledger.database.exact_sums import exact_sum, from_exact_sum
from ledger.database.schema import IS_OF_THE_SYSTEM, UtcDay, UtcInstant, accounts, postings
from ledger.feed.refused import count_to_be_tried_again, refused_count
from ledger.feed.refused_messages import refused_message_count
from ledger.feed.sources import all_sources
from ledger.pools import pool_balances
from ledger.programs import all_versions, timetable
from ledger.reading.owed import first_that_can_be_late, spans
from ledger.reading.waiting import Demand, demand_on_pools
from staking.days import ONE_DAY, day_of, end_of, start_of

OUTFLOW_DAYS = 7
"""How many accrual days a pool's outflow is averaged over."""


@dataclass(frozen=True)
class OwedTotals:
    """Accrual days that are over and not credited yet."""

    days: int = 0
    users: int = 0
    back_dated_days: int = 0
    """The owed days that had closed before their enrolment was recorded: they are never late (rule 11)."""
    oldest_promised: date | None = None
    """The oldest owed day that is not back-dated; None if there is none."""

    @property
    def promised_days(self) -> int:
        """The owed days that are late or can become late (rule 11)."""
        return self.days - self.back_dated_days

    def waits_for(self, now: datetime) -> timedelta:
        """How long the oldest of them has been over; zero if none is owed."""
        return now - end_of(self.oldest_promised) if self.oldest_promised else timedelta()


@dataclass(frozen=True)
class PoolFigures:
    """What is in an asset's reward pool, what flows out of it, and who waits for more; amounts in units."""

    balance: int
    days_left: float
    """The balance without what waits, divided by the average outflow of a day. It is 0 for a pool that is empty or
    cannot pay what waits, and infinite if nothing flows out and nobody waits."""
    outflow_yesterday: int = 0
    """Credited for yesterday's accrual day."""
    waiting_users: int = 0
    """Users whose closed day is held back since the pool cannot pay all of them, without users whom an operator
    holds."""
    missing: int = 0
    """What the pool lacks to pay the days that wait. Each user's later owed days come on top."""


@dataclass(frozen=True)
class SourceFigures:
    """How far a source is."""

    behind: timedelta
    """Since the instant through which it is complete or released."""
    late: timedelta
    """Since the end of the first day that is not closed because of it; zero if there is none."""


@dataclass(frozen=True)
class FleetFigures:
    """All figures, as of one instant."""

    owed: OwedTotals
    """What is owed to users who are not held."""
    owed_to_held: OwedTotals
    """What is owed to users whom an operator holds. These days wait because someone wants it."""
    held_users: int
    refused_movements: int
    """Movements of feeds that could not be posted, and messages that say none, and wait."""
    to_be_tried_again: int
    """Those of them that may still be tried again when a source reports."""
    sources: Mapping[str, SourceFigures]
    """By name."""
    pools: Mapping[str, PoolFigures]
    """By asset: the assets of the programs in force and to come, and every other asset that has a pool."""


async def fleet_figures(ledger: Ledger, now: datetime) -> FleetFigures:
    """What an operator watches, in one transaction that only reads and locks nothing."""
    async with ledger.read(takes_long=True) as connection:
        owed = await _owed_by_hold(connection, day_of(now))
        # Users who wait for a pool are owed a day. Looking for them takes as long again.
        demand = await demand_on_pools(connection, day_of(now)) if False in owed else {}
        return FleetFigures(
            owed=owed.get(False, OwedTotals()),
            owed_to_held=owed.get(True, OwedTotals()),
            held_users=await connection.scalar(_HELD_USERS) or 0,
            refused_movements=await refused_count(connection) + await refused_message_count(connection),
            to_be_tried_again=await count_to_be_tried_again(connection),
            sources={
                source.name: SourceFigures(source.behind(now), source.late(now))
                for source in await all_sources(connection)
            },
            pools=await _pools(connection, day_of(now), demand),
        )


async def pools(ledger: Ledger, now: datetime) -> Mapping[str, PoolFigures]:
    """Only the pools, as in ``fleet_figures``."""
    async with ledger.read(takes_long=True) as connection:
        return await _pools(connection, day_of(now), await demand_on_pools(connection, day_of(now)))


_held = HOLDS_IN_FORCE.subquery("held")
_HELD_USERS = select(func.count()).select_from(_held)


_owed = spans.subquery("owed")
_first, _last = type_coerce(_owed.c.first_day, Integer), type_coerce(_owed.c.last_day, Integer)
_first_promised = type_coerce(first_that_can_be_late(_owed), Integer)
_has_promised = _first_promised <= _last
_is_held = _held.c.user_id.is_not(None).label("is_held")
_OWED = (
    select(
        _is_held,
        func.sum(_last - _first + 1).label("days"),
        func.count(_owed.c.user_id.distinct()).label("users"),
        func.sum(case((_has_promised, _last - _first_promised + 1), else_=0)).label("promised_days"),
        func.min(case((_has_promised, _first_promised)), type_=UtcDay).label("oldest_promised"),
    )
    .join_from(_owed, _held, _held.c.user_id == _owed.c.user_id, isouter=True)
    .group_by(_is_held)
)


async def _owed_by_hold(connection: AsyncConnection, today: date) -> dict[bool, OwedTotals]:
    """The owed days, by whether their users are held."""
    rows = await connection.execute(_OWED, {"yesterday": today - ONE_DAY})
    return {
        bool(row.is_held): OwedTotals(
            days=int(row.days),
            users=row.users,
            back_dated_days=int(row.days - row.promised_days),
            oldest_promised=row.oldest_promised,
        )
        for row in rows
    }


async def _pools(connection: AsyncConnection, today: date, demand: Mapping[str, Demand]) -> dict[str, PoolFigures]:
    balances = await pool_balances(connection)
    offered = {
        asset
        for span in timetable(await all_versions(connection))
        if span.last_day is None or span.last_day >= today
        for asset in span.version.program.assets
    }
    outflows = await _outflows(connection, today)
    return {
        asset: _pool(balances.get(asset, 0), outflows[asset], demand.get(asset, Demand()), today)
        for asset in sorted({*balances, *offered, *demand})
    }


def _pool(balance: int, outflows: Mapping[date, int], demand: Demand, today: date) -> PoolFigures:
    missing = max(demand.units - balance, 0)
    return PoolFigures(
        balance=balance,
        days_left=_days_left(balance - demand.units, list(outflows.values()) or [demand.units]),
        outflow_yesterday=outflows.get(today - ONE_DAY, 0),
        waiting_users=demand.users if missing else 0,
        missing=missing,
    )


def _days_left(left: int, outflows: list[int]) -> float:
    if left <= 0:
        return 0.0
    return left * len(outflows) / sum(outflows) if sum(outflows) else inf


# Rewards count from boundaries, so only the postings at these seven instants are read, from their index, and no
# funding in between. They are read one instant at a time, so that the sums need no sorting.
_OUTFLOW = (
    select(accounts.c.asset, *exact_sum(-postings.c.amount))
    .join_from(accounts, postings, postings.c.account_id == accounts.c.account_id)
    .where(
        IS_OF_THE_SYSTEM,
        accounts.c.kind == POOL,
        postings.c.effective_at == bindparam("boundary", type_=UtcInstant),
        postings.c.amount < 0,
    )
    .group_by(accounts.c.asset)
)


async def _outflows(connection: AsyncConnection, today: date) -> defaultdict[str, dict[date, int]]:
    """For each asset, what was paid for each of the last accrual days for which anything was paid, in units."""
    outflows: defaultdict[str, dict[date, int]] = defaultdict(dict)
    for number in range(OUTFLOW_DAYS):
        boundary = today - ONE_DAY * number
        for row in await connection.execute(_OUTFLOW, {"boundary": start_of(boundary)}):
            outflows[row.asset][boundary - ONE_DAY] = from_exact_sum(row)
    return outflows
