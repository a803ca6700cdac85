"""What a holding would earn in a day and in a year if nothing moved it but its own rewards."""

from dataclasses import dataclass
from datetime import date

from staking.days import ONE_DAY
from staking.program import AssetTerms
from staking.rewards import DAYS_PER_YEAR, Outcome, formula_on, outcome_and_reward


@dataclass(frozen=True)
class Estimate:
    """Rewards in units; no promise, since terms and holdings may change."""

    outcome: Outcome
    """The outcome of the first day (rule 12)."""
    of_a_day: int
    of_a_year: int
    """The rewards of 365 days, computed day by day: each day's reward counts in the next average (rule 6)."""


def estimate(holding: int, terms: AssetTerms, first_day: date) -> Estimate:
    """What a holding, in units, earns from a day on under the terms of that day (rules 3, 4 and 12)."""
    outcome, of_a_day = outcome_and_reward(holding, terms, formula_on(first_day))
    held = holding
    for number in range(DAYS_PER_YEAR):
        _, reward = outcome_and_reward(held, terms, formula_on(first_day + number * ONE_DAY))
        if not reward:
            break  # nothing changes any more
        held += reward
    return Estimate(outcome, of_a_day, held - holding)
