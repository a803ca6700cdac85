"""A connection to Temporal that breaks, and clients that do not hide this by retrying for long."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress

from temporalio.client import Client
from temporalio.service import RetryConfig

_AT_ONCE = RetryConfig(initial_interval_millis=1, max_interval_millis=1, max_elapsed_time_millis=1, max_retries=1)


def address_of(client: Client) -> str:
    return client.service_client.config.target_host


async def impatient(client: Client, address: str | None = None, namespace: str = "default") -> Client:
    """A client to the same server, through a proxy if there is one, whose SDK reports each failure immediately."""
    return await Client.connect(
        address or address_of(client),
        namespace=namespace,
        data_converter=client.data_converter,
        retry_config=_AT_ONCE,
    )


class Way:
    """A TCP proxy in front of a server."""

    def __init__(self, target: str) -> None:
        self._host, _, self._port = target.rpartition(":")
        self._connections: set[asyncio.StreamWriter] = set()
        self._is_open = True
        self.address = ""
        self.was_refused = asyncio.Event()
        """Set when somebody has tried to connect while the proxy was cut."""

    def cut(self) -> None:
        """Breaks every connection, and then every new one."""
        self._is_open = False
        for writer in self._connections:
            writer.transport.abort()

    def mend(self) -> None:
        self._is_open = True

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if not self._is_open:
            self.was_refused.set()
            writer.transport.abort()
            return
        there_reader, there_writer = await asyncio.open_connection(self._host, self._port)
        self._connections |= {writer, there_writer}
        try:
            await asyncio.gather(_pass_on(reader, there_writer), _pass_on(there_reader, writer))
        finally:
            self._connections -= {writer, there_writer}


async def _pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(OSError):
        while data := await reader.read(65_536):
            writer.write(data)
            await writer.drain()
    writer.transport.abort()


@asynccontextmanager
async def a_way_to(client: Client) -> AsyncGenerator[Way]:
    """A proxy in front of a client's server, until the context is left."""
    way = Way(address_of(client))
    server = await asyncio.start_server(way.serve, "127.0.0.1", 0)
    way.address = f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        yield way
    finally:
        server.close()
        way.cut()
