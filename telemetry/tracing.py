"""Traces by OpenTelemetry, if its standard variables name a collector; otherwise nothing."""

import os
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager

from temporalio.client import Interceptor

from settings import BadConfiguration

_ENDPOINTS = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
_EXTRA = "the extra `tracing` (pip install 'soft-staking[tracing]')"


@asynccontextmanager
async def tracing() -> AsyncGenerator[Sequence[Interceptor]]:
    """The interceptors with which a client must be connected so that it and its workers are traced. On leaving,
    the remaining spans are sent.

    Raises BadConfiguration if a collector is named and OpenTelemetry is not installed.
    """
    named = next((name for name in _ENDPOINTS if os.environ.get(name)), None)
    if named is None or os.environ.get("OTEL_SDK_DISABLED", "").lower() == "true":
        yield []
        return
    try:
        from telemetry import spans  # this module needs packages that only an extra installs
    except ImportError as error:
        raise BadConfiguration(
            f"{named} is set, so traces are to be sent, but {error.name} is not installed: install {_EXTRA}, or "
            "unset it"
        ) from None
    async with spans.sent_to_collector() as interceptor:
        yield [interceptor]
