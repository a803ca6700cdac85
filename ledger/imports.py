"""Importing a transaction history export: all of it or nothing, each line once."""

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TypeVar

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncConnection

from ledger.engine import Ledger, run_again_if_it_gave_way
from ledger.history_export import BadLine, Export, ExportLine
from ledger.journal import OUTSIDE, Leg, LockedUser, NewEntry, Spot, balances, lock_user, post_all
from ledger.programs import all_versions
from ledger.schema import accounts, entries, postings, users
from ledger.spelling import misspelt_assets
from staking.money import MAX_ACCOUNT_UNITS, format_amount

Progress = Callable[[int], None]
_CHUNK = 500
"""Rows in one statement: databases limit its parameters."""
_T = TypeVar("_T")


class ImportRefused(Exception):
    """The export was not imported, none of it; ``bad`` names every line at fault."""

    def __init__(self, bad: list[BadLine]) -> None:
        self.bad = sorted(bad, key=lambda line: line.number)
        super().__init__(f"{len(bad)} bad line{'s' if len(bad) != 1 else ''}")


@dataclass(frozen=True)
class ImportReport:
    """What became of an export's lines."""

    imported: int
    already_imported: int
    in_closed_days: int
    """Of the imported: these count from the end of the days that were closed for their user (I4)."""
    skipped_not_spot: int
    skipped_zero: int
    skipped_assets: dict[str, int]
    """Lines of assets outside the program with amounts beyond what an account holds, by asset."""
    users: int


class _DryRun(Exception):
    pass


@run_again_if_it_gave_way
async def import_export(
    ledger: Ledger,
    export: Export,
    *,
    now: datetime,
    dry_run: bool = False,
    on_progress: Progress | None = None,
) -> ImportReport:
    """Imports an export's lines in one transaction; with ``dry_run`` only says what it would do.

    Raises ImportRefused, with nothing written, if a line is bad or a balance would leave its range at the end of
    an instant. ``on_progress`` hears how many lines are posted, and begins anew where the transaction gave way to
    another and is run again.
    """
    report: ImportReport | None = None
    try:
        async with ledger.write() as connection:
            report = await _import(connection, export, now, on_progress or (lambda _: None))
            if dry_run:
                raise _DryRun
    except _DryRun:
        pass
    assert report is not None, "the transaction either raised or made a report"
    return report


async def _import(
    connection: AsyncConnection, export: Export, now: datetime, on_progress: Progress
) -> ImportReport:
    versions = await all_versions(connection)
    in_program = {asset for version in versions for asset in version.program.assets}
    bad = [*export.bad]
    oversized = {line.asset for line in export.too_large} - in_program
    bad += [BadLine(line.number, line.problem) for line in export.too_large if line.asset in in_program]

    locked: dict[str, LockedUser] = {}
    for user_id in sorted({line.user_id for line in export.lines}):
        locked[user_id] = await lock_user(connection, user_id)
    # Under the locks of their users: what another import writes meanwhile is known.
    known = await _known_keys(connection, export.lines)
    by_user: defaultdict[str, list[ExportLine]] = defaultdict(list)
    for line in export.lines:
        if line.key not in known:
            by_user[line.user_id].append(line)
    misspelt = await misspelt_assets(connection, {line.asset for lines in by_user.values() for line in lines})
    bad += [
        BadLine(line.number, misspelt[line.asset])
        for lines in by_user.values()
        for line in lines
        if line.asset in misspelt
    ]
    problems: list[_Problem] = []
    for user_id in sorted(by_user):
        problems += await _problems(connection, locked[user_id], by_user[user_id])
    oversized |= {problem.asset for problem in problems if problem.is_overflow} - in_program
    bad += [problem.line for problem in problems if problem.asset not in oversized | misspelt.keys()]
    if bad:
        raise ImportRefused(bad)

    imported = closed = 0
    for some in _batches(by_user, oversized):
        await post_all(connection, [_entry(line, locked[line.user_id], now) for line in some])
        imported += len(some)
        closed += sum(line.instant < locked[line.user_id].closed_through for line in some)
        on_progress(imported)
        await _raise_latest(connection, locked, some)
    skipped = [line.asset for line in [*export.lines, *export.too_large] if line.asset in oversized]
    return ImportReport(
        imported=imported,
        already_imported=sum(line.key in known and line.asset not in oversized for line in export.lines),
        in_closed_days=closed,
        skipped_not_spot=export.skipped_not_spot,
        skipped_zero=export.skipped_zero,
        skipped_assets={asset: skipped.count(asset) for asset in sorted(oversized)},
        users=len({line.user_id for line in export.lines}),
    )


@dataclass(frozen=True)
class _Problem:
    line: BadLine
    asset: str
    is_overflow: bool


def _entry(line: ExportLine, user: LockedUser, now: datetime) -> NewEntry:
    effective_at = user.effective(line.instant)
    return NewEntry(
        kind="movement",
        legs=[Leg(Spot(user), line.asset, line.change), Leg(OUTSIDE, line.asset, -line.change)],
        effective_at=effective_at,
        recorded_at=now,
        user_id=user.user_id,
        idempotency_key=line.key,
        occurred_at=line.instant if line.instant != effective_at else None,
        note=f"{line.operation}: {line.remark}" if line.remark else line.operation,
    )


async def _known_keys(connection: AsyncConnection, lines: Sequence[ExportLine]) -> set[str]:
    known: set[str] = set()
    for chunk in _chunks(lines, _CHUNK):
        keys = [line.key for line in chunk]
        rows = await connection.scalars(
            select(entries.c.idempotency_key).where(entries.c.idempotency_key.in_(keys))
        )
        known.update(key for key in rows if key is not None)
    return known


async def _problems(connection: AsyncConnection, user: LockedUser, lines: Sequence[ExportLine]) -> list[_Problem]:
    """Per asset the first instant at whose end the balance would be below zero, and too large (I2)."""
    earliest = min(user.effective(line.instant) for line in lines)
    rows = await connection.execute(
        select(accounts.c.asset, postings.c.effective_at, postings.c.amount)
        .join_from(accounts, postings, postings.c.account_id == accounts.c.account_id)
        .where(accounts.c.user_id == user.user_id, postings.c.effective_at >= earliest)
    )
    # asset → instant → change, and the last line of the export that takes part in it
    timelines: defaultdict[str, defaultdict[datetime, int]] = defaultdict(lambda: defaultdict(int))
    held = await balances(connection, user.user_id)
    for row in rows:
        timelines[row.asset][row.effective_at] += row.amount
        held[row.asset] -= row.amount
    new: defaultdict[str, dict[datetime, int]] = defaultdict(dict)
    for line in lines:
        instant = user.effective(line.instant)
        timelines[line.asset][instant] += line.change
        new[line.asset][instant] = line.number
    problems: list[_Problem] = []
    for asset in new:
        holding, number = held.get(asset, 0), 0
        found: dict[bool, _Problem] = {}
        for instant, change in sorted(timelines[asset].items()):
            holding += change
            number = new[asset].get(instant, number)
            if not 0 <= holding <= MAX_ACCOUNT_UNITS:
                problem = _problem(number, user.user_id, asset, instant, holding)
                found.setdefault(problem.is_overflow, problem)
        problems += found.values()
    return problems


def _problem(number: int, user_id: str, asset: str, instant: datetime, holding: int) -> _Problem:
    at = instant.strftime("%Y-%m-%d %H:%M:%S UTC")
    if holding < 0:
        sentence = f"user {user_id}'s {asset} balance would be {format_amount(holding)} after {at}"
    else:
        sentence = f"user {user_id}'s {asset} balance would pass 90 billion at {at}"
    return _Problem(BadLine(number, sentence), asset, is_overflow=holding > 0)


async def _raise_latest(
    connection: AsyncConnection, locked: dict[str, LockedUser], lines: Sequence[ExportLine]
) -> None:
    latest: dict[str, datetime] = {}
    for line in lines:
        user = locked[line.user_id]
        so_far = latest.get(line.user_id, user.latest_effective_at)
        latest[line.user_id] = max(so_far, user.effective(line.instant))
    for user_id, instant in latest.items():
        await connection.execute(
            users.update().where(users.c.user_id == user_id).values(latest_effective_at=instant)
        )


def _batches(by_user: dict[str, list[ExportLine]], oversized: set[str]) -> Iterator[list[ExportLine]]:
    """The lines to post, those of one user together: a part of them could leave a balance below zero."""
    batch: list[ExportLine] = []
    for user_id in sorted(by_user):
        batch += [line for line in by_user[user_id] if line.asset not in oversized]
        if len(batch) >= _CHUNK:
            yield batch
            batch = []
    if batch:
        yield batch


def _chunks(items: Sequence[_T], size: int) -> Iterator[Sequence[_T]]:
    for start in range(0, len(items), size):
        yield items[start : start + size]
