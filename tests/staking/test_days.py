"""Days, boundaries and the reward window, all in UTC."""

from datetime import UTC, date, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from staking.days import (
    MICROSECONDS_PER_DAY,
    credit_deadline,
    day_of,
    end_of,
    first_accrual_day,
    in_utc,
    is_late,
    start_of,
)

MICROSECOND = timedelta(microseconds=1)
DAY = date(2026, 11, 3)
DEADLINE = datetime(2026, 11, 4, 8, tzinfo=UTC)
LONG_BEFORE = datetime(2026, 1, 1, tzinfo=UTC)

SOME_DAYS = st.dates(date(2000, 1, 1), date(2100, 1, 1))
SOME_INSTANTS = st.builds(
    lambda microseconds, zone: (LONG_BEFORE + timedelta(microseconds=microseconds)).astimezone(zone),
    st.integers(-(10**15), 10**15),
    st.integers(-14, 14).map(lambda hours: timezone(timedelta(hours=hours))),
)


def test_a_day_runs_from_its_midnight_to_the_next_in_utc():
    assert start_of(DAY) == datetime(2026, 11, 3, tzinfo=UTC)
    assert end_of(DAY) == datetime(2026, 11, 4, tzinfo=UTC)


@pytest.mark.parametrize(
    ("instant", "day"),
    [
        pytest.param("2026-11-03T00:00:00+00:00", date(2026, 11, 3), id="midnight belongs to the day it opens"),
        pytest.param("2026-11-02T23:59:59.999999+00:00", date(2026, 11, 2), id="the last microsecond"),
        pytest.param("2026-11-03T01:00:00+02:00", date(2026, 11, 2), id="east of UTC"),
        pytest.param("2026-11-02T20:00:00-05:00", date(2026, 11, 3), id="west of UTC"),
        pytest.param("2028-02-29T12:00:00+00:00", date(2028, 2, 29), id="leap day"),
    ],
)
def test_an_instant_belongs_to_its_utc_day(instant: str, day: date):
    assert day_of(datetime.fromisoformat(instant)) == day


@given(SOME_INSTANTS)
def test_every_instant_lies_within_its_own_day(instant: datetime):
    assert start_of(day_of(instant)) <= instant < end_of(day_of(instant))


@given(SOME_DAYS)
def test_every_day_is_equally_long_and_adjoins_the_next(day: date):
    assert end_of(day) - start_of(day) == MICROSECONDS_PER_DAY * MICROSECOND
    assert end_of(day) == start_of(day + timedelta(days=1))
    assert day_of(end_of(day) - MICROSECOND) == day


@given(SOME_INSTANTS)
def test_an_instant_in_utc_is_the_same_instant(instant: datetime):
    assert in_utc(instant) == instant
    assert in_utc(instant).tzinfo is UTC


def test_an_instant_without_a_time_zone_is_refused():
    with pytest.raises(ValueError, match=r"2026-11-03T10:00:00 has no time zone"):
        in_utc(datetime(2026, 11, 3, 10))  # noqa: DTZ001 (what is refused)


@pytest.mark.parametrize(
    ("activated_at", "first"),
    [
        pytest.param("2026-11-03T00:00:00+00:00", date(2026, 11, 4), id="at midnight"),
        pytest.param("2026-11-03T10:00:00+00:00", date(2026, 11, 4), id="in the morning"),
        pytest.param("2026-11-03T23:59:59.999999+00:00", date(2026, 11, 4), id="in the last microsecond"),
        pytest.param("2026-11-04T01:00:00+02:00", date(2026, 11, 4), id="east of UTC, still Day 1"),
        pytest.param("2026-12-31T12:00:00+00:00", date(2027, 1, 1), id="over the year"),
        pytest.param("2028-02-28T12:00:00+00:00", date(2028, 2, 29), id="onto a leap day"),
    ],
)
def test_the_activation_day_earns_nothing_and_the_next_is_the_first_accrual_day(activated_at: str, first: date):
    assert first_accrual_day(datetime.fromisoformat(activated_at)) == first


def test_a_day_is_due_by_eight_in_the_morning_after_it():
    assert credit_deadline(DAY) == DEADLINE


@pytest.mark.parametrize(
    ("credited_at", "enrolled_at", "late"),
    [
        pytest.param(end_of(DAY), LONG_BEFORE, False, id="at the boundary"),
        pytest.param(DEADLINE - MICROSECOND, LONG_BEFORE, False, id="just before eight"),
        pytest.param(DEADLINE, LONG_BEFORE, False, id="at eight exactly"),
        pytest.param(DEADLINE + MICROSECOND, LONG_BEFORE, True, id="one microsecond after eight"),
        pytest.param(DEADLINE + timedelta(days=30), LONG_BEFORE, True, id="a month later"),
        pytest.param(
            DEADLINE + MICROSECOND,
            end_of(DAY) - MICROSECOND,
            True,
            id="recorded in the day's last microsecond: not back-dated",
        ),
        pytest.param(
            DEADLINE + MICROSECOND, end_of(DAY), False, id="recorded when the day had closed: back-dated"
        ),
        pytest.param(
            DEADLINE + timedelta(days=30), DEADLINE + timedelta(days=29), False, id="recorded a month later"
        ),
        pytest.param(end_of(DAY) + MICROSECOND, end_of(DAY), False, id="back-dated and in the window"),
    ],
)
def test_a_credit_is_late_after_eight_unless_its_day_was_back_dated(
    credited_at: datetime, enrolled_at: datetime, late: bool
):
    assert is_late(DAY, credited_at=credited_at, enrolled_at=enrolled_at) is late


def test_lateness_does_not_depend_on_the_time_zone_of_the_instant():
    tokyo = timezone(timedelta(hours=9))
    assert not is_late(DAY, credited_at=DEADLINE.astimezone(tokyo), enrolled_at=LONG_BEFORE)
    assert is_late(DAY, credited_at=(DEADLINE + MICROSECOND).astimezone(tokyo), enrolled_at=LONG_BEFORE)
