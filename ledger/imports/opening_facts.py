"""What is recorded about opening balances, and about the time before an opening balance that is to be imported."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Select, and_, case, func, literal, select
from sqlalchemy.ext.asyncio import AsyncConnection

from ledger.database.exact_sums import exact_sum, from_exact_sum
from ledger.database.schema import UtcInstant, accounts, entries, import_spans, imports, postings
from ledger.imports.history_export import OPENING
from ledger.imports.plan import ImportFacts, RecordedOpening, Span
from ledger.imports.records import RecordedImport
from ledger.reversals import REVERSALS, is_reversal_of

_IN_A_STATEMENT = 5_000
"""At most so many parameters in one statement, which databases limit."""


async def read_openings(
    connection: AsyncConnection,
    facts: Mapping[str, ImportFacts],
    spans: Mapping[str, Span],
    own: RecordedImport | None,
) -> None:
    """Adds to the facts of some users what an opening balance would count twice. The span of each user's lines is
    given.

    The facts have the spans of other imports already. ``own`` is the import of these lines, if it is run again.
    """
    await _recorded_openings(connection, facts, sorted(spans), own)
    begins = {user_id: span.first for user_id, span in spans.items() if span.is_opened}
    if begins:
        await _held_before(connection, facts, begins)


async def _recorded_openings(
    connection: AsyncConnection, facts: Mapping[str, ImportFacts], users: Sequence[str], own: RecordedImport | None
) -> None:
    """An opening balance stands where the span of its import begins."""
    of_others = [user_id for user_id in users if facts[user_id].spans]
    if not of_others:
        return
    spans = await connection.execute(
        select(import_spans.c.user_id, import_spans.c.import_number, import_spans.c.first_instant)
        .join_from(import_spans, imports, imports.c.import_number == import_spans.c.import_number)
        .where(import_spans.c.user_id.in_(of_others), imports.c.undone_at.is_(None))
    )
    begins = {(row.user_id, row.import_number): row.first_instant for row in spans}
    found: list[tuple[datetime, int, str, str]] = []
    entry_ids = await _openings_at(connection, of_others, sorted(set(begins.values())))
    for start in range(0, len(entry_ids), _IN_A_STATEMENT):
        rows = await connection.execute(_of_entries(entry_ids[start : start + _IN_A_STATEMENT]))
        found += [(row.instant, row.import_number, row.user_id, row.asset) for row in rows]
    for instant, number, user_id, asset in sorted(found):
        if begins.get((user_id, number)) == instant and (own is None or number != own.import_number):
            facts[user_id].openings[asset] = RecordedOpening(instant, number)


def _of_entries(entry_ids: Sequence[int]) -> Select[*tuple[Any, ...]]:
    """The content of some entries, without those that were reversed."""
    instant = func.coalesce(entries.c.occurred_at, entries.c.effective_at, type_=UtcInstant)
    of_user = and_(accounts.c.account_id == postings.c.account_id, accounts.c.user_id == entries.c.user_id)
    return (
        select(entries.c.user_id, entries.c.import_number, instant.label("instant"), accounts.c.asset)
        .join_from(entries, postings, postings.c.entry_id == entries.c.entry_id)
        .join(accounts, of_user)
        .outerjoin(REVERSALS, is_reversal_of(entries.c.entry_id))
        .where(
            entries.c.entry_id.in_(entry_ids),
            entries.c.import_number.is_not(None),
            REVERSALS.c.entry_id.is_(None),
        )
    )


async def _openings_at(
    connection: AsyncConnection, user_ids: Sequence[str], instants: Sequence[datetime]
) -> list[int]:
    """The entries of opening balances at some instants.

    The query names nothing else, so that no database begins with all entries of a user. There may be a million of
    these, but few at one instant.
    """
    of_users = and_(entries.c.user_id.in_(user_ids), entries.c.note == OPENING)
    entry_ids: list[int] = []
    for start in range(0, len(instants), _IN_A_STATEMENT):
        some = instants[start : start + _IN_A_STATEMENT]
        as_it_occurred = and_(entries.c.occurred_at.is_(None), entries.c.effective_at.in_(some))
        # This is the condition of their index, literally, so that a database knows that it may use that index.
        counts_later = and_(entries.c.occurred_at.is_not(None), entries.c.occurred_at.in_(some))
        for is_there in (as_it_occurred, counts_later):
            entry_ids += (await connection.execute(select(entries.c.entry_id).where(of_users, is_there))).scalars()
    return entry_ids


async def _held_before(
    connection: AsyncConnection, facts: Mapping[str, ImportFacts], begins: Mapping[str, datetime]
) -> None:
    occurred_at = func.coalesce(entries.c.occurred_at, entries.c.effective_at, type_=UtcInstant)
    begin = case(
        *((entries.c.user_id == user_id, literal(instant, UtcInstant)) for user_id, instant in begins.items())
    )
    of_user = and_(accounts.c.account_id == postings.c.account_id, accounts.c.user_id == entries.c.user_id)
    rows = await connection.execute(
        select(accounts.c.user_id, accounts.c.asset, *exact_sum(postings.c.amount))
        .join_from(entries, postings, postings.c.entry_id == entries.c.entry_id)
        .join(accounts, of_user)
        .outerjoin(REVERSALS, is_reversal_of(entries.c.entry_id))
        .where(
            entries.c.user_id.in_(list(begins)),
            entries.c.reverses.is_(None),
            REVERSALS.c.entry_id.is_(None),
            occurred_at < begin,
        )
        .group_by(accounts.c.user_id, accounts.c.asset)
    )
    for row in rows:
        facts[row.user_id].held_before[row.asset] = from_exact_sum(row)
