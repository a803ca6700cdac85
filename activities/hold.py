"""hold and release: an operator stops a user's loop before its next step, and lets it go on."""

from dataclasses import dataclass

from temporalio import activity

from activities.finality import refusals_are_final
from ledger.acts import hold, release
from ledger.engine import Ledger
from staking.models import ActRequest, Hold
from staking.steps import HOLD, RELEASE


@dataclass(frozen=True)
class HoldStep:
    """The hold and release steps."""

    ledger: Ledger

    @activity.defn(name=HOLD.name)
    async def hold(self, request: ActRequest) -> Hold:
        """The hold, or the one that the user is under already."""
        with refusals_are_final():
            return await hold(self.ledger, request)

    @activity.defn(name=RELEASE.name)
    async def release(self, request: ActRequest) -> Hold | None:
        """The hold that this ended; None if there was none. Idempotent by act id."""
        with refusals_are_final():
            return await release(self.ledger, request)
