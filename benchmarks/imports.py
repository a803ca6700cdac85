"""How fast an export becomes movements, and who waits meanwhile: ``python -m benchmarks.imports``.

A file is generated and imported into a new ledger in a folder that is thrown away, then undone, by a process of
its own, so that the memory is the import's alone. Meanwhile this process and another one again and again post a
deposit for a user of the file and one for somebody else, and measure how long each took. The results are the
medians of three runs.

docs/benchmarks.md has the results.
"""

import asyncio
import json
import multiprocessing
import resource
import sys
import time
from collections.abc import AsyncGenerator, Mapping
from concurrent.futures import ProcessPoolExecutor
from contextlib import asynccontextmanager, suppress
from dataclasses import asdict, dataclass, fields
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from threading import Event
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from benchmarks.databases import Database, throwaway_database
from ledger.database.engine import Ledger, open_ledger, upgrade_ledger
from ledger.imports.history_export import parse_export
from ledger.imports.importing import import_export
from ledger.imports.records import ImportedBy, undo_import
from ledger.movements import deposit
from ledger.programs import apply_program
from settings import SHIPPED_PROGRAM_FILE
from staking.money import UNITS_PER_TOKEN
from staking.program import parse_program

_LONG_AGO = datetime(2000, 1, 1, tzinfo=UTC)
_FIRST = datetime(2024, 1, 1, tzinfo=UTC)
_NOW = datetime(2026, 11, 1, tzinfo=UTC)
_SPAN = timedelta(days=900)
_HEADER = "User_ID,UTC_Time,Account,Operation,Coin,Change,Remark"
_ASSETS = ("SOL", "BNB", "USDT", "ADA", "SUI")
_STRANGER = "somebody-else"
_PAUSE_S = 0.05
"""The pause between two deposits."""


@dataclass(frozen=True)
class Measured:
    """The figures of one run."""

    lines: int
    parse_s: float
    plan_s: float
    """The time for checking the whole file, before anything is written."""
    write_s: float
    undo_s: float
    lines_per_s: float
    """How many lines were parsed, checked and written in a second."""
    cpu_us_per_line: float
    """CPU of the importing process for the same work. The CPU of a PostgreSQL server is not counted."""
    memory_mb: float
    """The largest memory of the importing process."""
    waited_here_s: float
    """The longest deposit of the importing process during the import."""
    waited_elsewhere_s: float
    """The longest deposit of another process, during import and undo."""
    deposits: int
    refused: int


def main(
    lines: Annotated[int, typer.Option(min=1, help="Lines of the file.")] = 350_000,
    users: Annotated[int, typer.Option(min=1, help="Users in the file, with equally many lines.")] = 1,
    database: Annotated[Database, typer.Option(help="Where the ledger is kept.")] = Database.SQLITE,
    times: Annotated[int, typer.Option(min=1, help="How many runs; the results are their medians.")] = 3,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object, nothing else.")] = False,
) -> None:
    """Import a generated export while deposits go on, and undo the import."""
    with TemporaryDirectory(prefix="soft-staking-benchmark-") as folder:
        file = Path(folder) / "export.csv"
        file.write_bytes(generated(lines, users))
        size_mb = file.stat().st_size / 1e6
        _say(f"{database}: {lines:,} lines of {users:,} users, {size_mb:.0f} MB, {times} times")
        runs = [_measure(database, file) for _ in range(times)]
    medians = {one.name: round(median(getattr(run, one.name) for run in runs), 3) for one in fields(Measured)}
    if as_json:
        runs_too = [asdict(run) for run in runs]
        print(json.dumps({"database": database, "users": users, "medians": medians, "runs": runs_too}, indent=2))
    else:
        _print(medians)


def generated(lines: int, users: int) -> bytes:
    """An export whose lines are in the order of time, and in which no balance is ever below zero."""
    step = _SPAN / lines
    rows = [_HEADER]
    for number in range(lines):
        instant = _FIRST + number * step
        operation, tokens = ("Deposit", 12 + number % 7) if number // users % 3 < 2 else ("Withdraw", -3)
        asset = _ASSETS[number // users // 3 % len(_ASSETS)]
        rows.append(
            f'{1001 + number % users},{instant:%Y-%m-%d %H:%M:%S},Spot,{operation},{asset},{tokens}.00000000,""'
        )
    return "\n".join(rows).encode()


def _measure(database: Database, file: Path) -> Measured:
    with throwaway_database(database) as url:
        asyncio.run(_create(url))
        context = multiprocessing.get_context("spawn")
        with context.Manager() as manager, ProcessPoolExecutor(2, mp_context=context) as processes:
            ready, over = manager.Event(), manager.Event()
            deposits = processes.submit(_deposit_elsewhere, url, ready, over)
            ready.wait()
            try:
                measured = processes.submit(_import_alone, url, file).result()
            finally:
                over.set()
            waits = deposits.result()
    return Measured(
        **measured,
        waited_elsewhere_s=waits.longest_s,
        deposits=waits.deposits,
        refused=waits.refused,
    )


async def _create(url: str) -> None:
    await upgrade_ledger(url)
    async with open_ledger(url) as ledger:
        program = parse_program(SHIPPED_PROGRAM_FILE.read_text(encoding="utf-8"))
        await apply_program(ledger, program, operator="benchmarks", now=_LONG_AGO)


def _import_alone(url: str, file: Path) -> Mapping[str, Any]:
    return asyncio.run(_import(url, file.read_bytes()))


async def _import(url: str, content: bytes) -> Mapping[str, Any]:
    by = ImportedBy(["export.csv"], "UTC", "benchmarks")
    async with open_ledger(url) as ledger:
        started_s, cpu_started_s = time.perf_counter(), time.process_time()
        export = parse_export(content, now=_NOW)
        parsed_s, cpu_parsed_s = time.perf_counter(), time.process_time()
        await import_export(ledger, export, now=_NOW, by=by, dry_run=True)
        checked_s, cpu_checked_s = time.perf_counter(), time.process_time()
        async with _depositing(ledger, "here") as waits:
            report = await import_export(ledger, export, now=_NOW, by=by)
        written_s, cpu_written_s = time.perf_counter(), time.process_time()
        lines = len(export.lines)
        assert report.import_number is not None, "nothing of it was there"
        assert report.imported == lines, "nothing of it was there"
        await undo_import(ledger, report.import_number, reason="measured", operator="benchmarks", now=_NOW)
        undone_s = time.perf_counter()
    parse_s, plan_s = parsed_s - started_s, checked_s - parsed_s
    cpu_s = cpu_parsed_s - cpu_started_s + cpu_written_s - cpu_checked_s
    return {
        "lines": lines,
        "parse_s": parse_s,
        "plan_s": plan_s,
        "write_s": written_s - checked_s - plan_s,
        "undo_s": undone_s - written_s,
        "lines_per_s": lines / (parse_s + written_s - checked_s),
        "cpu_us_per_line": cpu_s / lines * 1e6,
        "memory_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        "waited_here_s": waits.longest_s,
    }


@dataclass
class _Waits:
    """How long deposits took."""

    longest_s: float = 0
    deposits: int = 0
    refused: int = 0


def _deposit_elsewhere(url: str, ready: Event, over: Event) -> _Waits:
    async def work() -> _Waits:
        async with open_ledger(url) as ledger, _depositing(ledger, "elsewhere") as waits:
            ready.set()
            await asyncio.to_thread(over.wait)
            return waits

    return asyncio.run(work())


@asynccontextmanager
async def _depositing(ledger: Ledger, name: str) -> AsyncGenerator[_Waits]:
    waits = _Waits()
    task = asyncio.create_task(_deposit_for_ever(ledger, name, waits))
    try:
        yield waits
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def _deposit_for_ever(ledger: Ledger, name: str, waits: _Waits) -> None:
    for number in count():
        user_id = _STRANGER if number % 2 else "1001"
        began_s = time.perf_counter()
        try:
            await deposit(
                ledger, user_id, "SOL", 100 * UNITS_PER_TOKEN, idempotency_key=f"{name} {number}", now=_NOW
            )
        except Exception as error:
            waits.refused += 1
            _say(f"a deposit was refused: {error}")
        waits.deposits += 1
        waits.longest_s = max(waits.longest_s, time.perf_counter() - began_s)
        await asyncio.sleep(_PAUSE_S)


def _say(sentence: str) -> None:
    print(sentence, file=sys.stderr, flush=True)


def _print(medians: Mapping[str, float]) -> None:
    table = Table("figure", box=None)
    table.add_column("median", justify="right")
    for name, figure in medians.items():
        table.add_row(name, f"{figure:,.2f}" if figure < _WHOLE_FROM else f"{figure:,.0f}")
    Console(highlight=False).print(table)


_WHOLE_FROM = 1_000


if __name__ == "__main__":
    typer.run(main)
