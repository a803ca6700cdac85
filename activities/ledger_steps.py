"""The steps of the service: thin, idempotent, and the only code between Temporal and the ledger."""

from dataclasses import dataclass
from datetime import timedelta

from temporalio import activity

from activities.finality import refusals_are_final
from contract.acts import Hold
from contract.answers import End, Receipt, Refusal
from contract.recollection import DAYS_PER_RUN, Recollection, RunSettings, SearchAttributeUse
from contract.requests import ActRequest, ComputeRequest, CreditRequest, EndRequest, EnrolRequest, SnapshotRequest
from contract.steps import COMPUTE, CREDIT, END_ENROLMENT, ENROL, HOLD, RECALL, RELEASE, SNAPSHOT
from ledger import acts, enrolments, recall
from ledger.database.engine import Ledger
from ledger.day.together import close_day, compute_day, credit_day
from staking.days import wake_offset
from staking.models import CreditReceipt, EndsHere, PoolShort, Rewards, Snapshot, SourceLate


@dataclass(frozen=True)
class Steps:
    """Every step on one ledger, with the settings that recall hands to the runs that start."""

    ledger: Ledger
    spread: timedelta = timedelta()
    search_attributes: SearchAttributeUse = SearchAttributeUse.NONE
    days_per_run: int = DAYS_PER_RUN

    @activity.defn(name=RECALL.name)
    async def recall(self, user_id: str) -> Recollection:
        """Unfinished enrolments, hold and totals of the user, and the run's settings.

        Each call is counted, and runs that recalled earlier may write no more.
        """
        with refusals_are_final():
            recalled = await recall.recall(self.ledger, user_id)
        settings = RunSettings(
            wake_offset=wake_offset(user_id, self.spread),
            search_attributes=self.search_attributes,
            steps_at_once=True,
            days_per_run=self.days_per_run,
        )
        return recalled.model_copy(update={"settings": settings})

    @activity.defn(name=ENROL.name)
    async def enrol(self, request: EnrolRequest) -> Receipt | Refusal:
        """The receipt, or every reason to refuse (rule 7). Idempotent by enrolment id."""
        with refusals_are_final():
            return await enrolments.enrol(self.ledger, request)

    @activity.defn(name=SNAPSHOT.name)
    async def snapshot(self, request: SnapshotRequest) -> Snapshot | SourceLate:
        """Closes the day: opening, closing and average per program asset (rule 2). Idempotent by user and day.

        Or says which sources are not complete through the day's end.
        """
        with refusals_are_final():
            return await close_day(self.ledger, request)

    @activity.defn(name=COMPUTE.name)
    async def compute(self, request: ComputeRequest) -> Rewards | EndsHere:
        """The day's reward lines (rules 3, 4, 5 and 12), or that the region is restricted on it (rule 7)."""
        with refusals_are_final():
            return await compute_day(self.ledger, request)

    @activity.defn(name=CREDIT.name)
    async def credit(self, request: CreditRequest) -> CreditReceipt | PoolShort:
        """Pays the day whole and once (rules 10 and 11), or says which pools are short (rule 13)."""
        with refusals_are_final():
            return await credit_day(self.ledger, request)

    @activity.defn(name=END_ENROLMENT.name)
    async def end_enrolment(self, request: EndRequest) -> End:
        """Records the end (rule 10). Idempotent by enrolment id."""
        with refusals_are_final():
            return await enrolments.end_enrolment(self.ledger, request)

    @activity.defn(name=HOLD.name)
    async def hold(self, request: ActRequest) -> Hold:
        """The hold, or the one that the user is under already."""
        with refusals_are_final():
            return await acts.hold(self.ledger, request)

    @activity.defn(name=RELEASE.name)
    async def release(self, request: ActRequest) -> Hold | None:
        """The hold that this ended; None if there was none. Idempotent by act id."""
        with refusals_are_final():
            return await acts.release(self.ledger, request)
