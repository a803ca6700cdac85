"""A statement as text that other programs read: the documented names, and CSV."""

import csv
import io
from collections.abc import Iterable
from datetime import date, datetime
from typing import Any

from ledger.statements import StatementLine
from staking.money import format_amount

COMPUTED_COLUMNS = (
    "day",
    "asset",
    "opening",
    "closing",
    "average",
    "minimum",
    "cap",
    "apr",
    "reward",
    "outcome",
)
"""What an accrual day and asset came to, and everything that recomputes it."""
STATEMENT_COLUMNS = (*COMPUTED_COLUMNS, "credited_at", "late", "reference_value_usdt", "entry_id", "reversed_by")
"""Of a statement as CSV, which other programs read by name and by place: new ones only ever come at the end."""


def reward_row(line: StatementLine) -> dict[str, Any]:
    """A statement line by its documented names: amounts with 8 places, terms as written in the program file."""
    return {
        "user": line.user_id,
        "day": line.day,
        "asset": line.asset,
        "opening": format_amount(line.opening),
        "closing": format_amount(line.closing),
        "average": format_amount(line.average),
        "minimum": line.minimum,
        "cap": line.cap,
        "apr": line.apr,
        "reward": format_amount(line.reward),
        "outcome": line.outcome.value,
        "credited_at": line.credited_at,
        "late": line.late,
        "reference_value_usdt": format_amount(line.reference_value),
        "entry_id": line.entry_id,
        "reversed_by": line.reversed_by,
    }


def csv_header() -> str:
    """The first line of a statement as CSV."""
    return ",".join(STATEMENT_COLUMNS) + "\n"


def csv_text(lines: Iterable[StatementLine]) -> str:
    """A statement's lines as CSV, without a header."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerows([_csv_field(row[column]) for column in STATEMENT_COLUMNS] for row in map(reward_row, lines))
    return text.getvalue()


def iso_text(value: object) -> str:
    """A day, or an instant in UTC, as ISO 8601 text."""
    if isinstance(value, datetime):
        return value.isoformat().replace("+00:00", "Z")
    if isinstance(value, date):
        return value.isoformat()
    raise TypeError(f"{type(value).__name__} has no JSON form here")


def _csv_field(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    return iso_text(value) if isinstance(value, date) else str(value)
