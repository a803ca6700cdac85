"""The worker: runs the workflows and their steps; with ``--dev`` a whole installation."""

import logging
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from datetime import timedelta
from pathlib import Path
from typing import Annotated, NoReturn

import typer
from fastapi import FastAPI
from temporalio.client import Client
from temporalio.envconfig import ClientConnectConfig
from temporalio.worker import Worker

from activities import all_activities
from commands import entrance
from commands.entrance import now, say
from commands.program import read_program
from commands.serve import DEFAULT_PORT
from commands.setup import search_attributes_of_new_runs
from embedded.temporal_server import persistent_server
from ledger.engine import Ledger, open_ledger
from ledger.programs import all_versions, apply_program
from settings import Settings
from staking.models import SearchAttributeUse
from staking.program import Program
from staking.steps import TASK_QUEUE
from web.app import create_app
from web.samples import make_samples
from web.server import LOOPBACK, serving
from web.service import Service
from web.sessions import signing_secret
from workflows.client import SoftStakingClient
from workflows.connection import DEFAULT_ADDRESS, BadConfiguration, connect, connect_config
from workflows.soft_staking import SoftStakingWorkflow

GRACEFUL_SHUTDOWN = timedelta(seconds=30)
"""Longer than a step's start-to-close timeout, so that every running step finishes."""
DEFAULT_UI_PORT = 8233

app = typer.Typer(pretty_exceptions_enable=False, add_completion=False)


def build_worker(
    client: Client,
    ledger: Ledger,
    *,
    task_queue: str = TASK_QUEUE,
    spread: timedelta = timedelta(),
    search_attributes: SearchAttributeUse = SearchAttributeUse.NONE,
) -> Worker:
    """A worker on an open ledger; ``client`` must use the pydantic data converter.

    Spread and search attributes are those of the runs that start on it.
    """
    return Worker(
        client,
        task_queue=task_queue,
        workflows=[SoftStakingWorkflow],
        activities=all_activities(ledger, spread=spread, search_attributes=search_attributes),
        graceful_shutdown_timeout=GRACEFUL_SHUTDOWN,
    )


@app.command()
def work(
    dev: Annotated[
        bool,
        typer.Option(
            "--dev", help="Also run an embedded Temporal server with its web UI, kept in the data folder."
        ),
    ] = False,
    ui_port: Annotated[
        int, typer.Option(min=1, max=65535, help="Port of the web UI; with --dev.")
    ] = DEFAULT_UI_PORT,
    program: Annotated[
        Path | None,
        typer.Option(metavar="FILE.toml", help="Apply this program if the ledger has none yet."),
    ] = None,
    port: Annotated[
        int | None,
        typer.Option(
            min=1,
            max=65535,
            help=f"Port of the pages; with --dev. {DEFAULT_PORT}, or a free one if that is taken.",
        ),
    ] = None,
    samples: Annotated[
        bool, typer.Option("--samples", help="Offer sample users at every stage on the pages; with --dev.")
    ] = False,
) -> None:
    """Run a worker until it is told to stop (Ctrl-C or SIGTERM); running steps finish first.

    The Temporal server is named by TEMPORAL_ADDRESS (and the other TEMPORAL_* variables, or temporal.toml), the
    ledger by SOFT_STAKING_DATABASE_URL. With --dev both are here: one command is a whole installation, kept in
    SOFT_STAKING_DATA_DIR (.soft-staking), and starting it again goes on where it was. The pages are served then
    too, to this machine alone, and whoever opens them chooses whose account to see.
    """
    if samples and not dev:
        raise typer.BadParameter("--samples goes with --dev")
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    terms = program and read_program(program)
    entrance.run(_work(dev=dev, ui_port=ui_port, program=terms, port=port, samples=samples))


async def _work(*, dev: bool, ui_port: int, program: Program | None, port: int | None, samples: bool) -> None:
    stop = entrance.stop_signal()
    settings = Settings()
    config = connect_config()
    async with AsyncExitStack() as stack:
        if dev:
            config = await stack.enter_async_context(_embedded_server(settings, config, ui_port))
        ledger = await stack.enter_async_context(open_ledger(settings.ledger_url))
        if program is not None:
            await _apply_if_none(ledger, program)
        client = await connect(config)
        attributes = await search_attributes_of_new_runs(client, settings, registers=dev)
        worker = await stack.enter_async_context(
            build_worker(client, ledger, spread=settings.spread, search_attributes=attributes)
        )
        say(f"Ledger      {ledger.where}")
        if samples:
            await make_samples(ledger, client, now())
        if dev:
            service = Service(ledger, SoftStakingClient(client), now, settings, is_development=True)
            signing_secret(settings)
            say(f"Pages       {await _serve_pages(stack, create_app(service), port)}")
        address = config.get("target_host", DEFAULT_ADDRESS)
        say(f"Worker      polling {worker.task_queue} at {address}; Ctrl-C stops it")
        await stop.wait()
        say("stopping: running steps finish first")


async def _serve_pages(stack: AsyncExitStack, app: FastAPI, port: int | None) -> str:
    """Their address. Nobody asked for the default port, so whoever has it is no reason to stop."""
    if port is None:
        with suppress(BadConfiguration):
            return await stack.enter_async_context(serving(app, host=LOOPBACK, port=DEFAULT_PORT))
    return await stack.enter_async_context(serving(app, host=LOOPBACK, port=port or 0))


@asynccontextmanager
async def _embedded_server(
    settings: Settings, config: ClientConnectConfig, ui_port: int
) -> AsyncGenerator[ClientConnectConfig]:
    address = config.get("target_host", DEFAULT_ADDRESS)
    async with persistent_server(data_dir=settings.data_dir, address=address, ui_port=ui_port) as server:
        say(f"Temporal    {server.address}{' (found running and reused)' if server.reused else ''}")
        say(f"Web UI      {server.ui_url}")
        say(f"Data        {settings.data_dir.resolve()}")
        yield {**config, "target_host": server.address}


async def _apply_if_none(ledger: Ledger, program: Program) -> None:
    async with ledger.read() as connection:
        versions = await all_versions(connection)
    if not versions:
        await apply_program(ledger, program, now=now())
        say(f"Program     applied: {len(program.assets)} assets, in force from {program.effective_from}")


def main() -> NoReturn:
    """Runs the worker and ends the process with its exit code."""
    entrance.main(app)


if __name__ == "__main__":
    main()
