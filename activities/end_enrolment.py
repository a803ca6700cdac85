"""end_enrolment: records the end of an enrolment (rule 10)."""

from dataclasses import dataclass

from temporalio import activity

from activities.finality import refusals_are_final
from ledger.engine import Ledger
from ledger.enrolments import end_enrolment
from staking.models import End, EndRequest
from staking.steps import END_ENROLMENT


@dataclass(frozen=True)
class EndEnrolmentStep:
    """The end_enrolment step."""

    ledger: Ledger

    @activity.defn(name=END_ENROLMENT.name)
    async def end_enrolment(self, request: EndRequest) -> End:
        """The end. Idempotent by enrolment id."""
        with refusals_are_final():
            return await end_enrolment(self.ledger, request)
