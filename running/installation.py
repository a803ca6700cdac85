"""An installation: the worker, alone or as a fleet, and with ``--dev`` all that stands beside it."""

import asyncio
import os
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from importlib import import_module

from temporalio.client import Client
from temporalio.envconfig import ClientConnectConfig
from temporalio.runtime import Runtime

from contract.recollection import SearchAttributeUse
from contract.steps import TASK_QUEUE
from embedded.temporal_server import EmbeddedServerError, RunningServer, persistent_server
from ledger.database.engine import Ledger, make_ledger, open_ledger
from ledger.programs import all_versions, apply_program
from running.alone import Alone
from running.delays import telling_of_delays
from running.options import WorkerOptions
from running.process import CommandFailed, end_within, now, say, stop_signal
from running.reporting import ProcessState, reporting
from running.shell import typed
from running.supervision import Fleet
from running.webhooks import delivery_from, keeping_webhooks
from running.worker import GRACEFUL_SHUTDOWN, build_worker
from settings import Settings
from staking.program import Program
from telemetry.address import Address
from telemetry.ledger_metrics import LedgerMetrics, watching
from telemetry.tracing import tracing
from telemetry.workflow_metrics import watching_workflows
from temporal.connection import DEFAULT_ADDRESS, connect, connect_config
from temporal.setup import known_search_attributes, register
from web.health import STANDS_STILL_AFTER_S, Health
from web.pages.samples import make_samples

KILLED_AFTER = GRACEFUL_SHUTDOWN + timedelta(seconds=5)
"""The time after which one of several worker processes is killed if it was asked to stop and has not ended."""
STOPPED_WITHIN = GRACEFUL_SHUTDOWN + timedelta(seconds=15)
"""The time after which the process ends, whatever delays it. The pages may take 5 s before the worker begins to
drain."""
_OPERATOR = "worker.py"
"""The operator in the act that applies the program of a new installation."""


@dataclass(frozen=True)
class Installation:
    """The options of the command line."""

    worker: WorkerOptions
    processes: int
    health: Address | None
    metrics: Address | None
    dev: bool
    ui_port: int
    program: Program | None
    port: int | None
    samples: bool


async def work(asked: Installation) -> None:
    if asked.dev or asked.health:
        # FastAPI takes time and memory, which a worker that serves nothing does not need. It is imported before
        # the worker runs, so that importing it keeps no workflow waiting.
        import_module("running.beside_worker")
    stop = stop_signal()
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
        ledger = await stack.enter_async_context(opened_ledger(settings, LedgerMetrics(meter)))
        if asked.program is not None:
            await _apply_if_none(ledger, asked.program, funds_pools=asked.samples)
        client = await connect(config, interceptors=await stack.enter_async_context(tracing()))
        attributes = await _prepared_search_attributes(client, registers=asked.dev)
        say(f"Ledger      {ledger.where}")
        workers = _fleet(asked.processes, address) or Alone(
            build_worker(
                client,
                ledger,
                asked.worker,
                spread=settings.spread,
                search_attributes=attributes,
                days_per_run=settings.days_per_run,
                delivery=delivery_from(ledger, settings),
            )
        )
        health = Health(
            ledger,
            client,
            not_live=workers.silent,
            not_ready=lambda: ["stopping"] if stop.is_set() else workers.not_polling(),
        )
        if asked.health:
            from running.beside_worker import serve_health

            say(f"Health      {await serve_health(stack, health, asked.health)}")
        if asked.metrics:
            await stack.enter_async_context(watching(ledger, meter, now))
            await stack.enter_async_context(watching_workflows(client, meter))
            say(f"Metrics     http://{asked.metrics}/metrics{_next_ports(asked.processes)}")
        await stack.enter_async_context(workers.working())
        await stack.enter_async_context(telling_of_delays(ledger, now))
        await stack.enter_async_context(keeping_webhooks(ledger, client))
        if asked.samples:
            await make_samples(ledger, client, now())
        if asked.dev:
            from running.beside_worker import serve_pages

            pages = await serve_pages(stack, ledger, client, settings, health, meter, asked.port)
            say(f"Pages       {pages}")
        how_many = "" if asked.processes == 1 else f"{asked.processes} processes "
        workers.when_all_poll(
            lambda: say(f"Worker      {how_many}polling {TASK_QUEUE} at {address}; Ctrl-C stops it")
        )
        lost_because = await _until(stop, lost)
        say("stopping: running steps finish first")
        end_within(STOPPED_WITHIN)
    sentences = [*lost_because, *workers.ended_badly()]
    if sentences:
        raise CommandFailed(*sentences)


async def _until(stop: asyncio.Event, lost: "asyncio.Future[EmbeddedServerError] | None") -> list[str]:
    """Waits until this process is asked to stop, or until its embedded server cannot run any more; then it
    answers a sentence that says why."""
    stopping = asyncio.create_task(stop.wait())
    await asyncio.wait({stopping, lost} if lost else {stopping}, return_when=asyncio.FIRST_COMPLETED)
    if stopping.done() or lost is None:
        return []
    stopping.cancel()
    return [f"this worker has no Temporal server any more, so it ends. {lost.result()}"]


def _next_ports(processes: int) -> str:
    return "" if processes == 1 else f", and the next {processes} ports"


def _fleet(processes: int, address: str) -> Fleet | None:
    """Several worker processes with the same settings. Their parent runs the rest of the installation."""
    if processes == 1:
        return None
    # Only this process has the address of an embedded server.
    return Fleet(processes, {**os.environ, "TEMPORAL_ADDRESS": address}, killed_after=KILLED_AFTER, say=say)


@asynccontextmanager
async def opened_ledger(settings: Settings, observer: LedgerMetrics) -> AsyncGenerator[Ledger]:
    url, prepared_statements = settings.ledger_url, settings.prepared_statements
    async with open_ledger(url, observer=observer, prepared_statements=prepared_statements) as ledger:
        ledger.check_clock()
        yield ledger


async def _prepared_search_attributes(client: Client, *, registers: bool) -> SearchAttributeUse:
    """Which search attributes the runs that start on a worker write. If they write none, it says so. Raises
    ServiceError."""
    if registers:
        await register(client)
    use = await known_search_attributes(client)
    if use is SearchAttributeUse.NONE:
        say(
            "Search      the server does not know the search attributes: `list` will not find the users who "
            "activate now by what they are; run `starter.py setup`, then start the workers again"
        )
    return use


async def work_at_a_place(options: WorkerOptions) -> None:
    """One of several worker processes."""
    stop = stop_signal()
    settings = Settings()
    observer = LedgerMetrics(Runtime.default().metric_meter)
    async with tracing() as interceptors, opened_ledger(settings, observer) as ledger:
        client = await connect(interceptors=interceptors)
        attributes = await known_search_attributes(client)
        worker = build_worker(
            client,
            ledger,
            options,
            spread=settings.spread,
            search_attributes=attributes,
            days_per_run=settings.days_per_run,
            delivery=delivery_from(ledger, settings),
        )

        def state() -> ProcessState:
            if stop.is_set():
                return ProcessState.DRAINING
            if ledger.oldest_request_s() > STANDS_STILL_AFTER_S:
                return ProcessState.STANDING_STILL
            return ProcessState.POLLING if worker.is_running else ProcessState.STARTING

        async with reporting(state), worker:
            await stop.wait()


async def _serve_codec(stack: AsyncExitStack, settings: Settings, ui_port: int) -> str:
    from running.beside_worker import serve_codec

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
