"""Imports as a whole: which there were, who made them, and how one is undone."""

import asyncio
from collections import defaultdict
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Literal, TypeAlias

from sqlalchemy import ColumnElement, func, literal, select
from sqlalchemy.ext.asyncio import AsyncConnection

from contract.acts import check_text
from ledger.acts import write_act
from ledger.bulks import BulkMovement, InCommon, post_movements
from ledger.database.engine import Ledger, run_again_if_it_gave_way
from ledger.database.exact_sums import exact_sum, from_exact_sum
from ledger.database.rows import insert_missing, insert_numbered_rows, insert_stored, update_rows
from ledger.database.schema import (
    AnyRow,
    accounts,
    acts,
    entries,
    import_spans,
    imports,
    postings,
    stored_instant,
    users,
)
from ledger.errors import InsufficientBalance, UnknownImport
from ledger.holdings import balances
from ledger.imports.plan import Answer, Span, in_balance
from ledger.locking import lock_or_make_users
from ledger.movements import counts_from
from ledger.reversals import REVERSALS, is_reversal_of
from staking.money import format_amount

PART_ENTRIES = 2_000
"""How many entries one transaction reverses. It takes well below a second, so that other writers come in
between."""
OTHERS_TURN_S = 0.025
"""The pause between two parts if there is one writer: a process that waits for SQLite's lock asks for it every
few milliseconds. PostgreSQL's locks go to the one that has waited longest."""
Progress: TypeAlias = Callable[[int, int], None]


@dataclass(frozen=True)
class ImportedBy:
    """The source of an import."""

    files: Sequence[str]
    zone: str
    """The time zone of the files' times."""
    operator: str
    reason: str | None = None


@dataclass(frozen=True)
class RecordedImport:
    """One import, as far as it came."""

    import_number: int
    files: list[str]
    zone: str
    answer: Answer | None
    """What a person said about doubtful lines."""
    operator: str
    reason: str | None
    recorded_at: datetime
    finished_at: datetime | None
    """None if it was interrupted; then the same command continues it."""
    undone_at: datetime | None
    movements: int = 0
    users: int = 0
    taken_back: int = 0
    """How many of the movements are reversed."""

    @property
    def state(self) -> str:
        """The state of the import, in one word."""
        if self.undone_at:
            return "undone"
        if self.finished_at is None:
            return "unfinished"
        return "done"


@dataclass(frozen=True)
class Undone:
    """The result of undoing an import."""

    import_number: int
    taken_back: int
    """How many entries were reversed now."""
    taken_back_already: int
    users: int
    dry_run: bool = False


async def list_imports(connection: AsyncConnection) -> list[RecordedImport]:
    """Every import, the newest last."""
    return await _read(connection)


async def read_import(connection: AsyncConnection, import_number: int) -> RecordedImport:
    """One import. Raises UnknownImport."""
    found = await _read(connection, import_number)
    if not found:
        raise UnknownImport(f"there is no import {import_number}; starter.py imports list shows all")
    return found[0]


async def spans_of_import(connection: AsyncConnection, import_number: int) -> dict[str, Span]:
    """The span of time that an import covers for each of its users, by user id."""
    rows = await connection.execute(
        select(import_spans).where(import_spans.c.import_number == import_number).order_by(import_spans.c.user_id)
    )
    return {row.user_id: Span(row.first_instant, row.last_instant) for row in rows}


async def import_of_content(connection: AsyncConnection, digest: str) -> RecordedImport | None:
    """The import of the same lines, unless it was undone."""
    row = (
        await connection.execute(
            select(imports)
            .where(imports.c.digest == digest, imports.c.undone_at.is_(None))
            .order_by(imports.c.import_number.desc())
            .limit(1)
        )
    ).one_or_none()
    return None if row is None else _recorded(row)


async def begin_import(
    connection: AsyncConnection, by: ImportedBy, digest: str, answer: Answer | None, *, at: datetime
) -> RecordedImport:
    """Gives an import its number, in the transaction that posts its first lines."""
    row = {
        "files": "\n".join(by.files),
        "digest": digest,
        "zone": by.zone,
        "answer": answer,
        "operator": by.operator,
        "reason": by.reason,
        "recorded_at": at,
    }
    (number,) = await insert_numbered_rows(connection, imports, [row])
    await _record_act(connection, "import", number, by.operator, by.reason, at)
    return RecordedImport(number, list(by.files), by.zone, answer, by.operator, by.reason, at, None, None)


async def record_spans(connection: AsyncConnection, own: RecordedImport, spans: Mapping[str, Span]) -> None:
    """Records the span of time that an import covers for its users, if that is not recorded yet."""
    rows = [
        {
            "import_number": own.import_number,
            "user_id": user_id,
            "first_instant": span.first,
            "last_instant": span.last,
        }
        for user_id, span in sorted(spans.items())
    ]
    await insert_missing(connection, import_spans, rows)


async def finish_import(connection: AsyncConnection, own: RecordedImport, *, at: datetime) -> None:
    """Records that all of an import's lines are in the journal."""
    await connection.execute(
        imports.update()
        .where(imports.c.import_number == own.import_number, imports.c.finished_at.is_(None))
        .values(finished_at=at)
    )


async def undo_import(
    ledger: Ledger,
    import_number: int,
    *,
    reason: str,
    operator: str,
    now: datetime,
    dry_run: bool = False,
    on_progress: Progress = lambda done, total: None,
) -> Undone:
    """Undoes an import: reverses every entry of it that is not reversed yet.

    The reversals count from ``now``, as every correction does. They are written in parts, between which others
    write. Idempotent; after an interruption it may be called again, since what is reversed stays reversed. Raises
    InsufficientBalance, which names the users and assets whose balance does not allow it: before anything is
    reversed, or, if a balance fell only after it began, with a part of the entries reversed. Raises UnknownImport,
    and ValueError for a malformed argument. ``on_progress`` is called with the number of reversed entries and of
    all entries.
    """
    check_text("reason", reason)
    check_text("operator", operator)
    async with ledger.read(takes_long=True) as connection:
        found = await read_import(connection, import_number)
        open_by_user = await _open_entries(connection, import_number)
        short = await _what_is_missing(connection, import_number)
    if short:
        raise InsufficientBalance(f"import {import_number} cannot be undone: {'; '.join(short)}")
    open_count = sum(open_by_user.values())
    answer = Undone(import_number, open_count, found.movements - open_count, len(open_by_user), dry_run=dry_run)
    if dry_run or found.undone_at:
        return answer
    words = InCommon("reversal", ledger.clock(), operator=operator, reason=reason)
    taken_back = 0
    async for user_ids, which in _parts(ledger, import_number, open_by_user):
        try:
            taken_back += await _undo_part(ledger, import_number, user_ids, which, words, now)
        except InsufficientBalance as error:
            raise InsufficientBalance(
                f"import {import_number} is undone in part, {taken_back} of {open_count} movements: {error}; "
                "the same command again goes on with it"
            ) from None
        on_progress(taken_back, open_count)
        if ledger.has_one_writer:
            await asyncio.sleep(OTHERS_TURN_S)
    await _record_undone(ledger, import_number, reason, operator)
    return answer


async def _parts(
    ledger: Ledger, import_number: int, open_by_user: Mapping[str, int]
) -> AsyncGenerator[tuple[list[str], ColumnElement[bool]]]:
    """Which entries are reversed together, and whose they are: those of whole users, or some entries of one
    user."""
    users_together: list[str] = []
    size = 0
    for user_id, count in open_by_user.items():
        if users_together and size + count > PART_ENTRIES:
            yield users_together, entries.c.user_id.in_(users_together)
            users_together, size = [], 0
        if count <= PART_ENTRIES:
            users_together.append(user_id)
            size += count
            continue
        for some in await _parts_of_user(ledger, import_number, user_id):
            yield [user_id], entries.c.entry_id.in_(some)
    if users_together:
        yield users_together, entries.c.user_id.in_(users_together)


async def _parts_of_user(ledger: Ledger, import_number: int, user_id: str) -> list[list[int]]:
    """A user's open entries, in an order in which the balance stays close to its final value.

    So nothing can be withdrawn meanwhile that will be gone in the end, and little is missing that will be there.
    """
    async with ledger.read(takes_long=True) as connection:
        held = await balances(connection, user_id)
        rows = (await connection.execute(_open(import_number, entries.c.user_id == user_id))).all()
    by_asset: defaultdict[str, list[tuple[int, int]]] = defaultdict(list)
    for entry_id, _, asset, amount in rows:
        by_asset[asset].append((entry_id, amount))
    order = [entry_id for asset, some in by_asset.items() for entry_id in in_balance(held[asset], some)]
    return [order[start : start + PART_ENTRIES] for start in range(0, len(order), PART_ENTRIES)]


@run_again_if_it_gave_way
async def _undo_part(
    ledger: Ledger,
    import_number: int,
    user_ids: Sequence[str],
    which: ColumnElement[bool],
    words: InCommon,
    now: datetime,
) -> int:
    """One transaction. Returns how many entries it reversed, without those that others reversed meanwhile."""
    async with ledger.write() as connection:
        locked = await lock_or_make_users(connection, user_ids)
        rows = (await connection.execute(_open(import_number, which))).all()
        effective = {user_id: counts_from(user, now) for user_id, user in locked.items()}
        stored = {user_id: stored_instant(instant) for user_id, instant in effective.items()}
        new = [
            BulkMovement(user_id, asset, -amount, stored[user_id], reverses=entry_id)
            for entry_id, user_id, asset, amount in rows
        ]
        if not new:
            return 0
        words = replace(words, recorded_at=ledger.clock())
        entry_ids = await post_movements(connection, new, words)
        recorded_at = stored_instant(words.recorded_at)
        of_reversals = [
            (
                f"reverse/{entry_id}",
                movement.user_id,
                "reverse",
                words.operator,
                words.reason,
                recorded_at,
                f"entry {movement.reverses}, of import {import_number}",
            )
            for entry_id, movement in zip(entry_ids, new, strict=True)
        ]
        names = ("act_id", "user_id", "kind", "operator", "reason", "recorded_at", "subject")
        await insert_stored(connection, acts, names, of_reversals)
        latest = [
            {"user_id": user_id, "latest_effective_at": effective[user_id]}
            for user_id in sorted({movement.user_id for movement in new})
        ]
        await update_rows(connection, users, latest)
        return len(new)


@run_again_if_it_gave_way
async def _record_undone(ledger: Ledger, import_number: int, reason: str, operator: str) -> None:
    async with ledger.write() as connection:
        at = ledger.clock()
        undone = await connection.execute(
            imports.update()
            .where(imports.c.import_number == import_number, imports.c.undone_at.is_(None))
            .values(undone_at=at)
        )
        if undone.rowcount:
            await _record_act(connection, "import_undo", import_number, operator, reason, at)


async def _record_act(
    connection: AsyncConnection,
    kind: Literal["import", "import_undo"],
    import_number: int,
    operator: str,
    reason: str | None,
    at: datetime,
) -> None:
    await write_act(
        connection,
        kind,
        f"{kind}/{import_number}",
        operator=operator,
        reason=reason,
        recorded_at=at,
        subject=f"import {import_number}",
    )


async def _open_entries(connection: AsyncConnection, import_number: int) -> dict[str, int]:
    """How many entries of each user are not reversed yet."""
    of_import = _open(import_number).subquery()
    rows = await connection.execute(
        select(of_import.c.user_id, func.count(func.distinct(of_import.c.entry_id)).label("entries"))
        .group_by(of_import.c.user_id)
        .order_by(of_import.c.user_id)
    )
    return {row.user_id: row.entries for row in rows}


async def _what_is_missing(connection: AsyncConnection, import_number: int) -> list[str]:
    """A clause for each user and asset whose balance does not allow the reversals."""
    of_import = _open(import_number).add_columns(accounts.c.balance).subquery()
    rows = await connection.execute(
        select(of_import.c.user_id, of_import.c.asset, of_import.c.balance, *exact_sum(of_import.c.amount))
        .group_by(of_import.c.user_id, of_import.c.asset, of_import.c.balance)
        .order_by(of_import.c.user_id, of_import.c.asset)
    )
    return [
        f"user {row.user_id}'s {row.asset} balance is {format_amount(row.balance)}, and "
        f"{format_amount(from_exact_sum(row))} would be taken from it"
        for row in rows
        if row.balance < from_exact_sum(row)
    ]


def _open(import_number: int, *conditions: ColumnElement[bool]):
    """A row for each entry of an import that is not reversed, and asset of its user."""
    return (
        select(entries.c.entry_id, entries.c.user_id, accounts.c.asset, postings.c.amount)
        .join_from(entries, postings, postings.c.entry_id == entries.c.entry_id)
        .join(accounts, accounts.c.account_id == postings.c.account_id)
        .outerjoin(REVERSALS, is_reversal_of(entries.c.entry_id))
        .where(
            entries.c.import_number == import_number,
            accounts.c.user_id == entries.c.user_id,
            REVERSALS.c.entry_id.is_(None),
            *conditions,
        )
        .order_by(entries.c.entry_id)
    )


async def _read(connection: AsyncConnection, import_number: int | None = None) -> list[RecordedImport]:
    """One, or all; of others no movement is counted."""
    which = (
        entries.c.import_number.is_not(None) if import_number is None else entries.c.import_number == import_number
    )
    counted = (
        select(
            entries.c.import_number,
            func.count(entries.c.entry_id).label("movements"),
            func.count(func.distinct(entries.c.user_id)).label("users"),
            func.count(REVERSALS.c.entry_id).label("taken_back"),
        )
        .select_from(entries)
        .outerjoin(REVERSALS, is_reversal_of(entries.c.entry_id))
        .where(which)
        .group_by(entries.c.import_number)
        .subquery()
    )
    rows = await connection.execute(
        select(imports, counted.c.movements, counted.c.users, counted.c.taken_back)
        .outerjoin(counted, counted.c.import_number == imports.c.import_number)
        .where(literal(True) if import_number is None else imports.c.import_number == import_number)
        .order_by(imports.c.import_number)
    )
    return [_recorded(row, row.movements, row.users, row.taken_back) for row in rows]


def _recorded(
    row: AnyRow, movements: int | None = None, users_: int | None = None, taken_back: int | None = None
) -> RecordedImport:
    return RecordedImport(
        import_number=row.import_number,
        files=row.files.split("\n"),
        zone=row.zone,
        answer=row.answer,
        operator=row.operator,
        reason=row.reason,
        recorded_at=row.recorded_at,
        finished_at=row.finished_at,
        undone_at=row.undone_at,
        movements=movements or 0,
        users=users_ or 0,
        taken_back=taken_back or 0,
    )
