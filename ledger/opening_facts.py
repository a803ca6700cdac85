"""What the ledger knows of opening balances, and of what was before one that is to be imported."""

from collections.abc import Mapping, Sequence
from datetime import datetime

from sqlalchemy import and_, case, func, literal, or_, select
from sqlalchemy.ext.asyncio import AsyncConnection

from ledger.history_export import OPENING
from ledger.import_plan import Facts, RecordedOpening, Span
from ledger.import_records import RecordedImport
from ledger.journal import exact_sum, from_exact_sum
from ledger.schema import UtcInstant, accounts, entries, import_spans, imports, postings

_reversals = entries.alias("reversals")


async def read_openings(
    connection: AsyncConnection,
    facts: Mapping[str, Facts],
    spans: Mapping[str, Span],
    own: RecordedImport | None,
) -> None:
    """Adds to the facts of some users, of whose lines the span is given, what an opening balance counts twice.

    ``own`` is the import of the lines, where it is run again.
    """
    await _recorded_openings(connection, facts, sorted(spans), own)
    begins = {user_id: span.first for user_id, span in spans.items() if span.is_opened}
    if begins:
        await _held_before(connection, facts, begins)


async def _recorded_openings(
    connection: AsyncConnection, facts: Mapping[str, Facts], users: Sequence[str], own: RecordedImport | None
) -> None:
    """An opening balance is where the span of its import begins, or it was taken back."""
    first = import_spans.c.first_instant
    is_there = or_(
        and_(entries.c.occurred_at.is_(None), entries.c.effective_at == first), entries.c.occurred_at == first
    )
    of_import = and_(
        entries.c.user_id == import_spans.c.user_id,
        entries.c.import_number == import_spans.c.import_number,
        is_there,
    )
    of_user = and_(accounts.c.account_id == postings.c.account_id, accounts.c.user_id == entries.c.user_id)
    rows = await connection.execute(
        select(import_spans.c.user_id, accounts.c.asset, first, import_spans.c.import_number)
        .join_from(import_spans, imports, imports.c.import_number == import_spans.c.import_number)
        .join(entries, of_import)
        .join(postings, postings.c.entry_id == entries.c.entry_id)
        .join(accounts, of_user)
        .outerjoin(_reversals, _reversals.c.reverses == entries.c.entry_id)
        .where(
            import_spans.c.user_id.in_(users),
            imports.c.undone_at.is_(None),
            entries.c.note == OPENING,
            _reversals.c.entry_id.is_(None),
        )
        .order_by(first)
    )
    for row in rows:
        if own is None or row.import_number != own.import_number:
            facts[row.user_id].openings[row.asset] = RecordedOpening(row.first_instant, row.import_number)


async def _held_before(
    connection: AsyncConnection, facts: Mapping[str, Facts], begins: Mapping[str, datetime]
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
        .outerjoin(_reversals, _reversals.c.reverses == entries.c.entry_id)
        .where(
            entries.c.user_id.in_(list(begins)),
            entries.c.reverses.is_(None),
            _reversals.c.entry_id.is_(None),
            occurred_at < begin,
        )
        .group_by(accounts.c.user_id, accounts.c.asset)
    )
    for row in rows:
        facts[row.user_id].held_before[row.asset] = from_exact_sum(row)
