"""A proxy to PostgreSQL on which connections fall silent: they stay open, and nothing passes any more.

New connections are served meanwhile, as by a proxy or a NAT that forgot the old ones. The server gets no notice
either.
"""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from enum import Enum

from sqlalchemy import make_url


class Silence(Enum):
    SWALLOWED = "what is sent is taken and goes nowhere"
    NOT_READ = "what is sent is not even taken, so that it stays in the sender's buffers"


@dataclass
class _Flow:
    """One connection, in both directions."""

    is_silent: bool = False


@dataclass
class SilentProxy:
    """When the connections fall silent."""

    url: str
    silence: Silence = Silence.SWALLOWED
    silenced: asyncio.Event = field(default_factory=asyncio.Event)
    on_silence: Callable[[], None] = lambda: None
    _flows: list[_Flow] = field(default_factory=list)
    _words: bytes | None = None
    _delivers: bool = False

    @property
    def connections(self) -> int:
        """How many connections there have been."""
        return len(self._flows)

    def fall_silent(self) -> None:
        """Every connection that is open now."""
        for flow in self._flows:
            flow.is_silent = True
        self.silenced.set()
        self.on_silence()

    def fall_silent_at(self, words: str, *, delivers: bool = False) -> None:
        """Silences, once, the connection on which these words are sent next: before they pass, or after they are
        delivered, so that the answer is lost."""
        self._words, self._delivers = words.encode(), delivers

    def _hear(self, flow: _Flow, asked: bytes) -> bool:
        """Whether a request passes."""
        if self._words is None or self._words not in asked:
            return not flow.is_silent
        self._words = None
        flow.is_silent = True
        self.silenced.set()
        self.on_silence()
        return self._delivers


@asynccontextmanager
async def silent_proxy(url: str) -> AsyncGenerator[SilentProxy]:
    """A proxy to the database at a URL, on a port of its own."""
    to = make_url(url)
    flows: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        serving = asyncio.current_task()
        assert serving is not None
        flows.add(serving)
        flow = _Flow()
        proxy._flows.append(flow)
        there, back = await asyncio.open_unix_connection(f"{to.query['host']}/.s.PGSQL.5432")
        try:
            await asyncio.gather(
                _pass_on(proxy, flow, reader, back, is_asked=True),
                _pass_on(proxy, flow, there, writer, is_asked=False),
            )
        except (ConnectionError, asyncio.CancelledError):
            pass  # One side has gone, or the test has ended.
        finally:
            writer.transport.abort()
            back.transport.abort()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    proxy = SilentProxy(f"postgresql://{to.username}@127.0.0.1:{port}/{to.database}?sslmode=disable")
    try:
        yield proxy
    finally:
        server.close()
        for each in flows:
            each.cancel()
        await asyncio.gather(*flows, return_exceptions=True)


async def _pass_on(
    proxy: SilentProxy, flow: _Flow, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, is_asked: bool
) -> None:
    async for sent in _chunks(reader):
        passes = proxy._hear(flow, sent) if is_asked else not flow.is_silent
        if passes:
            writer.write(sent)
            await writer.drain()
        elif proxy.silence is Silence.NOT_READ:
            break
    if flow.is_silent:
        await asyncio.Event().wait()  # Neither side learns that the other has ended.
    writer.close()


async def _chunks(reader: asyncio.StreamReader) -> AsyncIterator[bytes]:
    while chunk := await reader.read(65536):
        yield chunk
