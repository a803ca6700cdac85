"""Reading the journal: one entry, or a user's latest with the holding that each left."""

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from itertools import groupby
from typing import Any

from sqlalchemy import Select, and_, func, literal, or_, select, text
from sqlalchemy.ext.asyncio import AsyncConnection

from ledger.accounts import POOL
from ledger.database.schema import IS_OF_THE_SYSTEM, AnyRow, accounts, entries, postings
from ledger.holdings import balances
from ledger.pools import pool_balances


@dataclass(frozen=True)
class Entry:
    """A journal entry as seen by its user, or by the reward pool if it has no user. Amounts in units."""

    entry_id: int
    kind: str
    user_id: str | None
    changes: dict[str, int]
    effective_at: datetime
    recorded_at: datetime
    occurred_at: datetime | None
    """The sender's instant, if the entry counts from another one; None otherwise."""
    note: str | None
    operator: str | None
    reason: str | None
    """For colleagues, never for the user."""
    tell: str | None
    """For the user."""
    reverses: int | None
    reversed_by: int | None


@dataclass(frozen=True)
class Recorded:
    """The answer to a request that posts one entry, and to its repeats."""

    entry: Entry
    recorded_already: bool
    """Whether this was a repeat, which changed nothing."""
    balances: dict[str, int]
    """The present balances, in units, of the assets in the entry."""


@dataclass(frozen=True)
class EntryAndHoldings:
    """An entry of a user, and what the user held after it of the assets in the entry."""

    entry: Entry
    holdings: dict[str, int]


@dataclass(frozen=True)
class UserEntries:
    """A user's latest entries, in the order in which they count, and how many there are in all."""

    steps: list[EntryAndHoldings]
    count: int


async def read_entry(connection: AsyncConnection, entry_id: int) -> Entry | None:
    """The entry with that id, or None."""
    return next(_entries(await connection.execute(_lines().where(entries.c.entry_id == entry_id))), None)


async def recorded(connection: AsyncConnection, entry_id: int, *, already: bool) -> Recorded:
    """The answer about an entry of this ledger."""
    entry = await read_entry(connection, entry_id)
    assert entry is not None, "entries are never deleted"
    balance_of = await (balances(connection, entry.user_id) if entry.user_id else pool_balances(connection))
    return Recorded(entry, already, {asset: balance_of[asset] for asset in entry.changes})


async def user_entries(
    connection: AsyncConnection, user_id: str, asset: str | None = None, *, last: int
) -> UserEntries:
    """A user's latest entries; with ``asset``, those that changed it, and what they changed in it.

    Entries that count from one instant are in the order in which they were recorded. They act together, so the
    user may never have had a holding that is shown between them.
    """
    if asset is None:
        chosen = select(entries.c.entry_id, entries.c.effective_at).where(entries.c.user_id == user_id)
    else:
        chosen = (
            select(postings.c.entry_id, postings.c.effective_at)
            .join(accounts, accounts.c.account_id == postings.c.account_id)
            .where(accounts.c.user_id == user_id, accounts.c.asset == asset)
        )
    count = await connection.scalar(select(func.count()).select_from(chosen.subquery()))
    latest = chosen.order_by(text("effective_at DESC, entry_id DESC")).limit(last).subquery()
    lines = _lines().join(latest, latest.c.entry_id == entries.c.entry_id)
    if asset is not None:
        lines = lines.where(accounts.c.asset == asset)
    rows = await connection.execute(lines.order_by(entries.c.effective_at.desc(), entries.c.entry_id.desc()))
    balance_of = await balances(connection, user_id)
    steps: list[EntryAndHoldings] = []
    for entry in _entries(rows):
        steps.append(EntryAndHoldings(entry, {changed: balance_of[changed] for changed in entry.changes}))
        for changed, amount in entry.changes.items():
            balance_of[changed] -= amount
    return UserEntries(steps[::-1], count or 0)


@dataclass(frozen=True)
class PoolEntries:
    """A pool's latest entries, the last recorded last, and how many there are in all."""

    entries: list[Entry]
    count: int
    balance: int
    """The present balance, in units."""


async def pool_entries(
    connection: AsyncConnection, asset: str, *, with_rewards: bool = True, last: int
) -> PoolEntries:
    """The latest entries that changed an asset's pool: fundings, rewards, and reversals of either.

    Each shows its change of the pool, also if it is an entry of a user.
    """
    chosen = (
        select(entries.c.entry_id, func.sum(postings.c.amount).label("amount"))
        .join_from(accounts, postings, postings.c.account_id == accounts.c.account_id)
        .join(entries, entries.c.entry_id == postings.c.entry_id)
        .where(IS_OF_THE_SYSTEM, accounts.c.kind == POOL, accounts.c.asset == asset)
        .group_by(entries.c.entry_id)
    )
    if not with_rewards:
        chosen = chosen.where(entries.c.kind != "reward")
    count = await connection.scalar(select(func.count()).select_from(chosen.subquery()))
    latest = chosen.order_by(entries.c.entry_id.desc()).limit(last).subquery()
    reversal = entries.alias("reversal")
    rows = await connection.execute(
        select(entries, reversal.c.entry_id.label("reversed_by"), latest.c.amount, literal(asset).label("asset"))
        .join_from(latest, entries, entries.c.entry_id == latest.c.entry_id)
        .outerjoin(reversal, reversal.c.reverses == entries.c.entry_id)
        .order_by(entries.c.entry_id)
    )
    return PoolEntries(list(_entries(rows)), count or 0, (await pool_balances(connection)).get(asset, 0))


def _lines() -> Select[*tuple[Any, ...]]:
    """A row for each entry and account of its user, or of the reward pool if the entry has no user."""
    reversal = entries.alias("reversal")
    return (
        select(entries, reversal.c.entry_id.label("reversed_by"), accounts.c.asset, postings.c.amount)
        .join_from(entries, postings, postings.c.entry_id == entries.c.entry_id)
        .join(accounts, accounts.c.account_id == postings.c.account_id)
        .outerjoin(reversal, reversal.c.reverses == entries.c.entry_id)
        .where(
            or_(
                accounts.c.user_id == entries.c.user_id,
                and_(entries.c.user_id.is_(None), accounts.c.kind == POOL),
            )
        )
    )


def _entries(rows: Iterable[AnyRow]) -> Iterator[Entry]:
    for _, lines in groupby(rows, key=lambda row: row.entry_id):
        of_entry = sorted(lines, key=lambda row: row.asset)
        changes: defaultdict[str, int] = defaultdict(int)
        for row in of_entry:
            changes[row.asset] += row.amount
        first = of_entry[0]
        yield Entry(
            entry_id=first.entry_id,
            kind=first.kind,
            user_id=first.user_id,
            changes=dict(changes),
            effective_at=first.effective_at,
            recorded_at=first.recorded_at,
            occurred_at=first.occurred_at,
            note=first.note,
            operator=first.operator,
            reason=first.reason,
            tell=first.tell,
            reverses=first.reverses,
            reversed_by=first.reversed_by,
        )
