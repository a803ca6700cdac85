"""A statement, and its entries, as text that other programs read: the documented names, and CSV."""

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from datetime import date, datetime
from decimal import Decimal
from typing import Any

from ledger.reading.reward_entries import RewardEntry
from ledger.reading.statements import StatementLine
from staking.money import format_amount, parse_amount
from staking.program import RATE_DECIMALS_MAX

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
"""The result of an accrual day and asset, and everything that is needed to recompute it."""
STATEMENT_COLUMNS = (*COMPUTED_COLUMNS, "credited_at", "late", "reference_value_usdt", "entry_id", "reversed_by")
"""The columns of a statement as CSV. Other programs read them by name and by position, so new columns are added
only at the end."""
ENTRY_COLUMNS = ("entry_id", "recorded_at", "day", "asset", "amount", "reverses")
"""The columns of a statement's entries as CSV; as above."""


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


def entry_row(entry: RewardEntry) -> dict[str, Any]:
    """A credit or a reversal by its documented names: the amount signed, with 8 places."""
    return {
        "user": entry.user_id,
        "entry_id": entry.entry_id,
        "recorded_at": entry.recorded_at,
        "day": entry.day,
        "asset": entry.asset,
        "amount": format_amount(entry.amount),
        "reverses": entry.reverses,
    }


def csv_header(columns: Sequence[str] = STATEMENT_COLUMNS) -> str:
    """The first line of a statement as CSV, or of its entries."""
    return ",".join(columns) + "\n"


def csv_text(lines: Iterable[StatementLine]) -> str:
    """A statement's lines as CSV, without a header.

    The terms have a fixed number of decimals here: a reader that guesses a column's type from its first values
    would take ``1`` for an integer, and fail at ``0.5``.
    """
    return _csv_lines(
        STATEMENT_COLUMNS,
        (
            reward_row(line)
            | {
                "minimum": format_amount(parse_amount(line.minimum)),
                "cap": format_amount(parse_amount(line.cap)),
                "apr": f"{Decimal(line.apr):.{RATE_DECIMALS_MAX}f}",
            }
            for line in lines
        ),
    )


def entries_csv_text(entries: Iterable[RewardEntry]) -> str:
    """A statement's entries as CSV, without a header."""
    return _csv_lines(ENTRY_COLUMNS, map(entry_row, entries))


def _csv_lines(columns: Sequence[str], rows: Iterable[Mapping[str, Any]]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerows([_csv_field(row[column]) for column in columns] for row in rows)
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
