"""A comparison with another system's balances: ``python -m benchmarks.reconciling --balances 1000000``.

A ledger is grown in a folder that is thrown away, of users with one asset each. Its balances are exported, mixed,
and every thousandth is changed. Then they are compared. Each command is a process, whose memory is told.
"""

import asyncio
import os
import random
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter
from typing import Annotated

import psycopg
import typer

from benchmarks.databases import Database, throwaway_database
from benchmarks.grown_ledger import NEXT_DAY, Users, add_users, furnish
from ledger.database.engine import open_ledger, upgrade_ledger
from ledger.reading.boundary_balances import balances_digest
from settings import SHIPPED_PROGRAM_FILE
from staking.days import start_of
from staking.program import parse_program

_STARTER = Path(__file__).parent.parent / "starter.py"
_CHANGED_EVERY = 1_000


@dataclass(frozen=True)
class _Took:
    seconds: float
    peak_memory_mb: float


def main(
    balances: Annotated[int, typer.Option(min=1, help="How many balances there are.")] = 1_000_000,
    database: Annotated[Database, typer.Option(help="Where the ledger is kept.")] = Database.SQLITE,
) -> None:
    """Grow a ledger, export its balances, and compare them with what another system says."""
    with throwaway_database(database) as url, TemporaryDirectory() as folder:
        began_s = perf_counter()
        _in_a_process(_grow, url, balances)
        print(f"{database}: grew {balances} balances in {perf_counter() - began_s:.1f} s")
        exported, given = Path(folder) / "exported.csv", Path(folder) / "given.csv"
        _tell("export", _timed(url, exported, "export", "balances", "--at", str(NEXT_DAY)))
        _in_a_process(_change, exported, given)
        out = Path(folder) / "out.txt"
        _tell("reconcile", _timed(url, out, "reconcile", str(given), "--at", str(NEXT_DAY)))
        with out.open() as file:
            *_, last = file
        print(last, end="")
        began_s = perf_counter()
        asyncio.run(_digest(url))
        print(f"totals and digest: {perf_counter() - began_s:.1f} s")


def _in_a_process(work: Callable[..., None], *given: object) -> None:
    """What this process takes for itself would count as the memory of the commands that it starts."""
    with ProcessPoolExecutor(max_workers=1, mp_context=get_context("spawn")) as process:
        process.submit(work, *given).result()


def _grow(url: str, balances: int) -> None:
    program = parse_program(SHIPPED_PROGRAM_FILE.read_text())

    async def begin() -> None:
        await upgrade_ledger(url)
        async with open_ledger(url) as ledger:
            await furnish(ledger, program)

    asyncio.run(begin())
    add_users(url, Users("user", balances), program)
    if url.startswith("postgresql:"):
        # As its autovacuum would soon.
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute("VACUUM ANALYZE")


async def _digest(url: str) -> None:
    async with open_ledger(url) as ledger, ledger.read(takes_long=True) as connection:
        await balances_digest(connection, start_of(NEXT_DAY))


def _change(exported: Path, given: Path) -> None:
    header, *lines = exported.read_text().splitlines()
    for number in range(0, len(lines), _CHANGED_EVERY):
        lines[number] = lines[number].replace(".", "1.")
    random.Random(1).shuffle(lines)
    given.write_text("\n".join([header, *lines, ""]))


def _timed(url: str, out: Path, *arguments: str) -> _Took:
    """Runs a command; its exit code 1 says that something differs."""
    began_s = perf_counter()
    with out.open("wb") as stdout:
        process = subprocess.Popen(
            [sys.executable, str(_STARTER), *arguments],
            stdout=stdout,
            env=os.environ | {"SOFT_STAKING_DATABASE_URL": url},
        )
        _, _, usage = os.wait4(process.pid, 0)
        process.returncode = 0
    return _Took(perf_counter() - began_s, usage.ru_maxrss / 1024)


def _tell(what: str, took: _Took) -> None:
    print(f"{what}: {took.seconds:.1f} s, at most {took.peak_memory_mb:.0f} MB")


if __name__ == "__main__":
    typer.run(main)
