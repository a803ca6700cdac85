"""An audit's time and memory: ``python -m benchmarks.audit --postings 1000000 --database sqlite``.

A ledger is generated in a folder that is thrown away, then audited in a process of its own, so that the memory is
the audit's alone. The memory of a PostgreSQL server is not counted.
"""

import asyncio
import resource
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from time import perf_counter
from typing import Annotated, Any

import psycopg
import typer

from benchmarks.databases import Database, throwaway_database
from benchmarks.generated_ledger import FIRST_DAY, Size, generate
from ledger.auditing.audit import audit
from ledger.database.engine import open_ledger, upgrade_ledger
from settings import SHIPPED_PROGRAM_FILE
from staking.days import start_of
from staking.program import parse_program


@dataclass(frozen=True)
class Measured:
    """What one audit took."""

    postings: int
    credited_days: int
    recomputed: int
    is_clean: bool
    seconds: float
    peak_memory_mb: float


def main(
    postings: Annotated[int, typer.Option(min=1, help="About how many postings the ledger has.")] = 1_000_000,
    database: Annotated[Database, typer.Option(help="Where the ledger is kept.")] = Database.SQLITE,
) -> None:
    """Generate a consistent ledger and audit it."""
    size = Size.of_postings(postings)
    with throwaway_database(database) as url:
        seconds = _in_a_process(_generate, url, size)
        print(f"{database}: generated {size.users} users and {size.days} days in {seconds:.1f} s")
        measured = _in_a_process(_audit, url, size)
    print(
        f"{database}: audited {measured.postings} postings and {measured.credited_days} credited days "
        f"in {measured.seconds:.1f} s with at most {measured.peak_memory_mb:.0f} MB of memory; "
        f"{measured.recomputed} rows were computed again outside SQL; "
        f"{'clean' if measured.is_clean else 'BROKEN'}"
    )
    if not measured.is_clean:
        raise typer.Exit(1)


def _in_a_process(work: Any, url: str, size: Size) -> Any:
    with ProcessPoolExecutor(max_workers=1, mp_context=get_context("spawn")) as process:
        return process.submit(work, url, size).result()


def _generate(url: str, size: Size) -> float:
    async def work() -> None:
        await upgrade_ledger(url)
        async with open_ledger(url, clock=lambda: start_of(FIRST_DAY)) as ledger:
            await generate(ledger, size, parse_program(SHIPPED_PROGRAM_FILE.read_text()))

    started = perf_counter()
    asyncio.run(work())
    if url.startswith("postgresql:"):
        # PostgreSQL's autovacuum would do this soon, and so at the same time as the audit. SQLite never does it.
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute("VACUUM ANALYZE")
    return perf_counter() - started


def _audit(url: str, size: Size) -> Measured:
    async def work() -> Measured:
        async with open_ledger(url) as ledger:
            started = perf_counter()
            found = await audit(ledger, now=size.now)
            seconds = perf_counter() - started
        return Measured(
            postings=found.postings,
            credited_days=found.credited_days,
            recomputed=sum(check.recomputed for check in found.checks),
            is_clean=found.is_clean,
            seconds=seconds,
            peak_memory_mb=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        )

    return asyncio.run(work())


if __name__ == "__main__":
    typer.run(main)
