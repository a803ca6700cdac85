"""compute: applies the terms of the day to its snapshot (rules 3, 4, 5, 7 and 12)."""

from dataclasses import dataclass

from temporalio import activity

from activities.finality import refusals_are_final
from ledger.engine import Ledger
from ledger.enrolments import terms_of_day
from staking.models import ComputeRequest, EndsHere, Holding, RewardLine, Rewards
from staking.program import AssetTerms
from staking.rewards import formula_on, outcome_and_reward
from staking.steps import COMPUTE


@dataclass(frozen=True)
class ComputeStep:
    """The compute step."""

    ledger: Ledger

    @activity.defn(name=COMPUTE.name)
    async def compute(self, request: ComputeRequest) -> Rewards | EndsHere:
        """The day's reward lines, or that the user's region is restricted on it. Reads only."""
        day = request.snapshot.day
        with refusals_are_final():
            terms = await terms_of_day(self.ledger, request)
        program = terms.in_force.program
        if program.restricts(terms.region):
            return EndsHere(day=day, reason=f"region_restricted:{terms.region}")
        return Rewards(
            day=day,
            program_version=terms.in_force.version,
            lines=[_line(held, program.assets[held.asset], formula_on(day)) for held in request.snapshot.holdings],
        )


def _line(held: Holding, terms: AssetTerms, formula: int) -> RewardLine:
    outcome, reward = outcome_and_reward(held.average, terms, formula)
    return RewardLine(
        asset=held.asset,
        average=held.average,
        minimum=terms.minimum,
        cap=terms.cap,
        apr=terms.apr,
        reward=reward,
        outcome=outcome,
        formula=formula,
    )
