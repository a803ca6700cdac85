"""Prints figures as a table or as JSON."""

import json
from collections.abc import Sequence
from dataclasses import asdict

from rich.console import Console
from rich.table import Table

from benchmarks.midnight.feeds import FedWave
from benchmarks.midnight.messages import Answers
from benchmarks.midnight.rows import Kind, Line
from benchmarks.midnight.run_lengths import RunLength
from benchmarks.midnight.sleepers import Memory

_WIDTH_WITHOUT_TERMINAL = 160
NOTHING = "–"


def print_lines(lines: Sequence[Line]) -> None:
    """Prints every row with its figures. CPU is in milliseconds for one user and day."""
    floor, ends = _in_all_ms(lines, Kind.FLOOR), _in_all_ms(lines, Kind.ENDS)
    table = new_table(
        ["users/s", "worker", "server", "database", "CPU ms", "× floor", "× ends"],
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
            number(ends and cost.in_all_ms / ends, 2),
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
    """One JSON array: for each row its medians and the figures of every round."""
    floor, ends = _in_all_ms(lines, Kind.FLOOR), _in_all_ms(lines, Kind.ENDS)
    return json.dumps(
        [
            {
                "row": line.kind,
                "name": line.name,
                "times_the_floor": floor and line.cost.in_all_ms / floor,
                "times_the_one_that_ends": ends and line.cost.in_all_ms / ends,
                **asdict(line.cost),
                "rounds": [asdict(cost) for cost in line.rounds],
            }
            for line in lines
        ],
        indent=2,
    )


def _in_all_ms(lines: Sequence[Line], kind: Kind) -> float | None:
    return next((line.cost.in_all_ms for line in lines if line.kind is kind), None)


def print_answers(answers: Sequence[Answers]) -> None:
    """Prints the seconds until messages were answered, and which messages were not answered."""
    table = new_table(["sent", "p50 s", "p99 s", "max s", "failed", "wave s"])
    for one in answers:
        table.add_row(
            f"{one.checkout}: {one.message}",
            number(one.sent, 0),
            number(one.p50_s, 2),
            number(one.p99_s, 2),
            number(one.max_s, 2),
            number(len(one.failures), 0),
            number(one.wave_s, 1),
        )
    print_table(table)
    for failure in sorted({failure for one in answers for failure in one.failures}):
        print(failure)


def print_run_lengths(lengths: Sequence[RunLength]) -> None:
    """Prints CPU in milliseconds for one user and day, and what a day writes."""
    table = new_table(
        ["warm worker", "server", "database", "in all", "cold worker", "server", "database", "in all"],
        ["events", "bytes", "actions", "stored bytes", "carried bytes"],
        first="days in a run",
    )
    for length in lengths:
        table.add_row(
            str(length.days),
            *(
                number(figure, 1)
                for cost in (length.warm, length.cold)
                for figure in (cost.worker_ms, cost.server_ms, cost.database_ms, cost.in_all_ms)
            ),
            number(length.warm.events, 1),
            number(length.warm.history_bytes, 0),
            number(length.warm.actions, 2),
            number(length.warm.stored_bytes, 0),
            number(length.warm.carried_bytes, 0),
        )
    print_table(table)


def print_memories(memories: Sequence[Memory]) -> None:
    """Prints each memory and its difference to the first."""
    table = new_table(["RSS MB", "× first"], first="users asleep")
    for memory in memories:
        times = memory.worker_rss_mb / memories[0].worker_rss_mb
        table.add_row(f"{memory.sleepers:,}", number(memory.worker_rss_mb, 1), number(times, 2))
    print_table(table)


def print_fed_wave(wave: FedWave) -> None:
    """Prints how many users a second are paid without a feed and with it."""
    table = new_table(["users", "users/s", "users/s with a feed", "ratio", "movements/s"])
    figures = number(wave.users_per_s, 0), number(wave.fed_users_per_s, 0), number(wave.ratio, 2)
    table.add_row("a wave", number(wave.users, 0), *figures, number(wave.movements_per_s, 0))
    print_table(table)


def new_table(*titles: Sequence[str], first: str = "") -> Table:
    """A table with a column of names and further columns of numbers."""
    table = Table(first, box=None)
    for title in [title for some in titles for title in some]:
        table.add_column(title, justify="right")
    return table


def print_table(table: Table) -> None:
    """Prints a table. If stdout is not a terminal, the table is as wide as it needs."""
    terminal = Console(highlight=False)
    (terminal if terminal.is_terminal else Console(highlight=False, width=_WIDTH_WITHOUT_TERMINAL)).print(table)


def number(figure: float | None, places: int) -> str:
    """A number with separated thousands; a dash if there is none."""
    return NOTHING if figure is None else f"{figure:,.{places}f}"
