"""One workflow per webhook: deliver what happens, wait where that fails, and again.

Where the webhook is stands in the ledger, so a run has nothing to remember and may be started anew at any time.
"""

from datetime import timedelta

from temporalio import workflow
from temporalio.common import RetryPolicy

with workflow.unsafe.imports_passed_through():
    from contract.webhooks import DELIVER, DELIVERS_FOR, WEBHOOK_WORKFLOW_TYPE, Delivered

_SIGN_OF_LIFE_WITHIN = timedelta(seconds=60)
"""If a step has given no sign of life for so long, it is begun anew on any worker. Sending an event takes less."""
_STEPS_PER_RUN = 100


@workflow.defn(name=WEBHOOK_WORKFLOW_TYPE)
class WebhookWorkflow:
    """Delivers events to a webhook until it is removed."""

    @workflow.run
    async def run(self, webhook_id: str) -> None:
        for _ in range(_STEPS_PER_RUN):
            delivered: Delivered = await workflow.execute_activity(
                DELIVER,
                webhook_id,
                result_type=Delivered,
                start_to_close_timeout=DELIVERS_FOR + 2 * _SIGN_OF_LIFE_WITHIN,
                heartbeat_timeout=_SIGN_OF_LIFE_WITHIN,
                retry_policy=RetryPolicy(maximum_interval=timedelta(minutes=1)),
            )
            if delivered.ended:
                return
            if delivered.try_again_after:
                await workflow.sleep(delivered.try_again_after)
        workflow.continue_as_new(webhook_id)
