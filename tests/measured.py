"""A worker that serves its metrics and has paid a user, and the metrics that it showed."""

import re
import socket
import urllib.request
from collections.abc import AsyncGenerator, Sequence
from contextlib import ExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

import httpx
import pytest
from commandline import free_ports
from polling import eventually
from servers import full_server, time_skipping
from staking_service import StakingService
from temporalio.client import Client, Interceptor
from temporalio.runtime import Runtime
from world import a_world

from contract.errors import RequestRefused
from ledger.feed.sources import tell_complete
from settings import Settings
from staking.days import ONE_DAY
from telemetry.address import Address
from telemetry.feed_metrics import FeedMetrics
from telemetry.ledger_metrics import LedgerMetrics, watching
from telemetry.requests import measure_requests
from telemetry.runtime import start_runtime
from telemetry.workflow_metrics import watching_workflows
from temporal.payloads import PYDANTIC
from web.app import create_app
from web.service import Service


@dataclass(frozen=True)
class Sample:
    """One line that a scraper reads."""

    name: str
    labels: dict[str, str]
    value: float


class Metrics:
    """Everything that one scrape brought."""

    def __init__(self, text: str) -> None:
        self.text = text
        lines = [line for line in text.splitlines() if line and not line.startswith("#")]
        self.samples = [_sample(line) for line in lines]

    @property
    def names(self) -> set[str]:
        return {sample.name for sample in self.samples}

    def value(self, name: str, **labels: str) -> float:
        """The value of the one sample that has these labels."""
        (found,) = [each for each in self.samples if each.name == name and labels.items() <= each.labels.items()]
        return found.value


def _sample(line: str) -> Sample:
    name, labels, value = re.fullmatch(r"([a-z_:A-Z0-9]+)(?:\{(.*)\})? (\S+)", line).groups()  # pyright: ignore[reportOptionalMemberAccess]
    return Sample(name, dict(re.findall(r'(\w+)="([^"]*)"', labels or "")), float(value))


def scraped(address: Address) -> Metrics:
    with urllib.request.urlopen(f"http://{address}/metrics") as answer:
        return Metrics(answer.read().decode())


def free_address(*, processes: int = 0) -> Address:
    """A port that is free, and after which the ports of some further processes are free too."""
    while True:
        (port,) = free_ports(1)
        with suppress(OSError), ExitStack() as stack:
            for following in range(port + 1, port + processes + 1):
                stack.enter_context(socket.create_server(("127.0.0.1", following)))
            return Address("127.0.0.1", port)


@asynccontextmanager
async def a_measured_service(
    folder: Path, runtime: Runtime, interceptors: Sequence[Interceptor] = ()
) -> AsyncGenerator[StakingService]:
    """The service of ann. Its worker and its ledger record metrics in a runtime."""
    observer = LedgerMetrics(runtime.metric_meter)
    async with a_world(folder, observer=observer) as world, time_skipping() as environment:
        client = await Client.connect(
            environment.client.service_client.config.target_host,
            data_converter=PYDANTIC,
            runtime=runtime,
            interceptors=interceptors,
        )
        service = StakingService(world, client, environment=environment)
        try:
            yield service
        finally:
            await service.stop_worker()


async def pay_ann_once(service: StakingService) -> datetime:
    """Waits until ann's first reward is credited, and returns when that was."""
    await service.deposit()
    receipt = await service.activate()
    await service.skip_to(receipt.first_reward_from + timedelta(minutes=1))
    (line,) = await service.credited_through(receipt.first_snapshot_at.date())
    return line.credited_at


async def metrics_after_a_payment(folder: Path) -> Metrics:
    """The metrics of a worker and of the pages, after ann was paid and somebody has loaded a page."""
    address = free_address()
    before = Runtime.default()
    runtime = start_runtime(address)
    Runtime.set_default(before, error_if_already_set=False)
    async with a_measured_service(folder, runtime) as service:
        await service.start_worker()
        with pytest.raises(RequestRefused):
            await service.activate(back_dated_to=await service.now() + ONE_DAY)
        credited_at = await pay_ann_once(service)
        await tell_complete(service.world.ledger, "wallet", credited_at, now=credited_at)
        topic = FeedMetrics(runtime.metric_meter, "movements")
        topic.answered(credited_at)
        topic.behind({0: (3, 1.5)})
        web = Service(service.world.ledger, service.client, lambda: credited_at, Settings(data_dir=folder))
        app = measure_requests(create_app(web), runtime.metric_meter)
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test") as client:
            for method, path in (
                ("GET", "/v1/accounts/ann/soft-staking/status"),
                ("GET", "/nothing/of/the/kind"),
                ("BREW", "/"),
                ("GET", "/"),
            ):
                await client.request(method, path)
        async with (
            watching(service.world.ledger, runtime.metric_meter, lambda: credited_at + ONE_DAY),
            full_server() as lists_workflows,
            watching_workflows(lists_workflows, runtime.metric_meter),
        ):
            last = {"soft_staking_ledger_read_timestamp_seconds", "soft_staking_failing_users"}

            async def look() -> Metrics | None:
                found = scraped(address)
                return found if last <= found.names else None

            return await eventually(look)  # pyright: ignore[reportReturnType]
