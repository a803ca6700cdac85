"""Rule 2: the exact time-weighted average of a holding over a day."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, datetime, timedelta

from staking.days import MICROSECONDS_PER_DAY, end_of, start_of

_MICROSECOND = timedelta(microseconds=1)


@dataclass(frozen=True)
class DayHolding:
    """What a user held of one asset on a day. Amounts in units."""

    opening: int
    """Just before the day's 00:00."""
    closing: int
    """Just before the next day's 00:00."""
    average: int


def day_holding(day: date, opening: int, movements: Iterable[tuple[datetime, int]]) -> DayHolding:
    """Rule 2: opening, closing and average of a day from its opening and its movements in any order.

    A movement is an instant within the day and a signed change in units. A movement at 00:00 belongs to the day it
    opens. Raises ValueError for a movement outside the day.
    """
    start, end = start_of(day), end_of(day)
    unit_microseconds = opening * MICROSECONDS_PER_DAY
    closing = opening
    for instant, change in movements:
        if not start <= instant < end:
            raise ValueError(f"a movement at {instant.isoformat()} is not one of {day}")
        unit_microseconds += change * ((end - instant) // _MICROSECOND)
        closing += change
    return DayHolding(opening, closing, unit_microseconds // MICROSECONDS_PER_DAY)
