"""What a worker process serves over HTTP: its health, and with ``--dev`` the pages and the codec.

Each function serves until the stack is left, and answers the address.
"""

from contextlib import AsyncExitStack, suppress

from fastapi import FastAPI
from temporalio.client import Client
from temporalio.common import MetricMeter

from ledger.database.engine import Ledger
from running.process import now
from settings import DEFAULT_CODEC_PORT, DEFAULT_PORT, LOOPBACK, BadConfiguration, Settings
from telemetry.address import Address
from telemetry.requests import measure_requests
from temporal.client import SoftStakingClient
from web.access.sessions import signing_secret
from web.app import create_app
from web.codec import local_codec
from web.health import Health
from web.probes import health_app
from web.server import serving
from web.service import Service


async def serve_health(stack: AsyncExitStack, health: Health, address: Address) -> str:
    return await stack.enter_async_context(serving(health_app(health), host=address.host, port=address.port))


async def serve_pages(
    stack: AsyncExitStack,
    ledger: Ledger,
    client: Client,
    settings: Settings,
    health: Health,
    meter: MetricMeter,
    port: int | None,
) -> str:
    """Serves the pages to this machine only. A visitor chooses whose account to see. Without a given port it
    takes a port at or near the default. Raises BadConfiguration if a given port cannot be used."""
    signing_secret(settings)
    service = Service(ledger, SoftStakingClient(client), now, settings, is_development=True)
    app = measure_requests(create_app(service, health), meter)
    if port is None:
        return await _serve_at_or_near(stack, app, DEFAULT_PORT)
    return await stack.enter_async_context(serving(app, host=LOOPBACK, port=port))


async def serve_codec(stack: AsyncExitStack, settings: Settings, ui_port: int) -> str:
    """Shows plain text to this machine's web UI."""
    return await _serve_at_or_near(stack, local_codec(settings, ui_port, now), DEFAULT_CODEC_PORT)


async def _serve_at_or_near(stack: AsyncExitStack, app: FastAPI, port: int) -> str:
    """Nobody asked for the default port, so it does not matter if another program has it."""
    with suppress(BadConfiguration):
        return await stack.enter_async_context(serving(app, host=LOOPBACK, port=port))
    return await stack.enter_async_context(serving(app, host=LOOPBACK, port=0))
