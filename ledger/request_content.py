"""What a request under an idempotency key asks for: its repeats find the entry, or are refused."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from ledger.accounts import OUTSIDE
from ledger.database.schema import accounts, entries, postings
from ledger.errors import ContentDiffers
from staking.money import format_amount


@dataclass(frozen=True)
class RequestContent:
    """What a request under an idempotency key asks for. Its repeats must ask for the same."""

    kind: str
    user_id: str | None
    """None for a funding of a reward pool."""
    changes: Mapping[str, int]
    """Units by asset."""
    occurred_at: datetime | None = None
    """None if the instant is that of the request, so that it differs at each repeat."""

    def __str__(self) -> str:
        whose = f"user {self.user_id}" if self.user_id else "the reward pool"
        when = f" at {self.occurred_at.isoformat()}" if self.occurred_at else ""
        return f"a {self.kind} of {readable_changes(self.changes)} for {whose}{when}"


async def find_repeat(connection: AsyncConnection, idempotency_key: str, asked: RequestContent) -> int | None:
    """The id of the entry recorded under a key, or None. Raises ContentDiffers if the entry has other content."""
    rows = (
        await connection.execute(
            select(
                entries.c.entry_id,
                entries.c.kind,
                entries.c.user_id,
                func.coalesce(entries.c.occurred_at, entries.c.effective_at).label("occurred_at"),
                accounts.c.asset,
                postings.c.amount,
            )
            .join_from(entries, postings, postings.c.entry_id == entries.c.entry_id)
            .join(accounts, accounts.c.account_id == postings.c.account_id)
            .where(entries.c.idempotency_key == idempotency_key, accounts.c.kind != OUTSIDE)
        )
    ).all()
    if not rows:
        return None
    first = rows[0]
    recorded = RequestContent(
        first.kind,
        first.user_id,
        {row.asset: row.amount for row in rows},
        None if asked.occurred_at is None else first.occurred_at,
    )
    if recorded != asked:
        raise ContentDiffers(f"the entry {idempotency_key}", recorded=recorded, asked=asked)
    return first.entry_id


def readable_changes(changes: Mapping[str, int]) -> str:
    """Changes in units by asset, for a sentence: "12.00000000 SOL, -1.00000000 BNB"."""
    return ", ".join(f"{format_amount(amount)} {asset}" for asset, amount in sorted(changes.items()))
