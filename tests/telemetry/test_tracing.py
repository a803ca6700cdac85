"""Traces are sent if a collector is named, without the messages of errors. Otherwise nothing is sent."""

import sys
import threading
from collections.abc import Generator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
from measured import a_measured_service, pay_ann_once
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span
from temporalio.runtime import Runtime
from temporalio.worker import Replayer

from contract.errors import RequestRefused
from settings import BadConfiguration
from staking.days import ONE_DAY
from telemetry.tracing import tracing
from temporal.payloads import PYDANTIC
from workflows.soft_staking import SoftStakingWorkflow


class Collector:
    """What was sent to a collector of traces on this machine."""

    def __init__(self) -> None:
        self.spans: list[Span] = []
        self.services: set[str] = set()

    @property
    def text(self) -> str:
        """Everything that the spans say, without their ids, which are random bytes."""
        said: list[str] = []
        for span in self.spans:
            copy = Span()
            copy.CopyFrom(span)
            for random in ("trace_id", "span_id", "parent_span_id", "links"):
                copy.ClearField(random)
            said.append(str(copy))
        return "\n".join(said)

    def receive(self, body: bytes) -> None:
        for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
            names = [
                each.value.string_value for each in resource.resource.attributes if each.key == "service.name"
            ]
            self.services.update(names)
            for scope in resource.scope_spans:
                self.spans.extend(scope.spans)


@pytest.fixture
def collector(monkeypatch: pytest.MonkeyPatch) -> Generator[Collector]:
    with a_collector() as (found, port):
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://127.0.0.1:{port}")
        yield found


@contextmanager
def a_collector() -> Generator[tuple[Collector, int]]:
    collector = Collector()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            collector.receive(self.rfile.read(int(self.headers["Content-Length"])))
            self.send_response(200)
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield collector, server.server_port
        finally:
            server.shutdown()
            thread.join()


async def test_a_day_can_be_followed_from_its_activation_on_and_names_no_amount_and_no_region(
    collector: Collector, tmp_path: Path
) -> None:
    async with tracing() as interceptors, a_measured_service(tmp_path, Runtime.default(), interceptors) as service:
        await service.start_worker()
        with pytest.raises(RequestRefused):
            await service.activate(back_dated_to=await service.now() + ONE_DAY)
        await pay_ann_once(service)
    assert collector.services == {"soft-staking"}
    activation = [span for span in collector.spans if span.name.startswith("StartUpdateWithStartWorkflow")][-1]
    followed = [span.name for span in collector.spans if span.trace_id == activation.trace_id]
    assert {f"RunActivity:{step}" for step in ("recall", "enrol", "snapshot", "compute", "credit")} <= set(
        followed
    )
    failed = [event for span in collector.spans for event in span.events if event.name == "exception"]
    assert failed
    assert {attribute.key for event in failed for attribute in event.attributes} == {"exception.type"}
    assert [secret for secret in ("0.00026301", "12.0", "FR", "in the future") if secret in collector.text] == []
    assert "RunActivity:credit" in collector.text


async def test_a_history_made_without_traces_is_replayed_with_them(collector: Collector, tmp_path: Path) -> None:
    async with a_measured_service(tmp_path, Runtime.default()) as service:
        await service.start_worker()
        await pay_ann_once(service)
        history = await service.workflow.fetch_history()
    async with tracing() as interceptors:
        replayer = Replayer(
            workflows=[SoftStakingWorkflow],
            data_converter=PYDANTIC,
            interceptors=list(interceptors),
        )
        await replayer.replay_workflow(history)


async def test_nothing_is_sent_where_no_collector_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"):
        monkeypatch.delenv(name, raising=False)
    async with tracing() as interceptors:
        assert interceptors == []


async def test_a_collector_without_what_sends_to_it_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:1")
    monkeypatch.delitem(sys.modules, "telemetry.spans", raising=False)
    monkeypatch.delattr("telemetry.spans", raising=False)
    monkeypatch.setitem(sys.modules, "opentelemetry.exporter.otlp.proto.http.trace_exporter", None)
    said = r"OTEL_EXPORTER_OTLP_ENDPOINT is set, .+ is not installed: install"
    with pytest.raises(BadConfiguration, match=said):
        async with tracing():
            pass
