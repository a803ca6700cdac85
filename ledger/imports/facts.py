"""What is recorded about the users of an export."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, TypeVar

from sqlalchemy import BigInteger, ColumnElement, Select, and_, func, select, type_coerce
from sqlalchemy.ext.asyncio import AsyncConnection

from ledger.database.exact_sums import from_exact_sum
from ledger.database.schema import accounts, entries, import_spans, imports, postings
from ledger.imports.opening_facts import read_openings
from ledger.imports.plan import ImportFacts, RecordedLine, Span
from ledger.imports.records import RecordedImport
from ledger.locking import LockedUser
from ledger.reversals import REVERSALS, is_reversal_of
from ledger.timelines import Later, by_instant, later

_USERS_IN_A_STATEMENT = 500
"""At most so many parameters in one statement, which databases limit."""
_T = TypeVar("_T")


async def read_facts(
    connection: AsyncConnection,
    users: Mapping[str, LockedUser],
    spans: Mapping[str, Span],
    own: RecordedImport | None,
    *,
    in_detail: bool,
) -> dict[str, ImportFacts]:
    """What is recorded about each user; the span of each user's lines is given.

    ``own`` is the import of these lines, if it is run again. With ``in_detail`` every instant after the last line
    is read, of which there may be a million; otherwise only their sums.
    """
    facts = {user_id: ImportFacts(users[user_id], {}) for user_id in spans}
    for user_ids in chunks(sorted(spans), _USERS_IN_A_STATEMENT):
        some = {user_id: spans[user_id] for user_id in user_ids}
        await _read_holdings(connection, facts, some, in_detail=in_detail)
        await _read_imported(connection, facts, some, own)
        await _read_spans(connection, facts, some, own)
        await read_openings(connection, facts, some, own)
    return facts


async def _read_holdings(
    connection: AsyncConnection, facts: Mapping[str, ImportFacts], spans: Mapping[str, Span], *, in_detail: bool
) -> None:
    of_users = accounts.c.user_id.in_(list(spans))
    held = await connection.execute(
        select(accounts.c.user_id, accounts.c.asset, accounts.c.balance).where(of_users)
    )
    for user_id, asset, balance in held.all():
        facts[user_id].held[asset] = balance
    # From when the lines count. What counts at the first instant itself acts together with them.
    first = min(facts[user_id].user.effective(span.first) for user_id, span in spans.items())
    last = max(facts[user_id].user.effective(span.last) for user_id, span in spans.items())
    wanted = postings.c.effective_at > first
    if not in_detail:
        for row in (await connection.execute(later(of_users, postings.c.effective_at > last))).all():
            facts[row.user_id].later[row.asset] = Later(from_exact_sum(row), int(row.least), int(row.most))
        wanted = and_(wanted, postings.c.effective_at <= last)
    for row in (await connection.execute(by_instant(of_users, wanted))).all():
        facts[row.user_id].postings.append((row.asset, row.instant, from_exact_sum(row)))


async def _read_imported(
    connection: AsyncConnection,
    facts: Mapping[str, ImportFacts],
    spans: Mapping[str, Span],
    own: RecordedImport | None,
) -> None:
    """Imported movements of those instants; the instant is where the source put it, not from when it counts."""
    first, last = min(span.first for span in spans.values()), max(span.last for span in spans.values())
    as_it_occurred = and_(entries.c.occurred_at.is_(None), entries.c.effective_at.between(first, last))
    counts_later = entries.c.occurred_at.between(first, last)
    own_number = None if own is None else own.import_number
    for of_those_instants in (as_it_occurred, counts_later):
        rows = (await connection.execute(_imported(list(spans), of_those_instants))).all()
        for user_id, instant, asset, amount, entry_id, import_number, note, reversed_by in rows:
            of_user = facts[user_id]
            moved = (instant, asset, amount)
            of_user.ever[moved] += 1
            if reversed_by is not None:
                continue
            if own_number is not None and import_number == own_number:
                of_user.own[moved] += 1
            else:
                of_user.recorded.setdefault(moved, []).append(RecordedLine(entry_id, import_number, note or ""))


def _imported(user_ids: list[str], condition: ColumnElement[bool]) -> Select[*tuple[Any, ...]]:
    instant = func.coalesce(entries.c.occurred_at, entries.c.effective_at)
    return (
        select(
            entries.c.user_id,
            type_coerce(instant, BigInteger),
            accounts.c.asset,
            postings.c.amount,
            entries.c.entry_id,
            entries.c.import_number,
            entries.c.note,
            REVERSALS.c.entry_id,
        )
        .join_from(entries, postings, postings.c.entry_id == entries.c.entry_id)
        .join(
            accounts,
            and_(accounts.c.account_id == postings.c.account_id, accounts.c.user_id == entries.c.user_id),
        )
        .outerjoin(REVERSALS, is_reversal_of(entries.c.entry_id))
        .where(entries.c.user_id.in_(user_ids), entries.c.kind == "movement", condition)
        .order_by(entries.c.entry_id)
    )


async def _read_spans(
    connection: AsyncConnection,
    facts: Mapping[str, ImportFacts],
    spans: Mapping[str, Span],
    own: RecordedImport | None,
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
    """The items in portions."""
    for start in range(0, len(items), size):
        yield items[start : start + size]
