"""Figures as a table, or as JSON."""

import json
from collections.abc import Sequence
from dataclasses import asdict

from rich.console import Console
from rich.table import Table

from benchmarks.midnight.rows import Kind, Line

_WIDTH_WITHOUT_TERMINAL = 160
NOTHING = "–"


def print_lines(lines: Sequence[Line]) -> None:
    """Every row with its figures; CPU in milliseconds for one user and day."""
    floor = next((line.cost.in_all_ms for line in lines if line.kind is Kind.FLOOR), None)
    table = new_table(
        ["users/s", "worker", "server", "database", "CPU ms", "× floor"],
        ["late p50 s", "p99", "max", "events", "bytes", "actions", "RSS MB"],
    )
    for line in lines:
        cost = line.cost
        name = line.name
        if cost.finished < cost.users:
            name += f" ({cost.finished:.0f} of {cost.users:.0f} in time)"
        table.add_row(
            name,
            number(cost.users_per_s, 0),
            number(cost.worker_ms, 1),
            number(cost.server_ms, 1),
            number(cost.database_ms, 1),
            number(cost.in_all_ms, 1),
            number(floor and cost.in_all_ms / floor, 2),
            number(cost.late_p50_s, 1),
            number(cost.late_p99_s, 1),
            number(cost.late_max_s, 1),
            number(cost.events, 1),
            number(cost.history_bytes, 0),
            number(cost.actions, 2),
            number(cost.worker_rss_mb, 0),
        )
    print_table(table)


def lines_json(lines: Sequence[Line]) -> str:
    """One array: of each row its medians, and every round."""
    floor = next((line.cost.in_all_ms for line in lines if line.kind is Kind.FLOOR), None)
    return json.dumps(
        [
            {
                "row": line.kind,
                "name": line.name,
                "times_the_floor": floor and line.cost.in_all_ms / floor,
                **asdict(line.cost),
                "rounds": [asdict(cost) for cost in line.rounds],
            }
            for line in lines
        ],
        indent=2,
    )


def new_table(*titles: Sequence[str], first: str = "") -> Table:
    """With a column of names, and then of numbers."""
    table = Table(first, box=None)
    for title in [title for some in titles for title in some]:
        table.add_column(title, justify="right")
    return table


def print_table(table: Table) -> None:
    """As wide as it needs where nobody watches."""
    terminal = Console(highlight=False)
    (terminal if terminal.is_terminal else Console(highlight=False, width=_WIDTH_WITHOUT_TERMINAL)).print(table)


def number(figure: float | None, places: int) -> str:
    """With thousands apart; a dash where there is none."""
    return NOTHING if figure is None else f"{figure:,.{places}f}"
