"""Rules 3, 4 and 12: the reward of one asset for one day, and the reason where it is zero."""

from collections.abc import Callable, Mapping
from datetime import date
from enum import StrEnum
from typing import TypeAlias

from staking.program import AssetTerms

DAYS_PER_YEAR = 365
"""Rule 3: in leap years too."""
Formula: TypeAlias = Callable[[int, AssetTerms], int]
"""A reward in units, from the average in units as shown and the terms of the day."""


class Outcome(StrEnum):
    """Rule 12: what became of an asset on an accrual day; the first that applies, in this order."""

    PAUSED = "paused"
    BELOW_MINIMUM = "below_minimum"
    ROUNDED_TO_ZERO = "rounded_to_zero"
    CAPPED = "capped"
    EARNED = "earned"


class UnknownFormula(ValueError):
    """No formula has this number."""


def _formula_1(average: int, terms: AssetTerms) -> int:
    """``floor8(min(average, cap) × APR / 365)``."""
    numerator, denominator = terms.apr_ratio
    return min(average, terms.cap_units) * numerator // (denominator * DAYS_PER_YEAR)


FORMULAS: Mapping[int, Formula] = {1: _formula_1}
"""Rule 3, in every form in which it was ever applied. The audit proves by these what was paid, so none is ever
changed or removed. A new form of the rule gets a new number, as docs/changing-workflows.md says."""
_FIRST_DAYS: Mapping[int, date] = {1: date.min}
"""The first accrual day of each formula, in the order of their numbers."""


def formula_on(day: date) -> int:
    """Rule 5: the number of the formula that holds on an accrual day, whenever that day is processed."""
    return max(number for number, first_day in _FIRST_DAYS.items() if first_day <= day)


def daily_reward(average: int, terms: AssetTerms, formula: int) -> int:
    """Rule 3: the reward in units by the formula of that number. Raises UnknownFormula."""
    if formula not in FORMULAS:
        raise UnknownFormula(f"there is no formula {formula}; known are {', '.join(map(str, FORMULAS))}")
    return FORMULAS[formula](average, terms)


def outcome_and_reward(average: int, terms: AssetTerms, formula: int) -> tuple[Outcome, int]:
    """Rules 3, 4 and 12: the outcome of a day for one asset and its reward in units. Raises UnknownFormula."""
    if terms.paused:
        return Outcome.PAUSED, 0
    if average < terms.minimum_units:
        return Outcome.BELOW_MINIMUM, 0
    reward = daily_reward(average, terms, formula)
    if reward == 0:
        return Outcome.ROUNDED_TO_ZERO, 0
    return (Outcome.CAPPED if average > terms.cap_units else Outcome.EARNED), reward
