"""Rule 2: the exact time-weighted average of a day."""

from datetime import UTC, date, datetime, timedelta, timezone
from fractions import Fraction
from itertools import groupby
from random import Random

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from staking.average import day_holding
from staking.days import end_of, start_of
from staking.money import MAX_ACCOUNT_UNITS, parse_amount

DAY = date(2026, 11, 3)
MIDNIGHT = start_of(DAY)
LAST_MICROSECOND = end_of(DAY) - timedelta(microseconds=1)
Movement = tuple[datetime, int]

# Besides all instants there are a few fixed ones, so that movements often happen at the same instant.
INSTANTS = st.one_of(
    st.sampled_from([MIDNIGHT, MIDNIGHT + timedelta(hours=12), LAST_MICROSECOND]),
    st.integers(0, 86_400_000_000 - 1).map(lambda us: MIDNIGHT + timedelta(microseconds=us)),
)


@st.composite
def days_of_holding(draw: st.DrawFn) -> tuple[int, list[Movement]]:
    """An opening and movements in time order, with the holding between 0 and 90 billion at all times."""
    opening = holding = draw(st.integers(0, MAX_ACCOUNT_UNITS))
    movements: list[Movement] = []
    for instant in sorted(draw(st.lists(INSTANTS, max_size=12))):
        after = draw(st.one_of(st.integers(0, MAX_ACCOUNT_UNITS), st.integers(0, 10)))
        movements.append((instant, after - holding))
        holding = after
    return opening, movements


def holdings_in_force(opening: int, movements: list[Movement]) -> list[tuple[datetime, int]]:
    """The instant from which each holding of the day was in force. Movements at one instant are taken together."""
    steps = [(MIDNIGHT, opening)]
    for instant, together in groupby(sorted(movements), key=lambda movement: movement[0]):
        after = steps[-1][1] + sum(change for _, change in together)
        if instant == steps[-1][0]:
            steps.pop()
        steps.append((instant, after))
    return steps


def average_step_by_step(opening: int, movements: list[Movement]) -> int:
    """Each holding times the share of the day that it lasted, summed as fractions of a token."""
    steps = holdings_in_force(opening, movements)
    ends = [instant for instant, _ in steps[1:]] + [end_of(DAY)]
    tokens = Fraction(0)
    for (begin, holding), end in zip(steps, ends, strict=True):
        seconds = Fraction((end - begin).seconds + 86_400 * (end - begin).days) + Fraction(
            (end - begin).microseconds, 10**6
        )
        tokens += Fraction(holding, 10**8) * seconds / 86_400
    return (tokens * 10**8).__floor__()


def at(clock: str) -> datetime:
    return datetime.fromisoformat(f"{DAY}T{clock}+00:00")


def test_the_sol_example_of_day_2_averages_10_125():
    held = day_holding(
        DAY, parse_amount("12"), [(at("06:00"), parse_amount("-3")), (at("18:00"), parse_amount("1.5"))]
    )
    assert (held.opening, held.closing, held.average) == (12_00000000, 10_50000000, 10_12500000)


def test_the_sol_example_of_day_3_counts_the_reward_from_midnight():
    held = day_holding(DAY, parse_amount("10.5"), [(MIDNIGHT, parse_amount("0.00022191"))])
    assert (held.opening, held.closing, held.average) == (10_50000000, 10_50022191, 10_50022191)


def test_24_hourly_steps_from_100_to_2400_average_1250():
    steps = [(MIDNIGHT + timedelta(hours=hour), parse_amount("100")) for hour in range(24)]
    held = day_holding(DAY, 0, steps)
    assert (held.opening, held.closing, held.average) == (0, parse_amount("2400"), parse_amount("1250"))


def test_a_day_without_movements_averages_its_opening():
    held = day_holding(DAY, 7, [])
    assert (held.opening, held.closing, held.average) == (7, 7, 7)


def test_a_movement_at_midnight_belongs_to_the_day_it_opens():
    held = day_holding(DAY, 5, [(MIDNIGHT, 10)])
    assert (held.opening, held.closing, held.average) == (5, 15, 15)


def test_a_movement_in_the_last_microsecond_weighs_one_microsecond():
    one_unit_a_day = 86_400_000_000
    held = day_holding(DAY, 0, [(LAST_MICROSECOND, one_unit_a_day)])
    assert (held.closing, held.average) == (one_unit_a_day, 1)
    assert day_holding(DAY, 0, [(LAST_MICROSECOND, one_unit_a_day - 1)]).average == 0


def test_a_movement_at_the_instant_of_a_snapshot_gains_nothing():
    million = parse_amount("1000000")
    in_and_out = [(MIDNIGHT, million), (MIDNIGHT, -million), (at("12:00"), million), (at("12:00"), -million)]
    assert day_holding(DAY, 3, in_and_out).average == 3


@pytest.mark.parametrize(
    ("opening", "movements", "average"),
    [
        pytest.param(0, [("12:00", 1)], 0, id="half a unit"),
        pytest.param(1, [("23:59:59.999999", -1)], 0, id="all but a unit-microsecond"),
        pytest.param(10, [("08:00", -1)], 9, id="nine and a third"),
        pytest.param(10, [("16:00", -1)], 9, id="nine and two thirds"),
    ],
)
def test_an_average_is_rounded_down(opening: int, movements: list[tuple[str, int]], average: int):
    assert day_holding(DAY, opening, [(at(clock), change) for clock, change in movements]).average == average


def test_the_smallest_and_the_largest_amount_are_averaged_exactly():
    assert day_holding(DAY, 1, []).average == 1
    assert day_holding(DAY, MAX_ACCOUNT_UNITS, []).average == MAX_ACCOUNT_UNITS
    halved = day_holding(DAY, MAX_ACCOUNT_UNITS, [(at("12:00"), -MAX_ACCOUNT_UNITS)])
    assert (halved.closing, halved.average) == (0, MAX_ACCOUNT_UNITS // 2)


@pytest.mark.parametrize(
    "instant",
    [
        pytest.param(MIDNIGHT - timedelta(microseconds=1), id="the microsecond before"),
        pytest.param(end_of(DAY), id="the boundary that closes the day"),
        pytest.param(MIDNIGHT - timedelta(days=365), id="a year before"),
        pytest.param(
            datetime(2026, 11, 3, 0, 30, tzinfo=timezone(timedelta(hours=1))), id="the same date elsewhere"
        ),
    ],
)
def test_a_movement_outside_the_day_is_refused(instant: datetime):
    with pytest.raises(ValueError, match="is not one of 2026-11-03"):
        day_holding(DAY, 1, [(instant, 1)])


def test_a_movement_counts_from_its_instant_whatever_its_time_zone():
    there = at("06:00").astimezone(timezone(timedelta(hours=-8)))
    assert day_holding(DAY, 8, [(there, 4)]) == day_holding(DAY, 8, [(at("06:00"), 4)])


def test_a_leap_day_is_a_day_like_any_other():
    noon = datetime(2028, 2, 29, 12, tzinfo=UTC)
    assert day_holding(date(2028, 2, 29), 10, [(noon, 10)]).average == 15


def test_only_utc_counts_on_the_day_that_local_clocks_change():
    noon = datetime(2026, 3, 29, 12, tzinfo=UTC)
    assert day_holding(date(2026, 3, 29), 10, [(noon, 10)]).average == 15


@given(days_of_holding())
@example((MAX_ACCOUNT_UNITS, []))
@example((0, [(LAST_MICROSECOND, 1)]))
def test_an_average_is_what_the_holdings_weigh_step_by_step(a_day: tuple[int, list[Movement]]):
    opening, movements = a_day
    assert day_holding(DAY, opening, movements).average == average_step_by_step(opening, movements)


@given(days_of_holding())
def test_an_average_lies_between_the_lowest_and_the_highest_holding_of_the_day(a_day: tuple[int, list[Movement]]):
    opening, movements = a_day
    held = [holding for _, holding in holdings_in_force(opening, movements)]
    assert min(held) <= day_holding(DAY, opening, movements).average <= max(held)


@given(days_of_holding())
def test_what_comes_and_goes_explains_the_closing(a_day: tuple[int, list[Movement]]):
    opening, movements = a_day
    held = day_holding(DAY, opening, movements)
    assert held.opening == opening
    assert held.closing == opening + sum(change for _, change in movements)


@given(days_of_holding(), st.randoms(use_true_random=False))
def test_the_order_of_movements_changes_nothing(a_day: tuple[int, list[Movement]], random: Random):
    opening, movements = a_day
    shuffled = list(movements)
    random.shuffle(shuffled)
    assert day_holding(DAY, opening, shuffled) == day_holding(DAY, opening, movements)


@given(days_of_holding(), INSTANTS, st.integers(-(10**12), 10**12), st.integers(-(10**12), 10**12))
def test_a_movement_split_in_two_changes_nothing(
    a_day: tuple[int, list[Movement]], instant: datetime, one_part: int, other_part: int
):
    opening, movements = a_day
    whole = day_holding(DAY, opening, [*movements, (instant, one_part + other_part)])
    split = day_holding(DAY, opening, [(instant, one_part), *movements, (instant, other_part)])
    assert whole == split


@given(days_of_holding(), INSTANTS, st.integers(0, 10**12))
def test_one_who_holds_more_never_averages_less(a_day: tuple[int, list[Movement]], instant: datetime, more: int):
    opening, movements = a_day
    average = day_holding(DAY, opening, movements).average
    assert day_holding(DAY, opening, [*movements, (instant, more)]).average >= average
    assert day_holding(DAY, opening + more, movements).average == average + more
