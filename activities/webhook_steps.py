"""The step that delivers events to a webhook."""

from dataclasses import dataclass

from temporalio import activity

from contract.webhooks import DELIVER, DELIVERS_FOR, Delivered
from webhooks.delivering import Delivery


@dataclass(frozen=True)
class WebhookSteps:
    """The step, on one ledger."""

    delivery: Delivery

    @activity.defn(name=DELIVER)
    async def deliver(self, webhook_id: str) -> Delivered:
        """Delivers what is there and what comes, until its time is over or the worker stops."""
        return await self.delivery.deliver(
            webhook_id,
            for_s=DELIVERS_FOR.total_seconds(),
            on_sign_of_life=activity.heartbeat,
            stops=activity.is_worker_shutdown,
        )
