"""What a user holds and has earned, and the rewards that were credited in a span of time."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import BigInteger, ColumnElement, Text, and_, bindparam, func, literal_column, select, union_all
from sqlalchemy.ext.asyncio import AsyncConnection

from ledger.database.exact_sums import exact_sum, from_exact_sums
from ledger.database.schema import (
    UtcInstant,
    accounts,
    days,
    enrolments,
    postings,
    rewards,
    snapshots,
)
from ledger.reversals import REVERSALS, is_reversal_of

_user = bindparam("user", type_=Text)

_users = bindparam("users", type_=Text, expanding=True)
_movements_after = and_(
    postings.c.account_id == accounts.c.account_id,
    postings.c.effective_at > bindparam("instant", type_=UtcInstant),
)
_ENROLMENT, _HOLDING, _TOTAL, _REVERSED = "enrolment", "holding", "total", "reversed"


def _line(of: str) -> ColumnElement[str]:
    return literal_column(f"'{of}'", Text).label("of")


_NONE, _NO_ASSET = literal_column("0", BigInteger), literal_column("''", Text)
_CREDITED_TO = (
    select(_line(_TOTAL), rewards.c.user_id, rewards.c.asset, _NONE, *exact_sum(rewards.c.reward))
    .where(rewards.c.user_id.in_(_users))
    .group_by(rewards.c.user_id, rewards.c.asset)
)
_REVERSED_FROM = (
    select(_line(_REVERSED), rewards.c.user_id, rewards.c.asset, _NONE, *exact_sum(rewards.c.reward))
    .join_from(days, REVERSALS, is_reversal_of(days.c.entry_id))
    .join(rewards, and_(rewards.c.user_id == days.c.user_id, rewards.c.day == days.c.day))
    .where(days.c.user_id.in_(_users))
    .group_by(rewards.c.user_id, rewards.c.asset)
)
_TOTALS = union_all(_CREDITED_TO, _REVERSED_FROM)
# Built once, since a program may ask hundreds of times in a second.
_POSITIONS = union_all(
    select(
        _line(_ENROLMENT),
        enrolments.c.user_id,
        _NO_ASSET.label("asset"),
        _NONE.label("balance"),
        *exact_sum(_NONE),
    )
    .where(enrolments.c.user_id.in_(_users), enrolments.c.ended_at.is_(None))
    .group_by(enrolments.c.user_id),
    select(
        _line(_HOLDING), accounts.c.user_id, accounts.c.asset, accounts.c.balance, *exact_sum(postings.c.amount)
    )
    .join_from(accounts, postings, _movements_after, isouter=True)
    .where(accounts.c.user_id.in_(_users))
    .group_by(accounts.c.account_id, accounts.c.user_id, accounts.c.asset, accounts.c.balance),
    _CREDITED_TO,
    _REVERSED_FROM,
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
class Position:
    """What a user holds and has earned in every asset. Amounts in units."""

    is_enrolled: bool
    holdings: Mapping[str, int]
    totals: Mapping[str, int]
    """The sum of all credited rewards that were not reversed."""


NOTHING = Position(is_enrolled=False, holdings={}, totals={})


@dataclass(frozen=True)
class CreditedReward:
    """One reward above zero, as it was credited. Amounts in units."""

    asset: str
    reward: int
    average: int
    credited_at: datetime


@dataclass(frozen=True)
class CreditedPage:
    """One page of the rewards that were asked for, and how many there are in all."""

    rewards: Sequence[CreditedReward]
    total: int


async def position(connection: AsyncConnection, user_id: str, instant: datetime) -> Position:
    """What a user holds at an instant and has earned."""
    return (await positions(connection, [user_id], instant))[user_id]


async def positions(
    connection: AsyncConnection, user_ids: Sequence[str], instant: datetime
) -> dict[str, Position]:
    """Like position, for several users by their ids, in one statement."""
    return _positions_in(await connection.execute(_POSITIONS, {"users": user_ids, "instant": instant}), user_ids)


def _positions_in(rows: Iterable[Iterable[Any]], user_ids: Sequence[str]) -> dict[str, Position]:
    enrolled: set[str] = set()
    holdings: dict[str, dict[str, int]] = {user_id: {} for user_id in user_ids}
    earned: dict[str, dict[str, int]] = {user_id: {} for user_id in user_ids}
    for of, user_id, asset, balance, sum_high, sum_low in rows:
        if of == _ENROLMENT:
            enrolled.add(user_id)
            continue
        units = from_exact_sums(sum_high, sum_low)
        if of == _HOLDING:
            holdings[user_id][asset] = balance - units
        else:
            earned[user_id][asset] = earned[user_id].get(asset, 0) + (units if of == _TOTAL else -units)
    return {
        user_id: Position(
            user_id in enrolled,
            holdings[user_id],
            {asset: units for asset, units in earned[user_id].items() if units},
        )
        for user_id in user_ids
    }


async def totals(connection: AsyncConnection, user_id: str) -> dict[str, int]:
    """The sum of all credited rewards that were not reversed, in units by asset."""
    rows = await connection.execute(_TOTALS, {"users": [user_id]})
    return dict(sorted(_positions_in(rows, [user_id])[user_id].totals.items()))


async def credited_rewards(
    connection: AsyncConnection,
    user_id: str,
    *,
    since: datetime,
    until: datetime,
    asset: str | None,
    offset: int | None,
    limit: int,
) -> CreditedPage:
    """The rewards above zero that were credited from ``since`` to ``until``, the newest first.

    Programs get the time of a credit in milliseconds, so both ends are whole milliseconds: a span that begins and
    ends with the time of a reward contains that reward. Without an offset the page begins with the newest. It
    contains all rewards of the last millisecond that it reaches, even if these are more than its limit. So a
    caller that goes on with earlier milliseconds misses nothing. Rewards that were reversed later are among them,
    since they were credited.
    """
    query = _CREDITED if asset is None else _CREDITED.where(rewards.c.asset == asset)
    newest_first = query.order_by(days.c.credited_at.desc(), days.c.day.desc(), rewards.c.asset)
    asked = {"user": user_id, "since": start_of_millisecond(since), "until": _end_of_millisecond(until)}
    total = await connection.scalar(select(func.count()).select_from(query.subquery()), asked)
    page = list(await connection.execute(newest_first.offset(offset or 0).limit(limit), asked))
    if offset is None and len(page) == limit:
        oldest = start_of_millisecond(page[-1].credited_at)
        of_oldest = sum(start_of_millisecond(row.credited_at) == oldest for row in page)
        within = {**asked, "since": oldest, "until": _end_of_millisecond(oldest)}
        page += await connection.execute(newest_first.offset(of_oldest), within)
    return CreditedPage(
        [CreditedReward(row.asset, row.reward, row.average, row.credited_at) for row in page], total or 0
    )


def start_of_millisecond(instant: datetime) -> datetime:
    """The millisecond in which an instant lies, in the form in which programs get it."""
    return instant.replace(microsecond=instant.microsecond // 1000 * 1000)


def _end_of_millisecond(instant: datetime) -> datetime:
    """The last microsecond of an instant's millisecond."""
    return start_of_millisecond(instant) + timedelta(microseconds=999)
