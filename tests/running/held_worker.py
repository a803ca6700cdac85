"""worker.py with snapshots that wait. Each writes a file ``reached`` and goes on as soon as there is a file
``go``.

Nothing else ends the waiting, not even a cancellation. With HURRIED_STOP in the environment the limits of a stop
are short.
"""

import asyncio
import os
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import Any

from faults.disturbing import Call, disturbed_worker
from temporalio.client import Client
from temporalio.worker import Worker

import worker
from contract.steps import SNAPSHOT
from ledger.database.engine import Ledger
from running import installation
from running.options import WorkerOptions

REACHED, GO = Path("reached"), Path("go")


async def hold(call: Call) -> Any:
    if call.step == SNAPSHOT.name:
        REACHED.touch()  # noqa: ASYNC240
        while not GO.exists():  # noqa: ASYNC240
            with suppress(asyncio.CancelledError):
                await asyncio.sleep(0.02)
    return await call.run()


def build_worker(client: Client, ledger: Ledger, options: WorkerOptions, **_settings_of_runs: object) -> Worker:
    return disturbed_worker(client, ledger, hold, options)


if __name__ == "__main__":
    installation.build_worker = build_worker
    if "HURRIED_STOP" in os.environ:
        installation.GRACEFUL_SHUTDOWN = timedelta(seconds=0.2)
        installation.KILLED_AFTER = timedelta(seconds=0.5)
        installation.STOPPED_WITHIN = timedelta(seconds=1)
    worker.main()
