"""What a user has earned: totals net of reversals, and the rewards credited in a span of time."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Text, and_, bindparam, exists, func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from ledger.journal import exact_sum, from_exact_sum
from ledger.schema import days, enrolments, entries, rewards, snapshots

_reversals = entries.alias("reversals")
_user = bindparam("user", type_=Text)

# Built once, since a program may ask hundreds of times in a second.
_IS_ENROLLED = select(exists().where(enrolments.c.user_id == _user, enrolments.c.ended_at.is_(None)))
_REVERSED_DAYS = (
    select(days.c.day).join(_reversals, _reversals.c.reverses == days.c.entry_id).where(days.c.user_id == _user)
)
_TOTALS = (
    select(rewards.c.asset, *exact_sum(rewards.c.reward))
    .where(rewards.c.user_id == _user, rewards.c.day.not_in(_REVERSED_DAYS))
    .group_by(rewards.c.asset)
    .order_by(rewards.c.asset)
)
_CREDITED = (
    select(rewards.c.asset, rewards.c.reward, snapshots.c.average, days.c.credited_at)
    .join_from(days, rewards, and_(rewards.c.user_id == days.c.user_id, rewards.c.day == days.c.day))
    .join(
        snapshots,
        and_(
            snapshots.c.user_id == rewards.c.user_id,
            snapshots.c.day == rewards.c.day,
            snapshots.c.asset == rewards.c.asset,
        ),
    )
    .where(
        days.c.user_id == _user,
        days.c.credited_at.between(bindparam("since"), bindparam("until")),
        rewards.c.reward > 0,
    )
)


@dataclass(frozen=True)
class CreditedReward:
    """One reward above zero, as it was credited. Amounts in units."""

    asset: str
    reward: int
    average: int
    credited_at: datetime


@dataclass(frozen=True)
class CreditedPage:
    """Some of the rewards asked for, and how many there are."""

    rewards: Sequence[CreditedReward]
    total: int


async def is_enrolled(connection: AsyncConnection, user_id: str) -> bool:
    """Whether an enrolment of the user is open."""
    return bool(await connection.scalar(_IS_ENROLLED, {"user": user_id}))


async def totals(connection: AsyncConnection, user_id: str) -> dict[str, int]:
    """Rewards credited ever and not reversed, units by asset."""
    found = await connection.execute(_TOTALS, {"user": user_id})
    by_asset = {row.asset: from_exact_sum(row) for row in found}
    return {asset: units for asset, units in by_asset.items() if units}


async def credited_rewards(
    connection: AsyncConnection,
    user_id: str,
    *,
    since: datetime,
    until: datetime,
    asset: str | None,
    offset: int,
    limit: int,
) -> CreditedPage:
    """The rewards above zero that were credited from ``since`` to ``until``, the newest first.

    One that was reversed later is among them: it was credited.
    """
    asked = {"user": user_id, "since": since, "until": until}
    query = _CREDITED if asset is None else _CREDITED.where(rewards.c.asset == asset)
    total = await connection.scalar(select(func.count()).select_from(query.subquery()), asked)
    newest_first = query.order_by(days.c.credited_at.desc(), days.c.day.desc(), rewards.c.asset)
    found = await connection.execute(newest_first.offset(offset).limit(limit), asked)
    return CreditedPage(
        [CreditedReward(row.asset, row.reward, row.average, row.credited_at) for row in found], total or 0
    )
