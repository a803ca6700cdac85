"""snapshot: closes a day for a user and fixes the holdings (rule 2)."""

from dataclasses import dataclass

from temporalio import activity

from activities.finality import refusals_are_final
from ledger.day.together import close_day
from ledger.engine import Ledger
from staking.models import Snapshot, SnapshotRequest
from staking.steps import SNAPSHOT


@dataclass(frozen=True)
class SnapshotStep:
    """The snapshot step."""

    ledger: Ledger

    @activity.defn(name=SNAPSHOT.name)
    async def snapshot(self, request: SnapshotRequest) -> Snapshot:
        """Opening, closing and average per program asset. Idempotent by user and day."""
        with refusals_are_final():
            return await close_day(self.ledger, request)
