"""Importing a transaction history export: every movement once, and nothing unless all is good."""

import asyncio
from collections import Counter, defaultdict, deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal, TypeAlias

from ledger.database.engine import Ledger
from ledger.database.schema import stored_instant
from ledger.imports import garbage
from ledger.imports.facts import chunks, read_facts
from ledger.imports.history_export import BadLine, Export, ExportLine, check_accounts
from ledger.imports.parts import Importing, ImportRefused, PartUnderWay, begin_part, in_order
from ledger.imports.plan import Answer, ImportFacts, LineProblem, Plan, Span, digest_of, merged, numbered, span_of
from ledger.imports.records import ImportedBy, import_of_content
from ledger.locking import users_as_they_are
from ledger.programs import all_versions
from ledger.spelling import misspelt_assets

Doing: TypeAlias = Literal["checking", "importing"]
Progress = Callable[[Doing, int], None]
PART_ENTRIES = 5_000
"""How many lines one transaction posts. It takes well below a second, so that other writers come in between."""
_USERS_AT_ONCE = 500
_PARTS_AT_ONCE = 4
"""How many parts are under way if several can write: the database writes two, one waits for its turn, and one is
prepared."""


class ImportStopped(Exception):
    """A part of the export was imported, and the rest cannot be imported any more; ``refusal`` says why."""

    def __init__(self, import_number: int, imported: int, refusal: ImportRefused) -> None:
        self.import_number = import_number
        self.imported = imported
        self.refusal = refusal
        super().__init__(
            f"import {import_number} stopped after {imported} movements, since the ledger changed meanwhile; "
            f"mend what is said and run the same command again, or take it back: imports undo {import_number}"
        )


@dataclass(frozen=True)
class ImportReport:
    """The result for an export's lines."""

    imported: int
    already_imported: int
    in_closed_days: int
    """How many of the imported lines count from the end of the days that were closed for their user (I4)."""
    skipped_not_spot: int
    skipped_zero: int
    skipped_assets: dict[str, int]
    """Lines of assets outside the program with an amount that does not fit: too large, or with too many
    decimals."""
    users: int
    import_number: int | None = None
    """The number of the import; None if nothing was new."""
    left_out: list[BadLine] = field(default_factory=list[BadLine])
    """The problems of the users who were left out with ``partial``."""
    skipped_accounts: dict[str, int] = field(default_factory=dict[str, int])
    """Lines of accounts other than Spot, by account."""


@dataclass
class _Import(Importing):
    """One export on its way into the ledger, and how far it is."""

    on_progress: Progress = lambda doing, done: None
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
    on_progress: Progress = lambda doing, done: None,
) -> ImportReport:
    """Imports an export's lines; with ``dry_run`` only says what it would do.

    All is checked before anything is written. What fits into one transaction is one; more is written in parts of
    whole users, or, of one user, of whole instants, and an interrupted import goes on where it stopped when it is
    run again. ``answer`` says what doubtful lines are. ``partial``: users with whom something is wrong are left
    out, each whole; a line of which nobody knows whose it is stops the others too. Raises ImportRefused, with
    nothing written, if a line is bad or doubtful or a balance would leave its range at the end of an instant,
    ImportStopped if that is so only since a part was written, and ExportError if the export has an account of
    which nobody said whether it is Spot. ``on_progress`` hears how many lines are checked, and
    then how many are posted.
    """
    check_accounts(export, by.files)
    on_progress("checking", 0)
    with garbage.left_alone():
        # In a thread, since it may take seconds, in which this process has others to answer.
        by_user, digest, spans = await asyncio.to_thread(_in_order, export)
        work = _Import(ledger, by, now, answer, digest, spans, on_progress=on_progress)
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


def _in_order(export: Export) -> tuple[dict[str, list[ExportLine]], str, dict[str, Span]]:
    """The lines by user, what identifies each of them, and the first and last instant that they cover for each
    user."""
    by_user = lines_by_user(export)
    return by_user, digest_of(by_user), {user_id: span_of(lines) for user_id, lines in by_user.items()}


def lines_by_user(export: Export) -> dict[str, list[ExportLine]]:
    """Each movement of an export once, even if several of its files contain it."""
    by_user: defaultdict[str, dict[int, list[ExportLine]]] = defaultdict(dict)
    for line in export.lines:
        by_user[line.user_id].setdefault(line.file, []).append(line)
    return {user_id: merged(list(of_files.values())) for user_id, of_files in by_user.items()}


@dataclass
class _Tally:
    """The result of looking at a user's lines."""

    new: Counter[str]
    """Lines by asset, as all counts here."""
    late: Counter[str]
    repeats: Counter[str]
    problems: list[LineProblem]
    doubts: list[LineProblem]
    instants: set[int] | None
    """The instants at which something is new; None if everything is new."""
    half_known: set[int]
    """The instants among these at which some lines are not new."""


def _tally(decided: Plan, facts: ImportFacts) -> _Tally:
    instants = {item.instant for item in decided.new} if decided.repeats else None
    return _Tally(
        new=Counter([item.line.asset for item in decided.new]),
        late=Counter([item.line.asset for item in decided.new if decided.is_late(item)]),
        repeats=decided.repeats,
        problems=decided.problems,
        doubts=decided.doubts,
        instants=instants,
        half_known=instants & {instant for instant, _, _ in facts.ever} if instants else set(),
    )


async def _check(
    work: _Import, export: Export, by_user: dict[str, list[ExportLine]], *, partial: bool
) -> list[BadLine]:
    """Counts in ``work`` what would be done. Takes the users whom ``partial`` leaves out from ``by_user``, and
    says why.

    For the other users, only the lines of instants stay at which something is new.

    Nothing is locked here, since everything is decided again under the locks of the users. No transaction is open
    meanwhile, since a database ends a transaction whose process is silent for long.
    """
    async with work.ledger.read() as connection:
        versions = await all_versions(connection)
        work.recorded = await import_of_content(connection, work.digest)
    in_program = {asset for version in versions for asset in version.program.assets}
    unfit = [*export.too_large, *export.too_fine]
    bad = [BadLine(one.number, one.problem, one.user_id, one.file) for one in unfit if one.asset in in_program]
    bad += export.bad
    tallies: dict[str, _Tally] = {}
    checked = 0
    for user_ids in chunks(sorted(by_user), _USERS_AT_ONCE):
        some = {user_id: by_user[user_id] for user_id in user_ids}
        spans = {user_id: work.spans[user_id] for user_id in user_ids}
        async with work.ledger.read(takes_long=True) as connection:
            known = await users_as_they_are(connection, user_ids)
            facts = await read_facts(connection, known, spans, work.recorded, in_detail=True)
        tallies |= await asyncio.to_thread(_tallies, work, facts, some)
        checked += sum(map(len, some.values()))
        work.on_progress("checking", checked)
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
        by_user[user_id] = _with_something_new(by_user[user_id], tally)
        work.half_known[user_id] = tally.half_known
    return left_out


def _tallies(
    work: _Import, facts: Mapping[str, ImportFacts], by_user: Mapping[str, Sequence[ExportLine]]
) -> dict[str, _Tally]:
    return {
        user_id: _tally(work.plan(work.recorded, facts[user_id], numbered(lines, with_keys=False)), facts[user_id])
        for user_id, lines in by_user.items()
    }


def _with_something_new(lines: list[ExportLine], tally: _Tally) -> list[ExportLine]:
    if tally.instants is None:
        return lines
    return [line for line in lines if stored_instant(line.instant) in tally.instants]


async def _misspelt(
    work: _Import, by_user: Mapping[str, Sequence[ExportLine]], tallies: Mapping[str, _Tally]
) -> list[tuple[str, BadLine]]:
    """Lines with a misspelt asset of the program, with that asset, if a user has new lines of it."""
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


async def _write(work: _Import, by_user: Mapping[str, Sequence[ExportLine]]) -> None:
    """Writes what is new. If nothing is new, an import that was interrupted after its last line is finished."""
    if not work.imported:
        if work.recorded is not None and work.recorded.finished_at is None:
            await begin_part(work, {}, None, is_last=True).task
        return
    lines = [line for some in by_user.values() for line in some if line.asset not in work.skipped]
    work.already -= len(lines) - work.imported  # they are counted again where they are written
    work.imported = work.in_closed_days = 0
    waiting = deque(_parts(by_user))
    under_way: deque[PartUnderWay] = deque()
    try:
        while waiting or under_way:
            _begin_more(work, waiting, under_way)
            first = under_way.popleft()
            try:
                plans = await first.task
            except ImportRefused as refusal:
                waiting.extendleft(reversed(await _given_up(under_way)))
                if waiting and len(first.lines) == 1 and first.lines.keys() == waiting[0].keys():
                    # The user's later postings need the amounts of the next lines, so these belong together.
                    ((user_id, some),) = first.lines.items()
                    waiting[0] = {user_id: [*some, *waiting[0][user_id]]}
                    continue
                if work.recorded is None or not work.imported:
                    raise
                raise ImportStopped(work.recorded.import_number, work.imported, refusal) from None
            _count(work, plans)
    finally:
        await _given_up(under_way)


def _begin_more(
    work: _Import, waiting: deque[Mapping[str, Sequence[ExportLine]]], under_way: deque[PartUnderWay]
) -> None:
    """One part at a time if there is one writer. Otherwise the database writes some parts while others are
    computed here."""
    at_once = 1 if work.ledger.has_one_writer else _PARTS_AT_ONCE
    while waiting and len(under_way) < at_once:
        lines = waiting.popleft()
        after = under_way[-1] if under_way else None
        under_way.append(begin_part(work, lines, after, is_last=not waiting))


async def _given_up(under_way: deque[PartUnderWay]) -> list[Mapping[str, Sequence[ExportLine]]]:
    """Waits for the parts to end, and answers their lines."""
    parts = list(under_way)
    under_way.clear()
    for part in reversed(parts):
        await part.give_up()
    return [part.lines for part in parts]


def _count(work: _Import, plans: Sequence[Plan]) -> None:
    work.imported += sum(len(decided.new) for decided in plans)
    work.in_closed_days += sum(decided.is_late(item) for decided in plans for item in decided.new)
    work.already += sum(decided.repeats.total() for decided in plans)
    work.on_progress("importing", work.imported)


def _parts(by_user: Mapping[str, Sequence[ExportLine]]) -> Iterator[Mapping[str, Sequence[ExportLine]]]:
    """The lines in parts: whole users, and of a user with more lines than one part, whole instants in order."""
    part: dict[str, Sequence[ExportLine]] = {}
    size = 0
    # Users without a line are included only for their span. They come last, since an import begins with its first
    # movement.
    for user_id, lines in sorted(by_user.items(), key=lambda item: (not item[1], item[0])):
        if size and size + max(len(lines), 1) > PART_ENTRIES:
            yield part
            part, size = {}, 0
        if len(lines) <= PART_ENTRIES:
            part[user_id] = lines
            size += max(len(lines), 1)
            continue
        for some in _cut_between_instants(sorted(lines, key=lambda line: line.instant)):
            yield {user_id: some}
    if part:
        yield part


def _cut_between_instants(lines: Sequence[ExportLine]) -> Iterator[Sequence[ExportLine]]:
    start = 0
    while start < len(lines):
        end = min(start + PART_ENTRIES, len(lines))
        while end < len(lines) and lines[end].instant == lines[end - 1].instant:
            end += 1
        yield lines[start:end]
        start = end
