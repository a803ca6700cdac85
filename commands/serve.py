"""serve: the pages and the APIs over HTTP."""

from contextlib import AsyncExitStack
from datetime import timedelta
from typing import Annotated

import typer
from temporalio.runtime import Runtime

from commands.arguments import MetricsOption
from ledger.database.engine import open_ledger
from running.process import now, run, say, stop_signal
from settings import DEFAULT_PORT, LOOPBACK, Settings
from telemetry.ledger_metrics import LedgerMetrics
from telemetry.logs import start_logging
from telemetry.tracing import tracing
from temporal.client import SoftStakingClient
from temporal.connection import connect
from web.health import Health

PortOption = Annotated[int, typer.Option(min=1, max=65535, metavar="PORT", help="Port to listen on.")]


def serve(
    host: Annotated[str, typer.Option(help="Address to listen on.")] = LOOPBACK,
    port: PortOption = DEFAULT_PORT,
    timeout: Annotated[
        float,
        typer.Option(
            "--timeout", min=0.1, max=3600, metavar="SECONDS", help="Seconds to wait for a workflow's answer."
        ),
    ] = 10,
    metrics: MetricsOption = None,
) -> None:
    """Serve the account holder's pages and the APIs until it is stopped (Ctrl-C or SIGTERM).

    The pages are meant to stand behind the exchange's gateway, which says in a header who is signed in. The header
    is believed only from the addresses in SOFT_STAKING_GATEWAY_PEERS. `python worker.py --dev` serves them for
    trying out.
    """

    # Imported here, since importing FastAPI would take a third of the time of every other command.
    from running.event_loop import new_event_loop
    from telemetry.requests import measure_requests
    from web.access.sessions import signing_secret
    from web.app import create_app
    from web.server import serving
    from web.service import Service

    async def work() -> None:
        stop = stop_signal()
        settings = Settings()
        meter = Runtime.default().metric_meter
        async with AsyncExitStack() as stack:
            interceptors = await stack.enter_async_context(tracing())
            client = await connect(timeout=timedelta(seconds=timeout), interceptors=interceptors)
            ledger = await stack.enter_async_context(
                open_ledger(
                    settings.ledger_url,
                    observer=LedgerMetrics(meter),
                    prepared_statements=settings.prepared_statements,
                )
            )
            signing_secret(settings)
            requests = SoftStakingClient(client, timeout=timedelta(seconds=timeout))
            service = Service(ledger, requests, now, settings)
            app = measure_requests(create_app(service, Health(ledger, client)), meter)
            address = await stack.enter_async_context(serving(app, host=host, port=port))
            say(f"Pages       {address}; Ctrl-C stops it")
            if metrics is not None:
                say(f"Metrics     http://{metrics}/metrics")
            if not settings.gateway_peers:
                say("Nobody is believed to say who is signed in: set SOFT_STAKING_GATEWAY_PEERS")
            await stop.wait()

    start_logging(Settings())
    run(work(), metrics=metrics, new_event_loop=new_event_loop)
