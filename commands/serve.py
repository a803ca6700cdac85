"""serve: the pages and the APIs over HTTP."""

from datetime import timedelta
from typing import Annotated

import typer

from commands.entrance import now, run, say, stop_signal, the_ledger
from settings import Settings
from web.app import create_app
from web.health import Health
from web.server import LOOPBACK, serving
from web.service import Service
from web.sessions import signing_secret
from workflows.client import SoftStakingClient
from workflows.connection import connect

DEFAULT_PORT = 8080
PortOption = Annotated[int, typer.Option(min=1, max=65535, help="Port to listen on.")]


def serve(
    host: Annotated[str, typer.Option(help="Address to listen on.")] = LOOPBACK,
    port: PortOption = DEFAULT_PORT,
    timeout: Annotated[
        float, typer.Option("--timeout", min=0.1, max=3600, help="Seconds to wait for a workflow's answer.")
    ] = 10,
) -> None:
    """Serve the account holder's pages and the APIs until told to stop (Ctrl-C or SIGTERM).

    The pages are meant to stand behind the exchange's gateway, which says in a header who is signed in; it is
    believed from the addresses in SOFT_STAKING_GATEWAY_PEERS alone. `python worker.py --dev` serves them for
    trying out.
    """

    async def work() -> None:
        stop = stop_signal()
        settings = Settings()
        signing_secret(settings)
        client = await connect(timeout=timedelta(seconds=timeout))
        async with the_ledger() as ledger:
            requests = SoftStakingClient(client, timeout=timedelta(seconds=timeout))
            service = Service(ledger, requests, now, settings)
            app = create_app(service, Health(ledger, client))
            async with serving(app, host=host, port=port) as address:
                say(f"Pages       {address}; Ctrl-C stops it")
                if not settings.gateway_peers:
                    say("Nobody is believed to say who is signed in: set SOFT_STAKING_GATEWAY_PEERS")
                await stop.wait()

    run(work())
