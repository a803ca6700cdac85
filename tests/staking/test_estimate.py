"""What a holding would earn in a day and in a year, by the rules of the rewards themselves."""

from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from staking.average import day_holding
from staking.days import ONE_DAY, end_of
from staking.estimate import estimate
from staking.money import UNITS_PER_TOKEN, parse_amount
from staking.program import AssetTerms
from staking.rewards import Outcome, daily_reward, formula_on, outcome_and_reward

FIRST = date(2026, 10, 2)


def terms(apr: str = "0.008", *, minimum: str = "1", cap: str = "10000", paused: bool = False) -> AssetTerms:
    return AssetTerms(minimum=minimum, cap=cap, apr=apr, reference_price="150", paused=paused)


@given(st.integers(0, 20_000 * UNITS_PER_TOKEN), st.sampled_from(["0", "0.0015", "0.008", "1"]))
def test_a_year_is_what_365_days_come_to_one_after_the_other(holding: int, apr: str) -> None:
    of = terms(apr)
    opening, earned = holding, 0
    movements: list[tuple[object, int]] = []
    for number in range(365):
        day = FIRST + number * ONE_DAY
        held = day_holding(day, opening, movements)  # type: ignore[arg-type]
        _, reward = outcome_and_reward(held.average, of, formula_on(day))
        opening, movements, earned = held.closing, [(end_of(day), reward)] if reward else [], earned + reward

    found = estimate(holding, of, FIRST)

    assert (found.of_a_year, found.of_a_day) == (earned, outcome_and_reward(holding, of, formula_on(FIRST))[1])


@pytest.mark.parametrize(
    ("holding", "of", "outcome"),
    [
        ("0.99999999", terms(), Outcome.BELOW_MINIMUM),
        ("0", terms(minimum="0"), Outcome.ROUNDED_TO_ZERO),
        ("12", terms(paused=True), Outcome.PAUSED),
        ("12", terms("0"), Outcome.ROUNDED_TO_ZERO),
    ],
)
def test_what_earns_nothing_says_why(holding: str, of: AssetTerms, outcome: Outcome) -> None:
    found = estimate(parse_amount(holding), of, FIRST)

    assert (found.outcome, found.of_a_day, found.of_a_year) == (outcome, 0, 0)


def test_above_the_cap_nothing_more_is_earned() -> None:
    capped = daily_reward(parse_amount("10000"), terms(), formula_on(FIRST))

    found = estimate(parse_amount("20000"), terms(), FIRST)

    assert (found.outcome, found.of_a_day, found.of_a_year) == (Outcome.CAPPED, capped, 365 * capped)
