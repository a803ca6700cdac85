"""How fast the list endpoint and the status endpoint answer: ``python -m benchmarks.exchange_list``.

Everything is on this machine: a Temporal server with a workflow asleep for every user, a worker (this process),
the ledger, and `starter.py serve` in one process. wrk (which must be installed) sends signed requests for the
list, and requests with a bearer token for the status, for many users in turn and for one user again and again. It
also sends requests to a bare FastAPI endpoint, on the same server in another process, which answers a body of the
same size. Every endpoint is measured in each of several rounds. The results are the medians, and their ratio to
the bare endpoint.
"""

import asyncio
import hashlib
import hmac
import json
import os
import socket
import sys
from base64 import b64encode
from collections import defaultdict
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from secrets import token_bytes
from statistics import median
from tempfile import TemporaryDirectory
from typing import Annotated
from urllib.request import Request, urlopen

import typer
from rich.console import Console
from rich.table import Table
from temporalio.client import Client

from benchmarks.asking import Answered, ask, check_wrk, middle
from benchmarks.databases import Database, throwaway_database
from benchmarks.midnight.processes import can_be_measured, cpu_s
from contract.answers import Receipt
from embedded.exiting import exit_process
from embedded.temporal_server import throwaway_server
from ledger.api_keys import add_key
from ledger.database.engine import Ledger, make_ledger, open_ledger, utc_now
from ledger.movements import deposit
from ledger.programs import apply_program
from ledger.service_tokens import Scope, add_token
from running.worker import build_worker
from settings import KEY_BYTES, LOOPBACK, SHIPPED_PROGRAM_FILE, Settings
from staking.money import UNITS_PER_TOKEN
from staking.program import Program, parse_program
from temporal.client import SoftStakingClient
from temporal.payloads import PYDANTIC
from web.access.key_encryption import KeyEncryption
from web.access.keys import new_key
from web.access.tokens import new_token

_ROOT = Path(__file__).parents[1]
_STARTER = _ROOT / "starter.py"
_ACTIVATIONS_AT_ONCE = 10
_SECONDS_MAX = 50
"""A signed request is valid for a minute."""
_NO_LIMIT = "1000000000"


@dataclass(frozen=True)
class Line:
    """The figures of an endpoint, and of the bare endpoint with a body of the same size."""

    database: str
    endpoint: str
    users: int
    """How many users are asked for in turn."""
    body_bytes: int
    answered: Answered
    bare: Answered
    ratio: float
    """The ratio of the requests that were answered in a second."""
    cpu_us: float
    bare_cpu_us: float
    """The CPU time that a request takes in the serving process, which says more if the machine has other work; 0
    if the system does not report it."""
    cpu_ratio: float


@dataclass(frozen=True)
class _Server:
    where: str
    pid: int


@dataclass(frozen=True)
class _Asked:
    """How requests were answered, and the CPU time of each in the serving process."""

    answered: Answered
    cpu_us: float


@dataclass(frozen=True)
class _Asker:
    """A user, and the key with which the user's own program signs."""

    user_id: str
    api_key: str
    secret: str


@dataclass(frozen=True)
class _Endpoint:
    """Requests of several users, one after the other. They are made anew for each round, since a signature
    expires."""

    name: str
    askers: Sequence[_Asker]
    token: str

    def requests(self) -> list[tuple[str, dict[str, str]]]:
        return [self._request(asker) for asker in self.askers]

    def _request(self, asker: _Asker) -> tuple[str, dict[str, str]]:
        if self.name == "status":
            path = f"/v1/accounts/{asker.user_id}/soft-staking/status"
            return path, {"Authorization": f"Bearer {self.token}"}
        path = f"/sapi/v1/soft-staking/list?{_signed(asker.secret)}"
        return path, {"X-MBX-APIKEY": asker.api_key}


def main(
    users: Annotated[int, typer.Option(min=1, help="How many workflows sleep.")] = 1000,
    asked: Annotated[int, typer.Option(min=1, help="For how many of them in turn is asked.")] = 100,
    seconds: Annotated[int, typer.Option(min=1, max=_SECONDS_MAX, help="How long wrk asks, each time.")] = 5,
    rounds: Annotated[int, typer.Option(min=1, help="How often each endpoint is asked.")] = 3,
    connections: Annotated[
        int, typer.Option(min=1, help="Connections that wrk keeps open at the same time.")
    ] = 16,
    databases: Annotated[
        list[Database], typer.Option("--database", help="Where the ledger is; may be repeated.")
    ] = [  # noqa: B006  # typer copies it
        Database.SQLITE
    ],
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON array.")] = False,
) -> None:
    """Measure the list and the status endpoint under load, beside a bare endpoint."""
    check_wrk()
    lines: list[Line] = []
    for database in databases:
        with throwaway_database(database) as url:
            lines += asyncio.run(_measure(database, url, users, min(asked, users), seconds, rounds, connections))
    if as_json:
        print(json.dumps([asdict(line) for line in lines], indent=2))
    else:
        _print_table(lines)
    # A process that used Temporal's SDK must be left with care.
    exit_process(0)


async def _measure(
    database: Database, url: str, users: int, asked: int, seconds: int, rounds: int, connections: int
) -> list[Line]:
    program = parse_program(SHIPPED_PROGRAM_FILE.read_text(encoding="utf-8"))
    settings = Settings(database_url=url, key_encryption_key=b64encode(token_bytes(KEY_BYTES)).decode())
    await make_ledger(url)
    async with throwaway_server() as address, open_ledger(url) as ledger:
        client = await Client.connect(address, data_converter=PYDANTIC)
        async with build_worker(client, ledger):
            service = SoftStakingClient(client, timeout=timedelta(minutes=1))
            await apply_program(ledger, program, operator="benchmarks", now=utc_now())
            await _activate(ledger, service, program, users)
            endpoints = await _endpoints(ledger, program, settings, asked)
            async with _service(settings, address) as ours:
                sizes = [await asyncio.to_thread(_body_bytes, ours.where, endpoint) for endpoint in endpoints]
                async with _bare_endpoints(sizes) as bare:
                    return await _rounds(
                        database,
                        list(zip(endpoints, sizes, strict=True)),
                        (ours, bare),
                        seconds,
                        rounds,
                        connections,
                    )


async def _rounds(
    database: Database,
    endpoints: Sequence[tuple[_Endpoint, int]],
    servers: tuple[_Server, _Server],
    seconds: int,
    rounds: int,
    connections: int,
) -> list[Line]:
    answered: defaultdict[_Endpoint, list[tuple[_Asked, _Asked]]] = defaultdict(list)
    for number in range(1, rounds + 1):
        for endpoint, size in endpoints:
            print(f"{database}: {endpoint.name}, round {number} of {rounds} …", file=sys.stderr, flush=True)
            ours = await _asked(servers[0], endpoint.requests(), seconds, connections)
            bare = await _asked(servers[1], [(f"/{size}", {})], seconds, connections)
            answered[endpoint].append((ours, bare))
    return [_line(database, endpoint, size, answered[endpoint]) for endpoint, size in endpoints]


async def _asked(
    server: _Server, requests: Sequence[tuple[str, Mapping[str, str]]], seconds: int, connections: int
) -> _Asked:
    before_s = _cpu_s(server)
    answered = await ask(server.where, requests, seconds=seconds, connections=connections)
    return _Asked(answered, 1e6 * (_cpu_s(server) - before_s) / (answered.requests_per_s * seconds))


def _cpu_s(server: _Server) -> float:
    return cpu_s([server.pid]) if can_be_measured() else 0


def _line(database: Database, endpoint: _Endpoint, size: int, rounds: Sequence[tuple[_Asked, _Asked]]) -> Line:
    return Line(
        database.value,
        endpoint.name,
        len(endpoint.askers),
        size,
        middle([ours.answered for ours, _ in rounds]),
        middle([bare.answered for _, bare in rounds]),
        round(median(ours.answered.requests_per_s / bare.answered.requests_per_s for ours, bare in rounds), 3),
        round(median(ours.cpu_us for ours, _ in rounds)),
        round(median(bare.cpu_us for _, bare in rounds)),
        round(median(bare.cpu_us / max(ours.cpu_us, 1) for ours, bare in rounds), 3),
    )


async def _endpoints(ledger: Ledger, program: Program, settings: Settings, asked: int) -> list[_Endpoint]:
    """Each endpoint twice: for all users in turn, and for one user again and again."""
    encryption = KeyEncryption(settings)
    askers: list[_Asker] = []
    for number in range(1, asked + 1):
        key, secret = new_key(f"user-{number}", encryption, now=utc_now(), region="FR")
        await add_key(ledger, key, program.documents, operator="benchmarks")
        askers.append(_Asker(key.user_id, key.api_key, secret or ""))
    text, token = new_token("benchmarks", [Scope.READ], now=utc_now())
    await add_token(ledger, token, operator="benchmarks")
    several = [tuple(askers), tuple(askers[:1])] if asked > 1 else [tuple(askers)]
    return [_Endpoint(name, some, text) for name in ("list", "status") for some in several]


def _body_bytes(where: str, endpoint: _Endpoint) -> int:
    path, headers = endpoint.requests()[0]
    with urlopen(Request(f"{where}{path}", headers=headers)) as answer:  # These requests are made by this program.
        return len(answer.read())


@asynccontextmanager
async def _service(settings: Settings, address: str) -> AsyncGenerator[_Server]:
    port = free_port()
    variables = {
        "SOFT_STAKING_DATABASE_URL": settings.database_url,
        "SOFT_STAKING_KEY_ENCRYPTION_KEY": settings.key_encryption_key,
        "SOFT_STAKING_WEIGHT_PER_MINUTE": _NO_LIMIT,
        "SOFT_STAKING_CALLS_PER_MINUTE": _NO_LIMIT,
        "TEMPORAL_ADDRESS": address,
    }
    async with _process(str(_STARTER), "serve", "--port", str(port), variables=variables) as pid:
        yield _Server(f"http://{LOOPBACK}:{port}", pid)


@asynccontextmanager
async def _bare_endpoints(sizes: Sequence[int]) -> AsyncGenerator[_Server]:
    port = free_port()
    arguments = [str(port), *map(str, sorted(set(sizes)))]
    async with _process("-m", "benchmarks.bare_endpoint", *arguments, variables={}) as pid:
        yield _Server(f"http://{LOOPBACK}:{port}", pid)


@asynccontextmanager
async def _process(*arguments: str, variables: Mapping[str, str]) -> AsyncGenerator[int]:
    """Runs a server in a folder of its own, and yields its port when it has said on stderr that it serves."""
    with TemporaryDirectory() as folder:
        environment = {**os.environ, "SOFT_STAKING_DATA_DIR": folder, "PYTHONPATH": str(_ROOT), **variables}
        server = await asyncio.create_subprocess_exec(
            sys.executable, *arguments, env=environment, stderr=asyncio.subprocess.PIPE
        )
        assert server.stderr is not None
        told = await server.stderr.readline()
        if b"http://" not in told:
            raise typer.TyperException(f"nothing is served: {told.decode()}")
        try:
            yield server.pid
        finally:
            server.terminate()
            await server.wait()


async def _activate(ledger: Ledger, service: SoftStakingClient, program: Program, users: int) -> None:
    print(f"activating {users} users …", file=sys.stderr, flush=True)
    turn = asyncio.Semaphore(_ACTIVATIONS_AT_ONCE)

    async def activate(user: str) -> None:
        async with turn:
            amount = 12 * UNITS_PER_TOKEN
            await deposit(ledger, user, "SOL", amount, idempotency_key=f"deposit of {user}", now=utc_now())
            answer = await service.activate(user, region="FR", channel="web", documents=program.documents)
            assert isinstance(answer, Receipt), answer

    await asyncio.gather(*(activate(f"user-{number}") for number in range(1, users + 1)))


def free_port() -> int:
    with socket.socket() as taken:
        taken.bind((LOOPBACK, 0))
        return taken.getsockname()[1]


def _signed(secret: str) -> str:
    milliseconds = int(datetime.now(UTC).timestamp() * 1000)
    query = f"recvWindow=60000&timestamp={milliseconds}"
    return f"{query}&signature={hmac.digest(secret.encode(), query.encode(), hashlib.sha256).hex()}"


def _print_table(lines: Sequence[Line]) -> None:
    table = Table(box=None)
    titles = (
        "database",
        "endpoint",
        "users",
        "bytes",
        "requests/s",
        "p50 ms",
        "p99 ms",
        "bare requests/s",
        "ratio",
        "CPU µs",
        "bare CPU µs",
        "CPU ratio",
    )
    for title in titles:
        table.add_column(title, justify="left" if title in ("database", "endpoint") else "right")
    for line in lines:
        table.add_row(
            line.database,
            line.endpoint,
            f"{line.users}",
            f"{line.body_bytes}",
            f"{line.answered.requests_per_s:,.0f}",
            f"{line.answered.p50_ms:.1f}",
            f"{line.answered.p99_ms:.1f}",
            f"{line.bare.requests_per_s:,.0f}",
            f"{line.ratio:.2f}",
            f"{line.cpu_us:,.0f}",
            f"{line.bare_cpu_us:,.0f}",
            f"{line.cpu_ratio:.2f}",
        )
    Console(width=140).print(table)


if __name__ == "__main__":
    typer.run(main)
