"""Opening balances: what a user held before an imported history begins."""

import csv
import io
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

from ledger.imports.export_words import folded
from ledger.imports.history_export import OPENING, BadLine, Export, ExportError, ExportLine, text_of
from staking.days import in_utc
from staking.models import check_user_id
from staking.money import parse_amount
from staking.program import check_asset_code

HEADER = ("user", "asset", "amount", "at")
_JUST_BEFORE = timedelta(seconds=1)


@dataclass(frozen=True)
class _Row:
    number: int
    user_id: str
    asset: str
    amount: int
    at: datetime | None


def with_opening_balances(export: Export, content: bytes, *, file: int) -> Export:
    """The export with an opening balance for each line of a CSV file ``user,asset,amount[,at]``.

    Amounts are in tokens; ``at`` is an ISO 8601 instant before the user's first line of the export, in UTC unless
    it has an offset. Without it, the instant is one second before that line. A faulty line is among the export's
    bad lines, with the number of its file. Raises ExportError for anything that is not such a file.
    """
    rows, bad = _rows(content, file)
    begins: dict[str, datetime] = {}
    for line in export.lines:
        if line.user_id not in begins or line.instant < begins[line.user_id]:
            begins[line.user_id] = line.instant
    instants, problems = _instants(rows, begins, file)
    lines = [
        ExportLine(row.number, row.user_id, instants[row.user_id], OPENING, row.asset, row.amount, "", file, True)
        for row in rows
        if row.user_id in instants and row.amount
    ]
    return replace(export, lines=[*export.lines, *lines], bad=[*export.bad, *bad, *problems])


def _rows(content: bytes, file: int) -> tuple[list[_Row], list[BadLine]]:
    reader = csv.reader(io.StringIO(text_of(content), newline=""), strict=True)
    rows: list[_Row] = []
    bad: list[BadLine] = []
    try:
        places = _places(next(reader, None))
        for fields in reader:
            if not fields:
                continue
            try:
                rows.append(_row(reader.line_num, fields, places))
            except ValueError as error:
                whose = fields[places[0]] if places[0] < len(fields) else None
                bad.append(BadLine(reader.line_num, str(error), whose or None, file))
    except csv.Error as error:
        raise ExportError(f"line {reader.line_num} cannot be read: {error}") from None
    seen: set[tuple[str, str]] = set()
    for row in rows:
        if (row.user_id, row.asset) in seen:
            problem = f"user {row.user_id}'s {row.asset} has an opening balance already"
            bad.append(BadLine(row.number, problem, row.user_id, file))
        seen.add((row.user_id, row.asset))
    return rows, bad


def _places(header: Sequence[str] | None) -> list[int]:
    """The positions of the columns; -1 for the last column if it is missing."""
    header = header or []
    words = [folded(word) for word in header]
    if sorted(words) not in (sorted(HEADER), sorted(HEADER[:-1])):
        raise ExportError(
            f"the first line is {','.join(header)[:120]!r}; a file of opening balances has user,asset,amount "
            "or user,asset,amount,at"
        )
    return [words.index(word) if word in words else -1 for word in HEADER]


def _row(number: int, fields: Sequence[str], places: Sequence[int]) -> _Row:
    columns = len(places) - places.count(-1)
    if len(fields) != columns:
        raise ValueError(f"a line has {columns} fields, this one has {len(fields)}")
    user_id, asset, amount, at = (fields[place] if place >= 0 else "" for place in places)
    units = parse_amount(amount)
    if units < 0:
        raise ValueError(f"{amount} is below zero; nobody's history begins so")
    return _Row(number, check_user_id(user_id), check_asset_code(asset), units, _instant(at))


def _instant(text: str) -> datetime | None:
    if not text:
        return None
    try:
        parsed = datetime.fromisoformat(text)
        return in_utc(parsed if parsed.tzinfo else parsed.replace(tzinfo=UTC))
    except (ValueError, OverflowError):
        raise ValueError(f"{text[:40]!r} is not an ISO 8601 instant such as 2026-10-01T10:00:00Z") from None


def _instants(
    rows: Iterable[_Row], begins: Mapping[str, datetime], file: int
) -> tuple[dict[str, datetime], list[BadLine]]:
    """The one instant of each user's opening balances."""
    of_user: defaultdict[str, list[_Row]] = defaultdict(list)
    for row in rows:
        of_user[row.user_id].append(row)
    instants: dict[str, datetime] = {}
    problems: list[BadLine] = []
    for user_id, opened in of_user.items():
        said = {row.at for row in opened if row.at is not None}
        if user_id not in begins:
            problem = f"the export has no movement of user {user_id} that an opening balance could precede"
        elif len(said) > 1:
            problem = f"the opening balances of user {user_id} are of several instants; they are of one"
        elif said and max(said) >= begins[user_id]:
            problem = (
                f"user {user_id}'s history begins at {_moment(begins[user_id])}, and an opening balance is of an "
                "instant before that"
            )
        else:
            instants[user_id] = max(said, default=begins[user_id] - _JUST_BEFORE)
            continue
        problems.append(BadLine(opened[0].number, problem, user_id, file))
    return instants, problems


def _moment(instant: datetime) -> str:
    return instant.strftime("%Y-%m-%d %H:%M:%S UTC")
