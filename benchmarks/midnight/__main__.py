"""What a user's day costs when all users wake at one instant: ``python -m benchmarks.midnight``.

    make bench-midnight                                              every row, medians of three rounds
    python -m benchmarks.midnight --against ../other --repeat 1      another checkout of this project too
    python -m benchmarks.midnight --cold --days-behind 15            workers restarted just before the wave
    python -m benchmarks.midnight --cache 15 --rows floor,here       fewer workflows in memory than users
    python -m benchmarks.midnight --messages                         how soon people are answered meanwhile
    python -m benchmarks.midnight --feed 1000                        how much slower a wave is while movements come
    python -m benchmarks.midnight --run-lengths 1,3,7,14,30          warm and cold, for each length of a run
    python -m benchmarks.midnight --sleepers 1000,10000              memory of a worker by sleeping users

Users are written to a new ledger, enrolled and paid so far. Their workflows run on a new in-memory Temporal
server. The runs begin like runs that continue others: with what the ledger knows of the user. Only the wake is set
to an instant that is seconds away. Each run processes ``--days-behind`` days before that wake, which are then in
its history. CPU is read from /proc before the wave and after it: of the worker processes, of the Temporal server,
and of PostgreSQL with all its backends. The process that loads the users and watches them is another one, and is
not counted.

A checkout is measured with its own code and with the interpreter of its own ``.venv``; if it has none, with this
interpreter. ``--processes`` starts that many workers of one process each. References are never cold, so ``×
floor`` is always the ratio to a warm floor; if a checkout is cold, the table also has a floor that is as cold. A
``--cache`` smaller than the number of users takes effect after they fell asleep: the workers are restarted with
it, and all wakes are cold. The floor is a day without work: its timer fires, and the next one starts. The row
``ends`` is a workflow that has one timer and then ends. Closing it costs more than a further timer, so ``× ends``
is the smaller ratio. DBOS runs in one process, and keeps its own state in the database. A user's lateness is the
time from the instant of the wake until the day was credited, or until the last step was done. Billed actions are
counted as ``histories.py`` says.
"""

import asyncio
import json
import os
import signal
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, TypeAlias

import typer

from benchmarks.databases import Database
from benchmarks.midnight import feeds, messages, run_lengths
from benchmarks.midnight.checkouts import HERE, name_of
from benchmarks.midnight.processes import BenchmarkFailed, can_be_measured
from benchmarks.midnight.rows import Choices, Kind, measured, rows
from benchmarks.midnight.sleepers import Memory, measured_sleepers
from benchmarks.midnight.tables import (
    lines_json,
    print_answers,
    print_fed_wave,
    print_lines,
    print_memories,
    print_run_lengths,
)
from benchmarks.midnight.telling import say
from embedded.exiting import exit_process

_DEFAULT = Choices()
_LOAD_QUIET_MAX = 1.0
_ALL_ROWS = ",".join(kind for kind in Kind if kind is not Kind.COLD_FLOOR)
_Users = Annotated[
    int | None,
    typer.Option(
        min=1,
        show_default=f"{_DEFAULT.users}; {messages.USERS} with --messages, {run_lengths.USERS} with --run-lengths",
        help="Who wake at one instant.",
    ),
]
_DaysBehind = Annotated[int, typer.Option(min=0, help="Days of history of each user before the wake.")]
_Cache = Annotated[
    int | None,
    typer.Option(min=0, help="Workflows in memory of a worker process; by default as many as it keeps itself."),
]
_Processes = Annotated[int, typer.Option(min=1, help="Worker processes.")]
_Assets = Annotated[int, typer.Option(min=1, max=100, help="In the program, and held by each user.")]
_Ledger = Annotated[Database, typer.Option("--database", help="Where the ledger is kept.")]
_Cold = Annotated[bool, typer.Option("--cold", help="Restart a checkout's workers just before the wave.")]
_Against = Annotated[
    list[Path] | None,
    typer.Option(exists=True, file_okay=False, help="Another checkout of this project; may be repeated."),
]
_Rows = Annotated[str, typer.Option("--rows", metavar="ROW,ROW", help=f"Which rows: {', '.join(Kind)}.")]
_Repeat = Annotated[int, typer.Option(min=1, help="Rounds; each figure is their median.")]
_Patience = Annotated[float, typer.Option(min=1, help="Seconds after which whoever is not paid yet is given up.")]
_Messages = Annotated[
    bool,
    typer.Option("--messages", help="Send Start Earning and hold while all users are paid, and time the answers."),
]
_Feed = Annotated[
    int | None,
    typer.Option("--feed", min=1, help="Movements a second over HTTP: a wave without them, and one with them."),
]
_RunLengths = Annotated[
    str | None,
    typer.Option("--run-lengths", metavar="N,N", help="Days in a run: what each length costs, warm and cold."),
]
_Sleepers = Annotated[
    str | None, typer.Option(metavar="N,N", help="Users asleep: what a worker holds in memory for each number.")
]
_Json = Annotated[bool, typer.Option("--json", help="Print one JSON array, nothing else.")]


def main(
    users: _Users = None,
    days_behind: _DaysBehind = _DEFAULT.days_behind,
    cache: _Cache = None,
    processes: _Processes = _DEFAULT.processes,
    assets: _Assets = _DEFAULT.assets,
    ledger: _Ledger = _DEFAULT.database,
    cold: _Cold = False,
    against: _Against = None,
    only: _Rows = _ALL_ROWS,
    repeat: _Repeat = 3,
    patience: _Patience = _DEFAULT.patience_s,
    with_messages: _Messages = False,
    feed: _Feed = None,
    lengths: _RunLengths = None,
    sleepers: _Sleepers = None,
    as_json: _Json = False,
) -> None:
    """Measure what a user's day costs when all users wake at one instant."""
    # Whoever ends this with a signal ends its servers and workers too.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    if not can_be_measured():
        raise typer.BadParameter("what other processes cost is read from /proc, which this system does not have")
    kinds = _kinds(only)
    if (load := os.getloadavg()[0]) > _LOAD_QUIET_MAX:
        say(f"this machine has other work (load average {load:.1f}), which shows in every figure")
    few = messages.USERS if with_messages else run_lengths.USERS if lengths else _DEFAULT.users
    asked = Choices(users or few, days_behind, cache, processes, assets, ledger, cold, against or (), patience)
    code = 0
    try:
        if with_messages:
            asyncio.run(_measure_messages(asked, as_json))
        elif feed:
            asyncio.run(_measure_feed(asked, feed, repeat, as_json))
        elif lengths:
            asyncio.run(_measure_run_lengths(asked, _numbers(lengths, "--run-lengths"), repeat, as_json))
        elif sleepers:
            asyncio.run(_measure_sleepers(asked, _numbers(sleepers, "--sleepers"), as_json))
        else:
            asyncio.run(_measure_rows(asked, kinds, repeat, as_json))
    except BenchmarkFailed as error:
        say(f"error: {error}")
        code = 1
    # A process that used Temporal's SDK must be left with care.
    exit_process(code)


async def _measure_rows(asked: Choices, kinds: Sequence[Kind], repeat: int, as_json: bool) -> None:
    lines = await measured(rows(asked, kinds), repeat)
    if as_json:
        print(lines_json(lines))
    else:
        print_lines(lines)


async def _measure_messages(asked: Choices, as_json: bool) -> None:
    answers = [
        one
        for path in (HERE, *asked.against)
        for one in await messages.measured_messages(path, name_of(path), asked.given, asked.plan)
    ]
    if as_json:
        _print_json(answers)
    else:
        print_answers(answers)


async def _measure_feed(asked: Choices, per_s: int, repeat: int, as_json: bool) -> None:
    wave = await feeds.measured_feed(HERE, asked.given, asked.plan, per_s, repeat)
    if as_json:
        _print_json([wave])
    else:
        print_fed_wave(wave)


async def _measure_run_lengths(asked: Choices, lengths: Sequence[int], repeat: int, as_json: bool) -> None:
    measured_lengths = await run_lengths.measured_run_lengths(
        lengths, asked.given, asked.users, asked.patience_s, repeat
    )
    if as_json:
        _print_json(measured_lengths)
    else:
        print_run_lengths(measured_lengths)


async def _measure_sleepers(asked: Choices, numbers: Sequence[int], as_json: bool) -> None:
    memories = await measured_sleepers(numbers, asked.given)
    if as_json:
        _print_json(memories)
    else:
        print_memories(memories)


_Figures: TypeAlias = messages.Answers | run_lengths.RunLength | Memory | feeds.FedWave


def _print_json(figures: Sequence[_Figures]) -> None:
    print(json.dumps([asdict(each) for each in figures], indent=2))


def _kinds(given: str) -> list[Kind]:
    try:
        return [Kind(word.strip()) for word in given.split(",")]
    except ValueError as error:
        raise typer.BadParameter(f"{error}: choose from {', '.join(Kind)}", param_hint="--rows") from None


def _numbers(given: str, option: str) -> list[int]:
    try:
        numbers = [int(word) for word in given.split(",")]
    except ValueError:
        numbers = [0]
    if min(numbers) < 1:
        raise typer.BadParameter(f"{given!r} is no list of numbers such as 1,30", param_hint=option)
    return numbers


if __name__ == "__main__":
    typer.run(main)
