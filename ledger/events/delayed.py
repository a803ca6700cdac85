"""Days that are owed past their deadline, told once each (rule 11)."""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from datetime import date, datetime

from sqlalchemy import Integer, bindparam, case, select, type_coerce
from sqlalchemy.ext.asyncio import AsyncConnection

from contract.events import DayDelayed
from ledger.database.engine import Ledger, run_again_if_it_gave_way
from ledger.database.schema import IS_OF_A_DELAYED_DAY, AnyRow, UtcDay, enrolments, events
from ledger.locking import lock_users
from ledger.outbox import NewEvent, write_events
from ledger.programs import ProgramVersion, all_versions, first_restricted_day
from ledger.reading.owed import first_that_can_be_late, spans
from staking.days import ONE_DAY, credit_deadline, day_of, last_day_past_its_deadline

USERS_AT_ONCE = 200
"""In one transaction, so that no user's lock is held for long."""
_past_deadline = bindparam("past_deadline", type_=UtcDay)


def _late(owed: AnyRow, versions: Sequence[ProgramVersion], last: date) -> Iterator[date]:
    """The days of a span of owed days that are past their deadline. A day on which the user's region is restricted
    is no accrual day, and nor is a later one (rule 7)."""
    restricted = first_restricted_day(versions, owed.region, owed.first_day, owed.last_day)
    last = min(owed.last_day, last, restricted - ONE_DAY if restricted else owed.last_day)
    day: date = owed.first_late
    while day <= last:
        yield day
        day += ONE_DAY


_owed = spans.subquery("owed")
_first_late = first_that_can_be_late(_owed)
_last_late = case((_owed.c.last_day < _past_deadline, _owed.c.last_day), else_=_past_deadline)
_is_told = (
    # Days are told in order, so the last one decides.
    select(events.c.event_number)
    .where(IS_OF_A_DELAYED_DAY, events.c.user_id == _owed.c.user_id, events.c.day == _last_late)
    .correlate(_owed)
    .scalar_subquery()
)
_NOT_TOLD = (
    select(_owed.c.user_id)
    .where(type_coerce(_first_late, Integer) <= type_coerce(_last_late, Integer), _is_told.is_(None))
    .distinct()
)
_of_some = spans.where(enrolments.c.user_id.in_(bindparam("user_ids", expanding=True))).subquery("owed")
_OWED_TO_SOME = select(_of_some, first_that_can_be_late(_of_some).label("first_late")).order_by(
    _of_some.c.user_id, _of_some.c.first_day
)
_TOLD = select(events.c.user_id, events.c.day).where(
    IS_OF_A_DELAYED_DAY, events.c.user_id.in_(bindparam("user_ids", expanding=True))
)


async def tell_of_delayed_days(ledger: Ledger, *, now: datetime) -> int:
    """Writes an event for every owed day that is past its deadline and was not told yet; answers how many.

    A day that had closed before its enrolment was recorded is never late. Anybody may call this at any time, also
    several at once: each day is told once.
    """
    given = {"yesterday": day_of(now) - ONE_DAY, "past_deadline": last_day_past_its_deadline(now)}
    async with ledger.read(takes_long=True) as connection:
        user_ids = sorted(await connection.scalars(_NOT_TOLD, given))
    told = 0
    for first in range(0, len(user_ids), USERS_AT_ONCE):
        told += await _tell(ledger, user_ids[first : first + USERS_AT_ONCE], now)
    return told


@run_again_if_it_gave_way
async def _tell(ledger: Ledger, user_ids: Sequence[str], now: datetime) -> int:
    last = last_day_past_its_deadline(now)
    async with ledger.write() as connection:
        await lock_users(connection, user_ids)
        # Read under the locks: what was credited meanwhile is owed no more.
        told = await _told(connection, user_ids)
        owed = (
            await connection.execute(_OWED_TO_SOME, {"user_ids": user_ids, "yesterday": day_of(now) - ONE_DAY})
        ).all()
        versions = await all_versions(connection)
        new = [
            NewEvent(
                "day.delayed",
                max(now, ledger.clock()),
                span.user_id,
                day,
                data=DayDelayed(day=day, due_until=credit_deadline(day)),
            )
            for span in owed
            for day in _late(span, versions, last)
            if day not in told[span.user_id]
        ]
        await write_events(connection, new)
    return len(new)


async def _told(connection: AsyncConnection, user_ids: Sequence[str]) -> Mapping[str, set[date]]:
    told: defaultdict[str, set[date]] = defaultdict(set)
    for user_id, day in await connection.execute(_TOLD, {"user_ids": user_ids}):
        told[user_id].add(day)
    return told
