"""Webhooks of a running worker: how it sends, and that each webhook has its workflow."""

import asyncio
import json
import logging
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from datetime import datetime

from temporalio.client import Client
from temporalio.common import WorkflowIDConflictPolicy
from temporalio.service import RPCError

from contract.events import SOURCE
from contract.steps import TASK_QUEUE
from contract.webhooks import WEBHOOK_WORKFLOW_TYPE, webhook_workflow_id
from ledger.database.engine import Ledger
from ledger.errors import LedgerUnavailable
from ledger.events.reading import Told
from ledger.events.webhooks import Webhook, all_webhooks
from running.process import now
from settings import Settings
from web.access.key_encryption import EncryptionKeyUnusable, KeyEncryption
from webhooks.delivering import Delivery
from webhooks.sending import NotDelivered, Sender, destination

LOOKS_EVERY_S = 5
"""So much later at most a new webhook gets its first event."""
_MADE_SURE_EVERY_LOOKS = 12
"""After so many looks it is made sure again that every webhook has its workflow, in case Temporal lost it."""
_log = logging.getLogger("soft_staking.webhooks")


class WebhookPost:
    """Sends events to webhooks, signed with each one's secret."""

    def __init__(self, settings: Settings) -> None:
        self._sender = Sender(settings.webhook_networks)
        self._encryption = KeyEncryption(settings)

    def check(self, url: str) -> None:
        """Raises AddressRefused or NotDelivered unless something may be sent there now."""
        self._sender.check(destination(url))

    def send(self, webhook: Webhook, event: Told) -> None:
        """Sends one event. Raises AddressRefused or NotDelivered."""
        self._send(webhook, event.event_id, event.json)

    def send_test(self, webhook: Webhook, instant: datetime) -> None:
        """Sends an event that tells nothing. Raises AddressRefused or NotDelivered."""
        event: dict[str, object] = {
            "specversion": "1.0",
            "id": f"webhook.test/{webhook.webhook_id}/{instant.isoformat()}",
            "source": SOURCE,
            "type": "webhook.test",
            "time": instant.isoformat(),
            "datacontenttype": "application/json",
            "data": {},
        }
        self._send(webhook, str(event["id"]), json.dumps(event))

    def _send(self, webhook: Webhook, event_id: str, body: str) -> None:
        try:
            secret = self._encryption.open(webhook.sealed_secret, webhook.webhook_id)
        except EncryptionKeyUnusable as error:
            raise NotDelivered(str(error)) from None
        self._sender.send(destination(webhook.url), secret, event_id, body.encode(), now())


def delivery_from(ledger: Ledger, settings: Settings) -> Delivery:
    """How a worker delivers."""
    return Delivery(ledger, WebhookPost(settings).send, now)


@asynccontextmanager
async def keeping_webhooks(ledger: Ledger, client: Client) -> AsyncGenerator[None]:
    """Sees to it that every webhook has its workflow, until the context is left."""
    task = asyncio.create_task(_keep(ledger, client))
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def _keep(ledger: Ledger, client: Client) -> None:
    started: set[str] = set()
    looks = 0
    while True:
        if looks % _MADE_SURE_EVERY_LOOKS == 0:
            started.clear()
        looks += 1
        try:
            async with ledger.read() as connection:
                found = [webhook.webhook_id for webhook in await all_webhooks(connection)]
            for webhook_id in found:
                if webhook_id not in started:
                    await start(client, webhook_id)
                    started.add(webhook_id)
        except (LedgerUnavailable, RPCError):
            _log.warning("the webhooks' workflows could not be looked after", exc_info=True)
        except Exception:
            _log.exception("the webhooks' workflows could not be looked after")
        await asyncio.sleep(LOOKS_EVERY_S)


async def start(client: Client, webhook_id: str, task_queue: str = TASK_QUEUE) -> None:
    """Starts a webhook's workflow unless it runs."""
    await client.start_workflow(
        WEBHOOK_WORKFLOW_TYPE,
        webhook_id,
        id=webhook_workflow_id(webhook_id),
        task_queue=task_queue,
        id_conflict_policy=WorkflowIDConflictPolicy.USE_EXISTING,
    )
