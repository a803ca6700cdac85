"""The HTTP APIs in a test: programs that sign their requests, and services with tokens."""

import base64
import hashlib
import hmac
import threading
from asyncio import AbstractEventLoop, Event, create_task, get_running_loop, run, run_coroutine_threadsafe, sleep
from collections.abc import AsyncGenerator, Callable, Coroutine, Generator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlencode

import httpx
import uvicorn
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from fastapi import FastAPI
from servers import full_server
from temporalio.client import Client
from world import LONG_AGO, SHIPPED_PROGRAM, World, a_world, at

from ledger.api_keys import KeyKind, add_key
from ledger.database.engine import utc_now
from ledger.service_tokens import Scope, add_token
from running.worker import build_worker
from settings import Settings
from temporal.client import SoftStakingClient
from temporal.payloads import PYDANTIC
from web.access.key_encryption import KeyEncryption
from web.access.keys import new_key
from web.access.tokens import new_token
from web.app import create_app
from web.service import Service

SAPI = "/sapi/v1/soft-staking"
NOW = at("2026-10-05 12:00")
RSA_KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)
ED25519_KEY = Ed25519PrivateKey.generate()
PrivateKey = rsa.RSAPrivateKey | Ed25519PrivateKey
_Answer = TypeVar("_Answer")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def milliseconds(instant: datetime) -> int:
    return (instant - _EPOCH) // timedelta(milliseconds=1)


def public_pem(key: PrivateKey) -> bytes:
    return key.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )


def private_pem(key: PrivateKey) -> str:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ).decode()


def hmac_of(secret: str, payload: str) -> str:
    return hmac.new(secret.encode(), payload.encode(), hashlib.sha256).hexdigest()


def rsa_of(payload: str) -> str:
    return base64.b64encode(RSA_KEY.sign(payload.encode(), PKCS1v15(), hashes.SHA256())).decode()


def ed25519_of(payload: str) -> str:
    return base64.b64encode(ED25519_KEY.sign(payload.encode())).decode()


@dataclass(frozen=True)
class Program:
    """A user's own program, which signs what it asks."""

    api_key: str
    secret: str
    """The secret; empty for a key that is not an HMAC key."""
    sign: Callable[[str], str]

    @property
    def headers(self) -> dict[str, str]:
        return {"X-MBX-APIKEY": self.api_key}

    def query(self, text: str) -> str:
        """A query string as it is, and its signature."""
        return f"{text}&{urlencode({'signature': self.sign(text)})}"

    def asking(self, parameters: Mapping[str, object], *, now: datetime = NOW) -> str:
        """A signed query string of parameters, made now."""
        return self.query(urlencode({**parameters, "timestamp": milliseconds(now)}))


async def make_program(
    world: World,
    settings: Settings,
    user: str = "ann",
    kind: KeyKind = KeyKind.HMAC,
    *,
    read_only: bool = False,
    region: str | None = "FR",
    documents: Mapping[str, str] = SHIPPED_PROGRAM.documents,
) -> Program:
    """A program with a key of its own."""
    public = {KeyKind.RSA: RSA_KEY, KeyKind.ED25519: ED25519_KEY}.get(kind)
    key, secret = new_key(
        user,
        KeyEncryption(settings),
        now=LONG_AGO,
        region=region,
        kind=kind,
        public_key=public_pem(public).decode() if public else None,
        read_only=read_only,
    )
    await add_key(world.ledger, key, documents, operator="tests")
    signs = {KeyKind.HMAC: lambda payload: hmac_of(secret or "", payload), KeyKind.RSA: rsa_of}
    return Program(key.api_key, secret or "", signs.get(kind, ed25519_of))


async def make_token(world: World, *scopes: Scope) -> dict[str, str]:
    """The headers of a service that has these scopes."""
    text, token = new_token("tests", scopes, now=LONG_AGO)
    await add_token(world.ledger, token, operator="tests")
    return {"Authorization": f"Bearer {text}"}


class Clock:
    """The one clock of the web room, which tests set."""

    def __init__(self, instant: datetime = NOW) -> None:
        self.instant = instant

    def __call__(self) -> datetime:
        return self.instant


class Web:
    """The application on a world, within this process."""

    def __init__(self, world: World, settings: Settings, clock: Clock, app: FastAPI) -> None:
        self.world = world
        self.settings = settings
        self.clock = clock
        self.app = app

    def from_address(self, address: str = "203.0.113.1") -> httpx.AsyncClient:
        """A client at an address."""
        transport = httpx.ASGITransport(self.app, client=(address, 1234))
        return httpx.AsyncClient(transport=transport, base_url="http://soft-staking")

    async def get(self, path: str, headers: Mapping[str, str] | None = None) -> httpx.Response:
        """Sends a request. ``path`` includes the query string, which is sent as it is."""
        async with self.from_address() as client:
            return await client.get(path, headers=headers)

    async def post(self, path: str, body: object, headers: Mapping[str, str]) -> httpx.Response:
        async with self.from_address() as client:
            return await client.post(path, json=body, headers=headers)

    async def ask(self, program: Program, endpoint: str, parameters: Mapping[str, object] | None = None) -> Any:
        """The answer of an endpoint, which must not be an error."""
        response = await self.signed(program, endpoint, parameters)
        assert response.status_code == 200, response.text
        return response.json()

    async def signed(
        self, program: Program, endpoint: str, parameters: Mapping[str, object] | None = None
    ) -> httpx.Response:
        query = program.asking(parameters or {}, now=self.clock())
        return await self.get(f"{SAPI}{endpoint}?{query}", program.headers)


async def a_web(world: World, folder: Path, *, client: SoftStakingClient | None = None, **settings: Any) -> Web:
    """The application on a world, at NOW. Without a Temporal client it can only read."""
    chosen = Settings(data_dir=folder, **settings)
    if client is None:
        nowhere = await Client.connect("127.0.0.1:1", lazy=True, data_converter=PYDANTIC)
        client = SoftStakingClient(nowhere)
    clock = Clock()
    service = Service(world.ledger, client, clock, chosen)
    return Web(world, chosen, clock, create_app(service))


class LiveWeb:
    """A whole installation in a thread of its own: Temporal, a worker, and the application on a real socket."""

    def __init__(
        self,
        loop: AbstractEventLoop,
        world: World,
        client: SoftStakingClient,
        settings: Settings,
        address: str,
    ) -> None:
        self._loop = loop
        self.client = client
        self.world = world
        self.settings = settings
        self.address = address

    def do(self, work: Coroutine[Any, Any, _Answer]) -> _Answer:
        """Runs a function in the thread in which the ledger is open."""
        return run_coroutine_threadsafe(work, self._loop).result(timeout=180)

    def holder(self, user: str, tokens: str = "12", asset: str = "SOL") -> str:
        """Makes a user who has held something for an hour."""
        self.do(self.world.move(user, tokens, asset, utc_now() - timedelta(hours=1)))
        return user

    def program(self, user: str, kind: KeyKind = KeyKind.HMAC, **profile: Any) -> Program:
        return self.do(make_program(self.world, self.settings, user, kind, **profile))


@contextmanager
def a_live_web(folder: Path, **settings: Any) -> Generator[LiveWeb]:
    """Starts the installation, and stops it at the end. The clock is the real one."""
    started: list[LiveWeb] = []
    failed: list[BaseException] = []
    is_ready, stop = threading.Event(), Event()

    async def live() -> None:
        async with _serving(folder, Settings(data_dir=folder, **settings)) as web:
            started.append(web)
            is_ready.set()
            await stop.wait()

    def in_thread() -> None:
        try:
            run(live())
        except BaseException as error:
            failed.append(error)
        finally:
            is_ready.set()

    thread = threading.Thread(target=in_thread)
    thread.start()
    is_ready.wait()
    try:
        if not started:
            raise failed[0]
        yield started[0]
    finally:
        if started:
            started[0]._loop.call_soon_threadsafe(stop.set)
        thread.join()
    if failed:
        raise failed[0]


@asynccontextmanager
async def _serving(folder: Path, settings: Settings) -> AsyncGenerator[LiveWeb]:
    async with (
        full_server() as temporal,
        a_world(folder, clock=utc_now) as world,
        build_worker(temporal, world.ledger),
    ):
        client = SoftStakingClient(temporal)
        app = create_app(Service(world.ledger, client, utc_now, settings))
        config = uvicorn.Config(
            app, host="127.0.0.1", port=0, log_level="warning", lifespan="off", ws="none", proxy_headers=False
        )
        server = uvicorn.Server(config)
        serving = create_task(server.serve())
        while not server.started:  # noqa: ASYNC110  # it tells nobody
            await sleep(0.01)
        port = server.servers[0].sockets[0].getsockname()[1]
        try:
            yield LiveWeb(get_running_loop(), world, client, settings, f"http://127.0.0.1:{port}")
        finally:
            server.should_exit = True
            await serving
