"""A process of DBOS whose workflows sleep until an instant and then take three steps that do nothing."""

import asyncio
import json
import sys
import time

from dbos import DBOS, DBOSConfig

from benchmarks.midnight.reporting import report
from benchmarks.midnight.workers import POLLING

_STEPS = 3


@DBOS.step()
async def nothing(step: int) -> int:
    """A step that does nothing, so that only the cost of a step remains."""
    return step


@DBOS.workflow()
async def sleeper(user: str, wakes_at: float) -> None:
    """``wakes_at`` is a timestamp."""
    report("asleep", user)
    await DBOS.sleep_async(max(wakes_at - time.time(), 0.001))
    for step in range(_STEPS):
        await nothing(step)
    report("done", user)


async def _main(database_url: str) -> None:
    config: DBOSConfig = {
        "name": "midnight",
        "system_database_url": database_url,
        "console_log_level": "WARNING",
    }
    DBOS(config=config)
    DBOS.launch()
    print(POLLING, file=sys.stderr, flush=True)
    # Each question names users and the instant at which they wake. The process runs until it is stopped.
    while line := await asyncio.to_thread(sys.stdin.readline):
        asked = json.loads(line)
        for user in asked["users"]:
            await DBOS.start_workflow_async(sleeper, user, asked["wakes_at"])


if __name__ == "__main__":
    asyncio.run(_main(sys.argv[1]))
