"""The transaction history export that exchanges' users know: every line checked, every movement given its key."""

import csv
import hashlib
import io
import json
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from pathlib import Path
from zoneinfo import ZoneInfo

from staking.models import check_user_id
from staking.money import AmountTooLarge, parse_amount

EXPORT_BYTES_MAX = 64 * 1024 * 1024

HEADERS = (
    ("User_ID", "UTC_Time", "Account", "Operation", "Coin", "Change", "Remark"),
    ("User ID", "Time", "Account", "Operation", "Coin", "Change", "Remark"),
)

_SPOT = "Spot"
_TIME = re.compile(r"([0-9]{4}|[0-9]{2})-([0-9]{2})-([0-9]{2}) ([0-9]{2}):([0-9]{2}):([0-9]{2})")
_ASSET = re.compile(r"[A-Za-z0-9]{1,20}")
_OFFSET = re.compile(r"([+-])([0-9]{2}):([0-9]{2})")
_OFFSET_MAX = timedelta(hours=14)
_KEY_HEX_DIGITS = 32


class ExportError(ValueError):
    """The file as a whole cannot be read; the message says what to do."""


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
    key: str
    """The same for the same line in any export: what it says, and which occurrence of it in its file."""


@dataclass(frozen=True, slots=True)
class BadLine:
    """A line that cannot be a movement."""

    number: int
    problem: str


@dataclass(frozen=True, slots=True)
class TooLargeLine:
    """A line whose only fault is a change beyond what an account holds: bad or not, depending on the asset."""

    number: int
    asset: str
    problem: str


@dataclass(frozen=True)
class Export:
    """Everything that a file says, each list in the order of the file."""

    lines: list[ExportLine] = field(default_factory=list[ExportLine])
    bad: list[BadLine] = field(default_factory=list[BadLine])
    too_large: list[TooLargeLine] = field(default_factory=list[TooLargeLine])
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
    """The time zone called ``UTC``, ``Europe/Paris`` or ``+02:00``. Raises ValueError for anything else."""
    if text == "UTC":
        return UTC
    if offset := _OFFSET.fullmatch(text):
        sign, hours, minutes = offset.groups()
        distance = timedelta(hours=int(hours), minutes=int(minutes))
        if int(minutes) < 60 and distance <= _OFFSET_MAX:
            return timezone(-distance if sign == "-" else distance)
    else:
        try:
            return ZoneInfo(text)
        except (LookupError, ValueError, OSError):
            pass
    raise ValueError(f"{_shown(text)} is not a time zone known here; write UTC, Europe/Paris or +02:00")


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
    occurrences: Counter[str] = Counter()

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
            if not _ASSET.fullmatch(asset):
                raise ValueError(f"{_shown(asset)} is not an asset code: 1 to 20 letters and digits")
            change = parse_amount(amount)
        except AmountTooLarge as error:
            too_large.append(TooLargeLine(number, asset, str(error)))
            continue
        except ValueError as error:
            bad.append(BadLine(number, str(error)))
            continue
        if change == 0:
            skipped_zero += 1
            continue
        said = json.dumps([user_id, instant.isoformat(), account, operation, asset, change, remark])
        content_key = _digest(said)
        occurrences[content_key] += 1
        key = _digest(f"{said} {occurrences[content_key]}")
        lines.append(ExportLine(number, user_id, instant, operation, asset, change, remark, key))
    return Export(lines, bad, too_large, skipped_not_spot, skipped_zero, users, last_spot_instant)


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


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:_KEY_HEX_DIGITS]


def _shown(text: str, longest: int = 60) -> str:
    return repr(text if len(text) <= longest else f"{text[: longest - 1]}…")
