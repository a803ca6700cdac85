"""Webhooks: addresses to which events are sent, each with its own place among them."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Select, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from contract.acts import check_words
from contract.events import EventKind, event_kind
from ledger.acts import write_act
from ledger.database.engine import Ledger, run_again_if_it_gave_way
from ledger.database.schema import AnyRow, event_readers, webhooks
from ledger.errors import UnknownWebhook
from ledger.events.readers import reader_of
from ledger.events.reading import check_cursor


@dataclass(frozen=True)
class Webhook:
    """An address to which events are sent."""

    webhook_id: str
    url: str
    kinds: Sequence[EventKind]
    """The types of events that are sent; all if there is none."""
    sealed_secret: bytes
    created_at: datetime
    read_through: int = 0
    """Every event up to this number was delivered, or given up."""
    failing_since: datetime | None = None
    """When the event that is next was tried first, if it could not be delivered yet."""
    tries: int = 0
    """How often that event was tried."""
    last_error: str | None = None
    removed_at: datetime | None = None


async def add_webhook(ledger: Ledger, webhook: Webhook, *, operator: str, reason: str | None = None) -> None:
    """Records a new webhook, which begins after ``read_through``. Raises UnknownCursor."""
    check_words(operator, reason)
    async with ledger.write() as connection:
        await check_cursor(connection, webhook.read_through)
        await connection.execute(
            webhooks.insert().values(
                webhook_id=webhook.webhook_id,
                url=webhook.url,
                kinds=" ".join(webhook.kinds),
                sealed_secret=webhook.sealed_secret,
                created_at=webhook.created_at,
                tries=0,
            )
        )
        await connection.execute(
            event_readers.insert().values(
                name=reader_of(webhook.webhook_id), read_through=webhook.read_through, asked_at=webhook.created_at
            )
        )
        await write_act(
            connection,
            "webhook_add",
            f"webhook_add/{webhook.webhook_id}",
            operator=operator,
            reason=reason,
            recorded_at=webhook.created_at,
            subject=f"webhook {webhook.webhook_id} to {webhook.url}",
        )


@run_again_if_it_gave_way
async def remove_webhook(
    ledger: Ledger, webhook_id: str, *, operator: str, reason: str | None, now: datetime
) -> Webhook:
    """Ends a webhook for good: nothing more is sent to it. A repeat gets the first answer.

    Raises UnknownWebhook.
    """
    check_words(operator, reason)
    async with ledger.write() as connection:
        removed = await connection.execute(
            update(webhooks)
            .where(webhooks.c.webhook_id == webhook_id, webhooks.c.removed_at.is_(None))
            .values(removed_at=now)
        )
        found = await the_webhook(connection, webhook_id)
        if removed.rowcount:
            await connection.execute(event_readers.delete().where(event_readers.c.name == reader_of(webhook_id)))
            await write_act(
                connection,
                "webhook_remove",
                f"webhook_remove/{webhook_id}",
                operator=operator,
                reason=reason,
                recorded_at=now,
                subject=f"webhook {webhook_id} to {found.url}",
            )
        return found


async def replay_webhook(
    ledger: Ledger, webhook_id: str, after: int, *, operator: str, reason: str | None, now: datetime
) -> Webhook:
    """Sends a webhook everything after a cursor, once more or for the first time. Raises UnknownWebhook or
    UnknownCursor."""
    check_words(operator, reason)
    async with ledger.write() as connection:
        found = await the_webhook(connection, webhook_id)
        if found.removed_at is not None:
            raise UnknownWebhook(f"the webhook {webhook_id} was removed")
        await check_cursor(connection, after)
        await connection.execute(
            _MOVE.where(event_readers.c.name == reader_of(webhook_id)).values(read_through=after)
        )
        await connection.execute(
            update(webhooks)
            .where(webhooks.c.webhook_id == webhook_id)
            .values(failing_since=None, tries=0, last_error=None)
        )
        await write_act(
            connection,
            "webhook_replay",
            f"webhook_replay/{webhook_id}/{now.isoformat()}",
            operator=operator,
            reason=reason,
            recorded_at=now,
            subject=f"webhook {webhook_id} after event {after}",
        )
        return await the_webhook(connection, webhook_id)


async def all_webhooks(connection: AsyncConnection) -> list[Webhook]:
    """Every webhook that was not removed, the oldest first."""
    query = _WEBHOOKS.where(webhooks.c.removed_at.is_(None)).order_by(webhooks.c.created_at, webhooks.c.webhook_id)
    return [_webhook(row) for row in await connection.execute(query)]


async def the_webhook(connection: AsyncConnection, webhook_id: str) -> Webhook:
    """One webhook, also a removed one. Raises UnknownWebhook."""
    row = (await connection.execute(_WEBHOOKS.where(webhooks.c.webhook_id == webhook_id))).one_or_none()
    if row is None:
        raise UnknownWebhook(
            f"there is no webhook {webhook_id[:70]!r}; the webhooks are listed by: starter.py webhooks list"
        )
    return _webhook(row)


async def note_delivered(ledger: Ledger, webhook: Webhook, through: int, *, now: datetime) -> bool:
    """Records that every event up to a number was delivered.

    Answers False, and records nothing, if the webhook was removed or replayed meanwhile.
    """
    async with ledger.write() as connection:
        moved = await connection.execute(
            _MOVE.where(
                event_readers.c.name == reader_of(webhook.webhook_id),
                event_readers.c.read_through == webhook.read_through,
            ).values(read_through=through, asked_at=now)
        )
        if moved.rowcount and webhook.tries:
            await connection.execute(
                update(webhooks)
                .where(webhooks.c.webhook_id == webhook.webhook_id)
                .values(failing_since=None, tries=0, last_error=None)
            )
        return bool(moved.rowcount)


async def note_failure(ledger: Ledger, webhook: Webhook, error: str, *, now: datetime) -> None:
    """Records that the next event could not be delivered."""
    async with ledger.write() as connection:
        await connection.execute(
            update(webhooks)
            .where(webhooks.c.webhook_id == webhook.webhook_id)
            .values(failing_since=webhook.failing_since or now, tries=webhook.tries + 1, last_error=error)
        )
        await connection.execute(
            update(event_readers).where(event_readers.c.name == reader_of(webhook.webhook_id)).values(asked_at=now)
        )


_MOVE = update(event_readers)
_WEBHOOKS: Select[tuple[object, ...]] = select(webhooks, event_readers.c.read_through).join_from(
    webhooks, event_readers, event_readers.c.name == "webhook " + webhooks.c.webhook_id, isouter=True
)


def _webhook(row: AnyRow) -> Webhook:
    return Webhook(
        webhook_id=row.webhook_id,
        url=row.url,
        kinds=[event_kind(kind) for kind in row.kinds.split()],
        sealed_secret=row.sealed_secret,
        created_at=row.created_at,
        read_through=row.read_through or 0,
        failing_since=row.failing_since,
        tries=row.tries,
        last_error=row.last_error,
        removed_at=row.removed_at,
    )
