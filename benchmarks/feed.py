"""How many movements a second a feed can post over HTTP: ``python -m benchmarks.feed``.

Everything is on this machine: the ledger, `starter.py serve` in one process, and this process, which sends. All
movements are new, and durable after their answer. In each round, single `deposit` calls of this process, one after
the other, are measured too. The results are the medians of some rounds.
"""

import asyncio
import json
import os
import sys
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass
from itertools import count
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from time import perf_counter
from typing import Annotated, Any

import typer

from benchmarks.databases import Database, throwaway_database
from embedded.exiting import exit_process
from embedded.temporal_server import throwaway_server
from ledger.database.engine import Ledger, make_ledger, open_ledger, utc_now
from ledger.movements import deposit
from ledger.programs import apply_program
from ledger.service_tokens import Scope, add_token
from settings import LOOPBACK, SHIPPED_PROGRAM_FILE
from staking.program import parse_program
from web.access.tokens import new_token

_STARTER = Path(__file__).parents[1] / "starter.py"
_IN_A_REQUEST = 1000
_REQUESTS = 20
_DEPOSITS = 200
_AT_ONCE = 2
_numbers = count(1)


@dataclass(frozen=True)
class Line:
    """The medians, in movements a second."""

    database: str
    users: int
    feed_per_s: float
    hot_user_per_s: float
    deposits_per_s: float

    @property
    def ratio(self) -> float:
        """The speed of the feed of many users, divided by the speed of single deposits."""
        return self.feed_per_s / self.deposits_per_s


def main(
    database: Annotated[Database, typer.Option(help="Where the ledger is.")] = Database.POSTGRESQL,
    users: Annotated[int, typer.Option(min=1, help="Whose movements come in turn.")] = 10_000,
    rounds: Annotated[int, typer.Option(min=1, help="How many rounds; the results are their medians.")] = 3,
    port: Annotated[int, typer.Option(help="Where the service listens meanwhile.")] = 8097,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of sentences.")] = False,
) -> None:
    """Measure what a feed can post."""
    with throwaway_database(database) as url:
        line = asyncio.run(_measured(database, url, users, rounds, port))
    if as_json:
        print(json.dumps({**asdict(line), "ratio": line.ratio}, indent=2))
    else:
        print(f"{line.users} users over HTTP: {line.feed_per_s:,.0f} movements/s")
        print(f"one user over HTTP: {line.hot_user_per_s:,.0f} movements/s")
        print(f"single deposits: {line.deposits_per_s:,.0f}/s, of which the feed is {line.ratio:.0f} times")
    sys.stdout.flush()
    exit_process(0)


async def _measured(database: Database, url: str, users: int, rounds: int, port: int) -> Line:
    await make_ledger(url)
    async with throwaway_server() as temporal, open_ledger(url) as ledger:
        program = parse_program(SHIPPED_PROGRAM_FILE.read_text(encoding="utf-8"))
        await apply_program(ledger, program, operator="benchmarks", now=utc_now())
        text = await token_of_a_feed(ledger)
        names = [f"user-{number}" for number in range(users)]
        async with service(url, port, temporal):
            await _feed(port, text, names)  # This opens the users' accounts.
            feeds: list[float] = []
            hot: list[float] = []
            deposits: list[float] = []
            for number in range(1, rounds + 1):
                print(f"round {number} of {rounds} …", file=sys.stderr, flush=True)
                feeds.append(await _per_s(_REQUESTS * _IN_A_REQUEST, lambda: _feed(port, text, names)))
                hot.append(await _per_s(_REQUESTS * _IN_A_REQUEST, lambda: _feed(port, text, ["hot"])))
                deposits.append(await _per_s(_DEPOSITS, lambda: _deposits(ledger, names)))
    return Line(database.value, users, median(feeds), median(hot), median(deposits))


async def token_of_a_feed(ledger: Ledger) -> str:
    """A new token with which movements may be sent."""
    text, token = new_token("benchmarks", [Scope.MOVE], now=utc_now())
    await add_token(ledger, token, operator="benchmarks")
    return text


async def _per_s(movements: int, work: Callable[[], Awaitable[None]]) -> float:
    began_s = perf_counter()
    await work()
    return movements / (perf_counter() - began_s)


async def _deposits(ledger: Ledger, names: list[str]) -> None:
    for number in range(_DEPOSITS):
        user = names[number % len(names)]
        await deposit(ledger, user, "SOL", 1, idempotency_key=f"single {next(_numbers)}", now=utc_now())


async def _feed(port: int, token: str, names: list[str]) -> None:
    """Sends so many requests over a few connections, each as soon as its last one is answered."""
    bodies = [body_of(names, place * _IN_A_REQUEST, _IN_A_REQUEST) for place in range(_REQUESTS)]
    await asyncio.gather(*(_send(port, token, bodies[place::_AT_ONCE]) for place in range(_AT_ONCE)))


def body_of(names: list[str], first: int, count: int, *, asset: str = "SOL") -> bytes:
    """The body of a request with so many new movements, of the users in turn. The first is of the user at a
    place."""
    now = utc_now().isoformat()
    movements = [
        {
            "id": f"feed {next(_numbers)}",
            "user": names[(first + place) % len(names)],
            "asset": asset,
            "amount": "0.00000001",
            "at": now,
        }
        for place in range(count)
    ]
    return json.dumps({"movements": movements}).encode()


async def _send(port: int, token: str, bodies: list[bytes]) -> None:
    async with connection_to(port, token) as post:
        for body in bodies:
            await post(body)


@asynccontextmanager
async def connection_to(port: int, token: str) -> AsyncGenerator[Callable[[bytes], Awaitable[None]]]:
    """A function that posts a request's body over one connection, and returns when its movements are posted."""
    reader, writer = await asyncio.open_connection(LOOPBACK, port)

    async def post(body: bytes) -> None:
        head = (
            f"POST /v1/movements HTTP/1.1\r\nHost: feed\r\nAuthorization: Bearer {token}\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        writer.write(head.encode() + body)
        answer = await reader.readuntil(b"\r\n\r\n")
        length = int(answer.lower().split(b"content-length: ", 1)[1].split(b"\r\n", 1)[0])
        results: dict[str, Any] = json.loads(await reader.readexactly(length))
        statuses = {result["status"] for result in results["results"]}
        assert statuses == {"posted"}, f"everything here is new and fits, and was answered as {statuses}"

    try:
        yield post
    finally:
        writer.close()


@asynccontextmanager
async def service(url: str, port: int, temporal: str) -> AsyncGenerator[None]:
    """`starter.py serve` in a process of its own, until the context is left."""
    with TemporaryDirectory() as folder:
        variables = {
            **os.environ,
            "SOFT_STAKING_DATABASE_URL": url,
            "SOFT_STAKING_DATA_DIR": folder,
            "SOFT_STAKING_CALLS_PER_MINUTE": "1000000",
            "TEMPORAL_ADDRESS": temporal,
        }
        server = await asyncio.create_subprocess_exec(
            sys.executable, str(_STARTER), "serve", "--port", str(port), env=variables
        )
        try:
            await _until_it_listens(port)
            yield
        finally:
            server.terminate()
            await server.wait()


async def _until_it_listens(port: int) -> None:
    async with asyncio.timeout(60):
        while True:
            try:
                _, writer = await asyncio.open_connection(LOOPBACK, port)
            except OSError:
                await asyncio.sleep(0.1)
            else:
                writer.close()
                return


if __name__ == "__main__":
    typer.run(main)
