"""What the first process of a container must do: reap the processes whose parent has gone."""

import asyncio
import os
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress

_LOOKED_EVERY_S = 1.0


@asynccontextmanager
async def reaping_orphans() -> AsyncGenerator[None]:
    """Reaps while the context lasts, if this is process 1. Orphans become its children, such as those of a
    probe that runs a command here. Without this they would fill the process table as zombies."""
    if os.getpid() != 1:
        yield
        return
    reaping = asyncio.create_task(reap_orphans(_LOOKED_EVERY_S))
    try:
        yield
    finally:
        reaping.cancel()


async def reap_orphans(looked_every_s: float) -> None:
    """Reaps for ever. If a zombie is still there at the second look, nobody waits for it: code that starts a
    process here reaps it immediately."""
    seen = None
    while True:
        await asyncio.sleep(looked_every_s)
        with suppress(ChildProcessError):
            ended = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)  # noqa: ASYNC222  # no hang
            if ended and ended.si_pid == seen:
                os.waitpid(ended.si_pid, os.WNOHANG)  # noqa: ASYNC222  # no hang
            seen = ended and ended.si_pid
