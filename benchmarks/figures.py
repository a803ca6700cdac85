"""What it costs to read the figures that an operator watches: ``python -m benchmarks.figures --users 1000000``.

A ledger is grown in a folder that is thrown away. Every user is enrolled and was paid in one asset on each of the
last seven days. Of these payments only the pool's postings are written. Then the figures are read a few times.
"""

import asyncio
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from time import perf_counter
from typing import Annotated

import psycopg
import typer
from sqlalchemy import create_engine, text

from benchmarks.databases import Database, throwaway_database
from benchmarks.grown_ledger import NEXT_DAY, Users, add_users, furnish, sync_url
from ledger.database.engine import open_ledger, upgrade_ledger
from ledger.reading.fleet import OUTFLOW_DAYS, fleet_figures
from settings import SHIPPED_PROGRAM_FILE
from staking.days import MICROSECONDS_PER_DAY, start_of
from staking.program import parse_program

_READINGS = 3
_RUSH_HOUR = start_of(NEXT_DAY)
"""An instant at which everybody is paid."""
_PAID = """
    INSERT INTO postings (entry_id, account_id, effective_at, amount)
    WITH RECURSIVE numbers(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM numbers WHERE i < :rows)
    SELECT (SELECT max(entry_id) FROM entries) + i,
           (SELECT account_id FROM accounts WHERE kind = 'pool' AND asset = :asset), :boundary, -1000
    FROM numbers
"""


_CLOSED = (
    """
    INSERT INTO days (user_id, day, enrolment_id, program_version, accrues, closed_at)
    SELECT user_id, day + 1, enrolment_id, program_version, accrues, closed_at FROM days
    """,
    """
    INSERT INTO snapshots (user_id, day, asset, opening, closing, average)
    SELECT user_id, day + 1, asset, opening, closing, average FROM snapshots
    """,
)


def main(
    users: Annotated[int, typer.Option(min=1, help="Enrolled users.")] = 1_000_000,
    database: Annotated[Database, typer.Option(help="Where the ledger is kept.")] = Database.SQLITE,
) -> None:
    """Grow a ledger and read its figures in three situations: everybody is paid; everybody is owed a day; that day
    is closed for everybody and waits for its credit."""
    a_day_later = _RUSH_HOUR + timedelta(days=1)
    with throwaway_database(database) as url:
        asyncio.run(_grow(url, users))
        for name, now in (("paid", _RUSH_HOUR), ("owed a day", a_day_later), ("closed and waiting", a_day_later)):
            if name == "closed and waiting":
                _write(url, [(statement, {}) for statement in _CLOSED])
            seconds, days = asyncio.run(_read(url, now))
            print(
                f"{database}: {users} users, all {name}: {seconds:.2f} s at best of {_READINGS}; {days} owed days"
            )


async def _grow(url: str, users: int) -> None:
    program = parse_program(SHIPPED_PROGRAM_FILE.read_text())
    await upgrade_ledger(url)
    async with open_ledger(url) as ledger:
        await furnish(ledger, program)
    add_users(url, Users("user", users), program)
    boundaries = [_microseconds(_RUSH_HOUR) - MICROSECONDS_PER_DAY * days for days in range(OUTFLOW_DAYS)]
    asset = next(iter(program.assets))
    _write(
        url,
        [
            (
                _PAID.replace("+ i,", f"+ i + {number * users},"),
                {"rows": users, "asset": asset, "boundary": boundary},
            )
            for number, boundary in enumerate(boundaries)
        ],
    )


def _write(url: str, statements: Sequence[tuple[str, Mapping[str, object]]]) -> None:
    """Writes rows. On PostgreSQL it does so without foreign keys, which would be checked row by row."""
    engine = create_engine(sync_url(url))
    with engine.begin() as connection:
        if engine.dialect.name == "postgresql":
            connection.execute(text("SET session_replication_role = replica"))
        for statement, given in statements:
            connection.execute(text(statement), given)
    engine.dispose()
    if url.startswith("postgresql:"):
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute("VACUUM ANALYZE")


async def _read(url: str, now: datetime) -> tuple[float, int]:
    taken_s: list[float] = []
    owed_days = 0
    async with open_ledger(url) as ledger:
        for _ in range(_READINGS):
            began_s = perf_counter()
            owed_days = (await fleet_figures(ledger, now)).owed.days
            taken_s.append(perf_counter() - began_s)
    return min(taken_s), owed_days


def _microseconds(instant: datetime) -> int:
    return round(instant.timestamp()) * 1_000_000


if __name__ == "__main__":
    typer.run(main)
