"""Rules 3, 4 and 12: the reward of one asset for one day, and the reason where it is zero."""

from enum import StrEnum

from staking.program import AssetTerms

DAYS_PER_YEAR = 365
"""Rule 3: in leap years too."""


class Outcome(StrEnum):
    """Rule 12: what became of an asset on an accrual day; the first that applies, in this order."""

    PAUSED = "paused"
    BELOW_MINIMUM = "below_minimum"
    ROUNDED_TO_ZERO = "rounded_to_zero"
    CAPPED = "capped"
    EARNED = "earned"


def daily_reward(average: int, terms: AssetTerms) -> int:
    """Rule 3: ``floor8(min(average, cap) × APR / 365)`` in units, from the average in units as shown."""
    numerator, denominator = terms.apr_ratio
    return min(average, terms.cap_units) * numerator // (denominator * DAYS_PER_YEAR)


def outcome_and_reward(average: int, terms: AssetTerms) -> tuple[Outcome, int]:
    """Rules 3, 4 and 12: the outcome of a day for one asset and its reward in units."""
    if terms.paused:
        return Outcome.PAUSED, 0
    if average < terms.minimum_units:
        return Outcome.BELOW_MINIMUM, 0
    reward = daily_reward(average, terms)
    if reward == 0:
        return Outcome.ROUNDED_TO_ZERO, 0
    return (Outcome.CAPPED if average > terms.cap_units else Outcome.EARNED), reward
