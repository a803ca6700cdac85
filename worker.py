"""The worker: runs the workflows and their steps; with ``--dev`` a whole installation."""

if __name__ == "__main__":
    from commands.starting import begin

    begin()

import asyncio
import os
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from importlib import import_module
from pathlib import Path
from typing import Annotated, NoReturn

import typer
from temporalio.client import Client
from temporalio.common import WorkerDeploymentVersion
from temporalio.envconfig import ClientConnectConfig
from temporalio.runtime import Runtime
from temporalio.worker import UnsandboxedWorkflowRunner, Worker

from activities import all_activities
from commands import entrance
from commands.arguments import MetricsOption, listen_address, typed
from commands.entrance import CommandFailed, now, say
from commands.program import read_program
from commands.serve import DEFAULT_PORT
from commands.setup import known_search_attributes, prepared_search_attributes
from embedded.temporal_server import EmbeddedServerError, RunningServer, persistent_server
from fleet.alone import Alone
from fleet.event_loop import new_event_loop
from fleet.options import WorkerOptions, deployment_version
from fleet.reporting import State, reporting
from fleet.supervision import Fleet
from ledger.engine import Ledger, make_ledger, open_ledger
from ledger.programs import all_versions, apply_program
from settings import Settings
from staking.models import DAYS_PER_RUN, SearchAttributeUse
from staking.program import Program
from staking.steps import TASK_QUEUE
from telemetry.address import Address
from telemetry.ledger_metrics import LedgerMetrics, watching
from telemetry.logs import start_logging
from telemetry.runtime import meter_of
from telemetry.steps import StepTelemetry
from telemetry.tracing import tracing
from telemetry.workflow_metrics import watching_workflows
from web.health import STANDS_STILL_AFTER_S, Health
from web.samples import make_samples
from workflows.connection import DEFAULT_ADDRESS, connect, connect_config
from workflows.soft_staking import SoftStakingWorkflow

WORKFLOW_RUNNER = UnsandboxedWorkflowRunner()
"""The sandbox is a guard for whoever changes the workflow: goldens are replayed in it, and many tests run in it. A
worker does without, since it takes half of what a user's day costs a process beside the ledger."""
BACK_TO_ALL_WORKERS_AFTER = timedelta(seconds=20)
"""A task for the worker that has its workflow in memory waits for it so long: the whole wave of those in memory is
through by then. Of a worker that was killed its users wait as long, once."""
GRACEFUL_SHUTDOWN = timedelta(seconds=30)
"""Longer than a step's start-to-close timeout, so that every running step finishes."""
KILLED_AFTER = GRACEFUL_SHUTDOWN + timedelta(seconds=5)
"""One of several worker processes that was told to stop and has not."""
STOPPED_WITHIN = GRACEFUL_SHUTDOWN + timedelta(seconds=15)
"""Whatever holds it up; the pages may take 5 s before the worker begins to drain."""
PROCESSES_MAX = 64
DEFAULT_UI_PORT = 8233
_OPERATOR = "worker.py"
"""Who applies the program of a new installation."""

app = typer.Typer(pretty_exceptions_enable=False, add_completion=False)


def build_worker(
    client: Client,
    ledger: Ledger,
    options: WorkerOptions = WorkerOptions(),  # noqa: B008  # it is frozen
    *,
    task_queue: str = TASK_QUEUE,
    spread: timedelta = timedelta(),
    search_attributes: SearchAttributeUse = SearchAttributeUse.NONE,
    days_per_run: int = DAYS_PER_RUN,
) -> Worker:
    """A worker on an open ledger; ``client`` must use the pydantic data converter.

    Spread, search attributes and days are those of the runs that start on it.
    """
    return Worker(
        client,
        task_queue=task_queue,
        workflows=[SoftStakingWorkflow],
        workflow_runner=WORKFLOW_RUNNER,
        activities=all_activities(
            ledger, spread=spread, search_attributes=search_attributes, days_per_run=days_per_run
        ),
        interceptors=[StepTelemetry(meter_of(client))],
        graceful_shutdown_timeout=GRACEFUL_SHUTDOWN,
        max_cached_workflows=options.workflows_in_memory,
        max_concurrent_workflow_tasks=options.max_concurrent_workflow_tasks,
        max_concurrent_activities=options.max_concurrent_activities,
        max_concurrent_local_activities=options.max_concurrent_workflow_tasks,
        sticky_queue_schedule_to_start_timeout=BACK_TO_ALL_WORKERS_AFTER,
        workflow_task_poller_behavior=options.poller_behavior,
        activity_task_poller_behavior=options.poller_behavior,
        deployment_config=options.deployment_config,
    )


@dataclass(frozen=True)
class Asked:
    """What the command line asks for."""

    worker: WorkerOptions
    processes: int
    health: Address | None
    metrics: Address | None
    dev: bool
    ui_port: int
    program: Program | None
    port: int | None
    samples: bool


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
    health: Annotated[
        Address | None,
        typer.Option(
            parser=listen_address,
            metavar="HOST:PORT",
            help="Answer /livez and /readyz over HTTP here, for all processes.",
        ),
    ] = None,
    metrics: MetricsOption = None,
    processes: Annotated[
        int,
        typer.Option(
            min=1,
            max=PROCESSES_MAX,
            help="Worker processes; one that ends is replaced. Each keeps about one core busy, so this pays off "
            "up to the number of cores, and with a ledger on PostgreSQL: on SQLite they take turns to write.",
        ),
    ] = 1,
    max_cached_workflows: Annotated[
        int,
        typer.Option(
            min=0,
            help="Users whose workflows a process keeps in memory, at 0.17 MB each; at least twice as many as it "
            "carries on at once.",
        ),
    ] = WorkerOptions.max_cached_workflows,
    max_concurrent_workflow_tasks: Annotated[
        int, typer.Option(min=2, help="Workflows that a process carries on at once.")
    ] = WorkerOptions.max_concurrent_workflow_tasks,
    max_concurrent_activities: Annotated[
        int, typer.Option(min=1, help="Steps that a process runs at once.")
    ] = WorkerOptions.max_concurrent_activities,
    max_polls: Annotated[
        int,
        typer.Option(
            min=2, help="Requests for work of each kind that a process has open; more if Temporal is far."
        ),
    ] = WorkerOptions.max_polls,
    deployment: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="Name of the deployment whose versions Temporal is to tell apart; with --build-id. Work comes "
            "once `temporal worker deployment set-current-version` names this version.",
        ),
    ] = None,
    build_id: Annotated[
        str | None, typer.Option(metavar="ID", help="The version of this code; with --deployment.")
    ] = None,
    place: Annotated[int | None, typer.Option(hidden=True)] = None,
) -> None:
    """Run a worker until it is told to stop (Ctrl-C or SIGTERM); running steps finish first.

    The Temporal server is named by TEMPORAL_ADDRESS (and the other TEMPORAL_* variables, or temporal.toml), the
    ledger by SOFT_STAKING_DATABASE_URL. With --dev both are here: one command is a whole installation, kept in
    SOFT_STAKING_DATA_DIR (.soft-staking), and starting it again goes on where it was. The pages are served then
    too, to this machine alone, and whoever opens them chooses whose account to see.
    """
    if samples and not dev:
        raise typer.BadParameter("--samples goes with --dev")
    start_logging(Settings())
    options = WorkerOptions(
        max_cached_workflows=max_cached_workflows,
        max_concurrent_workflow_tasks=max_concurrent_workflow_tasks,
        max_concurrent_activities=max_concurrent_activities,
        max_polls=max_polls,
        version=_version(deployment, build_id),
    )
    if place is not None:
        of_place = metrics and metrics.of_process(place)
        entrance.run(_work_at_a_place(options), metrics=of_place, new_event_loop=new_event_loop)
        return
    if metrics and processes > 1:
        metrics.of_process(processes)
    asked = Asked(
        worker=options,
        processes=processes,
        health=health,
        metrics=metrics,
        dev=dev,
        ui_port=ui_port,
        program=program and read_program(program),
        port=port,
        samples=samples,
    )
    entrance.run(_work(asked), metrics=metrics, new_event_loop=new_event_loop)


async def _work(asked: Asked) -> None:
    if asked.dev or asked.health:
        # FastAPI takes time and memory, which a worker that serves nothing need not spend. It is imported before
        # the worker runs, since workflows load their modules in a sandbox meanwhile.
        import_module("commands.beside_worker")
    stop = entrance.stop_signal()
    settings = Settings()
    config = connect_config()
    async with AsyncExitStack() as stack:
        lost: asyncio.Future[EmbeddedServerError] | None = None
        if asked.dev:
            codec = await _serve_codec(stack, settings, asked.ui_port) if settings.payload_keys_by_id else None
            server = await stack.enter_async_context(_embedded_server(settings, config, asked.ui_port, codec))
            config["target_host"], lost = server.address, server.lost
        address = config.get("target_host", DEFAULT_ADDRESS)
        meter = Runtime.default().metric_meter
        if asked.dev:
            await make_ledger(settings.ledger_url)
        ledger = await stack.enter_async_context(_ledger(settings, LedgerMetrics(meter)))
        if asked.program is not None:
            await _apply_if_none(ledger, asked.program, funds_pools=asked.samples)
        client = await connect(config, interceptors=await stack.enter_async_context(tracing()))
        attributes = await prepared_search_attributes(client, registers=asked.dev)
        say(f"Ledger      {ledger.where}")
        workers = _fleet(asked.processes, address) or Alone(
            build_worker(
                client,
                ledger,
                asked.worker,
                spread=settings.spread,
                search_attributes=attributes,
                days_per_run=settings.days_per_run,
            )
        )
        health = Health(
            ledger,
            client,
            not_live=workers.silent,
            not_ready=lambda: ["stopping"] if stop.is_set() else workers.not_polling(),
        )
        if asked.health:
            from commands.beside_worker import serve_health

            say(f"Health      {await serve_health(stack, health, asked.health)}")
        if asked.metrics:
            await stack.enter_async_context(watching(ledger, meter, now))
            await stack.enter_async_context(watching_workflows(client, meter))
            say(f"Metrics     http://{asked.metrics}/metrics{_next_ports(asked.processes)}")
        await stack.enter_async_context(workers.working())
        if asked.samples:
            await make_samples(ledger, client, now())
        if asked.dev:
            from commands.beside_worker import serve_pages

            pages = await serve_pages(stack, ledger, client, settings, health, meter, asked.port)
            say(f"Pages       {pages}")
        how_many = "" if asked.processes == 1 else f"{asked.processes} processes "
        workers.when_all_poll(
            lambda: say(f"Worker      {how_many}polling {TASK_QUEUE} at {address}; Ctrl-C stops it")
        )
        lost_because = await _until(stop, lost)
        say("stopping: running steps finish first")
        entrance.end_within(STOPPED_WITHIN)
    sentences = [*lost_because, *workers.ended_badly()]
    if sentences:
        raise CommandFailed(*sentences)


async def _until(stop: asyncio.Event, lost: "asyncio.Future[EmbeddedServerError] | None") -> list[str]:
    """Until this process is told to stop, or has no embedded server any more: then a sentence that says why."""
    stopping = asyncio.create_task(stop.wait())
    await asyncio.wait({stopping, lost} if lost else {stopping}, return_when=asyncio.FIRST_COMPLETED)
    if stopping.done() or lost is None:
        return []
    stopping.cancel()
    return [f"this worker has no Temporal server any more, so it ends. {lost.result()}"]


def _next_ports(processes: int) -> str:
    return "" if processes == 1 else f", and the next {processes} ports"


def _fleet(processes: int, address: str) -> Fleet | None:
    """Several worker processes with the same settings; their parent has the rest of the installation."""
    if processes == 1:
        return None
    # Of an embedded server only this process knows the address.
    return Fleet(processes, {**os.environ, "TEMPORAL_ADDRESS": address}, killed_after=KILLED_AFTER, say=say)


@asynccontextmanager
async def _ledger(settings: Settings, observer: LedgerMetrics) -> AsyncGenerator[Ledger]:
    url, prepared_statements = settings.ledger_url, settings.prepared_statements
    async with open_ledger(url, observer=observer, prepared_statements=prepared_statements) as ledger:
        ledger.check_clock()
        yield ledger


async def _work_at_a_place(options: WorkerOptions) -> None:
    """One of several worker processes."""
    stop = entrance.stop_signal()
    settings = Settings()
    observer = LedgerMetrics(Runtime.default().metric_meter)
    async with tracing() as interceptors, _ledger(settings, observer) as ledger:
        client = await connect(interceptors=interceptors)
        attributes = await known_search_attributes(client)
        worker = build_worker(
            client,
            ledger,
            options,
            spread=settings.spread,
            search_attributes=attributes,
            days_per_run=settings.days_per_run,
        )

        def state() -> State:
            if stop.is_set():
                return State.DRAINING
            if ledger.oldest_request_s() > STANDS_STILL_AFTER_S:
                return State.STANDING_STILL
            return State.POLLING if worker.is_running else State.STARTING

        async with reporting(state), worker:
            await stop.wait()


def _version(deployment: str | None, build_id: str | None) -> WorkerDeploymentVersion | None:
    if deployment is None and build_id is None:
        return None
    if deployment is None or build_id is None:
        raise typer.BadParameter("--deployment and --build-id go together")
    try:
        return deployment_version(deployment, build_id)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None


async def _serve_codec(stack: AsyncExitStack, settings: Settings, ui_port: int) -> str:
    from commands.beside_worker import serve_codec

    address = await serve_codec(stack, settings, ui_port)
    say(f"Codec       {address}")
    return address


@asynccontextmanager
async def _embedded_server(
    settings: Settings, config: ClientConnectConfig, ui_port: int, codec: str | None
) -> AsyncGenerator[RunningServer]:
    address = config.get("target_host", DEFAULT_ADDRESS)
    async with persistent_server(
        data_dir=settings.data_dir, address=address, ui_port=ui_port, codec=codec, say=say
    ) as server:
        say(f"Temporal    {server.address}{' (found running and reused)' if server.reused else ''}")
        say(f"Web UI      {server.ui_url}")
        say(f"Data        {settings.data_dir.resolve()}")
        yield server


async def _apply_if_none(ledger: Ledger, program: Program, *, funds_pools: bool) -> None:
    async with ledger.read() as connection:
        versions = await all_versions(connection)
    if not versions:
        await apply_program(
            ledger,
            program,
            operator=_OPERATOR,
            reason="the program that the worker was started with, since there was none",
            now=now(),
        )
        say(f"Program     applied: {len(program.assets)} assets, in force from {program.effective_from}")
        if not funds_pools:
            asset = typed(next(iter(program.assets)))
            say(f"Pools       empty, so that every reward waits; for each: starter.py pool fund {asset} AMOUNT")


def main() -> NoReturn:
    """Runs the worker and ends the process with its exit code."""
    entrance.main(app)


if __name__ == "__main__":
    main()
