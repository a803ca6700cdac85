"""The transaction history export that exchanges' users know: every line checked, as it stands."""

import csv
import io
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timezone, tzinfo
from typing import TypeAlias

from ledger.imports import garbage
from ledger.imports.export_words import ExportColumn, column_called, folded, is_another_account, is_spot
from staking.models import check_user_id
from staking.money import AmountError, AmountTooFine, AmountTooLarge, parse_amount
from staking.program import check_asset_code

_TIME = re.compile(r"(?:[0-9]{2})?[0-9]{2}-[0-9]{2}-[0-9]{2} [0-9]{2}:[0-9]{2}:[0-9]{2}")
_TIME_LENGTH = len("2026-10-01 10:00:00")
_HOUR = slice(11, 13)
HEADERS = (
    ("User_ID", "UTC_Time", "Account", "Operation", "Coin", "Change", "Remark"),
    ("User ID", "Time", "Account", "Operation", "Coin", "Change", "Remark"),
)
"""The headings in English. Headings in other languages are recognised too, in any order."""
OPENING = "Opening balance"
"""The note of the entry with a history's opening balance."""
_ACCOUNTS_SHOWN_MAX = 10
_TOLD_EVERY = 10_000
_EXPECTED = " or ".join(",".join(header) for header in HEADERS)


class ExportError(ValueError):
    """The file as a whole cannot be read; the message says what to do."""


Movement: TypeAlias = tuple[datetime, str, int]
"""A user's movement: its instant, asset, and amount in units. Equal movements of one user are numbered."""


@dataclass(frozen=True, slots=True)
class ExportLine:
    """One movement of a spot account."""

    number: int
    """The line of the file on which the record starts; the header is line 1."""
    user_id: str
    instant: datetime
    """UTC."""
    operation: str
    asset: str
    change: int
    """Units, never 0."""
    remark: str
    file: int = 0
    """The number of the file, among several files of one export."""
    is_opening: bool = False
    """Whether it is an opening balance, rather than a movement."""

    @property
    def movement(self) -> "Movement":
        """What the line moves, without its words."""
        return self.instant, self.asset, self.change

    @property
    def words(self) -> str:
        """The words of the line about it."""
        return f"{self.operation}: {self.remark}" if self.remark else self.operation


@dataclass(frozen=True, slots=True)
class BadLine:
    """A line that cannot be a movement."""

    number: int
    problem: str
    user_id: str | None = None
    """The user, if the line names one."""
    file: int = 0


@dataclass(frozen=True, slots=True)
class TooLargeLine:
    """A line whose only fault is a change that is larger than what an account can hold. Whether it is bad depends
    on the asset."""

    number: int
    asset: str
    problem: str
    user_id: str | None = None
    file: int = 0


@dataclass(frozen=True, slots=True)
class UnknownAccount:
    """An account of which nobody said whether it is Spot."""

    number: int
    """The first line with this account."""
    lines: int
    file: int = 0


@dataclass(frozen=True)
class Accounts:
    """What a person says about accounts whose names are not recognised, or are recognised as something else."""

    spot: frozenset[str] = frozenset()
    skipped: frozenset[str] = frozenset()
    skips_unknown: bool = False
    """Whether any other account is skipped too."""


@dataclass(frozen=True)
class Header:
    """The first line of a file: which column stands where."""

    columns: tuple[ExportColumn, ...]
    utc_word: str | None
    """The heading of the times, if it says that they are UTC; else None."""


@dataclass(frozen=True)
class Export:
    """Everything that a file contains, each list in the order of the file."""

    lines: list[ExportLine] = field(default_factory=list[ExportLine])
    bad: list[BadLine] = field(default_factory=list[BadLine])
    too_large: list[TooLargeLine] = field(default_factory=list[TooLargeLine])
    too_fine: list[TooLargeLine] = field(default_factory=list[TooLargeLine])
    """Lines with more than 8 decimals; like ``too_large``."""
    skipped_not_spot: int = 0
    skipped_zero: int = 0
    users: set[str] = field(default_factory=set[str])
    """The users of all Spot lines with a valid user id, also of skipped and oversized lines."""
    last_spot_instant: datetime | None = None
    """The instants of all Spot lines with a time, also of skipped and oversized lines; UTC."""
    skipped_accounts: dict[str, int] = field(default_factory=dict[str, int])
    """Lines of accounts other than Spot, by name."""
    unknown_accounts: dict[str, UnknownAccount] = field(default_factory=dict[str, UnknownAccount])
    """Accounts that are not recognised, by name. If there is one, nothing of the export may be imported."""


def parse_export(
    content: bytes,
    *,
    zone: tzinfo = UTC,
    now: datetime | None = None,
    accounts: Accounts | None = None,
    on_progress: Callable[[int], None] = lambda lines: None,
) -> Export:
    """The lines of an export whose times are local to ``zone``.

    A local time that occurs twice means the first one. Lines later than ``now`` are bad. Raises ExportError for a
    file that is not such an export at all. ``on_progress`` hears now and then how many lines are read.
    """
    records = _records(text_of(content))
    header = _header(next(records, None))
    reading = _Reading(header, zone, now, accounts or Accounts())
    with garbage.left_alone():
        for count, record in enumerate(records):
            if count % _TOLD_EVERY == 0:
                on_progress(count)
            if isinstance(record, BadLine):
                reading.is_unreadable(record)
            else:
                reading.read(*record)
        return reading.export()


class _Reading:
    """What was read of a file so far."""

    def __init__(self, header: Header, zone: tzinfo, now: datetime | None, accounts: Accounts) -> None:
        self._header, self._zone, self._now, self._accounts = header, zone, now, accounts
        self._places = [header.columns.index(column) for column in ExportColumn if column in header.columns]
        self._is_in_order = self._places == sorted(self._places)
        self._is_plain = self._is_in_order and ExportColumn.REMARK in header.columns
        self._count = len(header.columns)
        self._kinds: dict[str, bool | None] = {}
        self._codes: dict[str, str] = {}
        self._lines: list[ExportLine] = []
        self._bad: list[BadLine] = []
        self._unfit: dict[type[AmountError], list[TooLargeLine]] = {AmountTooLarge: [], AmountTooFine: []}
        self._elsewhere: Counter[str] = Counter()
        self._unknown: dict[str, int] = {}
        self._skipped_zero = 0
        self._users: set[str] = set()
        self._last_spot_instant: datetime | None = None

    def read(self, number: int, record: list[str]) -> None:
        # Nearly every line is written like this, and a file may have a million lines.
        is_plain = self._is_plain and len(record) == self._count
        fields = record if is_plain else self._in_order(record)
        if fields is None:
            self._bad.append(BadLine(number, self._wrong_count(len(record)), self._whose(record)))
            return
        user_id, time, account, operation, asset, amount, remark = fields
        is_spot = self._kinds[account] if account in self._kinds else self._kind(account)
        if not is_spot:
            name = account.strip()
            self._elsewhere[name] += 1
            if is_spot is None:
                self._unknown.setdefault(name, number)
            return
        try:
            if user_id not in self._users:
                self._users.add(check_user_id(user_id))
            instant = _instant(time, self._zone, self._now)
            if self._last_spot_instant is None or instant > self._last_spot_instant:
                self._last_spot_instant = instant
            asset = self._codes.get(asset) or self._codes.setdefault(asset, check_asset_code(asset))
            change = parse_amount(amount)
        except (AmountTooLarge, AmountTooFine) as error:
            self._unfit[type(error)].append(TooLargeLine(number, asset, str(error), user_id))
        except ValueError as error:
            self._bad.append(BadLine(number, str(error), user_id if user_id in self._users else None))
        else:
            if change:
                self._lines.append(ExportLine(number, user_id, instant, operation, asset, change, remark))
            else:
                self._skipped_zero += 1

    def is_unreadable(self, bad: BadLine) -> None:
        self._bad.append(bad)

    def export(self) -> Export:
        lines_of = self._elsewhere
        return Export(
            lines=self._lines,
            bad=[bad if bad.user_id in self._users else replace(bad, user_id=None) for bad in self._bad],
            too_large=self._unfit[AmountTooLarge],
            too_fine=self._unfit[AmountTooFine],
            skipped_not_spot=lines_of.total(),
            skipped_zero=self._skipped_zero,
            users=self._users,
            last_spot_instant=self._last_spot_instant,
            skipped_accounts={name: lines_of[name] for name in sorted(lines_of) if name not in self._unknown},
            unknown_accounts={
                name: UnknownAccount(number, lines_of[name]) for name, number in self._unknown.items()
            },
        )

    def _in_order(self, record: list[str]) -> list[str] | None:
        """The seven fields in the order of the English header; None if there are more or fewer."""
        columns = self._header.columns
        if len(record) == len(columns) + 1 and not record[-1]:
            record = record[:-1]
        elif len(record) == len(columns) - 1 and columns[-1] is ExportColumn.REMARK:
            record = [*record, ""]
        if len(record) != len(columns):
            return None
        fields = record if self._is_in_order else [record[place] for place in self._places]
        return fields if ExportColumn.REMARK in columns else [*fields, ""]

    def _wrong_count(self, count: int) -> str:
        return f"a line has {len(self._header.columns)} fields, this one has {count}"

    def _whose(self, record: list[str]) -> str | None:
        """The user of a line with too many or too few fields. Its first fields are most likely right."""
        return record[0] if self._header.columns[0] is ExportColumn.USER else None

    def _kind(self, account: str) -> bool | None:
        """Whether the account is Spot; None if it is not recognised."""
        name = folded(account)
        if name in self._accounts.spot or name in self._accounts.skipped:
            kind = name in self._accounts.spot
        elif is_spot(account):
            kind = True
        elif self._accounts.skips_unknown or is_another_account(account):
            kind = False
        else:
            kind = None
        self._kinds[account] = kind
        return kind


def combined(parts: Sequence[Export]) -> Export:
    """Several files of one export. Each line has the number of its file."""
    instants = [part.last_spot_instant for part in parts if part.last_spot_instant]
    numbered = list(enumerate(parts))
    return Export(
        lines=[replace(line, file=file) if file else line for file, part in numbered for line in part.lines],
        bad=[replace(line, file=file) for file, part in numbered for line in part.bad],
        too_large=[replace(line, file=file) for file, part in numbered for line in part.too_large],
        too_fine=[replace(line, file=file) for file, part in numbered for line in part.too_fine],
        skipped_not_spot=sum(part.skipped_not_spot for part in parts),
        skipped_zero=sum(part.skipped_zero for part in parts),
        skipped_accounts=_added(part.skipped_accounts for part in parts),
        unknown_accounts=_together(parts),
        users=set[str]().union(*(part.users for part in parts)),
        last_spot_instant=max(instants, default=None),
    )


def _added(counts: Iterable[Mapping[str, int]]) -> dict[str, int]:
    total: Counter[str] = Counter()
    for some in counts:
        total.update(some)
    return dict(sorted(total.items()))


def _together(parts: Sequence[Export]) -> dict[str, UnknownAccount]:
    together: dict[str, UnknownAccount] = {}
    for file, part in enumerate(parts):
        for name, known in part.unknown_accounts.items():
            first = together.get(name) or UnknownAccount(known.number, 0, file)
            together[name] = replace(first, lines=first.lines + known.lines)
    return together


def header_of(content: bytes) -> Header:
    """The columns of a file. Raises ExportError for a file that is not such an export at all."""
    return _header(next(_records(text_of(content)), None))


def check_accounts(export: Export, files: Sequence[str]) -> None:
    """Raises ExportError if an account is not recognised; ``files`` are the files' names."""
    if not export.unknown_accounts:
        return
    told = [
        f"{_shown(name)} ({known.lines} lines, the first is line {known.number}"
        + (f" of {files[known.file]})" if len(files) > 1 else ")")
        for name, known in export.unknown_accounts.items()
    ]
    more = f", and {len(told) - _ACCOUNTS_SHOWN_MAX} more" if len(told) > _ACCOUNTS_SHOWN_MAX else ""
    raise ExportError(
        f"is it Spot or not? It is not known of account {', '.join(told[:_ACCOUNTS_SHOWN_MAX])}{more}. Say "
        "--spot-account NAME for an account whose lines are movements of Spot, --skip-account NAME for any other"
    )


def text_of(content: bytes) -> str:
    """The text of a CSV file in UTF-8. Raises ExportError for anything else."""
    if content.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise ExportError("the file is UTF-16 text; save it as CSV in UTF-8")
    if b"\0" in content:
        raise ExportError("the file is not text; export the transaction history as CSV in UTF-8")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ExportError(
            f"the file is not UTF-8 text (byte {error.start + 1}); export the transaction history as CSV in UTF-8"
        ) from None


def _records(text: str) -> Iterator[tuple[int, list[str]] | BadLine]:
    """The records with the numbers of the lines on which they start; blank lines are passed over."""
    # newline="" leaves line ends inside quoted fields as they are, and so does not change the keys.
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    while True:
        number = reader.line_num + 1
        try:
            fields = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            yield BadLine(number, _csv_problem(error, number, reader.line_num))
            continue
        if fields:
            yield number, fields


def _csv_problem(error: csv.Error, first: int, last: int) -> str:
    where = "" if last <= first else f" (the quoted text runs to line {last})"
    if "field limit" in str(error):
        return f"a field has more than {csv.field_size_limit()} characters{where}"
    if "unexpected end" in str(error):
        return f"a quote is opened and never closed{where}"
    return f"a closing quote must be followed by a comma, and a quote inside a quoted field be doubled{where}"


def _header(record: tuple[int, list[str]] | BadLine | None) -> Header:
    if record is None:
        raise ExportError(f"the file is empty; its first line should be {_EXPECTED}")
    if isinstance(record, BadLine):
        raise ExportError(f"the first line cannot be read: {record.problem}; it should be {_EXPECTED}")
    _, words = record
    found = [column_called(word) for word in words]
    columns = tuple(column for column, _ in filter(None, found))
    is_whole = set(columns) >= set(ExportColumn) - {ExportColumn.REMARK} and len(set(columns)) == len(
        columns
    ) == len(words)
    if not is_whole:
        unknown = [_shown(word, 20) for word, column in zip(words, found, strict=True) if column is None]
        told = f"; not known is {' and '.join(unknown)}" if 0 < len(unknown) < len(words) else ""
        raise ExportError(
            f"the first line is {_shown(','.join(words), 120)}; it should be {_EXPECTED}, in any order, or the "
            f"same in another language{told}"
        )
    utc_words = [word.strip() for word, column in zip(words, found, strict=True) if column and column[1]]
    return Header(columns, utc_words[0] if utc_words else None)


def _instant(text: str, zone: tzinfo, now: datetime | None) -> datetime:
    if not _TIME.fullmatch(text):
        raise ValueError(f"{_shown(text)} is not a time such as 2026-10-01 10:00:00 or 26-10-01 10:00:00")
    written = text if len(text) == _TIME_LENGTH else f"20{text}"
    try:
        if written[_HOUR] == "24":
            raise ValueError(text)  # newer versions of Python read 24:00 as the beginning of the next day
        local = datetime.fromisoformat(written).replace(tzinfo=zone)
        instant = local if zone is UTC else local.astimezone(UTC)
        exists = isinstance(zone, timezone) or instant.astimezone(zone).replace(tzinfo=None) == local.replace(
            tzinfo=None
        )
    except (ValueError, OverflowError):
        raise ValueError(f"{text} is not a date and time of the calendar") from None
    if not exists:
        raise ValueError(f"{text} does not exist in {zone}: the clocks were put forward over it")
    if now is not None and instant > now:
        raise ValueError(f"{text} lies in the future")
    return instant


def _shown(text: str, longest: int = 60) -> str:
    return repr(text if len(text) <= longest else f"{text[: longest - 1]}…")
