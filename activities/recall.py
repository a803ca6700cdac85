"""recall: what a run must know of its user, when it starts without carried state."""

from dataclasses import dataclass, field
from datetime import timedelta

from temporalio import activity

from activities.finality import refusals_are_final
from ledger.engine import Ledger
from ledger.enrolments import recall
from staking.days import wake_offset
from staking.models import DAYS_PER_RUN, Recollection, RunSettings, SearchAttributeUse
from staking.steps import RECALL


@dataclass(frozen=True)
class RecallStep:
    """The recall step, with the settings that it hands to every run that starts."""

    ledger: Ledger
    spread: timedelta = field(default=timedelta())
    search_attributes: SearchAttributeUse = SearchAttributeUse.NONE
    days_per_run: int = DAYS_PER_RUN

    @activity.defn(name=RECALL.name)
    async def recall(self, user_id: str) -> Recollection:
        """Unfinished enrolments, hold and totals of the user, and the run's settings. Counted."""
        with refusals_are_final():
            known = await recall(self.ledger, user_id)
        settings = RunSettings(
            wake_offset=wake_offset(user_id, self.spread),
            search_attributes=self.search_attributes,
            steps_at_once=True,
            days_per_run=self.days_per_run,
        )
        return known.model_copy(update={"settings": settings})
