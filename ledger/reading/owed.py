"""Owed days: the accrual days that are over and not yet credited, of one user or of all users.

An enrolment's days are credited in order. So its last day that is over, which is found by its key, shows whether
any day is owed. Nothing else is read of the days, except the last credited day of users who are owed a day.
"""

from collections import defaultdict
from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    FromClause,
    Integer,
    Select,
    and_,
    bindparam,
    case,
    func,
    or_,
    select,
    type_coerce,
)
from sqlalchemy.ext.asyncio import AsyncConnection

from ledger.database.schema import AnyRow, UtcDay, days, enrolments
from ledger.enrolments import last_credited_day
from ledger.programs import ProgramVersion, all_versions, first_restricted_day
from ledger.regions import in_region
from staking.days import MICROSECONDS_PER_DAY, ONE_DAY, credit_deadline, day_of, last_day_past_its_deadline

_yesterday = bindparam("yesterday", type_=UtcDay)
_past_deadline = bindparam("past_deadline", type_=UtcDay)


def _day(column: ColumnElement[Any]) -> ColumnElement[date]:
    return type_coerce(column, UtcDay)


def _number(column: ColumnElement[Any]) -> ColumnElement[int]:
    return type_coerce(column, Integer)


_first_accrual_day = enrolments.c.first_accrual_day
_last_day_over = case(
    (enrolments.c.last_accrual_day < _yesterday, enrolments.c.last_accrual_day),
    else_=_yesterday,
)
_of_the_user = days.c.user_id == enrolments.c.user_id
_is_credited_through = (
    # This is a scalar subquery and not EXISTS, for which PostgreSQL may use a join that reads all days ever
    # recorded.
    select(days.c.credited_at)
    .where(_of_the_user, days.c.day == _last_day_over)
    .correlate(enrolments)
    .scalar_subquery()
)
_last_credited_day = (
    last_credited_day(_of_the_user, days.c.enrolment_id == enrolments.c.enrolment_id, days.c.day <= _last_day_over)
    .correlate(enrolments)
    .scalar_subquery()
)
_IS_OWED = and_(_first_accrual_day <= _last_day_over, _is_credited_through.is_(None))
_recorded_day = _day(type_coerce(enrolments.c.recorded_at, BigInteger) // MICROSECONDS_PER_DAY)

spans = select(
    enrolments.c.user_id,
    enrolments.c.enrolment_id,
    enrolments.c.region,
    _day(func.coalesce(_number(_last_credited_day) + 1, _number(_first_accrual_day))).label("first_day"),
    _day(_last_day_over).label("last_day"),
    _recorded_day.label("recorded_day"),
).where(_IS_OWED)
"""The owed days of every enrolment that has some, as a span, without an order. Its parameter is ``yesterday``,
the last day that is over."""


def first_that_can_be_late(span: FromClause) -> ColumnElement[date]:
    """Rule 11: the first owed day that had not closed before the enrolment was recorded. If it is after the
    last owed day, all of them are back-dated."""
    first, recorded = span.c.first_day, span.c.recorded_day
    return case((first < recorded, recorded), else_=first)


@dataclass(frozen=True)
class OwedSpan:
    """The owed days of one enrolment, which are consecutive."""

    user_id: str
    enrolment_id: str
    region: str
    """The region from which the user enrolled."""
    days: int
    first: date
    last: date
    late_days: int
    """How many of these days have passed their deadline (rule 11)."""


@dataclass(frozen=True)
class AllOwed:
    """The enrolments with the longest owed days, and how many there are in all."""

    listed: Sequence[OwedSpan]
    users: int
    days: int


async def owed(
    connection: AsyncConnection, *, now: datetime, region: str | None = None, late: bool = False, limit: int
) -> AllOwed:
    """The users who have owed days, and since when, the longest owed first. With a region, only those from it;
    with ``late``, only those with a late day."""
    span = (spans if region is None else spans.where(in_region(region))).subquery()
    number_of_days = _number(span.c.last_day) - _number(span.c.first_day) + 1
    first_late = first_that_can_be_late(span)
    last_late = case((span.c.last_day < _past_deadline, span.c.last_day), else_=_past_deadline)
    late_days = case((last_late < first_late, 0), else_=_number(last_late) - _number(first_late) + 1)
    each = select(span, number_of_days.label("days"), late_days.label("late_days")).subquery()
    listed = select(each) if not late else select(each).where(each.c.late_days > 0)
    wanted = listed.subquery()
    counts = select(func.count(wanted.c.user_id.distinct()).label("users"), func.sum(wanted.c.days).label("days"))
    given = {"yesterday": day_of(now) - ONE_DAY, "past_deadline": last_day_past_its_deadline(now)}
    found = (
        await connection.execute(listed.order_by(each.c.first_day, each.c.user_id).limit(limit + 1), given)
    ).all()
    if len(found) > limit:
        counted = (await connection.execute(counts, given)).one()
        users, total = counted.users, int(counted.days)
    else:
        users, total = len({row.user_id for row in found}), sum(row.days for row in found)
    return AllOwed([_owed(row) for row in found[:limit]], users, total)


@dataclass(frozen=True)
class OwedToUser:
    """What one user is owed, over all enrolments."""

    days: Sequence[date]
    """Oldest first."""
    delayed_since: date | None
    """The oldest owed day, if the pages must say that rewards are delayed; otherwise None."""
    restricted: Mapping[str, date]
    """By enrolment id, the first restricted day (rule 7), if it is over and the user's loop has not reached it
    yet. Neither that day nor a later one is owed."""


NOTHING_OWED = OwedToUser((), None, {})


async def owed_to_each(
    connection: AsyncConnection, user_ids: Sequence[str], *, now: datetime, held: Container[str]
) -> dict[str, OwedToUser]:
    """Users' owed days, by user id, and since when their rewards are delayed. Users who are owed nothing are left
    out.

    Rewards are delayed once the oldest owed day of an enrolment has passed its deadline (rule 11). While the user
    is held, they are delayed as soon as any day is owed. A day that had closed before its enrolment was recorded
    is not late; its time ends at 08:00 UTC of the day after the enrolment was recorded.
    """
    query = spans.where(enrolments.c.user_id.in_(user_ids))
    by_user: defaultdict[str, list[AnyRow]] = defaultdict(list)
    for row in await connection.execute(query, {"yesterday": day_of(now) - ONE_DAY}):
        by_user[row.user_id].append(row)
    versions = await all_versions(connection) if by_user else []
    return {
        user_id: _owed_to(rows, versions, now=now, is_held=user_id in held) for user_id, rows in by_user.items()
    }


def _owed_to(
    rows: Sequence[AnyRow], versions: Sequence[ProgramVersion], *, now: datetime, is_held: bool
) -> OwedToUser:
    owed_days: list[date] = []
    restricted: dict[str, date] = {}
    is_delayed = False
    for row in rows:
        ends_before = first_restricted_day(versions, row.region, row.first_day, row.last_day)
        if ends_before is not None:
            restricted[row.enrolment_id] = ends_before
        last = row.last_day if ends_before is None else ends_before - ONE_DAY
        number_of_days = (last - row.first_day).days + 1
        owed_days += [row.first_day + number * ONE_DAY for number in range(number_of_days)]
        due_until = credit_deadline(max(row.first_day, row.recorded_day))
        is_delayed |= number_of_days > 0 and (is_held or now > due_until)
    return OwedToUser(sorted(owed_days), min(owed_days) if is_delayed else None, restricted)


async def enrolled_users(connection: AsyncConnection, region: str) -> list[str]:
    """The users with an open enrolment from a region, by id."""
    return await _users(connection, select(enrolments.c.user_id).where(enrolments.c.ended_at.is_(None)), region)


async def unfinished_users(connection: AsyncConnection, region: str | None = None) -> list[str]:
    """The users whose loop has something to do, by id: an enrolment is open, or days of an ended one are owed."""
    # All accrual days of an ended enrolment are over, whatever the clock of this machine says.
    query = select(enrolments.c.user_id).where(or_(enrolments.c.ended_at.is_(None), _IS_OWED))
    return await _users(connection, query, region)


async def _users(connection: AsyncConnection, query: Select[tuple[str]], region: str | None) -> list[str]:
    if region is not None:
        query = query.where(in_region(region))
    rows = await connection.execute(query.distinct().order_by(enrolments.c.user_id), {"yesterday": date.max})
    return [row.user_id for row in rows]


def _owed(row: AnyRow) -> OwedSpan:
    return OwedSpan(
        user_id=row.user_id,
        enrolment_id=row.enrolment_id,
        region=row.region,
        days=row.days,
        first=row.first_day,
        last=row.last_day,
        late_days=row.late_days,
    )
