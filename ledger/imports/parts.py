"""The parts in which an import is written: one transaction each, in the order of the lines."""

import asyncio
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from ledger.accounts import OUTSIDE, AccountKey, find_accounts
from ledger.bulks import BulkMovement, Changed, InCommon, accounts_of, post_movements, settle, sides_of
from ledger.database.engine import GaveWay, Ledger, run_again_if_it_gave_way
from ledger.database.rows import update_rows
from ledger.database.schema import instant_of, stored_instant, users
from ledger.errors import AccountFull, InsufficientBalance
from ledger.imports.facts import read_facts
from ledger.imports.history_export import BadLine, ExportLine
from ledger.imports.plan import Answer, ImportFacts, NewLine, Plan, Span, numbered, plan, span_of
from ledger.imports.posting_ahead import post_ahead
from ledger.imports.records import (
    OTHERS_TURN_S,
    ImportedBy,
    RecordedImport,
    begin_import,
    finish_import,
    import_of_content,
    record_spans,
)
from ledger.locking import LockedUser, lock_or_make_users, lock_users, users_as_they_are


class ImportRefused(Exception):
    """Nothing of the export was imported. ``bad`` names every faulty line, and ``doubts`` the lines about which
    a person has to decide."""

    def __init__(self, bad: list[BadLine], doubts: Sequence[BadLine] = ()) -> None:
        self.bad = in_order(bad)
        self.doubts = in_order(doubts)
        count = len(bad) + len(doubts)
        super().__init__(f"{count} bad line{'s' if count != 1 else ''}")


class _Overtaken(Exception):
    """What was written ahead turned out to be wrong under the locks of its users."""


def in_order(lines: Sequence[BadLine]) -> list[BadLine]:
    """Lines as they stand in their files."""
    return sorted(lines, key=lambda line: (line.file, line.number))


@dataclass
class Importing:
    """One export on its way into the ledger."""

    ledger: Ledger
    by: ImportedBy
    now: datetime
    answer: Answer | None
    digest: str
    spans: dict[str, Span]
    skipped: set[str] = field(default_factory=set[str])
    """Assets whose lines are skipped."""
    half_known: dict[str, set[int]] = field(default_factory=dict[str, set[int]])
    """For each user, the instants, as they are stored, at which some lines are new and some are not."""
    recorded: RecordedImport | None = None

    def plan(self, recorded: RecordedImport | None, facts: ImportFacts, lines: Sequence[NewLine]) -> Plan:
        """The plan for a user's lines."""
        answer = (recorded and recorded.answer) or self.answer
        return plan(facts, lines, self.spans[facts.user.user_id], answer=answer, without=self.skipped)


@dataclass
class PartUnderWay:
    """One part of an import: its lines by user, and the task that writes it."""

    lines: Mapping[str, Sequence[ExportLine]]
    task: asyncio.Task[list[Plan]]
    """Answers what was posted. Raises ImportRefused; then nothing of the part is written."""
    committed: asyncio.Event

    async def give_up(self) -> None:
        """Stops the part; what it has written is rolled back."""
        self.task.cancel()
        await asyncio.gather(self.task, return_exceptions=True)


def begin_part(
    work: Importing, lines: Mapping[str, Sequence[ExportLine]], after: PartUnderWay | None, *, is_last: bool
) -> PartUnderWay:
    """Begins to write some lines: of whole users, or of one user whole instants later than all before.

    It is committed after the part that was begun before, if that one is under way still. ``is_last``: with it the
    import is finished.
    """
    committed = asyncio.Event()
    task = asyncio.create_task(_written(work, lines, after, committed, is_last=is_last))
    return PartUnderWay(lines, task, committed)


@dataclass(frozen=True)
class _Part:
    """The part of an import that one transaction writes, as far as it is known beforehand."""

    lines: dict[str, list[NewLine]]
    """The lines of each user, as they are posted if no equal ones were imported before."""
    spans: dict[str, Span]
    """The spans of these lines."""
    users: list[str]
    """The users of these lines, and users of whom nothing is new."""
    changes: Mapping[Changed, int]
    """The changes in units that these lines make."""
    is_new: bool
    """Whether no equal lines had been imported when everything was checked."""
    is_last: bool
    follows: PartUnderWay | None

    def movements(self, known: Mapping[str, LockedUser]) -> list[BulkMovement]:
        """What is posted if all lines are new.

        Raises _Overtaken if a line falls into a closed day: such lines count from one instant, in the order in
        which they are posted.
        """
        closed = {user_id: stored_instant(known[user_id].closed_through) for user_id in self.lines}
        if any(item.instant < closed[user_id] for user_id, some in self.lines.items() for item in some):
            raise _Overtaken
        return [
            movement_of(item, user_id, closed[user_id])
            for user_id, some in sorted(self.lines.items())
            for item in some
        ]

    async def in_turn(self) -> None:
        """Waits until the part before is committed."""
        if self.follows is not None:
            await self.follows.committed.wait()


async def _written(
    work: Importing,
    lines: Mapping[str, Sequence[ExportLine]],
    after: PartUnderWay | None,
    committed: asyncio.Event,
    *,
    is_last: bool,
) -> list[Plan]:
    # In a thread, since others are to be answered meanwhile, here and by the database.
    others_turn_s = OTHERS_TURN_S if work.ledger.has_one_writer else 0
    part, _ = await asyncio.gather(
        asyncio.to_thread(_prepared, work, lines, after, is_last=is_last), asyncio.sleep(others_turn_s)
    )
    plans = await _written_ahead(work, part)
    if plans is None:
        if after is not None and not after.lines.keys().isdisjoint(lines):
            await part.in_turn()
        work.recorded, plans = await _write_under_locks(work.ledger, work, part)
    committed.set()
    return plans


def _prepared(
    work: Importing, by_user: Mapping[str, Sequence[ExportLine]], follows: PartUnderWay | None, *, is_last: bool
) -> _Part:
    with_lines = {user_id: lines for user_id, lines in by_user.items() if lines}
    lines = {user_id: numbered(some, with_keys=True) for user_id, some in with_lines.items()}
    changes: defaultdict[Changed, int] = defaultdict(int)
    for user_id, some in with_lines.items():
        for line in some:
            changes[user_id, line.asset] += line.change
    return _Part(
        lines,
        {user_id: span_of(some) for user_id, some in with_lines.items()},
        list(by_user),
        changes,
        not any(_is_half_known(work, user_id, some) for user_id, some in lines.items()),
        is_last,
        follows,
    )


def _is_half_known(work: Importing, user_id: str, lines: Sequence[NewLine]) -> bool:
    known = work.half_known.get(user_id)
    return bool(known) and any(item.instant in known for item in lines)


async def _written_ahead(work: Importing, part: _Part) -> list[Plan] | None:
    """Writes a part before its turn, if that is possible. Otherwise it writes nothing and answers None."""
    if work.ledger.has_one_writer or work.skipped or not part.is_new:
        return None
    if work.recorded is None:
        await part.in_turn()  # since the first part gives the import its number
    if work.recorded is None:
        return None
    try:
        return await _write_ahead(work, part, work.recorded)
    except (_Overtaken, GaveWay, IntegrityError, InsufficientBalance, AccountFull):
        return None  # a second look, under the locks, finds what is so


async def _write_ahead(work: Importing, part: _Part, own: RecordedImport) -> list[Plan]:
    """One transaction: posts the lines, and then looks, under the locks of their users, whether that is right."""
    ledger = work.ledger
    async with ledger.write() as connection:
        accounts = await find_accounts(connection, accounts_of(part.changes))
        if len(accounts) < len(accounts_of(part.changes)):
            # While one transaction makes an account, others wait for it. So it must have the lock of the account's
            # user before.
            raise _Overtaken
        known = await users_as_they_are(connection, part.lines)
        movements = await asyncio.to_thread(part.movements, known)
        in_common = InCommon("movement", recorded_at=work.now, import_number=own.import_number)
        await post_ahead(connection, movements, in_common, sides_of(part.changes, accounts))
        await part.in_turn()
        locked = await lock_users(connection, part.lines)
        # This is read by another transaction, which sees everything that was committed before the locks, and
        # nothing of this one.
        async with ledger.read() as others:
            recorded = await import_of_content(others, work.digest)
            facts = await read_facts(others, locked, part.spans, recorded, in_detail=False)
        plans = await asyncio.to_thread(_plans_of, work, recorded, facts, part)
        is_as_written = (
            recorded is not None
            and recorded.import_number == own.import_number
            and all(locked[user_id].closed_through == known[user_id].closed_through for user_id in part.lines)
            and all(decided.new == part.lines[decided.user.user_id] for decided in plans)
            and not any(decided.problems or decided.doubts for decided in plans)
        )
        if not is_as_written:
            raise _Overtaken
        await settle(connection, part.changes)
        await _note_latest(connection, plans)
        await _record_part(ledger, connection, work, own, part)
    return plans


@run_again_if_it_gave_way
async def _write_under_locks(
    ledger: Ledger, work: Importing, part: _Part
) -> tuple[RecordedImport | None, list[Plan]]:
    """One transaction: plans the part's users under their locks, and posts what is new.

    The part before has other users, or is committed.
    """
    async with ledger.write() as connection:
        locked = await lock_or_make_users(connection, part.lines)
        # Under the locks of the users, everything is seen that another import wrote meanwhile, even of the same
        # file.
        recorded = await import_of_content(connection, work.digest)
        if recorded is None or not await _has_outside(connection, part):
            await part.in_turn()  # which makes what both need, and which one of them would wait for
            recorded = await import_of_content(connection, work.digest)
        plans = await _plans(connection, work, locked, part, recorded)
        if any(decided.new for decided in plans):
            if recorded is None:
                recorded = await begin_import(connection, work.by, work.digest, work.answer, at=ledger.clock())
            await _post(connection, plans, recorded.import_number, work.now)
        await part.in_turn()
        if recorded:
            await _record_part(ledger, connection, work, recorded, part)
        return recorded, plans


async def _has_outside(connection: AsyncConnection, part: _Part) -> bool:
    """Whether the other side of the part's movements has its accounts already."""
    wanted: set[AccountKey] = {(OUTSIDE, None, asset) for _, asset in part.changes}
    return len(await find_accounts(connection, wanted)) == len(wanted)


async def _record_part(
    ledger: Ledger, connection: AsyncConnection, work: Importing, own: RecordedImport, part: _Part
) -> None:
    await record_spans(connection, own, {user_id: work.spans[user_id] for user_id in part.users})
    if part.is_last:
        await finish_import(connection, own, at=ledger.clock())


async def _plans(
    connection: AsyncConnection,
    work: Importing,
    locked: Mapping[str, LockedUser],
    part: _Part,
    recorded: RecordedImport | None,
) -> list[Plan]:
    """The plan for each user. Raises ImportRefused if lines are doubtful, or a balance would leave its range."""
    for in_detail in (False, True):
        facts = await read_facts(connection, locked, part.spans, recorded, in_detail=in_detail)
        plans = _plans_of(work, recorded, facts, part)
        problems = [problem.line for decided in plans for problem in decided.problems]
        doubts = [doubt.line for decided in plans for doubt in decided.doubts]
        if not problems and not doubts:
            return plans
    raise ImportRefused(problems, doubts)


def _plans_of(
    work: Importing, recorded: RecordedImport | None, facts: Mapping[str, ImportFacts], part: _Part
) -> list[Plan]:
    return [work.plan(recorded, facts[user_id], lines) for user_id, lines in sorted(part.lines.items())]


async def _post(connection: AsyncConnection, plans: Sequence[Plan], import_number: int, now: datetime) -> None:
    new = [
        movement_of(item, decided.user.user_id, stored_instant(decided.user.closed_through))
        for decided in plans
        for item in decided.new
    ]
    await post_movements(connection, new, InCommon("movement", recorded_at=now, import_number=import_number))
    await _note_latest(connection, plans)


async def _note_latest(connection: AsyncConnection, plans: Collection[Plan]) -> None:
    latest: list[dict[str, object]] = []
    for decided in plans:
        if decided.new:
            last = decided.user.effective(instant_of(max(item.instant for item in decided.new)))
            instant = max(decided.user.latest_effective_at, last)
            latest.append({"user_id": decided.user.user_id, "latest_effective_at": instant})
    await update_rows(connection, users, latest)


def movement_of(item: NewLine, user_id: str, closed_through: int) -> BulkMovement:
    """A line as it is posted: from when it counts, and when it occurred where that is earlier (I4)."""
    line, instant, _, key = item
    if instant >= closed_through:
        return BulkMovement(user_id, line.asset, line.change, instant, None, key, line.words)
    return BulkMovement(user_id, line.asset, line.change, closed_through, instant, key, line.words)
