"""recall: what the ledger knows to be unfinished, when a run starts without carried state."""

from dataclasses import dataclass

from temporalio import activity

from activities.finality import refusals_are_final
from ledger.engine import Ledger
from ledger.enrolments import recall
from staking.models import Recollection
from staking.steps import RECALL


@dataclass(frozen=True)
class RecallStep:
    """The recall step."""

    ledger: Ledger

    @activity.defn(name=RECALL.name)
    async def recall(self, user_id: str) -> Recollection:
        """Enrolments of the user that are open or have owed days. Reads only."""
        with refusals_are_final():
            return await recall(self.ledger, user_id)
