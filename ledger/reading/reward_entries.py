"""A user's rewards as they stand in the journal: each credit and each reversal is a line of its own, which
never changes."""

from dataclasses import dataclass
from datetime import date, datetime

from sqlalchemy import and_, func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from ledger.database.schema import accounts, days, entries, postings
from staking.days import end_of, start_of


@dataclass(frozen=True)
class RewardEntry:
    """What one journal entry paid of a day's reward in one asset, or reversed of it."""

    user_id: str
    entry_id: int
    recorded_at: datetime
    day: date
    """The accrual day, also of a reversal."""
    asset: str
    amount: int
    """Units; below zero if a reward is reversed."""
    reverses: int | None
    """The entry that this one reverses."""


async def reward_entries(
    connection: AsyncConnection, user_id: str, *, first: date | None = None, last: date | None = None
) -> list[RewardEntry]:
    """A user's credits and reversals of credits in the order in which they were recorded, assets by their codes.

    ``first`` and ``last`` are days (UTC) on which entries were recorded. A day that came to zero has no entry.
    """
    query = (
        select(
            entries.c.entry_id,
            entries.c.recorded_at,
            days.c.day,
            accounts.c.asset,
            postings.c.amount,
            entries.c.reverses,
        )
        .join_from(
            entries,
            days,
            and_(
                days.c.entry_id == func.coalesce(entries.c.reverses, entries.c.entry_id),
                days.c.user_id == entries.c.user_id,
            ),
        )
        .join(postings, postings.c.entry_id == entries.c.entry_id)
        .join(accounts, accounts.c.account_id == postings.c.account_id)
        .where(entries.c.user_id == user_id, accounts.c.user_id == user_id)
        .order_by(entries.c.entry_id, accounts.c.asset)
    )
    if first is not None:
        query = query.where(entries.c.recorded_at >= start_of(first))
    if last is not None:
        query = query.where(entries.c.recorded_at < end_of(last))
    return [RewardEntry(user_id, *row) for row in await connection.execute(query)]
