"""Delivering events to a webhook: one after the other, at least once, from where it is."""

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from contract.webhooks import Delivered
from ledger.database.engine import Ledger
from ledger.errors import UnknownCursor, UnknownWebhook
from ledger.events.horizon import LOOKS_EVERY_S
from ledger.events.reading import EventPage, Told, events_after
from ledger.events.webhooks import Webhook, note_delivered, note_failure, the_webhook
from webhooks.sending import AddressRefused, NotDelivered

RETRIED_AFTER = timedelta(seconds=5)
"""An event that could not be delivered is tried again after this, then after twice as long each time, up to the
maximum."""
RETRIED_AFTER_MAX = timedelta(hours=1)
GIVEN_UP_AFTER = timedelta(days=3)
"""An event that could not be delivered for so long is given up, and the next one is tried."""
_AT_ONCE = 100
"""Events that are read at once."""
_log = logging.getLogger("soft_staking.webhooks")

Send = Callable[[Webhook, Told], None]
"""Sends one event; called in a thread. Raises AddressRefused or NotDelivered."""


@dataclass(frozen=True)
class Delivery:
    """How events get from a ledger to webhooks."""

    ledger: Ledger
    send: Send
    now: Callable[[], datetime]

    async def deliver(
        self,
        webhook_id: str,
        *,
        for_s: float,
        on_sign_of_life: Callable[[], None],
        stops: Callable[[], bool],
    ) -> Delivered:
        """Delivers for some time what is there and what comes.

        It ends earlier if the process stops, or if an event cannot be delivered, and says when to try again. Order
        is kept, so what comes after that event waits too. Where it was is recorded after each page: whoever goes
        on from there repeats a page at most.
        """
        loop = asyncio.get_running_loop()
        until_s = loop.time() + for_s
        while True:
            on_sign_of_life()
            webhook = await self._webhook(webhook_id)
            if webhook is None:
                return Delivered(ended=True)
            page = await self._page(webhook)
            if page.events and (again_after := await self._send_all(webhook, page, on_sign_of_life)) is not None:
                return Delivered(try_again_after=again_after)
            if not page.events and page.cursor != webhook.read_through:
                await note_delivered(self.ledger, webhook, page.cursor, now=self.now())
            if stops() or loop.time() >= until_s:
                return Delivered()
            if not page.events:
                await asyncio.sleep(LOOKS_EVERY_S)

    async def _webhook(self, webhook_id: str) -> Webhook | None:
        async with self.ledger.read() as connection:
            try:
                webhook = await the_webhook(connection, webhook_id)
            except UnknownWebhook:
                return None
        return webhook if webhook.removed_at is None else None

    async def _page(self, webhook: Webhook) -> EventPage:
        try:
            return await events_after(
                self.ledger, webhook.read_through, limit=_AT_ONCE, kinds=webhook.kinds, age_s_max=LOOKS_EVERY_S
            )
        except UnknownCursor:
            # The ledger was restored from a backup. What the webhook had may be sent again; nothing is left out.
            _log.warning("the place of webhook %s is not known any more: it begins anew", webhook.webhook_id)
            return EventPage((), 0)

    async def _send_all(
        self, webhook: Webhook, page: EventPage, on_sign_of_life: Callable[[], None]
    ) -> timedelta | None:
        """None once all of the page is delivered; otherwise after how long to try again."""
        done = webhook.read_through
        for event in page.events:
            on_sign_of_life()
            try:
                await asyncio.to_thread(self.send, webhook, event)
            except (AddressRefused, NotDelivered) as error:
                return await self._failed(webhook, event, done, str(error))
            done = event.number
        await note_delivered(self.ledger, webhook, page.cursor, now=self.now())
        return None

    async def _failed(self, webhook: Webhook, event: Told, done: int, error: str) -> timedelta:
        now = self.now()
        if done != webhook.read_through:
            if not await note_delivered(self.ledger, webhook, done, now=now):
                return timedelta()
            again = await self._webhook(webhook.webhook_id)
            if again is None:
                return timedelta()
            webhook = again
        if webhook.failing_since is not None and now - webhook.failing_since >= GIVEN_UP_AFTER:
            _log.error("event %s is given up for webhook %s: %s", event.event_id, webhook.webhook_id, error)
            await note_delivered(self.ledger, webhook, event.number, now=now)
            return timedelta()
        await note_failure(self.ledger, webhook, error, now=now)
        return min(RETRIED_AFTER * 2 ** min(webhook.tries, 20), RETRIED_AFTER_MAX)
