"""The HTTP server: its socket, and how much of a request it takes."""

import asyncio
import socket
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, closing
from urllib.parse import urlsplit

import pytest
from fastapi import FastAPI

from settings import LOOPBACK
from web.server import listen, serving


def test_an_answer_waits_for_no_acknowledgement_of_its_head() -> None:
    with closing(listen(LOOPBACK, 0)) as listener, socket.create_connection(listener.getsockname()):
        connection, _ = listener.accept()
        with closing(connection):
            assert connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


@asynccontextmanager
async def _connected(app: FastAPI) -> AsyncGenerator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    async with serving(app, host=LOOPBACK, port=0) as address:
        reader, writer = await asyncio.open_connection(LOOPBACK, urlsplit(address).port)
        try:
            yield reader, writer
        finally:
            writer.close()


@pytest.mark.parametrize("begins", [b"GET /", b"GET / HTTP/1.1\r\nHost: a\r\nX-Long: ", b"GET / HTTP/1.1\r\n"])
async def test_a_request_whose_head_never_ends_is_given_up(begins: bytes) -> None:
    async with _connected(FastAPI()) as (reader, writer):
        more = b"x: y\r\n" if begins.endswith(b"\n") else b"x"
        # Not a byte more than needed is sent, since unread bytes reset a connection.
        writer.write((begins + more * 65_536)[:65_537])
        async with asyncio.timeout(180):
            answer = await reader.read()
    assert answer.startswith(b"HTTP/1.1 400 Bad Request\r\n")


async def test_many_requests_on_one_connection_may_be_longer_together_than_one_head() -> None:
    async with _connected(FastAPI()) as (reader, writer):
        for _ in range(4):
            writer.write(b"GET / HTTP/1.1\r\nHost: a\r\nX-Long: " + b"x" * 30_000 + b"\r\n\r\n")
            head = await reader.readuntil(b"\r\n\r\n")
            await reader.readexactly(int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0]))
            assert head.startswith(b"HTTP/1.1 404 ")
