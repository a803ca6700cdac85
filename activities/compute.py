"""compute: applies the terms of the day to its snapshot (rules 3, 4, 5, 7 and 12)."""

from dataclasses import dataclass

from temporalio import activity

from activities.finality import refusals_are_final
from ledger.engine import Ledger
from ledger.enrolments import region_of
from ledger.programs import program_of_closed_day
from staking.models import ComputeRequest, EndsHere, Holding, RewardLine, Rewards
from staking.program import AssetTerms
from staking.rewards import outcome_and_reward
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
            async with self.ledger.read() as connection:
                in_force = await program_of_closed_day(self.ledger, connection, day)
                region = await region_of(connection, request.user_id, request.enrolment_id)
        if in_force.program.restricts(region):
            return EndsHere(day=day, reason=f"region_restricted:{region}")
        return Rewards(
            day=day,
            program_version=in_force.version,
            lines=[_line(held, in_force.program.assets[held.asset]) for held in request.snapshot.holdings],
        )


def _line(held: Holding, terms: AssetTerms) -> RewardLine:
    outcome, reward = outcome_and_reward(held.average, terms)
    return RewardLine(
        asset=held.asset,
        average=held.average,
        minimum=terms.minimum,
        cap=terms.cap,
        apr=terms.apr,
        reward=reward,
        outcome=outcome,
    )
