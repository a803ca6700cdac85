"""What commands print: tables for people, one JSON value for machines."""

import csv
import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import Progress, ProgressColumn
from rich.table import Table

from ledger.statements import StatementLine
from staking.money import format_amount

JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON value on stdout, nothing else.")]
_WIDTH_WITHOUT_TERMINAL = 120

DEMO_COLUMNS = (
    "user",
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
    "late",
)
STATEMENT_COLUMNS = (
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
    "credited_at",
    "late",
    "reference_value_usdt",
    "entry_id",
    "reversed_by",
)
"""Of a statement as CSV, which other programs read by name and by place: new ones only ever come at the end."""


@dataclass(frozen=True)
class Column:
    """A column of a table for people."""

    title: str
    is_number: bool = False


def console() -> Console:
    """The terminal, or a file wide enough that tables are not cut."""
    terminal = Console(highlight=False)
    return terminal if terminal.is_terminal else Console(highlight=False, width=_WIDTH_WITHOUT_TERMINAL)


def progress(*columns: ProgressColumn) -> Progress:
    """Progress on stderr, so that stdout carries the data alone; silent where nobody watches."""
    terminal = Console(stderr=True)
    return Progress(*columns, console=terminal, transient=True, disable=not terminal.is_terminal)


def print_json(value: Any) -> None:
    """One JSON value on stdout."""
    json.dump(value, sys.stdout, indent=2, ensure_ascii=False, default=_json_text)
    sys.stdout.write("\n")


def print_csv_header(columns: Sequence[str]) -> None:
    """The names of the columns on stdout."""
    print(",".join(columns))


def print_csv_lines(columns: Sequence[str], rows: Iterable[Mapping[str, Any]]) -> None:
    """A line per row on stdout."""
    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerows([_csv_text(row[column]) for column in columns] for row in rows)


def print_table(columns: Sequence[Column], rows: Iterable[Sequence[str]], *, title: str | None = None) -> None:
    """A table on stdout."""
    table = Table(title=title, title_justify="left", header_style="bold", box=None, pad_edge=False)
    for column in columns:
        table.add_column(column.title, justify="right" if column.is_number else "left", no_wrap=True)
    for row in rows:
        table.add_row(*row)
    console().print(table)


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


def amounts(units_by_asset: Mapping[str, int]) -> dict[str, str]:
    """Amounts by asset as decimal text."""
    return {asset: format_amount(units) for asset, units in units_by_asset.items()}


def instant_text(instant: datetime) -> str:
    """An instant for a person."""
    return instant.strftime("%Y-%m-%d %H:%M:%S UTC")


def _json_text(value: object) -> str:
    if isinstance(value, datetime):
        return value.isoformat().replace("+00:00", "Z")
    if isinstance(value, date):
        return value.isoformat()
    raise TypeError(f"{type(value).__name__} has no JSON form here")


def _csv_text(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    return _json_text(value) if isinstance(value, date) else str(value)
