"""What a webhook's workflow and its step say to each other."""

from datetime import timedelta

from staking.models import Model

DELIVER = "deliver_events"
"""The step that delivers events to one webhook, for as long as it may."""
DELIVERS_FOR = timedelta(minutes=5)
"""How long one step delivers, before it ends and the next one begins."""
WEBHOOK_WORKFLOW_TYPE = "WebhookWorkflow"
_WORKFLOW_ID_PREFIX = "soft-staking-webhook/"


def webhook_workflow_id(webhook_id: str) -> str:
    """One execution per webhook at a time."""
    return f"{_WORKFLOW_ID_PREFIX}{webhook_id}"


class Delivered(Model):
    """How a delivery ended."""

    ended: bool = False
    """Whether the webhook was removed, so that there is nothing to do any more."""
    try_again_after: timedelta = timedelta()
    """Where an event could not be delivered: how long to wait."""
