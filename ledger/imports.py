"""Importing a transaction history export: every movement once, and nothing unless all is good."""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from sqlalchemy.ext.asyncio import AsyncConnection

from ledger.engine import Ledger, run_again_if_it_gave_way
from ledger.history_export import BadLine, Export, ExportLine, check_accounts
from ledger.import_facts import chunks, read_facts
from ledger.import_plan import Answer, Facts, NewLine, Plan, Problem, Span, digest_of, merged, plan, span_of
from ledger.import_records import (
    ImportedBy,
    RecordedImport,
    begin_import,
    finish_import,
    import_of_content,
    record_spans,
)
from ledger.journal import (
    OUTSIDE,
    Leg,
    LockedUser,
    NewEntry,
    Spot,
    lock_or_make_users,
    post_all,
    users_as_they_are,
)
from ledger.programs import all_versions
from ledger.rows import update_rows
from ledger.schema import users
from ledger.spelling import misspelt_assets

Progress = Callable[[int], None]
_PART_LINES = 5_000
"""What one transaction posts: well below a second, so that other writers come in between."""
_USERS_AT_ONCE = 500


class ImportRefused(Exception):
    """The export was not imported, none of it; ``bad`` names every line at fault, ``doubts`` those that a person
    has to decide about."""

    def __init__(self, bad: list[BadLine], doubts: Sequence[BadLine] = ()) -> None:
        self.bad = in_order(bad)
        self.doubts = in_order(doubts)
        count = len(bad) + len(doubts)
        super().__init__(f"{count} bad line{'s' if count != 1 else ''}")


class ImportStopped(Exception):
    """A part of the export was imported, and the rest cannot be any more; ``refusal`` says why."""

    def __init__(self, import_number: int, imported: int, refusal: ImportRefused) -> None:
        self.import_number = import_number
        self.imported = imported
        self.refusal = refusal
        super().__init__(
            f"import {import_number} stopped after {imported} movements, since the ledger changed meanwhile; "
            f"mend what is said and run the same command again, or take it back: imports undo {import_number}"
        )


def in_order(lines: Sequence[BadLine]) -> list[BadLine]:
    """Lines as they stand in their files."""
    return sorted(lines, key=lambda line: (line.file, line.number))


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
    """Lines of assets outside the program of which some amount does not fit: too large, or too many decimals."""
    users: int
    import_number: int | None = None
    """Under which it is known; None where nothing was new."""
    left_out: list[BadLine] = field(default_factory=list[BadLine])
    """With ``partial``: what is wrong with the users who were left out."""
    skipped_accounts: dict[str, int] = field(default_factory=dict[str, int])
    """Lines of accounts other than Spot, by account."""


@dataclass
class _Import:
    """One export on its way into the ledger."""

    ledger: Ledger
    by: ImportedBy
    now: datetime
    answer: Answer | None
    on_progress: Progress
    digest: str
    spans: dict[str, Span]
    skipped: set[str] = field(default_factory=set[str])
    """Assets whose lines are skipped."""
    recorded: RecordedImport | None = None
    imported: int = 0
    already: int = 0
    in_closed_days: int = 0


async def import_export(
    ledger: Ledger,
    export: Export,
    *,
    now: datetime,
    by: ImportedBy,
    answer: Answer | None = None,
    partial: bool = False,
    dry_run: bool = False,
    on_progress: Progress | None = None,
) -> ImportReport:
    """Imports an export's lines; with ``dry_run`` only says what it would do.

    All is checked before anything is written. What fits into one transaction is one; more is written in parts of
    whole users, or, of one user, of whole instants, and an interrupted import goes on where it stopped when it is
    run again. ``answer`` says what doubtful lines are. ``partial``: users with whom something is wrong are left
    out, each whole; a line of which nobody knows whose it is stops the others too. Raises ImportRefused, with
    nothing written, if a line is bad or doubtful or a balance would leave its range at the end of an instant,
    ImportStopped if that is so only since a part was written, and ExportError if the export has an account of
    which nobody said whether it is Spot. ``on_progress`` hears how many lines are posted.
    """
    check_accounts(export, by.files)
    by_user = lines_by_user(export)
    lines = [line for user_id in sorted(by_user) for line in by_user[user_id]]
    work = _Import(
        ledger,
        by,
        now,
        answer,
        on_progress or (lambda _: None),
        digest_of(lines),
        {user_id: span_of(some) for user_id, some in by_user.items()},
    )
    left_out = await _check(work, export, by_user, partial=partial)
    if not dry_run:
        await _write(work, by_user)
    lost = [*export.lines, *export.too_large, *export.too_fine]
    skipped = Counter(line.asset for line in lost if line.asset in work.skipped)
    return ImportReport(
        imported=work.imported,
        already_imported=work.already,
        in_closed_days=work.in_closed_days,
        skipped_not_spot=export.skipped_not_spot,
        skipped_zero=export.skipped_zero,
        skipped_assets=dict(sorted(skipped.items())),
        users=len(by_user),
        import_number=work.recorded.import_number if work.recorded else None,
        left_out=left_out,
        skipped_accounts=export.skipped_accounts,
    )


def lines_by_user(export: Export) -> dict[str, list[ExportLine]]:
    """Each movement of an export once, whichever of its files say so."""
    by_user: defaultdict[str, dict[int, list[ExportLine]]] = defaultdict(dict)
    for line in export.lines:
        by_user[line.user_id].setdefault(line.file, []).append(line)
    return {user_id: merged(list(of_files.values())) for user_id, of_files in by_user.items()}


@dataclass
class _Tally:
    """What a look at all users came to."""

    new: Counter[str] = field(default_factory=Counter[str])
    late: Counter[str] = field(default_factory=Counter[str])
    repeats: Counter[str] = field(default_factory=Counter[str])
    problems: list[Problem] = field(default_factory=list[Problem])
    doubts: list[Problem] = field(default_factory=list[Problem])

    def add(self, decided: Plan) -> None:
        self.new.update(item.line.asset for item in decided.new)
        self.late.update(item.line.asset for item in decided.new if decided.is_late(item))
        self.repeats.update(decided.repeats)
        self.problems += decided.problems
        self.doubts += decided.doubts


async def _check(
    work: _Import, export: Export, by_user: dict[str, list[ExportLine]], *, partial: bool
) -> list[BadLine]:
    """Counts in ``work`` what would be done; takes out of ``by_user`` whom ``partial`` leaves out, and says why.

    Nothing is locked: what is decided here is decided again under the locks of the users.
    """
    async with work.ledger.read() as connection:
        versions = await all_versions(connection)
        work.recorded = await import_of_content(connection, work.digest)
    in_program = {asset for version in versions for asset in version.program.assets}
    unfit = [*export.too_large, *export.too_fine]
    bad = [BadLine(one.number, one.problem, one.user_id, one.file) for one in unfit if one.asset in in_program]
    bad += export.bad
    tallies: dict[str, _Tally] = {}
    for some in chunks(sorted(by_user), _USERS_AT_ONCE):
        async with work.ledger.read() as connection:
            known = await users_as_they_are(connection, some)
            facts = await read_facts(
                connection, known, {user_id: by_user[user_id] for user_id in some}, work.recorded
            )
        for user_id in some:
            tallies[user_id] = _Tally()
            tallies[user_id].add(_plan(work, facts[user_id], by_user[user_id]))
    problems = [problem for tally in tallies.values() for problem in tally.problems]
    too_much = {one.asset for one in [*unfit, *(problem for problem in problems if problem.is_overflow)]}
    work.skipped = too_much - in_program
    misspelt = await _misspelt(work, by_user, tallies)
    bad += [line for _, line in misspelt]
    not_judged = work.skipped | {asset for asset, _ in misspelt}
    bad += [problem.line for problem in problems if problem.asset not in not_judged]
    doubts = [one.line for tally in tallies.values() for one in tally.doubts if one.asset not in work.skipped]
    of_nobody_known = any(line.user_id is None for line in bad)
    if (bad or doubts) and (of_nobody_known or not partial):
        raise ImportRefused(bad, doubts)
    left_out = in_order([*bad, *doubts])
    for user_id in {line.user_id for line in left_out}:
        if user_id is not None:
            by_user.pop(user_id, None)
    for user_id in by_user:
        tally = tallies[user_id]
        work.imported += _without(tally.new, work.skipped)
        work.in_closed_days += _without(tally.late, work.skipped)
        work.already += _without(tally.repeats, work.skipped)
    return left_out


async def _misspelt(
    work: _Import, by_user: Mapping[str, Sequence[ExportLine]], tallies: Mapping[str, _Tally]
) -> list[tuple[str, BadLine]]:
    """Lines whose asset is the program's in another case, with that asset, where a user has new ones of it."""
    async with work.ledger.read() as connection:
        problems = await misspelt_assets(connection, {asset for tally in tallies.values() for asset in tally.new})
    return [
        (line.asset, BadLine(line.number, problems[line.asset], user_id, line.file))
        for user_id, lines in by_user.items()
        for line in lines
        if line.asset in problems and line.asset in tallies[user_id].new
    ]


def _without(counts: Counter[str], skipped: set[str]) -> int:
    return sum(count for asset, count in counts.items() if asset not in skipped)


def _plan(work: _Import, facts: Facts, lines: Sequence[ExportLine]) -> Plan:
    answer = (work.recorded and work.recorded.answer) or work.answer
    return plan(facts, lines, work.spans[facts.user.user_id], answer=answer, without=work.skipped)


async def _write(work: _Import, by_user: Mapping[str, Sequence[ExportLine]]) -> None:
    work.imported = work.already = work.in_closed_days = 0
    parts = list(_parts(by_user))
    while parts:
        part = parts.pop(0)
        try:
            recorded, plans = await _write_part(work.ledger, work, part, by_user, is_last=not parts)
        except ImportRefused as refusal:
            if len(part) == 1 and parts and part.keys() == parts[0].keys():
                # The user's own later postings count on what the next lines bring: these belong together.
                ((user_id, lines),) = part.items()
                parts[0] = {user_id: [*lines, *parts[0][user_id]]}
                continue
            if work.recorded is None or not work.imported:
                raise
            raise ImportStopped(work.recorded.import_number, work.imported, refusal) from None
        work.recorded = recorded
        work.imported += sum(len(decided.new) for decided in plans)
        work.in_closed_days += sum(decided.is_late(item) for decided in plans for item in decided.new)
        work.already += sum(decided.repeats.total() for decided in plans)
        work.on_progress(work.imported)


@run_again_if_it_gave_way
async def _write_part(
    ledger: Ledger,
    work: _Import,
    part: Mapping[str, Sequence[ExportLine]],
    whole: Mapping[str, Sequence[ExportLine]],
    *,
    is_last: bool,
) -> tuple[RecordedImport | None, list[Plan]]:
    """One transaction: plans the part's users under their locks, and posts what is new."""
    async with ledger.write() as connection:
        locked = await lock_or_make_users(connection, part)
        # Under the locks of their users: what another import wrote meanwhile is known, the same one too.
        recorded = await import_of_content(connection, work.digest)
        facts = await read_facts(connection, locked, part, recorded)
        answer = (recorded and recorded.answer) or work.answer
        plans = [
            plan(facts[user_id], lines, work.spans[user_id], answer=answer, without=work.skipped)
            for user_id, lines in sorted(part.items())
        ]
        problems = [problem.line for decided in plans for problem in decided.problems]
        doubts = [doubt.line for decided in plans for doubt in decided.doubts]
        if problems or doubts:
            raise ImportRefused(problems, doubts)
        if any(decided.new for decided in plans):
            if recorded is None:
                recorded = await begin_import(connection, work.by, work.digest, work.answer, at=ledger.clock())
            await record_spans(connection, recorded, {user_id: work.spans[user_id] for user_id in whole})
            await _post(connection, plans, recorded.import_number, work.now)
        if recorded and is_last:
            await finish_import(connection, recorded, at=ledger.clock())
        return recorded, plans


async def _post(connection: AsyncConnection, plans: Sequence[Plan], import_number: int, now: datetime) -> None:
    new = [
        _entry(item, decided.user, import_number, now)
        for decided in plans
        for item in sorted(decided.new, key=lambda item: (item.line.file, item.line.number))
    ]
    await post_all(connection, new)
    latest = {
        decided.user.user_id: max(
            decided.user.latest_effective_at, *(decided.user.effective(item.line.instant) for item in decided.new)
        )
        for decided in plans
        if decided.new
    }
    rows = [{"user_id": user_id, "latest_effective_at": instant} for user_id, instant in latest.items()]
    await update_rows(connection, users, rows)


def _entry(item: NewLine, user: LockedUser, import_number: int, now: datetime) -> NewEntry:
    line = item.line
    effective_at = user.effective(line.instant)
    return NewEntry(
        kind="movement",
        legs=[Leg(Spot(user), line.asset, line.change), Leg(OUTSIDE, line.asset, -line.change)],
        effective_at=effective_at,
        recorded_at=now,
        user_id=user.user_id,
        idempotency_key=item.key,
        occurred_at=line.instant if line.instant != effective_at else None,
        note=line.words,
        import_number=import_number,
    )


def _parts(by_user: Mapping[str, Sequence[ExportLine]]) -> Iterator[dict[str, Sequence[ExportLine]]]:
    """The lines in parts: whole users, and of a user with more lines than one part, whole instants in order."""
    part: dict[str, Sequence[ExportLine]] = {}
    size = 0
    for user_id, lines in sorted(by_user.items()):
        if size and size + len(lines) > _PART_LINES:
            yield part
            part, size = {}, 0
        if len(lines) <= _PART_LINES:
            part[user_id] = lines
            size += len(lines)
            continue
        for some in _cut_between_instants(sorted(lines, key=lambda line: line.instant)):
            yield {user_id: some}
    if part:
        yield part


def _cut_between_instants(lines: Sequence[ExportLine]) -> Iterator[Sequence[ExportLine]]:
    start = 0
    while start < len(lines):
        end = min(start + _PART_LINES, len(lines))
        while end < len(lines) and lines[end].instant == lines[end - 1].instant:
            end += 1
        yield lines[start:end]
        start = end
