"""Rules 3, 4 and 12: what a day earns in one asset, and the reason if it earns nothing."""

from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import ROUND_FLOOR, Decimal, localcontext
from fractions import Fraction
from pathlib import Path

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from staking import rewards
from staking.average import day_holding
from staking.days import end_of, start_of
from staking.money import MAX_ACCOUNT_UNITS, format_amount, parse_amount
from staking.program import AssetTerms, parse_program
from staking.rewards import (
    FORMULAS,
    Outcome,
    UnknownFormula,
    daily_reward,
    formula_on,
    outcome_and_reward,
)

SHIPPED = parse_program((Path(__file__).parents[2] / "program.toml").read_text())
AVERAGES = st.integers(0, MAX_ACCOUNT_UNITS)
APRS = st.one_of(
    st.sampled_from(["0", "0.0015", "0.008", "0.01", "1"]),
    st.integers(1, 10**18).map(lambda attos: f"{Decimal(attos).scaleb(-18):f}"),
)


def terms(
    minimum: str = "1", cap: str = "10000", apr: str = "0.008", price: str = "150", paused: bool = False
) -> AssetTerms:
    return AssetTerms(minimum=minimum, cap=cap, apr=apr, reference_price=price, paused=paused)


@st.composite
def any_terms(draw: st.DrawFn) -> AssetTerms:
    minimum, cap = sorted(draw(st.tuples(AVERAGES, AVERAGES)))
    return terms(format_amount(minimum), format_amount(cap), draw(APRS), paused=draw(st.booleans()))


def reward_by_hand(average: str, cap: str, apr: str) -> str:
    """Rule 3 as a reader of a statement would redo it, in decimal."""
    with localcontext(prec=100):
        yearly = min(Decimal(average), Decimal(cap)) * Decimal(apr)
        return f"{(yearly / 365).quantize(Decimal('1E-8'), rounding=ROUND_FLOOR):f}"


@dataclass(frozen=True)
class Case:
    """A row of rule 12's table."""

    average: str
    outcome: Outcome
    reward: str
    minimum: str = "1"
    cap: str = "10000"
    apr: str = "0.008"
    paused: bool = False


OUTCOMES = {
    "paused before all else": Case("20000", Outcome.PAUSED, "0.00000000", paused=True),
    "paused before below the minimum": Case("0.5", Outcome.PAUSED, "0.00000000", paused=True),
    "paused before rounded to zero": Case("5", Outcome.PAUSED, "0.00000000", apr="0", paused=True),
    "below the minimum by one unit": Case("0.99999999", Outcome.BELOW_MINIMUM, "0.00000000"),
    "below the minimum before rounded to zero": Case("0.5", Outcome.BELOW_MINIMUM, "0.00000000", apr="0"),
    "nothing held": Case("0", Outcome.BELOW_MINIMUM, "0.00000000"),
    "exactly the minimum": Case("1", Outcome.EARNED, "0.00002191"),
    "one unit above the minimum": Case("1.00000001", Outcome.EARNED, "0.00002191"),
    "rounded to zero": Case("0.0004", Outcome.ROUNDED_TO_ZERO, "0.00000000", minimum="0"),
    "the least that earns a unit": Case("0.00045625", Outcome.EARNED, "0.00000001", minimum="0"),
    "one unit less than that": Case("0.00045624", Outcome.ROUNDED_TO_ZERO, "0.00000000", minimum="0"),
    "nothing held and no minimum": Case("0", Outcome.ROUNDED_TO_ZERO, "0.00000000", minimum="0"),
    "an APR of zero": Case("5", Outcome.ROUNDED_TO_ZERO, "0.00000000", apr="0"),
    "rounded to zero before capped": Case("20000", Outcome.ROUNDED_TO_ZERO, "0.00000000", apr="0"),
    "a cap of zero": Case("5", Outcome.ROUNDED_TO_ZERO, "0.00000000", minimum="0", cap="0"),
    "one unit below the cap": Case("9999.99999999", Outcome.EARNED, "0.21917808"),
    "exactly the cap": Case("10000", Outcome.EARNED, "0.21917808"),
    "one unit above the cap": Case("10000.00000001", Outcome.CAPPED, "0.21917808"),
    "far above the cap": Case("90000000000", Outcome.CAPPED, "0.21917808"),
    "minimum and cap are one and met": Case("5", Outcome.EARNED, "0.00010958", minimum="5", cap="5"),
    "minimum and cap are one and passed": Case("6", Outcome.CAPPED, "0.00010958", minimum="5", cap="5"),
    "one unit at 100 % a year": Case("0.00000001", Outcome.ROUNDED_TO_ZERO, "0.00000000", minimum="0", apr="1"),
    "365 units at 100 % a year": Case("0.00000365", Outcome.EARNED, "0.00000001", minimum="0", apr="1"),
}


@pytest.mark.parametrize("case", OUTCOMES.values(), ids=OUTCOMES.keys())
def test_the_first_outcome_that_applies_is_given_with_its_reward(case: Case):
    outcome, reward = outcome_and_reward(
        parse_amount(case.average), terms(case.minimum, case.cap, case.apr, paused=case.paused), 1
    )
    assert (outcome, format_amount(reward)) == (case.outcome, case.reward)


def test_every_accrual_day_has_one_formula_and_formulas_begin_in_the_order_of_their_numbers():
    first_days = [date.min, *rewards._FIRST_DAYS.values(), date.max]
    assert list(rewards._FIRST_DAYS) == list(FORMULAS) == sorted(FORMULAS)
    assert first_days == sorted(first_days)
    assert formula_on(date.min) == 1


def test_a_formula_holds_from_its_first_day_on(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(rewards, "_FIRST_DAYS", {1: date.min, 2: date(2027, 1, 1)})
    days = [date(2026, 12, 31), date(2027, 1, 1), date(2027, 1, 2)]
    assert [formula_on(day) for day in days] == [1, 2, 2]


def test_a_formula_that_there_is_not_computes_nothing():
    with pytest.raises(UnknownFormula, match="no formula 7"):
        daily_reward(parse_amount("12"), terms(), 7)


def test_outcomes_are_named_as_the_rules_name_them_in_their_order():
    assert [str(outcome) for outcome in Outcome] == [
        "paused",
        "below_minimum",
        "rounded_to_zero",
        "capped",
        "earned",
    ]


def test_the_sol_example_comes_out_to_the_last_digit():
    day_2 = date(2026, 11, 3)
    six, eighteen = start_of(day_2) + timedelta(hours=6), start_of(day_2) + timedelta(hours=18)
    held_2 = day_holding(day_2, parse_amount("12"), [(six, parse_amount("-3")), (eighteen, parse_amount("1.5"))])
    outcome_2, reward_2 = outcome_and_reward(held_2.average, SHIPPED.assets["SOL"], 1)
    assert (format_amount(held_2.average), outcome_2, format_amount(reward_2)) == (
        "10.12500000",
        "earned",
        "0.00022191",
    )

    held_3 = day_holding(day_2 + timedelta(days=1), held_2.closing, [(end_of(day_2), reward_2)])
    outcome_3, reward_3 = outcome_and_reward(held_3.average, SHIPPED.assets["SOL"], 1)
    assert (format_amount(held_3.average), outcome_3, format_amount(reward_3)) == (
        "10.50022191",
        "earned",
        "0.00023014",
    )


@pytest.mark.parametrize("day", [date(2028, 2, 28), date(2028, 2, 29), date(2028, 12, 31), date(2027, 2, 28)])
def test_a_leap_day_earns_what_any_other_day_earns(day: date):
    noon = start_of(day) + timedelta(hours=12)
    movements: list[tuple[datetime, int]] = [(noon, parse_amount("7300"))]
    average = day_holding(day, 0, movements).average
    assert format_amount(daily_reward(average, terms(apr="0.01"), 1)) == "0.10000000"


@pytest.mark.parametrize(
    ("average", "apr", "reward"),
    [
        ("90000000000", "1", "246575342.46575342"),
        ("90000000000", "0.000000000000000001", "0.00000000"),
        ("90000000000", "0.0000000001", "0.02465753"),
        ("0.00000001", "0.008", "0.00000000"),
        ("365", "0.1", "0.10000000"),
        ("0.00000729", "0.7", "0.00000001"),
        ("3.65", "0.000000999999999999", "0.00000000"),
        ("3.65", "0.000001", "0.00000001"),
    ],
)
def test_the_smallest_and_the_largest_amounts_are_exact(average: str, apr: str, reward: str):
    unlimited = terms(minimum="0", cap="90000000000", apr=apr)
    assert format_amount(daily_reward(parse_amount(average), unlimited, 1)) == reward


@given(AVERAGES, any_terms())
def test_a_reward_is_what_anyone_gets_who_redoes_the_sum_from_the_statement(average: int, asset: AssetTerms):
    by_hand = reward_by_hand(format_amount(average), asset.cap, asset.apr)
    assert format_amount(daily_reward(average, asset, 1)) == by_hand


@given(AVERAGES, any_terms())
def test_a_reward_never_exceeds_cap_times_apr_over_365(average: int, asset: AssetTerms):
    _, reward = outcome_and_reward(average, asset, 1)
    assert 0 <= Fraction(reward, 10**8) <= Fraction(asset.cap) * Fraction(asset.apr) / 365


@given(AVERAGES, any_terms())
def test_a_reward_is_never_a_whole_unit_short(average: int, asset: AssetTerms):
    exact = min(Fraction(average), Fraction(asset.cap) * 10**8) * Fraction(asset.apr) / 365
    assert exact - 1 < daily_reward(average, asset, 1) <= exact


@given(AVERAGES, AVERAGES, any_terms())
def test_one_who_holds_more_never_earns_less(one: int, other: int, asset: AssetTerms):
    less, more = sorted((one, other))
    assert outcome_and_reward(less, asset, 1)[1] <= outcome_and_reward(more, asset, 1)[1]


@given(AVERAGES, any_terms())
def test_nothing_is_earned_more_above_the_cap(average: int, asset: AssetTerms):
    assume(average > asset.cap_units)
    assert outcome_and_reward(average, asset, 1)[1] == outcome_and_reward(asset.cap_units, asset, 1)[1]


@given(AVERAGES, any_terms())
def test_a_reward_is_zero_exactly_where_the_outcome_says_why(average: int, asset: AssetTerms):
    outcome, reward = outcome_and_reward(average, asset, 1)
    assert (reward == 0) == (outcome in {"paused", "below_minimum", "rounded_to_zero"})
