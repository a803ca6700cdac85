"""The transaction history export that exchanges' users know: every line checked, as it stands."""

import csv
import io
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from pathlib import Path
from typing import TypeAlias
from zoneinfo import ZoneInfo

from staking.models import check_user_id
from staking.money import AmountTooLarge, parse_amount
from staking.program import check_asset_code

EXPORT_BYTES_MAX = 64 * 1024 * 1024

HEADERS = (
    ("User_ID", "UTC_Time", "Account", "Operation", "Coin", "Change", "Remark"),
    ("User ID", "Time", "Account", "Operation", "Coin", "Change", "Remark"),
)

_SPOT = "Spot"
_TIME = re.compile(r"([0-9]{4}|[0-9]{2})-([0-9]{2})-([0-9]{2}) ([0-9]{2}):([0-9]{2}):([0-9]{2})")
_OFFSET = re.compile(r"(?:UTC)?([+-])([0-9]{1,2})(?::([0-9]{2}))?")
_ZONE_IN_NAME = re.compile(r"\((UTC[^()]*)\)")
_HEADER_BYTES_MAX = 4096
_OFFSET_MAX = timedelta(hours=14)


class ExportError(ValueError):
    """The file as a whole cannot be read; the message says what to do."""


Movement: TypeAlias = tuple[datetime, str, int]
"""A user's movement: when, of which asset, how much in units. Equal ones of one user are told apart by number."""


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
    """Of several files of one export, which one."""

    @property
    def movement(self) -> "Movement":
        """What the line moves, whatever words it has."""
        return self.instant, self.asset, self.change

    @property
    def words(self) -> str:
        """What the line says of it."""
        return f"{self.operation}: {self.remark}" if self.remark else self.operation


@dataclass(frozen=True, slots=True)
class BadLine:
    """A line that cannot be a movement."""

    number: int
    problem: str
    user_id: str | None = None
    """Whose it is, where it says so."""
    file: int = 0


@dataclass(frozen=True, slots=True)
class TooLargeLine:
    """A line whose only fault is a change beyond what an account holds: bad or not, depending on the asset."""

    number: int
    asset: str
    problem: str
    user_id: str | None = None
    file: int = 0


@dataclass(frozen=True)
class Export:
    """Everything that a file says, each list in the order of the file."""

    lines: list[ExportLine] = field(default_factory=list[ExportLine])
    bad: list[BadLine] = field(default_factory=list[BadLine])
    too_large: list[TooLargeLine] = field(default_factory=list[TooLargeLine])
    too_fine: list[TooLargeLine] = field(default_factory=list[TooLargeLine])
    """With more than 8 decimals; like ``too_large``."""
    skipped_not_spot: int = 0
    skipped_zero: int = 0
    users: set[str] = field(default_factory=set[str])
    """Of every Spot line with a good user id, skipped and oversized ones too."""
    last_spot_instant: datetime | None = None
    """Of every Spot line with a time, skipped and oversized ones too; UTC."""


def read_export_file(path: Path) -> bytes:
    """The content of a file. Raises ExportError unless it is a readable file of at most 64 MB."""
    try:
        if path.is_dir():
            raise ExportError(f"{path} is a directory; name the CSV file in it")
        if path.exists() and not path.is_file():
            raise ExportError(f"{path} is not an ordinary file; save the export to one first")
        if path.stat().st_size > EXPORT_BYTES_MAX:
            limit = f"{EXPORT_BYTES_MAX // 1024**2} MB"
            raise ExportError(f"{path} is larger than {limit}; split it and import the parts")
        return path.read_bytes()
    except FileNotFoundError:
        raise ExportError(f"there is no file {path}; check the name") from None
    except OSError as error:
        raise ExportError(f"{path} cannot be read: {error.strerror}") from None


def parse_zone(text: str) -> tzinfo:
    """The time zone called ``UTC``, ``Europe/Paris``, ``+02:00``, ``UTC+9`` or ``-6``. Raises ValueError else."""
    if text == "UTC":
        return UTC
    if offset := _OFFSET.fullmatch(text):
        sign, hours, minutes = offset.groups()
        distance = timedelta(hours=int(hours), minutes=int(minutes or 0))
        if int(minutes or 0) < 60 and distance <= _OFFSET_MAX:
            return timezone(-distance if sign == "-" else distance)
    else:
        try:
            return ZoneInfo(text)
        except (LookupError, ValueError, OSError):
            pass
    raise ValueError(f"{_shown(text)} is not a time zone known here; write UTC, Europe/Paris, +02:00 or UTC+9")


def zone_in_name(name: str) -> tzinfo | None:
    """The zone that an export's file name tells, as in ``…(UTC+9).csv`` or ``…(UTC--6).csv``.

    Raises ExportError where it tells one that is not known, or two.
    """
    told = [text.replace("--", "-") for text in _ZONE_IN_NAME.findall(name)]
    if not told:
        return None
    try:
        zones = [parse_zone(text) for text in told]
    except ValueError as error:
        raise ExportError(
            f"{name}: {error}; rename the file, or say --timezone and take it out of the name"
        ) from None
    if any(not _are_the_same(zone, zones[0]) for zone in zones):
        raise ExportError(f"{name}: the name tells two time zones, {' and '.join(told)}; rename the file")
    return zones[0]


def zone_of_export(content: bytes, name: str, *, said: tzinfo | None) -> tzinfo | None:
    """The zone of a file's times: that of its ``UTC_Time``, of its name, or else the one that was said.

    None if nothing tells it. Raises ExportError where two of them contradict each other.
    """
    in_header = UTC if _header_is_utc(content) else None
    in_name = zone_in_name(name)
    sources = {"the header UTC_Time": in_header, "the file's name": in_name, "--timezone": said}
    told = {source: zone for source, zone in sources.items() if zone is not None}
    if not told:
        return None
    (first, zone), *others = told.items()
    for source, other in others:
        if not _are_the_same(zone, other):
            raise ExportError(
                f"{name}: {first} says that its times are {zone}, and {source} says {other}; "
                "only one can be true. Leave --timezone out, or mend the name"
            )
    return zone


def _are_the_same(one: tzinfo, other: tzinfo) -> bool:
    """Whether two zones are never apart, as far as exports go back."""
    if str(one) == str(other):
        return True
    months = [datetime(year, month, 1, tzinfo=UTC) for year in range(2017, 2028) for month in range(1, 13)]
    return all(month.astimezone(one).utcoffset() == month.astimezone(other).utcoffset() for month in months)


def _header_is_utc(content: bytes) -> bool:
    first_line = content[:_HEADER_BYTES_MAX].splitlines()[:1]
    return bool(first_line) and b"utc_time" in first_line[0].lower().replace(b" ", b"_")


def parse_export(content: bytes, *, zone: tzinfo = UTC, now: datetime | None = None) -> Export:
    """The lines of an export whose times are local to ``zone``.

    Of a local time that occurs twice the first is meant. Lines later than ``now`` are bad.
    Raises ExportError for a file that is not such an export at all.
    """
    lines: list[ExportLine] = []
    bad: list[BadLine] = []
    too_large: list[TooLargeLine] = []
    skipped_not_spot = skipped_zero = 0
    users: set[str] = set()
    last_spot_instant: datetime | None = None

    records = _records(_text(content))
    _check_header(next(records, None))
    for record in records:
        if isinstance(record, BadLine):
            bad.append(record)
            continue
        number, fields = record
        if len(fields) != len(HEADERS[0]):
            bad.append(BadLine(number, f"a line has {len(HEADERS[0])} fields, this one has {len(fields)}"))
            continue
        user_id, time, account, operation, asset, amount, remark = fields
        if account != _SPOT:
            skipped_not_spot += 1
            continue
        try:
            users.add(check_user_id(user_id))
            instant = _instant(time, zone, now)
            last_spot_instant = max(instant, last_spot_instant or instant)
            asset = check_asset_code(asset)
            change = parse_amount(amount)
        except AmountTooLarge as error:
            too_large.append(TooLargeLine(number, asset, str(error), user_id))
            continue
        except ValueError as error:
            bad.append(BadLine(number, str(error), user_id if user_id in users else None))
            continue
        if change == 0:
            skipped_zero += 1
            continue
        lines.append(ExportLine(number, user_id, instant, operation, asset, change, remark))
    return Export(lines, bad, too_large, [], skipped_not_spot, skipped_zero, users, last_spot_instant)


def combined(parts: Sequence[Export]) -> Export:
    """Several files of one export, whose lines say of which file they are."""
    instants = [part.last_spot_instant for part in parts if part.last_spot_instant]
    numbered = list(enumerate(parts))
    return Export(
        lines=[replace(line, file=file) if file else line for file, part in numbered for line in part.lines],
        bad=[replace(line, file=file) for file, part in numbered for line in part.bad],
        too_large=[replace(line, file=file) for file, part in numbered for line in part.too_large],
        too_fine=[replace(line, file=file) for file, part in numbered for line in part.too_fine],
        skipped_not_spot=sum(part.skipped_not_spot for part in parts),
        skipped_zero=sum(part.skipped_zero for part in parts),
        users=set[str]().union(*(part.users for part in parts)),
        last_spot_instant=max(instants, default=None),
    )


def _text(content: bytes) -> str:
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


def _check_header(record: tuple[int, list[str]] | BadLine | None) -> None:
    expected = " or ".join(",".join(header) for header in HEADERS)
    if record is None:
        raise ExportError(f"the file is empty; its first line should be {expected}")
    if isinstance(record, BadLine):
        raise ExportError(f"the first line cannot be read: {record.problem}; it should be {expected}")
    _, fields = record
    if tuple(fields) not in HEADERS:
        raise ExportError(f"the first line is {_shown(','.join(fields), 120)}; it should be {expected}")


def _instant(text: str, zone: tzinfo, now: datetime | None) -> datetime:
    match = _TIME.fullmatch(text)
    if not match:
        raise ValueError(f"{_shown(text)} is not a time such as 2026-10-01 10:00:00 or 26-10-01 10:00:00")
    year, month, day, hour, minute, second = map(int, match.groups())
    if len(match[1]) == 2:
        year += 2000
    try:
        local = datetime(year, month, day, hour, minute, second, tzinfo=zone)
        instant = local.astimezone(UTC)
        exists = instant.astimezone(zone).replace(tzinfo=None) == local.replace(tzinfo=None)
    except (ValueError, OverflowError):
        raise ValueError(f"{text} is not a date and time of the calendar") from None
    if not exists:
        raise ValueError(f"{text} does not exist in {zone}: the clocks were put forward over it")
    if now is not None and instant > now:
        raise ValueError(f"{text} lies in the future")
    return instant


def _shown(text: str, longest: int = 60) -> str:
    return repr(text if len(text) <= longest else f"{text[: longest - 1]}…")
