"""What an operator watches: what is owed, what is in the pools, and how long that lasts."""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from math import inf

from sqlalchemy import Integer, bindparam, func, select, type_coerce
from sqlalchemy.ext.asyncio import AsyncConnection

from ledger.acts import HOLDS_IN_FORCE
from ledger.engine import Ledger
from ledger.errors import NoProgram
from ledger.journal import POOL, exact_sum, from_exact_sum
from ledger.owed import spans
from ledger.pools import pool_balances
from ledger.programs import program_on
from ledger.schema import IS_OF_THE_SYSTEM, UtcInstant, accounts, postings
from staking.days import ONE_DAY, day_of, end_of, start_of

OUTFLOW_DAYS = 7
"""How many accrual days a pool's outflow is averaged over."""


@dataclass(frozen=True)
class Owed:
    """Accrual days that are over and not credited yet."""

    days: int = 0
    users: int = 0
    oldest: date | None = None

    def waits_for(self, now: datetime) -> timedelta:
        """How long the oldest has been over; nothing where none is owed."""
        return now - end_of(self.oldest) if self.oldest else timedelta()


@dataclass(frozen=True)
class Pool:
    """What is in an asset's reward pool, in units, and in how many days it will be empty."""

    balance: int
    days_left: float
    """The balance by the average outflow of a day. 0 for an empty pool, infinite where nothing flows out."""


@dataclass(frozen=True)
class Figures:
    """All of them, as of one instant."""

    owed: Owed
    """To users who are not held."""
    owed_to_held: Owed
    """To users whose loop an operator holds: these wait because someone wants them to."""
    held_users: int
    pools: Mapping[str, Pool]
    """By asset: of the program in force, and whatever else has a pool."""


async def figures(ledger: Ledger, now: datetime) -> Figures:
    """What an operator watches, in one transaction that only reads and locks nothing."""
    async with ledger.read(takes_long=True) as connection:
        owed = await _owed_by_hold(connection, day_of(now))
        return Figures(
            owed=owed.get(False, Owed()),
            owed_to_held=owed.get(True, Owed()),
            held_users=await connection.scalar(_HELD_USERS) or 0,
            pools=await _pools(connection, day_of(now)),
        )


_held = HOLDS_IN_FORCE.subquery("held")
_HELD_USERS = select(func.count()).select_from(_held)


_owed = spans.subquery("owed")
_first, _last = type_coerce(_owed.c.first_day, Integer), type_coerce(_owed.c.last_day, Integer)
_is_held = _held.c.user_id.is_not(None).label("is_held")
_OWED = (
    select(
        _is_held,
        func.sum(_last - _first + 1).label("days"),
        func.count(_owed.c.user_id.distinct()).label("users"),
        func.min(_owed.c.first_day).label("oldest"),
    )
    .join_from(_owed, _held, _held.c.user_id == _owed.c.user_id, isouter=True)
    .group_by(_is_held)
)


async def _owed_by_hold(connection: AsyncConnection, today: date) -> dict[bool, Owed]:
    """By whether their users are held."""
    rows = await connection.execute(_OWED, {"yesterday": today - ONE_DAY})
    return {bool(row.is_held): Owed(int(row.days), row.users, row.oldest) for row in rows}


async def _pools(connection: AsyncConnection, today: date) -> dict[str, Pool]:
    balances = await pool_balances(connection)
    try:
        offered = (await program_on(connection, today)).program.assets
    except NoProgram:
        offered = {}
    outflows = await _outflows(connection, today)
    return {
        asset: Pool(balances.get(asset, 0), _days_left(balances.get(asset, 0), outflows.get(asset, [])))
        for asset in sorted({*balances, *offered})
    }


def _days_left(balance: int, outflows: list[int]) -> float:
    if not balance:
        return 0.0
    return balance * len(outflows) / sum(outflows) if outflows else inf


# Rewards count from boundaries, so only those seven instants of a pool's postings are read, in their index, and
# nothing that was funded meanwhile. One instant at a time: so the sums need no sorting.
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


async def _outflows(connection: AsyncConnection, today: date) -> dict[str, list[int]]:
    """By asset, what each of the last days came to that was paid for; units."""
    outflows: defaultdict[str, list[int]] = defaultdict(list)
    for number in range(OUTFLOW_DAYS):
        for row in await connection.execute(_OUTFLOW, {"boundary": start_of(today - ONE_DAY * number)}):
            outflows[row.asset].append(from_exact_sum(row))
    return outflows
