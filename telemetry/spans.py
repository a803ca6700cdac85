"""Spans of requests, workflows and steps. Imports what the extra `tracing` installs."""

import asyncio
import os
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager

from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import SERVICE_NAME, Resource
from opentelemetry.sdk.trace import Event, ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.trace import Status
from temporalio.contrib.opentelemetry import TracingInterceptor

_DEFAULT_SERVICE_NAME = "soft-staking"
_KIND_OF_ERROR = "exception.type"


@asynccontextmanager
async def sent_to_collector() -> AsyncGenerator[TracingInterceptor]:
    """Sends spans where OTEL_EXPORTER_OTLP_ENDPOINT says, until the context is left."""
    service = os.environ.get("OTEL_SERVICE_NAME", _DEFAULT_SERVICE_NAME)
    provider = TracerProvider(resource=Resource.create({SERVICE_NAME: service}), shutdown_on_exit=False)
    provider.add_span_processor(BatchSpanProcessor(WithoutWords(OTLPSpanExporter())))
    try:
        # The SDK's newer plugin is not used, since it sends a workflow's span when the run ends, many days later.
        yield TracingInterceptor(provider.get_tracer(_DEFAULT_SERVICE_NAME))
    finally:
        # It may wait some seconds for a collector that is away; a second signal can end the process meanwhile.
        await asyncio.to_thread(provider.shutdown)


class WithoutWords(SpanExporter):
    """Sends only the kind of an error, and not its message, which may contain amounts and regions."""

    def __init__(self, exporter: SpanExporter) -> None:
        self._exporter = exporter

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        return self._exporter.export([_without_words(span) for span in spans])

    def shutdown(self) -> None:
        self._exporter.shutdown()

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        return self._exporter.force_flush(timeout_millis)


def _without_words(span: ReadableSpan) -> ReadableSpan:
    return ReadableSpan(
        name=span.name,
        context=span.context,
        parent=span.parent,
        resource=span.resource,
        attributes=span.attributes,
        events=[_kind_alone(event) for event in span.events],
        links=span.links,
        kind=span.kind,
        status=Status(span.status.status_code),
        start_time=span.start_time,
        end_time=span.end_time,
        instrumentation_scope=span.instrumentation_scope,
    )


def _kind_alone(event: Event) -> Event:
    kept = {name: value for name, value in (event.attributes or {}).items() if name == _KIND_OF_ERROR}
    return Event(event.name, kept, event.timestamp)
