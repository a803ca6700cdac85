"""How a worker process reports to its parent: its state, every second, through the socket that is its stdin.

The process also learns from the socket about its parent: an end of file means that the parent is gone, for
whatever reason. Then the process ends immediately too, since nobody is left to stop it.
"""

import asyncio
import os
import socket
import sys
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager, suppress
from enum import StrEnum

from embedded.exiting import exit_process

REPORTED_EVERY_S = 1.0


class ProcessState(StrEnum):
    """The state of a worker process."""

    STARTING = "starting"
    POLLING = "polling"
    STANDING_STILL = "waiting for the ledger"
    DRAINING = "draining"


@asynccontextmanager
async def reporting(state: Callable[[], ProcessState]) -> AsyncGenerator[None]:
    """Reports while the context lasts, and ends the process when its parent is gone."""
    reader, writer = await asyncio.open_connection(sock=socket.socket(fileno=os.dup(sys.stdin.fileno())))

    async def report() -> None:
        with suppress(ConnectionError):
            while True:
                writer.write(f"{state()}\n".encode())
                await writer.drain()
                await asyncio.sleep(REPORTED_EVERY_S)

    async def follow_the_parent() -> None:
        with suppress(ConnectionError):
            await reader.read()
        exit_process(1)

    tasks = [asyncio.create_task(report()), asyncio.create_task(follow_the_parent())]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        writer.close()
