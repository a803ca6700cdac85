"""The HTTP server, within the process and the event loop of its caller."""

import asyncio
import contextlib
import socket
from collections.abc import AsyncGenerator, Generator

import uvicorn
from fastapi import FastAPI
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from settings import BadConfiguration

_STARTED_LOOK_S = 0.01

_HEAD_BYTES_MAX = 65_536
"""The limit for a request's line and headers."""


class _BoundedHeads(HttpToolsProtocol):
    """Closes the connection of a client whose headers are too long. The parser itself would keep whatever the
    client sends."""

    _head_bytes = 0

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._head_bytes = 0

    def on_headers_complete(self) -> None:
        super().on_headers_complete()
        self._head_bytes = -1

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self._head_bytes < 0 or self.transport.is_closing():
            return
        self._head_bytes += len(data)
        if self._head_bytes > _HEAD_BYTES_MAX:
            self.send_400_response("The head of the request is too long.")


class _Server(uvicorn.Server):
    """Leaves signals to the process that it is a part of."""

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None]:
        yield


@contextlib.asynccontextmanager
async def serving(app: FastAPI, *, host: str, port: int) -> AsyncGenerator[str]:
    """Serves an application until the context is left, and yields its address; port 0 takes a free one.

    Raises BadConfiguration, in one sentence, if the port cannot be used.
    """
    listener = listen(host, port)
    # The pages trust a gateway by the address of its connection, so no header may replace this address
    # (proxy_headers).
    config = uvicorn.Config(
        app,
        http=_BoundedHeads,
        ws="none",
        log_config=None,
        access_log=False,
        proxy_headers=False,
        server_header=False,
        lifespan="off",
        timeout_graceful_shutdown=5,
    )
    server = _Server(config)
    running = asyncio.create_task(server.serve(sockets=[listener]))
    try:
        while not server.started and not running.done():  # noqa: ASYNC110  # it has no event for that
            await asyncio.sleep(_STARTED_LOOK_S)
        name = f"[{host}]" if ":" in host else host
        yield f"http://{name}:{listener.getsockname()[1]}"
    finally:
        server.should_exit = True
        await running


def listen(host: str, port: int) -> socket.socket:
    """A listening socket that sends data without delay.

    Raises BadConfiguration, in one sentence, if the port cannot be used.
    """
    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        listener = socket.create_server((host, port), family=family, backlog=2048)
    except OSError as error:
        raise BadConfiguration(
            f"Port {port} on {host} cannot be used ({error.strerror}): stop the program that uses it, or choose "
            "another port."
        ) from None
    # Head and body of an answer are sent one after the other. Without this option the body waits for the
    # acknowledgement of the head, up to 40 ms.
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return listener
