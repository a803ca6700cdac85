"""What a user's day costs in the ledger alone, when it is small and when it has grown: ``python -m
benchmarks.ledger``.

Ledgers are grown in a folder that is thrown away. Then users' days are closed, computed and credited by this one
process, through the same functions and with as many simultaneous requests as a worker has, and nothing else runs.
Both databases are as durable as they are in use: a PostgreSQL server with its default settings, SQLite as the
ledger opens it.
"""

import asyncio
import json
import sys
from collections.abc import Generator, Sequence
from dataclasses import asdict, dataclass
from datetime import date, timedelta
from enum import StrEnum
from itertools import cycle, islice
from time import perf_counter, process_time
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table
from sqlalchemy import create_engine, text

from activities.ledger_steps import Steps
from benchmarks.databases import Database, throwaway_database
from benchmarks.grown_ledger import NEXT_DAY, Users, add_users, enrolment_of, furnish, sync_url
from contract.requests import ComputeRequest, CreditRequest, SnapshotRequest
from ledger.database.engine import Ledger, open_ledger, upgrade_ledger
from ledger.day.together import close_day, credit_day
from ledger.holdings import balances
from settings import SHIPPED_PROGRAM_FILE, Settings
from staking.days import ONE_DAY, end_of
from staking.models import CreditReceipt, Rewards, Snapshot
from staking.program import Program, parse_program

REFERENCE_USER_DAYS_PER_S = {"postgresql": 429, "sqlite": 158}
"""What a straightforward build reached on two cores: 8 connections on PostgreSQL, full durability on SQLite."""
_BUSY_USERS = 10
"""How many users have many movements. As many users with few movements are compared with them."""
_ASSETS_MAX = 10
_BALANCES_READ = 500


class Databases(StrEnum):
    """Where the ledgers are kept."""

    SQLITE = "sqlite"
    POSTGRESQL = "postgresql"
    BOTH = "both"


@dataclass(frozen=True)
class Case:
    """One measurement: so many users, for so many days, with so many simultaneous requests."""

    users: int
    days: int
    at_once: int


@dataclass(frozen=True)
class Cost:
    """The costs of one measurement."""

    at_once: int
    user_days: int
    user_days_per_s: float
    us_per_user_day: float
    cpu_us_per_user_day: float
    """CPU of this process alone, without that of the server."""
    bytes_per_user_day: float
    """By how much the database grew."""
    us_per_balance: float
    """The time for reading a user's balances, one user after the other."""


@dataclass(frozen=True)
class Line:
    """A cost, and the size of the ledger and the kind of users for which it was measured."""

    database: str
    accounts: int
    """About how many accounts the ledger has."""
    movements: int
    """How many movements each account of the measured users has in the past."""
    assets: int
    """How many assets each of them holds."""
    cost: Cost


def main(
    database: Annotated[Databases, typer.Option(help="Where the ledgers are kept.")] = Databases.BOTH,
    accounts: Annotated[
        str, typer.Option(metavar="N,N", help="Accounts in the ledger: few and many.")
    ] = "1000,1000000",
    movements: Annotated[
        str, typer.Option(metavar="N,N", help="Past movements of an account: few and many.")
    ] = "10,100000",
    users: Annotated[int, typer.Option(min=_BUSY_USERS, help="Users who are paid together.")] = 500,
    at_once: Annotated[int, typer.Option(min=1, help="Simultaneous requests, as a busy worker has.")] = 100,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON array, nothing else.")] = False,
) -> None:
    """Measure closing, computing and crediting users' days on SQLite and PostgreSQL, from few to many."""
    ends = Ends(_numbers(accounts, "--accounts"), _numbers(movements, "--movements"))
    kinds = list(Database) if database is Databases.BOTH else [Database(database)]
    lines = [line for kind in kinds for line in _measure_database(kind, ends, users, at_once)]
    if as_json:
        print(json.dumps([asdict(line) for line in lines], indent=2))
    else:
        _print(lines)


@dataclass(frozen=True)
class Ends:
    """The smallest and the largest number of accounts and of movements."""

    accounts: tuple[int, int]
    movements: tuple[int, int]


def _numbers(given: str, option: str) -> tuple[int, int]:
    try:
        few, many = sorted(int(number) for number in given.split(","))
    except ValueError:
        few, many = 0, 0
    if few < 1:
        raise typer.BadParameter(f"{given!r} is not two numbers, such as 10,1000", param_hint=option)
    return few, many


def _measure_database(kind: Database, ends: Ends, users: int, at_once: int) -> Generator[Line]:
    """Measures one ledger while it grows from the smallest size to the largest."""
    program = parse_program(SHIPPED_PROGRAM_FILE.read_text(encoding="utf-8"))
    few, many = ends.movements
    together, in_a_pair, alone = (
        Case(users, 4, at_once),
        Case(_BUSY_USERS, 30, _BUSY_USERS),
        Case(_BUSY_USERS, 10, 1),
    )
    with throwaway_database(kind) as url:
        asyncio.run(_create(url, program))
        there = 0
        for end in ends.accounts:
            _say(f"{kind}: growing the ledger to {end:,} accounts")
            measured = {
                Users(f"one-of-{end}", users, movements=few): (together, in_a_pair, alone),
                Users(f"ten-of-{end}", users, movements=few, assets=_ASSETS_MAX): (together,),
                Users(f"busy-of-{end}", _BUSY_USERS, movements=many): (in_a_pair, alone),
            }
            for some in (Users(f"any-of-{end}", max(end - there, 1)), *measured):
                add_users(url, some, program)
            there = end
            _settle(url)
            for some, cases in measured.items():
                _say(f"{kind}: paying users with {some.movements:,} movements in {some.assets} assets")
                for cost in asyncio.run(_measure(url, some, cases)):
                    yield Line(kind, end, some.movements, some.assets, cost)


async def _create(url: str, program: Program) -> None:
    await upgrade_ledger(url)
    async with open_ledger(url) as ledger:
        await furnish(ledger, program)


async def _measure(url: str, users: Users, cases: Sequence[Case]) -> list[Cost]:
    """Measures one case after the other. Each begins at the day at which the case before stopped, and its first
    day is not measured."""
    costs: list[Cost] = []
    day = NEXT_DAY
    prepared_statements = Settings().prepared_statements
    async with open_ledger(url, prepared_statements=prepared_statements) as ledger:
        for case in cases:
            user_ids = users.ids[: case.users]
            await _pay_all(ledger, user_ids, day, case.at_once)
            stored, started, cpu_started = _stored_bytes(url), perf_counter(), process_time()
            for number in range(1, case.days + 1):
                await _pay_all(ledger, user_ids, day + number * ONE_DAY, case.at_once)
            seconds, cpu_seconds = perf_counter() - started, process_time() - cpu_started
            day += (case.days + 1) * ONE_DAY
            user_days = len(user_ids) * case.days
            costs.append(
                Cost(
                    at_once=case.at_once,
                    user_days=user_days,
                    user_days_per_s=round(user_days / seconds, 1),
                    us_per_user_day=round(seconds / user_days * 1e6, 1),
                    cpu_us_per_user_day=round(cpu_seconds / user_days * 1e6, 1),
                    bytes_per_user_day=round((_stored_bytes(url) - stored) / user_days, 1),
                    us_per_balance=round(await _seconds_per_balance(ledger, user_ids) * 1e6, 1),
                )
            )
    return costs


async def _pay_all(ledger: Ledger, user_ids: Sequence[str], day: date, at_once: int) -> None:
    turn = asyncio.Semaphore(at_once)

    async def pay(user_id: str) -> None:
        async with turn:
            await _pay(ledger, user_id, day)

    await asyncio.gather(*map(pay, user_ids))


async def _pay(ledger: Ledger, user_id: str, day: date) -> None:
    """Pays one user's day with the same calls as the workflow."""
    enrolment_id, now = enrolment_of(user_id), end_of(day) + timedelta(minutes=1)
    snapshot = await close_day(
        ledger, SnapshotRequest(user_id=user_id, enrolment_id=enrolment_id, day=day, now=now)
    )
    assert isinstance(snapshot, Snapshot), "there are no sources here"
    rewards = await Steps(ledger).compute(
        ComputeRequest(user_id=user_id, enrolment_id=enrolment_id, snapshot=snapshot)
    )
    assert isinstance(rewards, Rewards), "nobody here is in a restricted region"
    receipt = await credit_day(
        ledger, CreditRequest(user_id=user_id, enrolment_id=enrolment_id, rewards=rewards, now=now)
    )
    assert isinstance(receipt, CreditReceipt), "the pools are full"


async def _seconds_per_balance(ledger: Ledger, user_ids: Sequence[str]) -> float:
    started = perf_counter()
    for user_id in islice(cycle(user_ids), _BALANCES_READ):
        async with ledger.read() as connection:
            await balances(connection, user_id)
    return (perf_counter() - started) / _BALANCES_READ


def _settle(url: str) -> None:
    """Brings a new database into the state of one that is in use: PostgreSQL's upkeep is done, and nothing is left
    to write."""
    if url.startswith("postgresql"):
        _run(url, "VACUUM ANALYZE", "CHECKPOINT")


def _stored_bytes(url: str) -> int:
    if url.startswith("postgresql"):
        return _run(url, "CHECKPOINT", "SELECT pg_database_size(current_database())")
    return _run(url, "PRAGMA wal_checkpoint(TRUNCATE)", "SELECT * FROM pragma_page_count") * _run(
        url, "PRAGMA page_size"
    )


def _run(url: str, *statements: str) -> Any:
    """Runs statements and returns the value of the last one."""
    engine = create_engine(sync_url(url), isolation_level="AUTOCOMMIT")
    value = None
    with engine.connect() as connection:
        for statement in statements:
            result = connection.execute(text(statement))
            value = result.scalar() if result.returns_rows else None
    engine.dispose()
    return value


def _say(sentence: str) -> None:
    print(sentence, file=sys.stderr, flush=True)


def _print(lines: Sequence[Line]) -> None:
    table = Table("database", box=None)
    for title in _TITLES:
        table.add_column(title, justify="right")
    for line in lines:
        cost, reference = line.cost, REFERENCE_USER_DAYS_PER_S[line.database]
        figures = (
            line.accounts,
            line.movements,
            line.assets,
            cost.at_once,
            cost.user_days_per_s,
            reference,
            cost.us_per_user_day,
            cost.cpu_us_per_user_day,
            cost.bytes_per_user_day,
            cost.us_per_balance,
        )
        table.add_row(line.database, *(f"{figure:,.0f}" for figure in figures))
    terminal = Console(highlight=False)
    (terminal if terminal.is_terminal else Console(highlight=False, width=_WIDTH_WITHOUT_TERMINAL)).print(table)


_WIDTH_WITHOUT_TERMINAL = 140
_TITLES = (
    "accounts",
    "movements",
    "assets",
    "together",
    "user-days/s",
    "plain build",
    "µs",
    "CPU µs",
    "bytes",
    "balance µs",
)

if __name__ == "__main__":
    typer.run(main)
