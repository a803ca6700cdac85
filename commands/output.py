"""What commands print: tables for people, one JSON value for machines."""

import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import Progress, ProgressColumn
from rich.table import Table

from ledger.statement_text import COMPUTED_COLUMNS, iso_text
from staking.money import format_amount

JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON value on stdout, nothing else.")]
_WIDTH_WITHOUT_TERMINAL = 120

DEMO_COLUMNS = ("user", *COMPUTED_COLUMNS, "late")


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
    json.dump(value, sys.stdout, indent=2, ensure_ascii=False, default=iso_text)
    sys.stdout.write("\n")


def print_table(columns: Sequence[Column], rows: Iterable[Sequence[str]], *, title: str | None = None) -> None:
    """A table on stdout."""
    table = Table(title=title, title_justify="left", header_style="bold", box=None, pad_edge=False)
    for column in columns:
        table.add_column(column.title, justify="right" if column.is_number else "left", no_wrap=True)
    for row in rows:
        table.add_row(*row)
    console().print(table)


def amounts(units_by_asset: Mapping[str, int]) -> dict[str, str]:
    """Amounts by asset as decimal text."""
    return {asset: format_amount(units) for asset, units in units_by_asset.items()}


def instant_text(instant: datetime) -> str:
    """An instant for a person."""
    return instant.strftime("%Y-%m-%d %H:%M:%S UTC")


def exact_instant_text(instant: datetime) -> str:
    """An instant for a person who may type it again, where the second alone would be another one."""
    fraction = f".{instant.microsecond:06d}" if instant.microsecond else ""
    return f"{instant:%Y-%m-%d %H:%M:%S}{fraction} UTC"
