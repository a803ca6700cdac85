"""How many signed requests a second the list endpoint answers: ``python -m benchmarks.exchange_list``.

Everything is on this machine: a Temporal server with a workflow asleep for every user, a worker (this process),
the ledger, and `starter.py serve`, at which wrk (which must be installed) sends one signed request again and
again.
"""

import asyncio
import hashlib
import hmac
import os
import shutil
import socket
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated

import typer
from temporalio.client import Client
from temporalio.contrib.pydantic import pydantic_data_converter

from embedded.exiting import exit_process
from embedded.temporal_server import throwaway_server
from ledger.api_keys import add_key
from ledger.engine import Ledger, make_ledger, open_ledger, utc_now
from ledger.movements import deposit
from ledger.programs import apply_program
from settings import SHIPPED_PROGRAM_FILE, Settings
from staking.models import Receipt
from staking.money import UNITS_PER_TOKEN
from staking.program import Program, parse_program
from web.key_encryption import KeyEncryption
from web.keys import new_key
from worker import build_worker
from workflows.client import SoftStakingClient

_STARTER = Path(__file__).parents[1] / "starter.py"
_ASKS = "user-1"
_ACTIVATIONS_AT_ONCE = 10
_SECONDS_MAX = 55
"""A signed request is valid for a minute."""


def main(
    users: Annotated[int, typer.Option(min=1, help="How many workflows sleep.")] = 1000,
    seconds: Annotated[int, typer.Option(min=1, max=_SECONDS_MAX, help="How long wrk asks.")] = 20,
    connections: Annotated[int, typer.Option(min=1, help="Of wrk, at once.")] = 16,
) -> None:
    """Measure the list endpoint under load."""
    if shutil.which("wrk") is None:
        raise typer.BadParameter("wrk is not installed")
    asyncio.run(_measure(users, seconds, connections))
    # A process that used Temporal's SDK must be left with care.
    exit_process(0)


async def _measure(users: int, seconds: int, connections: int) -> None:
    program = parse_program(SHIPPED_PROGRAM_FILE.read_text(encoding="utf-8"))
    with TemporaryDirectory() as folder:
        settings = Settings(data_dir=Path(folder), database_url="")
        await make_ledger(settings.ledger_url)
        async with throwaway_server() as address, open_ledger(settings.ledger_url) as ledger:
            client = await Client.connect(address, data_converter=pydantic_data_converter)
            async with build_worker(client, ledger):
                service = SoftStakingClient(client, timeout=timedelta(minutes=1))
                await apply_program(ledger, program, operator="benchmarks", now=utc_now())
                await _activate(ledger, service, program, users)
                key, secret = new_key(_ASKS, KeyEncryption(settings), now=utc_now(), region="FR")
                await add_key(ledger, key, program.documents, operator="benchmarks")
                async with _served(folder, address) as where:
                    url = f"{where}/sapi/v1/soft-staking/list?{_signed(secret or '')}"
                    await _ask(url, key.api_key, seconds, connections)


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


@asynccontextmanager
async def _served(folder: str, address: str) -> AsyncGenerator[str]:
    port = _free_port()
    variables = {
        **os.environ,
        "SOFT_STAKING_DATA_DIR": folder,
        "SOFT_STAKING_DATABASE_URL": "",
        "SOFT_STAKING_WEIGHT_PER_MINUTE": "1000000000",
        "TEMPORAL_ADDRESS": address,
    }
    command = [sys.executable, str(_STARTER), "serve", "--port", str(port)]
    server = await asyncio.create_subprocess_exec(*command, env=variables, stderr=asyncio.subprocess.PIPE)
    assert server.stderr is not None
    told = await server.stderr.readline()
    if not told.startswith(b"Pages"):
        raise typer.TyperException(f"the pages are not served: {told.decode()}")
    yield f"http://127.0.0.1:{port}"
    server.terminate()
    await server.wait()


def _free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return taken.getsockname()[1]


def _signed(secret: str) -> str:
    milliseconds = int(datetime.now(UTC).timestamp() * 1000)
    query = f"recvWindow=60000&timestamp={milliseconds}"
    return f"{query}&signature={hmac.digest(secret.encode(), query.encode(), hashlib.sha256).hex()}"


async def _ask(url: str, api_key: str, seconds: int, connections: int) -> None:
    wrk = ["wrk", "--latency", "-t1", f"-c{connections}", f"-d{seconds}s", "-H", f"X-MBX-APIKEY: {api_key}", url]
    asking = await asyncio.create_subprocess_exec(*wrk)
    await asking.wait()


if __name__ == "__main__":
    typer.run(main)
