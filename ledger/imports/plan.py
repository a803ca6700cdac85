"""What an import posts for one user: pure decisions on the lines of an export and on what is recorded.

A movement is a user's, an instant, an asset, an amount, and how many of them; words are no part of it. Of n equal
lines in an export, where m equal ones were imported before, n − m are further movements. Where an export and an
earlier import touch at one instant only, equal lines there may be the same movements or, in the next part of a
history that was cut there, further ones: a person decides.
"""

import hashlib
import json
from collections import Counter, defaultdict, deque
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Literal, NamedTuple, TypeAlias

from ledger.database.schema import instant_of, stored_instant
from ledger.imports.history_export import BadLine, ExportLine, Movement
from ledger.locking import LockedUser
from ledger.timelines import Later
from staking.money import MAX_ACCOUNT_UNITS, format_amount

Answer: TypeAlias = Literal["same", "again"]
"""What doubtful lines are: the movements that were imported before, or further ones."""
Moved: TypeAlias = tuple[int, str, int]
"""What a user's line moves, without its words: its instant as it is stored, asset and units."""
_STRINGS_KEPT = 10_000
_LEGS_APART_MAX = timedelta(seconds=5)


@dataclass(frozen=True)
class Span:
    """The span of time in which an import, or a file, contains a user's movements."""

    first: datetime
    last: datetime
    is_opened: bool = False
    """Whether it begins with an opening balance."""

    def has_inside(self, instant: datetime) -> bool:
        """Whether it contains everything of that instant."""
        return self.first < instant < self.last

    def ends_at(self, instant: datetime) -> bool:
        """Whether it begins or ends there, so that it may contain only a part of that instant."""
        return instant in (self.first, self.last)


class RecordedLine(NamedTuple):
    """A movement that was imported before."""

    entry_id: int
    import_number: int | None
    """None if it was imported by a program that did not number imports."""
    words: str


_NOTHING_LATER = Later(0, 0, 0)


class RecordedOpening(NamedTuple):
    """An opening balance that was imported before."""

    instant: datetime
    import_number: int


@dataclass
class ImportFacts:
    """What is recorded about a user, as far as an export's lines reach. Instants are as they are stored."""

    user: LockedUser
    held: dict[str, int]
    """Balances in units by asset."""
    postings: list[tuple[str, int, int]] = field(default_factory=list[tuple[str, int, int]])
    """Asset, instant, change: everything after the instant from which the first line counts; to the one from which
    the last does, or for ever."""
    later: dict[str, Later] = field(default_factory=dict[str, Later])
    """For each asset, the sums of the postings that are not among ``postings``."""
    recorded: dict[Moved, list[RecordedLine]] = field(default_factory=dict[Moved, list[RecordedLine]])
    """Movements that other imports brought before and that were not reversed."""
    own: Counter[Moved] = field(default_factory=Counter[Moved])
    """Movements that this import brought when it was run before and that were not reversed."""
    ever: Counter[Moved] = field(default_factory=Counter[Moved])
    """Movements that were imported before, whether or not they were reversed."""
    spans: list[Span] = field(default_factory=list[Span])
    """The spans of other imports that were not undone."""
    openings: dict[str, RecordedOpening] = field(default_factory=dict[str, RecordedOpening])
    """By asset, the opening balances of other imports that were not undone."""
    held_before: dict[str, int] = field(default_factory=dict[str, int])
    """For each asset with an opening balance among the lines, what was held before it by the instants at which
    movements occurred."""


class NewLine(NamedTuple):
    """A line to post."""

    line: ExportLine
    instant: int
    """The instant as it is stored."""
    number: int
    """The number among equal movements: 1 for the first that was ever imported."""
    key: str = ""
    """The key of the movement in the database; empty if it is not needed yet."""


def numbered(lines: Iterable[ExportLine], *, with_keys: bool) -> list[NewLine]:
    """The lines of whole instants of a user, as they are posted if no equal one was ever imported."""
    seen: defaultdict[Moved, int] = defaultdict(int)
    found: list[NewLine] = []
    for line in lines:
        instant = stored_instant(line.instant)
        moved = (instant, line.asset, line.change)
        seen[moved] = number = seen[moved] + 1
        found.append(NewLine(line, instant, number, key_of(line, instant, number) if with_keys else ""))
    return found


def key_of(line: ExportLine, instant: int, number: int) -> str:
    """The key of a movement in the database; ``instant`` is that of the line as it is stored.

    In the order in which lines are posted: so a unique index of millions grows at one place, and none of its pages
    is read and written again for each line. No asset has a blank, and no id has one either.
    """
    return f"import {line.user_id} {instant} {line.asset} {line.change} {number}"


@dataclass(frozen=True)
class LineProblem:
    """A balance that would leave its range, or a line that a person has to decide about."""

    line: BadLine
    asset: str
    is_overflow: bool


@dataclass(frozen=True)
class Plan:
    """What an import does for one user."""

    user: LockedUser
    new: list[NewLine]
    """The new lines in the order of the file."""
    repeats: Counter[str]
    """How many lines were imported before, by asset."""
    problems: list[LineProblem]
    doubts: list[LineProblem]

    def is_late(self, item: NewLine) -> bool:
        """Whether the line falls into a closed day, so that it counts from the end of the closed days."""
        return item.line.instant < self.user.closed_through


def span_of(lines: Collection[ExportLine]) -> Span:
    """The span of some lines, at least one."""
    instants = [line.instant for line in lines]
    return Span(min(instants), max(instants), is_opened=any(line.is_opening for line in lines))


def digest_of(by_user: Mapping[str, Iterable[ExportLine]]) -> str:
    """The same for the same lines, in whatever order and zone they were written."""
    digest = hashlib.sha256(b"[")
    separator = ""
    for user_id in sorted(by_user):
        said = sorted(
            [
                (line.instant.isoformat(), line.asset, line.change, line.operation, line.remark)
                for line in by_user[user_id]
            ]
        )
        if not said:
            continue
        # As json.dumps writes a list of lists, but never all of a million lines in one piece.
        user = _in_json(user_id)
        lines = [
            f'[{user}, "{instant}", {_in_json(asset)}, {change}, {_in_json(operation)}, {_in_json(remark)}]'
            for instant, asset, change, operation, remark in said
        ]
        digest.update((separator + ", ".join(lines)).encode())
        separator = ", "
    digest.update(b"]")
    return digest.hexdigest()


_in_json = lru_cache(_STRINGS_KEPT)(json.dumps)


def merged(files: Sequence[Sequence[ExportLine]]) -> list[ExportLine]:
    """The lines of one user in several files of one export.

    Where two files touch at one instant, equal lines there are further movements; where they overlap, they are
    the same.
    """
    of_files = [lines for lines in files if lines]
    if len(of_files) == 1:
        return list(of_files[0])
    spans = [span_of(lines) for lines in of_files]
    by_movement: defaultdict[Movement, dict[int, list[ExportLine]]] = defaultdict(dict)
    for number, lines in enumerate(of_files):
        for line in lines:
            by_movement[line.movement].setdefault(number, []).append(line)
    kept: list[ExportLine] = []
    for (instant, _, _), found in by_movement.items():
        kept += _of_one_movement(instant, [(spans[number], lines) for number, lines in found.items()])
    return sorted(kept, key=lambda line: (line.file, line.number))


def _of_one_movement(instant: datetime, found: list[tuple[Span, list[ExportLine]]]) -> list[ExportLine]:
    if any(span.has_inside(instant) for span, _ in found):
        return max((lines for _, lines in found), key=len)
    ending = [lines for span, lines in found if span.last == instant != span.first]
    beginning = [lines for span, lines in found if span.first == instant != span.last]
    of_this_instant = [lines for span, lines in found if span.first == instant == span.last]
    parts = [max(some, key=len) for some in (ending, beginning) if some]
    return [line for part in [*parts, *of_this_instant] for line in part]


def plan(
    facts: ImportFacts,
    lines: Sequence[NewLine],
    span: Span,
    *,
    answer: Answer | None = None,
    without: Collection[str] = (),
) -> Plan:
    """What to post of a user's lines, which are ``numbered``.

    ``span`` is that of all the lines that the export has of the user; ``without`` are assets that are skipped.
    """
    wanted = [item for item in lines if item.line.asset not in without] if without else lines
    known: defaultdict[Moved, list[ExportLine]] = defaultdict(list)
    if facts.ever:
        new: list[NewLine] = []
        for item in wanted:
            moved = (item.instant, item.line.asset, item.line.change)
            if moved in facts.ever:
                known[moved].append(item.line)
            else:
                new.append(item)
    else:
        new = list(wanted)
    repeats: Counter[str] = Counter()
    doubts: list[LineProblem] = []
    if known:
        new += _further(facts, known, span, answer, repeats, doubts)
        new.sort(key=lambda item: (item.line.file, item.line.number))
    problems = [*_problems(facts, new), *_counted_twice(facts, new)]
    return Plan(facts.user, new, repeats, problems, doubts)


def _further(
    facts: ImportFacts,
    known: Mapping[Moved, list[ExportLine]],
    span: Span,
    answer: Answer | None,
    repeats: Counter[str],
    doubts: list[LineProblem],
) -> Iterator[NewLine]:
    """What is new among lines of which equal ones were imported before; the others are counted as repeats."""
    doubtful_at = {
        stored_instant(instant) for instant in {span.first, span.last} if _is_doubtful(instant, span, facts.spans)
    }
    for moved, equal in known.items():
        recorded = facts.recorded.get(moved, ())
        same = min(len(recorded), len(equal))
        if same and moved[0] in doubtful_at and not facts.own[moved]:
            if answer is None:
                doubts += [_doubt(line, earlier) for line, earlier in zip(equal, recorded, strict=False)]
            elif answer == "again":
                same = 0
        further = equal[same + facts.own[moved] :]
        repeats[moved[1]] += len(equal) - len(further)
        for number, line in enumerate(further, facts.ever[moved] + 1):
            yield NewLine(line, moved[0], number, key_of(line, moved[0], number))


def in_balance(holding: int, changes: Sequence[tuple[int, int]]) -> Iterator[int]:
    """The entries of some changes, each by its id and units, in an order in which they can be reversed in parts.

    The holding goes towards what it will be in the end, and then stays near.
    """
    last = holding - sum(amount for _, amount in changes)
    deposits = deque(change for change in changes if change[1] > 0)
    withdrawals = deque(change for change in changes if change[1] < 0)
    while deposits or withdrawals:
        takes = deposits and (not withdrawals or holding - deposits[0][1] >= last)
        entry_id, amount = (deposits if takes else withdrawals).popleft()
        holding -= amount
        yield entry_id


def _is_doubtful(instant: datetime, span: Span, earlier: Iterable[Span]) -> bool:
    """Whether an earlier import may contain one part of an instant, and the export another."""
    touching = False
    for other in earlier:
        if other.has_inside(instant):
            return False
        if other.ends_at(instant):
            if min(span.last, other.last) > max(span.first, other.first):
                return False  # they overlap: what is equal is the same
            touching = True
    return touching


def _doubt(line: ExportLine, recorded: RecordedLine) -> LineProblem:
    whence = "an earlier import" if recorded.import_number is None else f"import {recorded.import_number}"
    sentence = (
        f"{line.words!r}, {format_amount(line.change)} {line.asset} of user {line.user_id} at "
        f"{_moment(line.instant)}, is equal to entry {recorded.entry_id} of {whence}, {recorded.words!r}, and the "
        "two exports meet at this instant only: it is the same movement (--same), or a further one (--again)"
    )
    return LineProblem(BadLine(line.number, sentence, line.user_id, line.file), line.asset, is_overflow=False)


def _problems(facts: ImportFacts, new: Sequence[NewLine]) -> list[LineProblem]:
    """Per asset the instants at whose end the balance would be below zero, and too large (I2)."""
    closed_through = stored_instant(facts.user.closed_through)
    timelines: defaultdict[str, dict[int, int]] = defaultdict(dict)
    for line, occurred_at, _, _ in new:
        instant = max(occurred_at, closed_through)
        timeline = timelines[line.asset]
        timeline[instant] = timeline.get(instant, 0) + line.change
    held = defaultdict(int, facts.held)
    for asset, instant, change in facts.postings:
        held[asset] -= change
        if asset in timelines:
            timeline = timelines[asset]
            timeline[instant] = timeline.get(instant, 0) + change
    problems: list[LineProblem] = []
    for asset, timeline in timelines.items():
        later = facts.later.get(asset, _NOTHING_LATER)
        holding = held[asset] - later.total
        if not _stays_in_range(holding, timeline, later):
            lines = [item for item in new if item.line.asset == asset]
            problems += _problems_of(facts.user, asset, holding, timeline, later, lines)
    return problems


def _counted_twice(facts: ImportFacts, new: Sequence[NewLine]) -> Iterator[LineProblem]:
    """Per asset, the problems with an opening balance that would count something twice, since it stands for
    everything before it."""
    told: set[str] = set()
    for line, *_ in new if facts.openings or facts.held_before else ():
        sentence = None
        whose = f"user {line.user_id}'s {line.asset} balance"
        opening, held = facts.openings.get(line.asset), facts.held_before.get(line.asset)
        if opening and line.instant <= opening.instant:
            sentence = (
                f"{whose} of {_moment(opening.instant)} is an opening balance of import {opening.import_number}, "
                "which has in it what was before; take that import back "
                f"(imports undo {opening.import_number}), then import this, and the other without the opening "
                "balance"
            )
        elif held and line.is_opening:
            sentence = (
                f"{whose} before {_moment(line.instant)} is {format_amount(held)} by the ledger already, and an "
                "opening balance would come on top; import what lies between, or leave this line out"
            )
        if sentence and line.asset not in told:
            told.add(line.asset)
            yield LineProblem(
                BadLine(line.number, sentence, line.user_id, line.file), line.asset, is_overflow=False
            )


def _stays_in_range(holding: int, timeline: Mapping[int, int], later: Later) -> bool:
    for instant in sorted(timeline):
        holding += timeline[instant]
        if not 0 <= holding <= MAX_ACCOUNT_UNITS:
            return False
    return holding + later.least >= 0 and holding + later.most <= MAX_ACCOUNT_UNITS


def _problems_of(
    user: LockedUser,
    asset: str,
    holding: int,
    timeline: Mapping[int, int],
    later: Later,
    lines: Sequence[NewLine],
) -> list[LineProblem]:
    """The problems as sentences. Postings after the last line have no instant here; ask for more facts to get
    it."""
    closed_through = stored_instant(user.closed_through)
    new = {max(instant, closed_through): line for line, instant, _, _ in lines}
    below: list[_Moment] = []
    above: list[_Moment] = []
    line: ExportLine | None = None
    opened: _Moment | None = None
    for stored, change in sorted(timeline.items()):
        instant = instant_of(stored)
        holding += change
        line = new.get(stored, line)
        if opened is not None and holding >= 0 and stored in new:
            opened.mended_by = new[stored] if instant - opened.instant <= _LEGS_APART_MAX else None
        opened = None
        if line is None or 0 <= holding <= MAX_ACCOUNT_UNITS:
            continue
        moment = _Moment(instant, holding, line)
        (below if holding < 0 else above).append(moment)
        if holding < 0 and stored in new:
            opened = moment
    if line is not None and holding + later.least < 0 <= holding:
        below.append(_Moment(instant_of(max(timeline)), holding + later.least, line))
    if line is not None and holding + later.most > MAX_ACCOUNT_UNITS >= holding:
        above.append(_Moment(instant_of(max(timeline)), holding + later.most, line))
    return [
        LineProblem(
            BadLine(some[0].line.number, sentence(user.user_id, asset, some), user.user_id, some[0].line.file),
            asset,
            is_overflow=some is above,
        )
        for some, sentence in ((below, _below_zero), (above, _too_much))
        if some
    ]


@dataclass
class _Moment:
    instant: datetime
    holding: int
    line: ExportLine
    mended_by: ExportLine | None = None
    """A line within seconds that covers what was missing."""


def _below_zero(user_id: str, asset: str, moments: list[_Moment]) -> str:
    """One sentence for all instants, with everything that a person can do."""
    first, worst = moments[0], min(moments, key=lambda moment: moment.holding)
    sentence = (
        f"user {user_id}'s {asset} balance would be {format_amount(first.holding)} after {_moment(first.instant)}"
    )
    if len(moments) > 1:
        later = f"{len(moments) - 1} later instant{'s' if len(moments) > 2 else ''}"
        sentence += (
            f", and below zero after {later}, the last {_moment(moments[-1].instant)}, at worst "
            f"{format_amount(worst.holding)} after {_moment(worst.instant)}"
        )
    legs = [moment for moment in moments if moment.mended_by]
    if legs:
        sentence += f". {_of_legs(legs, len(moments))}"
    if len(legs) < len(moments):
        least = min((moment for moment in moments if not moment.mended_by), key=lambda moment: moment.holding)
        sentence += (
            ". If the history does not begin at its beginning: import the part before it first, or say with "
            f"--opening FILE what it began with, here at least {format_amount(-least.holding)} {asset}"
        )
    return sentence


def _of_legs(legs: list[_Moment], count: int) -> str:
    leg, cover = legs[0], legs[0].mended_by
    assert cover is not None, "it was looked for"
    apart = int((cover.instant - leg.instant).total_seconds())
    where = (
        "" if count == 1 else f", and so it is at {'all' if len(legs) == count else len(legs)} of these instants"
    )
    return (
        f"Line {cover.number} covers what line {leg.line.number} takes {apart} s before it{where}: if two such "
        "lines are legs of one movement, give the later one the time of the earlier"
    )


def _too_much(user_id: str, asset: str, moments: list[_Moment]) -> str:
    return f"user {user_id}'s {asset} balance would pass 90 billion at {_moment(moments[0].instant)}"


def _moment(instant: datetime) -> str:
    return instant.strftime("%Y-%m-%d %H:%M:%S UTC")
