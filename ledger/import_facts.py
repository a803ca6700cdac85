"""What the ledger knows of the users of an export."""

from collections.abc import Iterator, Mapping, Sequence
from typing import TypeVar

from sqlalchemy import ColumnElement, and_, select
from sqlalchemy.ext.asyncio import AsyncConnection

from ledger.history_export import ExportLine
from ledger.import_plan import Facts, RecordedLine, Span, span_of
from ledger.import_records import RecordedImport
from ledger.journal import LockedUser
from ledger.schema import accounts, entries, import_spans, imports, postings

_USERS_IN_A_STATEMENT = 500
"""Databases limit the parameters of one."""
_T = TypeVar("_T")
_reversals = entries.alias("reversals")


async def read_facts(
    connection: AsyncConnection,
    users: Mapping[str, LockedUser],
    lines: Mapping[str, Sequence[ExportLine]],
    own: RecordedImport | None,
) -> dict[str, Facts]:
    """What the ledger knows of each user whose lines are given; ``own`` is their import, where it is run again."""
    facts = {user_id: Facts(users[user_id], {}) for user_id in lines}
    for some in chunks(sorted(lines), _USERS_IN_A_STATEMENT):
        if not some:
            continue
        spans = {user_id: span_of(lines[user_id]) for user_id in some}
        await _read_holdings(connection, facts, spans)
        await _read_imported(connection, facts, spans, own)
        await _read_spans(connection, facts, spans, own)
    return facts


async def _read_holdings(
    connection: AsyncConnection, facts: Mapping[str, Facts], spans: Mapping[str, Span]
) -> None:
    held = await connection.execute(
        select(accounts.c.user_id, accounts.c.asset, accounts.c.balance).where(accounts.c.user_id.in_(list(spans)))
    )
    for row in held:
        facts[row.user_id].held[row.asset] = row.balance
    earliest = {user_id: facts[user_id].user.effective(span.first) for user_id, span in spans.items()}
    rows = await connection.execute(
        select(accounts.c.user_id, accounts.c.asset, postings.c.effective_at, postings.c.amount)
        .join_from(accounts, postings, postings.c.account_id == accounts.c.account_id)
        .where(accounts.c.user_id.in_(list(spans)), postings.c.effective_at >= min(earliest.values()))
    )
    for row in rows:
        if row.effective_at >= earliest[row.user_id]:
            facts[row.user_id].postings.append((row.asset, row.effective_at, row.amount))


async def _read_imported(
    connection: AsyncConnection, facts: Mapping[str, Facts], spans: Mapping[str, Span], own: RecordedImport | None
) -> None:
    """Imported movements of those instants; the instant is where the source put it, not from when it counts."""
    first, last = min(span.first for span in spans.values()), max(span.last for span in spans.values())
    as_it_occurred = and_(entries.c.occurred_at.is_(None), entries.c.effective_at.between(first, last))
    counts_later = entries.c.occurred_at.between(first, last)
    for of_those_instants in (as_it_occurred, counts_later):
        rows = await connection.execute(_imported(list(spans), of_those_instants))
        for row in rows:
            instant = row.occurred_at or row.effective_at
            movement = (instant, row.asset, row.amount)
            of_user = facts[row.user_id]
            of_user.ever[movement] += 1
            if row.reversed_by is not None:
                continue
            if own is not None and row.import_number == own.import_number:
                of_user.own[movement] += 1
            else:
                of_user.recorded[movement].append(RecordedLine(row.entry_id, row.import_number, row.note or ""))


def _imported(user_ids: list[str], condition: ColumnElement[bool]):
    columns = [entries.c[name] for name in ("entry_id", "user_id", "occurred_at", "effective_at", "note")]
    return (
        select(
            *columns,
            entries.c.import_number,
            accounts.c.asset,
            postings.c.amount,
            _reversals.c.entry_id.label("reversed_by"),
        )
        .join_from(entries, postings, postings.c.entry_id == entries.c.entry_id)
        .join(
            accounts,
            and_(accounts.c.account_id == postings.c.account_id, accounts.c.user_id == entries.c.user_id),
        )
        .outerjoin(_reversals, _reversals.c.reverses == entries.c.entry_id)
        .where(entries.c.user_id.in_(user_ids), entries.c.kind == "movement", condition)
        .order_by(entries.c.entry_id)
    )


async def _read_spans(
    connection: AsyncConnection, facts: Mapping[str, Facts], spans: Mapping[str, Span], own: RecordedImport | None
) -> None:
    others = imports.c.undone_at.is_(None)
    if own is not None:
        others = and_(others, imports.c.import_number != own.import_number)
    rows = await connection.execute(
        select(import_spans.c.user_id, import_spans.c.first_instant, import_spans.c.last_instant)
        .join_from(import_spans, imports, imports.c.import_number == import_spans.c.import_number)
        .where(import_spans.c.user_id.in_(list(spans)), others)
    )
    for row in rows:
        facts[row.user_id].spans.append(Span(row.first_instant, row.last_instant))


def chunks(items: Sequence[_T], size: int) -> Iterator[Sequence[_T]]:
    """Some of the items at a time."""
    for start in range(0, len(items), size):
        yield items[start : start + size]
