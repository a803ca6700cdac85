"""Requests over HTTP, as metrics."""

import time

from fastapi import FastAPI
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from temporalio.common import MetricMeter

from telemetry.runtime import HTTP_REQUEST_SECONDS

_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
_NO_ROUTE = "none"


def measure_requests(app: FastAPI, meter: MetricMeter) -> FastAPI:
    """Makes an application measure its answers, and returns it."""
    app.add_middleware(_Measured, meter=meter)
    return app


class _Measured:
    """Names a request by the template of its route, and never by the client's text, so that there are few
    names."""

    def __init__(self, app: ASGIApp, meter: MetricMeter) -> None:
        self._app = app
        self._seconds = meter.create_histogram_float(
            HTTP_REQUEST_SECONDS, "Requests by route template, method and class of status"
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began_s = time.perf_counter()
        status = 500  # the application did not answer, so the server will

        async def send_noting(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self._app(scope, receive, send_noting)
        finally:
            labels = {
                "route": getattr(scope.get("route"), "path", _NO_ROUTE),
                "method": scope["method"] if scope["method"] in _METHODS else "other",
                "status": f"{status // 100}xx",
            }
            self._seconds.record(time.perf_counter() - began_s, labels)
