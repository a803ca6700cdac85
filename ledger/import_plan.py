"""What an import posts for one user: pure decisions on the lines of an export and on what is recorded.

A movement is a user's, an instant, an asset, an amount, and how many of them; words are no part of it. Of n equal
lines in an export, where m equal ones were imported before, n − m are further movements. Where an export and an
earlier import touch at one instant only, equal lines there may be the same movements or, in the next part of a
history that was cut there, further ones: a person decides.
"""

import hashlib
import json
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Literal, TypeAlias

from ledger.history_export import BadLine, ExportLine, Movement
from ledger.journal import LockedUser
from staking.money import MAX_ACCOUNT_UNITS, format_amount

Answer: TypeAlias = Literal["same", "again"]
"""What doubtful lines are: the movements that were imported before, or further ones."""
_KEY_HEX_DIGITS = 32
_LEGS_APART_MAX = timedelta(seconds=5)


@dataclass(frozen=True)
class Span:
    """From which instant to which an import, or a file, knows a user's movements."""

    first: datetime
    last: datetime

    def has_inside(self, instant: datetime) -> bool:
        """Whether it knows everything of that instant."""
        return self.first < instant < self.last

    def ends_at(self, instant: datetime) -> bool:
        """Whether it begins or ends there, and so may know a part of that instant."""
        return instant in (self.first, self.last)


@dataclass(frozen=True)
class RecordedLine:
    """A movement that was imported before."""

    entry_id: int
    import_number: int | None
    """None: by a program that did not number imports."""
    words: str


@dataclass
class Facts:
    """What the ledger knows of a user, as far as an export's lines reach."""

    user: LockedUser
    held: dict[str, int]
    """Balances in units by asset."""
    postings: list[tuple[str, datetime, int]] = field(default_factory=list[tuple[str, datetime, int]])
    """Asset, instant, change: everything since the export's first instant."""
    recorded: defaultdict[Movement, list[RecordedLine]] = field(
        default_factory=lambda: defaultdict[Movement, list[RecordedLine]](list)
    )
    """Imported before by others, and not taken back since."""
    own: Counter[Movement] = field(default_factory=Counter[Movement])
    """Imported before by this very import, which is run again, and not taken back since."""
    ever: Counter[Movement] = field(default_factory=Counter[Movement])
    """Imported before, taken back or not."""
    spans: list[Span] = field(default_factory=list[Span])
    """Of other imports that were not taken back."""


@dataclass(frozen=True)
class NewLine:
    """A line to post, with the key under which the database knows it."""

    line: ExportLine
    key: str


@dataclass(frozen=True)
class Problem:
    """A balance that would leave its range, or a line that a person has to decide about."""

    line: BadLine
    asset: str
    is_overflow: bool


@dataclass(frozen=True)
class Plan:
    """What an import does for one user."""

    user: LockedUser
    new: list[NewLine]
    repeats: Counter[str]
    """How many lines were imported before, by asset."""
    problems: list[Problem]
    doubts: list[Problem]

    def is_late(self, item: NewLine) -> bool:
        """Whether the line falls into a day that is closed, and so counts from the end of those."""
        return item.line.instant < self.user.closed_through


def span_of(lines: Iterable[ExportLine]) -> Span:
    """The span of some lines, at least one."""
    instants = [line.instant for line in lines]
    return Span(min(instants), max(instants))


def digest_of(lines: Iterable[ExportLine]) -> str:
    """The same for the same lines, in whatever order and zone they were written."""
    said = sorted(
        (line.user_id, line.instant.isoformat(), line.asset, line.change, line.operation, line.remark)
        for line in lines
    )
    return hashlib.sha256(json.dumps(said).encode()).hexdigest()


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
    facts: Facts,
    lines: Sequence[ExportLine],
    span: Span,
    *,
    answer: Answer | None = None,
    without: Collection[str] = (),
) -> Plan:
    """What to post of a user's lines.

    ``span`` is that of all the lines that the export has of the user; ``without`` are assets that are skipped.
    """
    by_movement: defaultdict[Movement, list[ExportLine]] = defaultdict(list)
    for line in lines:
        if line.asset not in without:
            by_movement[line.movement].append(line)
    new: list[NewLine] = []
    doubts: list[Problem] = []
    repeats: Counter[str] = Counter()
    doubtful_at = {instant for instant in {span.first, span.last} if _is_doubtful(instant, span, facts.spans)}
    for movement, equal in by_movement.items():
        recorded = facts.recorded.get(movement, ())
        known = min(len(recorded), len(equal))
        if known and movement[0] in doubtful_at and not facts.own[movement]:
            if answer is None:
                doubts += [_doubt(line, earlier) for line, earlier in zip(equal, recorded, strict=False)]
            elif answer == "again":
                known = 0
        further = equal[known + facts.own[movement] :]
        repeats[movement[1]] += len(equal) - len(further)
        new += _numbered(further, facts.ever[movement])
    return Plan(facts.user, new, repeats, _problems(facts, [item.line for item in new]), doubts)


def _is_doubtful(instant: datetime, span: Span, earlier: Iterable[Span]) -> bool:
    """Whether an earlier import may know one part of an instant, and the export another."""
    touching = False
    for other in earlier:
        if other.has_inside(instant):
            return False
        if other.ends_at(instant):
            if min(span.last, other.last) > max(span.first, other.first):
                return False  # they overlap: what is equal is the same
            touching = True
    return touching


def _doubt(line: ExportLine, recorded: RecordedLine) -> Problem:
    whence = "an earlier import" if recorded.import_number is None else f"import {recorded.import_number}"
    sentence = (
        f"{line.words!r}, {format_amount(line.change)} {line.asset} of user {line.user_id} at "
        f"{_moment(line.instant)}, is equal to entry {recorded.entry_id} of {whence}, {recorded.words!r}, and the "
        "two exports meet at this instant only: it is the same movement (--same), or a further one (--again)"
    )
    return Problem(BadLine(line.number, sentence, line.user_id, line.file), line.asset, is_overflow=False)


def _numbered(lines: Sequence[ExportLine], before: int) -> list[NewLine]:
    return [NewLine(line, _key(line, number)) for number, line in enumerate(lines, before + 1)]


def _key(line: ExportLine, number: int) -> str:
    said = [line.user_id, line.instant.isoformat(), line.asset, line.change, number]
    return hashlib.sha256(json.dumps(said).encode()).hexdigest()[:_KEY_HEX_DIGITS]


def _problems(facts: Facts, lines: Sequence[ExportLine]) -> list[Problem]:
    """Per asset the instants at whose end the balance would be below zero, and too large (I2)."""
    user = facts.user
    # asset → instant → change, and the last line of the export that takes part in it
    timelines: defaultdict[str, defaultdict[datetime, int]] = defaultdict(lambda: defaultdict(int))
    new: defaultdict[str, dict[datetime, ExportLine]] = defaultdict(dict)
    for line in lines:
        instant = user.effective(line.instant)
        timelines[line.asset][instant] += line.change
        new[line.asset][instant] = line
    held = dict(facts.held)
    for asset, instant, change in facts.postings:
        held[asset] -= change
        if asset in new:
            timelines[asset][instant] += change
    problems: list[Problem] = []
    for asset in new:
        problems += _problems_of(user.user_id, asset, held.get(asset, 0), timelines[asset], new[asset])
    return problems


def _problems_of(
    user_id: str,
    asset: str,
    holding: int,
    timeline: Mapping[datetime, int],
    new: Mapping[datetime, ExportLine],
) -> list[Problem]:
    below: list[_Moment] = []
    above: list[_Moment] = []
    line: ExportLine | None = None
    opened: _Moment | None = None
    for instant, change in sorted(timeline.items()):
        holding += change
        line = new.get(instant, line)
        if opened is not None and holding >= 0 and instant in new:
            opened.mended_by = new[instant] if instant - opened.instant <= _LEGS_APART_MAX else None
        opened = None
        if line is None or 0 <= holding <= MAX_ACCOUNT_UNITS:
            continue
        moment = _Moment(instant, holding, line)
        (below if holding < 0 else above).append(moment)
        if holding < 0 and instant in new:
            opened = moment
    return [
        Problem(
            BadLine(some[0].line.number, sentence(user_id, asset, some), user_id, some[0].line.file),
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
    first = moments[0]
    sentence = (
        f"user {user_id}'s {asset} balance would be {format_amount(first.holding)} after {_moment(first.instant)}"
    )
    if len(moments) > 1:
        worst = min(moments, key=lambda moment: moment.holding)
        sentence += (
            f", and below zero after {len(moments) - 1} later instants, the last {_moment(moments[-1].instant)}, "
            f"at worst {format_amount(worst.holding)} after {_moment(worst.instant)}"
        )
    legs = [moment for moment in moments if moment.mended_by]
    if len(legs) == len(moments):
        cover = first.mended_by
        assert cover is not None, "it was looked for"
        return (
            f"{sentence}; line {cover.number} covers it {int((cover.instant - first.instant).total_seconds())} s "
            f"later: if the two are legs of one movement, give line {cover.number} the time of line "
            f"{first.line.number}" + (f" (so it is at all {len(legs)} instants)" if len(legs) > 1 else "")
        )
    return f"{sentence}; a history that does not begin at its beginning needs the part before it, imported first"


def _too_much(user_id: str, asset: str, moments: list[_Moment]) -> str:
    return f"user {user_id}'s {asset} balance would pass 90 billion at {_moment(moments[0].instant)}"


def _moment(instant: datetime) -> str:
    return instant.strftime("%Y-%m-%d %H:%M:%S UTC")
