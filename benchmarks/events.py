"""How many events a second one reader gets over HTTP: ``python -m benchmarks.events``.

Everything is on this machine: a ledger on PostgreSQL with a credit of ten assets for each user, `starter.py serve`
in one process, and this process, which walks from cursor to cursor over one connection and parses what it gets.
"""

import asyncio
import json
import sys
from dataclasses import asdict, dataclass
from statistics import median
from time import perf_counter
from typing import Annotated, Any

import typer
from sqlalchemy import create_engine, text

from benchmarks.databases import Database, throwaway_database
from benchmarks.feed import service
from benchmarks.grown_ledger import Users, add_users, furnish, sync_url
from embedded.exiting import exit_process
from embedded.temporal_server import throwaway_server
from ledger.database.engine import make_ledger, open_ledger, utc_now
from ledger.service_tokens import Scope, add_token
from settings import LOOPBACK, SHIPPED_PROGRAM_FILE
from staking.program import parse_program
from web.access.tokens import new_token

_AS_IF_THEY_HAD_BEEN_TOLD = """
    INSERT INTO events (kind, user_id, day, recorded_at, entry_id, late)
    SELECT 'reward.credited', user_id, day, credited_at, entry_id, late FROM days
    WHERE credited_at IS NOT NULL ORDER BY user_id"""
_IN_A_PAGE = 500


@dataclass(frozen=True)
class Line:
    """The median of the rounds."""

    database: str
    events: int
    events_per_s: float
    megabytes: float


def main(
    database: Annotated[Database, typer.Option(help="Where the ledger is.")] = Database.POSTGRESQL,
    events: Annotated[int, typer.Option(min=1, help="How many there are to read.")] = 20_000,
    assets: Annotated[int, typer.Option(min=1, max=10, help="Lines of each credit.")] = 10,
    rounds: Annotated[int, typer.Option(min=1, help="Of which the median is told.")] = 3,
    port: Annotated[int, typer.Option(help="Where the service listens meanwhile.")] = 8098,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a sentence.")] = False,
) -> None:
    """Measure what one reader of events gets."""
    with throwaway_database(database) as url:
        line = asyncio.run(_measured(database, url, Users("user", events, assets=assets), rounds, port))
    if as_json:
        print(json.dumps(asdict(line), indent=2))
    else:
        print(
            f"one reader over HTTP: {line.events_per_s:,.0f} events/s ({line.events:,} events of {assets} lines, "
            f"{line.megabytes:.1f} MB)"
        )
    sys.stdout.flush()
    exit_process(0)


async def _measured(database: Database, url: str, users: Users, rounds: int, port: int) -> Line:
    await make_ledger(url)
    program = parse_program(SHIPPED_PROGRAM_FILE.read_text(encoding="utf-8"))
    token_text, token = new_token("benchmarks", [Scope.EVENTS], now=utc_now())
    async with open_ledger(url) as ledger:
        await furnish(ledger, program)
        await add_token(ledger, token, operator="benchmarks")
    add_users(url, users, program)
    engine = create_engine(sync_url(url))
    with engine.begin() as connection:
        connection.execute(text(_AS_IF_THEY_HAD_BEEN_TOLD))
    engine.dispose()
    async with throwaway_server() as temporal, service(url, port, temporal):
        walks = [await _walk(port, token_text, users.count) for _ in range(rounds)]
    return Line(database.value, users.count, median(walk[0] for walk in walks), walks[0][1] / 1e6)


async def _walk(port: int, token: str, expected: int) -> tuple[float, int]:
    """Events a second, and how many bytes they were, from the first to the last."""
    reader, writer = await asyncio.open_connection(LOOPBACK, port)
    cursor, found, size = "0", 0, 0
    began_s = perf_counter()
    try:
        while True:
            head = (
                f"GET /v1/events?after={cursor}&limit={_IN_A_PAGE}&types=reward.credited HTTP/1.1\r\n"
                f"Host: events\r\nAuthorization: Bearer {token}\r\n\r\n"
            )
            writer.write(head.encode())
            answer = await reader.readuntil(b"\r\n\r\n")
            length = int(answer.lower().split(b"content-length: ", 1)[1].split(b"\r\n", 1)[0])
            page: dict[str, Any] = json.loads(await reader.readexactly(length))
            size += length
            found += len(page["events"])
            cursor = page["cursor"]
            if not page["events"]:
                break
    finally:
        writer.close()
    assert found == expected, f"there are {expected} events, and {found} were read"
    return found / (perf_counter() - began_s), size


if __name__ == "__main__":
    typer.run(main)
