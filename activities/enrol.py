"""enrol: tests eligibility (rule 7) and records the enrolment."""

from dataclasses import dataclass

from temporalio import activity

from activities.finality import refusals_are_final
from ledger.engine import Ledger
from ledger.enrolments import enrol
from staking.models import EnrolRequest, Receipt, Refusal
from staking.steps import ENROL


@dataclass(frozen=True)
class EnrolStep:
    """The enrol step."""

    ledger: Ledger

    @activity.defn(name=ENROL.name)
    async def enrol(self, request: EnrolRequest) -> Receipt | Refusal:
        """The receipt, or every reason to refuse. Idempotent by enrolment id."""
        with refusals_are_final():
            return await enrol(self.ledger, request)
