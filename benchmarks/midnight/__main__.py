"""What a user's day costs when all users wake at one instant: ``python -m benchmarks.midnight``.

    make bench-midnight                                              every row, medians of three rounds
    python -m benchmarks.midnight --against ../other --repeat 1      another checkout of this project too
    python -m benchmarks.midnight --cold --days-behind 15            workers restarted just before the wave
    python -m benchmarks.midnight --cache 15 --rows floor,here       fewer workflows in memory than users

Users are enrolled in the past on a new in-memory Temporal server and a new ledger, catch up, and sleep until one
instant that is seconds away: only the offset of their wake is put there, and all else is what runs in use. Of each
user that leaves ``--days-behind`` days of history before the wake. Then CPU is read from /proc before the wave and
after it: of the worker processes, of the Temporal server, and of PostgreSQL with all its backends. What loads and
watches is another process, and is no part of it.

A checkout is measured with its own code and the interpreter of its own ``.venv``, or else with this one.
``--processes`` starts so many workers of one process each. References are never cold, so that ``× floor`` is
always the ratio to a warm one. A ``--cache`` smaller than the number of users is in force once they sleep: the
workers are restarted with it, and all wakes are cold. DBOS runs in one process, and is the only one that keeps
anything in its database but a ledger. How late a user is: when the day was credited, or the last step was done,
after the instant of the wake. Billed actions are counted as ``benchmarks/midnight/histories.py`` says.
"""

import asyncio
from pathlib import Path
from typing import Annotated

import typer

from benchmarks.databases import Database
from benchmarks.midnight.processes import BenchmarkFailed, can_be_measured
from benchmarks.midnight.rows import Asked, Kind, measured, rows
from benchmarks.midnight.tables import lines_json, print_lines
from benchmarks.midnight.telling import say
from embedded.exiting import exit_process

_DEFAULT = Asked()


def main(
    users: Annotated[int, typer.Option(min=1, help="Who wake at one instant.")] = _DEFAULT.users,
    days_behind: Annotated[
        int, typer.Option(min=0, help="Days of history of each user before the wake.")
    ] = _DEFAULT.days_behind,
    cache: Annotated[
        int | None,
        typer.Option(min=0, help="Workflows in memory of a worker process; by default as many as it does itself."),
    ] = None,
    processes: Annotated[int, typer.Option(min=1, help="Worker processes.")] = _DEFAULT.processes,
    assets: Annotated[
        int, typer.Option(min=1, max=100, help="In the program, and held by each user.")
    ] = _DEFAULT.assets,
    database: Annotated[Database, typer.Option(help="Where the ledger is kept.")] = _DEFAULT.database,
    cold: Annotated[
        bool, typer.Option("--cold", help="Restart a checkout's workers just before the wave.")
    ] = False,
    against: Annotated[
        list[Path] | None,
        typer.Option(exists=True, file_okay=False, help="Another checkout of this project; may be repeated."),
    ] = None,
    only: Annotated[
        str, typer.Option("--rows", metavar="ROW,ROW", help=f"Which rows: {', '.join(Kind)}.")
    ] = ",".join(Kind),
    repeat: Annotated[int, typer.Option(min=1, help="Rounds; each figure is their median.")] = 3,
    patience: Annotated[
        float, typer.Option(min=1, help="Seconds after which whoever is not paid yet is given up.")
    ] = _DEFAULT.patience_s,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON array, nothing else.")] = False,
) -> None:
    """Measure what a user's day costs when all users wake at one instant."""
    if not can_be_measured():
        raise typer.BadParameter("what other processes cost is read from /proc, which this system does not have")
    kinds = _kinds(only)
    asked = Asked(users, days_behind, cache, processes, assets, database, cold, against or (), patience)
    code = 0
    try:
        lines = asyncio.run(measured(rows(asked, kinds), repeat))
        if as_json:
            print(lines_json(lines))
        else:
            print_lines(lines)
    except BenchmarkFailed as error:
        say(f"error: {error}")
        code = 1
    # A process that used Temporal's SDK must be left with care.
    exit_process(code)


def _kinds(given: str) -> list[Kind]:
    try:
        return [Kind(word.strip()) for word in given.split(",")]
    except ValueError as error:
        raise typer.BadParameter(f"{error}: choose from {', '.join(Kind)}", param_hint="--rows") from None


if __name__ == "__main__":
    typer.run(main)
