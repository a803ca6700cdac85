"""compute: applies the terms of the day to its snapshot (rules 3, 4, 5, 7 and 12)."""

from dataclasses import dataclass

from temporalio import activity

from activities.finality import refusals_are_final
from ledger.day.together import compute_day
from ledger.engine import Ledger
from staking.models import ComputeRequest, EndsHere, Rewards
from staking.steps import COMPUTE


@dataclass(frozen=True)
class ComputeStep:
    """The compute step."""

    ledger: Ledger

    @activity.defn(name=COMPUTE.name)
    async def compute(self, request: ComputeRequest) -> Rewards | EndsHere:
        """The day's reward lines, or that the user's region is restricted on it. Reads only."""
        with refusals_are_final():
            return await compute_day(self.ledger, request)
