"""What commands print: tables for people, one JSON value for machines."""

import json
import re
import sys
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from itertools import zip_longest
from typing import Annotated, Any, TypeAlias

import typer
from rich.cells import cell_len
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    TaskProgressColumn,
    TextColumn,
)
from rich.text import Text

from ledger.reading.statement_text import COMPUTED_COLUMNS, iso_text
from staking.money import format_amount

JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON value on stdout, and nothing else.")]
_WIDTH_WITHOUT_TERMINAL = 120

DEMO_COLUMNS = ("user", *COMPUTED_COLUMNS, "late")


Cell: TypeAlias = str | Text
"""The content of a table's cell: plain text, or text with a style."""
_GAP = "  "
_PROSE_WIDTH_MIN = 20
"""Sentences in a narrower column are hard to read."""


@dataclass(frozen=True)
class Column:
    """A column of a table for people."""

    title: str
    is_number: bool = False
    spare: int = 0
    """If a terminal is too narrow, the column with the highest number is left out first. A column with 0 is
    never left out."""
    is_prose: bool = False
    """Whether the column has sentences, which may be broken at blanks. Everything else stays on one line."""


@dataclass(frozen=True)
class _Table:
    """Columns and rows, with complete cells."""

    columns: list[Column]
    rows: list[list[Text]]

    def natural_width(self, place: int) -> int:
        """The width of the column if no cell is broken."""
        return max(cell_len(self.columns[place].title), max((row[place].cell_len for row in self.rows), default=0))

    def least_width(self, place: int) -> int:
        """The smallest width of the column at which nothing in it is cut."""
        natural, column = self.natural_width(place), self.columns[place]
        if not column.is_prose:
            return natural
        words = (cell_len(word) for row in self.rows for word in row[place].plain.split())
        return min(natural, max(cell_len(column.title), _PROSE_WIDTH_MIN, max(words, default=0)))


def console() -> Console:
    """The terminal; for a file, it is wide enough that tables are not cut."""
    terminal = Console(highlight=False)
    return terminal if terminal.is_terminal else Console(highlight=False, width=_WIDTH_WITHOUT_TERMINAL)


def progress(*columns: ProgressColumn, quiet: bool = False) -> Progress:
    """Progress on stderr, so that stdout has only the data. It is silent if stderr is not a terminal."""
    terminal = Console(stderr=True)
    return Progress(*columns, console=terminal, transient=True, disable=quiet or not terminal.is_terminal)


@contextmanager
def lines_done(*, quiet: bool) -> Generator[Callable[[str, int, int], None]]:
    """Like progress(), for a long piece of work: what is being done, how many of how many, and per cent."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TaskProgressColumn())
    with progress(*columns, quiet=quiet) as shown:
        task = shown.add_task("")

        def show(doing: str, done: int, total: int) -> None:
            shown.update(task, description=doing, completed=done, total=total)

        yield show


def print_json(value: Any) -> None:
    """One JSON value on stdout."""
    can_say_all = sys.stdout.encoding.lower().startswith("utf")
    json.dump(value, sys.stdout, indent=2, ensure_ascii=not can_say_all, default=iso_text)
    sys.stdout.write("\n")


def print_json_with(value: Mapping[str, Any], name: str, items: Iterable[Any]) -> None:
    """One JSON object on stdout: a value, and in it a list that may be too long to be kept in memory."""
    can_say_all = sys.stdout.encoding.lower().startswith("utf")

    def text(part: Any) -> str:
        return json.dumps(part, ensure_ascii=not can_say_all, default=iso_text)

    fields = "".join(f"  {text(key)}: {text(part)},\n" for key, part in value.items())
    sys.stdout.write(f"{{\n{fields}  {text(name)}: [")
    separator = "\n"
    for item in items:
        sys.stdout.write(f"{separator}    {text(item)}")
        separator = ",\n"
    sys.stdout.write("\n  ]\n}\n" if separator == ",\n" else "]\n}\n")


def print_table(
    columns: Sequence[Column],
    rows: Iterable[Sequence[Cell]],
    *,
    title: str | None = None,
    other_forms: str = "--json",
) -> None:
    """A table on stdout, of which nothing is ever cut.

    If it is wider than the terminal, prose is broken into lines. Then spare columns are left out, with a sentence
    about which, and that ``other_forms`` have them. If the rest is still too wide, each row becomes a block with a
    line for each cell. If stdout is not a terminal, every row is on one line. A column in which all cells are
    empty is not shown.
    """
    table = _without_empty_columns(columns, [[_text(cell) for cell in row] for row in rows])
    terminal = console()
    if title:
        terminal.print(Text(title, "italic"), soft_wrap=True)
    places = list(range(len(table.columns)))
    if not terminal.is_terminal:
        _print_grid(terminal, table, {place: table.natural_width(place) for place in places})
        return
    shown = _places_with_room(table, terminal.width)
    if shown is None:
        for number, row in enumerate(table.rows):
            if number:
                terminal.print()
            print_fields({column.title: cell for column, cell in zip(table.columns, row, strict=True)})
        return
    _print_grid(terminal, table, _widths(table, shown, terminal.width))
    if left_out := [table.columns[place].title for place in places if place not in shown]:
        left = ", ".join(left_out)
        sentence = f"Not shown, for want of room: {left}. A wider terminal shows all, and so does {other_forms}."
        print_prose(Text(sentence, "dim"))


def print_fields(fields: Mapping[str, Cell]) -> None:
    """A line for each name and value on stdout, nothing cut; a name without a value is not shown.

    In a terminal a long value is broken at blanks, and stands under the name if there is no room beside it.
    """
    terminal = console()
    values = {name: _text(value) for name, value in fields.items() if len(value)}
    beside = max((cell_len(name) for name in values), default=0) + len(":  ")
    for name, value in values.items():
        head = f"{name}:"
        longest_word = max((cell_len(word) for word in value.plain.split()), default=0)
        if not terminal.is_terminal or beside + longest_word <= terminal.width:
            lines, indent = in_lines(terminal, value, terminal.width - beside), beside
        else:
            terminal.print(Text(head), soft_wrap=True)
            lines, indent, head = in_lines(terminal, value, terminal.width - len(_GAP)), len(_GAP), ""
        for number, line in enumerate(lines):
            terminal.print(Text(f"{'' if number else head:<{indent}}") + line, soft_wrap=True)


def plain(text: str) -> str:
    """The text on one line, without control characters that a terminal would obey."""
    return "".join(character if character.isprintable() else " " for character in text)


def _text(cell: Cell) -> Text:
    return cell if isinstance(cell, Text) else Text(plain(cell))


def _without_empty_columns(columns: Sequence[Column], rows: list[list[Text]]) -> _Table:
    kept = [place for place in range(len(columns)) if not rows or any(row[place].plain for row in rows)]
    return _Table([columns[place] for place in kept], [[row[place] for place in kept] for row in rows])


def _places_with_room(table: _Table, width: int) -> list[int] | None:
    """The indices of the columns that fit side by side; None if not even those fit that may not be left out."""
    kept = list(range(len(table.columns)))
    least = {place: table.least_width(place) for place in kept}
    while sum(least[place] for place in kept) + len(_GAP) * (len(kept) - 1) > width:
        spare = [place for place in kept if table.columns[place].spare]
        if not spare:
            return None
        kept.remove(max(spare, key=lambda place: (table.columns[place].spare, place)))
    return kept


def _widths(table: _Table, places: Sequence[int], width: int) -> dict[int, int]:
    """The width of each column: its smallest width, and what room is left for prose that needs more."""
    widths = {place: table.least_width(place) for place in places}
    room = width - sum(widths.values()) - len(_GAP) * (len(places) - 1)
    for place in places:
        more = min(room, table.natural_width(place) - widths[place])
        widths[place] += more
        room -= more
    return widths


def _print_grid(terminal: Console, table: _Table, widths: Mapping[int, int]) -> None:
    """The columns with these indices, side by side. The table is set so that the terminal cuts nothing."""
    titles = [Text(column.title, "bold") for column in table.columns]
    for row in (titles, *table.rows):
        cells = [in_lines(terminal, row[place], width) for place, width in widths.items()]
        for parts in zip_longest(*cells, fillvalue=Text()):
            line = Text()
            for (place, width), part in zip(widths.items(), parts, strict=True):
                padding = Text(" " * (width - part.cell_len))
                line += padding + part if table.columns[place].is_number else part + padding
                line += Text(_GAP)
            line.rstrip()
            terminal.print(line, soft_wrap=True)


def in_lines(terminal: Console, text: Text, width: int) -> list[Text]:
    """The text in lines that end only at blanks, so that a word that is too long for a line stays whole.

    One line if stdout is not a terminal.
    """
    if not terminal.is_terminal or text.cell_len <= width:
        return [text]
    breaks: list[int] = []
    for word in re.finditer(r"\S+", text.plain):
        start = breaks[-1] if breaks else 0
        if word.start() > start and cell_len(text.plain[start : word.end()]) > width:
            breaks.append(word.start())
    lines = list(text.divide(breaks))
    for line in lines:
        line.rstrip()
    return lines


def print_prose(text: Cell) -> None:
    """Sentences on stdout, which are broken only at blanks."""
    terminal = console()
    for line in in_lines(terminal, _text(text), terminal.width):
        terminal.print(line, soft_wrap=True)


def amounts(units_by_asset: Mapping[str, int]) -> dict[str, str]:
    """Amounts by asset as decimal text."""
    return {asset: format_amount(units) for asset, units in units_by_asset.items()}


def instant_text(instant: datetime) -> str:
    """An instant for a person."""
    return instant.strftime("%Y-%m-%d %H:%M:%S UTC")


def exact_instant_text(instant: datetime) -> str:
    """An instant for a person who may type it again. It has the fraction of a second, since without it the typed
    instant would be another one."""
    fraction = f".{instant.microsecond:06d}" if instant.microsecond else ""
    return f"{instant:%Y-%m-%d %H:%M:%S}{fraction} UTC"
