"""The users who wait for the credit of a closed day, and what that day takes out of which pool (rule 13)."""

from collections import defaultdict
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from datetime import date

from sqlalchemy import Text, cast, func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from ledger.acts import HOLDS_IN_FORCE
from ledger.database.schema import days, snapshots
from ledger.programs import all_versions
from ledger.reading.owed import spans
from staking.days import ONE_DAY
from staking.program import Program
from staking.rewards import formula_on, outcome_and_reward

_USERS_AT_ONCE = 1000


@dataclass(frozen=True)
class Demand:
    """What uncredited days take out of an asset's pool."""

    users: int = 0
    units: int = 0


_owed = spans.subquery("owed")
_held = HOLDS_IN_FORCE.subquery("held")
_closed_under = (
    # This is a scalar subquery and not a join, which on PostgreSQL may read all days ever recorded.
    select(days.c.program_version)
    .where(
        days.c.user_id == _owed.c.user_id,
        days.c.day == _owed.c.first_day,
        days.c.accrues,
        days.c.credited_at.is_(None),
    )
    .correlate(_owed)
    .scalar_subquery()
)
_averages = (
    # As text, so that a user is one row: "ALGO 100000000000 SOL 1200000000". No asset code has a blank.
    select(func.aggregate_strings(snapshots.c.asset + " " + cast(snapshots.c.average, Text), " "))
    .where(snapshots.c.user_id == _owed.c.user_id, snapshots.c.day == _owed.c.first_day)
    .correlate(_owed)
    .scalar_subquery()
)
_UNCREDITED = (
    select(
        _owed.c.user_id,
        _owed.c.region,
        _owed.c.first_day,
        _closed_under.label("program_version"),
        _averages.label("averages"),
    )
    .join_from(_owed, _held, _held.c.user_id == _owed.c.user_id, isouter=True)
    .where(_held.c.user_id.is_(None), _closed_under.is_not(None))
)


async def demand_on_pools(connection: AsyncConnection, today: date) -> dict[str, Demand]:
    """For each asset, what the closed days of users who are not held will still take out of its pool."""
    demand: defaultdict[str, Demand] = defaultdict(Demand)
    async for _, rewards in _uncredited(connection, today):
        for asset, units in rewards.items():
            so_far = demand[asset]
            demand[asset] = Demand(so_far.users + 1, so_far.units + units)
    return dict(demand)


async def users_to_be_paid(connection: AsyncConnection, asset: str, today: date) -> list[str]:
    """The users, by id, who are not held and whose closed day takes something out of an asset's pool.

    Those who wait for that pool are among them; others are just being paid, or wait for another pool too.
    """
    return sorted([user_id async for user_id, rewards in _uncredited(connection, today) if asset in rewards])


async def _uncredited(connection: AsyncConnection, today: date) -> AsyncGenerator[tuple[str, dict[str, int]]]:
    """Users whose oldest owed day is closed, so that nothing but its credit is missing, with what it earned: units
    by asset, above zero.

    They may be a million, so they are read in parts, and what else runs in the process has its turn between them.
    """
    programs = {version.version: version.program for version in await all_versions(connection)}
    found = await connection.stream(_UNCREDITED, {"yesterday": today - ONE_DAY})
    async for rows in found.partitions(_USERS_AT_ONCE):
        for user_id, region, day, program_version, averages in rows:
            yield user_id, _rewards(averages, programs[program_version], region, formula_on(day))


def _rewards(averages: str | None, program: Program, region: str, formula: int) -> dict[str, int]:
    """What a closed day earns. If the user's region is restricted on it, nothing is paid (rule 7)."""
    rewards: dict[str, int] = {}
    if averages is None or program.restricts(region):
        return rewards
    words = averages.split(" ")
    for asset, average in zip(words[::2], words[1::2], strict=True):
        _, units = outcome_and_reward(int(average), program.assets[asset], formula)
        if units:
            rewards[asset] = units
    return rewards
