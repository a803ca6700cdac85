"""Days and boundaries. A day is a UTC calendar day [00:00, 24:00); a boundary is the 00:00 that closes one."""

import hashlib
from datetime import UTC, date, datetime, time, timedelta

ONE_DAY = timedelta(days=1)
MICROSECONDS_PER_DAY = 86_400_000_000
REWARD_WINDOW = timedelta(hours=8)
"""Rule 1: a day's reward is credited within this long after the boundary that closed the day."""
SPREAD_MAX = timedelta(hours=7)
"""The longest spread of wakes: the last user still has an hour of the reward window left."""


def in_utc(instant: datetime) -> datetime:
    """The same instant in UTC. Raises ValueError for one without a time zone, or outside the calendar."""
    if instant.tzinfo is None:
        raise ValueError(f"{instant.isoformat()} has no time zone")
    try:
        return instant.astimezone(UTC)
    except OverflowError:
        raise ValueError(f"{instant.isoformat()} is outside the calendar in UTC") from None


def day_of(instant: datetime) -> date:
    """The UTC day that an instant belongs to; 00:00 belongs to the day it opens."""
    return in_utc(instant).date()


def start_of(day: date) -> datetime:
    """00:00 UTC of the day: the boundary that opens it."""
    return datetime.combine(day, time.min, UTC)


def end_of(day: date) -> datetime:
    """The boundary that closes the day: 00:00 UTC of the next one."""
    return start_of(day) + ONE_DAY


def credit_deadline(day: date) -> datetime:
    """Rule 1: 08:00 UTC of the day after the accrual day. A later credit is late (rule 11)."""
    return end_of(day) + REWARD_WINDOW


def last_day_past_its_deadline(now: datetime) -> date:
    """The latest day whose credit would be late by now (rule 11)."""
    return day_of(in_utc(now) - REWARD_WINDOW - timedelta(microseconds=1)) - ONE_DAY


def wake_offset(user_id: str, spread: timedelta) -> timedelta:
    """How long after a boundary a user's loop wakes: the same for a user every day, and spread over the fleet."""
    if not spread:
        return timedelta()
    digest = hashlib.sha256(user_id.encode()).digest()
    return timedelta(milliseconds=int.from_bytes(digest[:8]) % (spread // timedelta(milliseconds=1)))


def first_accrual_day(activated_at: datetime) -> date:
    """Rule 1: Day 2. The activation day earns nothing."""
    return day_of(activated_at) + ONE_DAY


def is_late(day: date, *, credited_at: datetime, enrolled_at: datetime) -> bool:
    """Rule 11: was the credit of an accrual day late?

    ``enrolled_at`` is when the enrolment was recorded: a day that had closed by then was back-dated, not late.
    """
    return credited_at > credit_deadline(day) and end_of(day) > enrolled_at
