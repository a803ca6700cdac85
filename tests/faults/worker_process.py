"""A worker in a process of its own: ``worker_process.py ADDRESS DATABASE_URL``, until it is killed."""

import asyncio
import sys

from temporalio.client import Client

from embedded.exiting import exit_process
from ledger.database.engine import open_ledger
from running.worker import build_worker
from temporal.payloads import PYDANTIC


async def work(address: str, database_url: str) -> None:
    async with open_ledger(database_url) as ledger:
        client = await Client.connect(address, data_converter=PYDANTIC)
        await build_worker(client, ledger).run()


if __name__ == "__main__":
    asyncio.run(work(*sys.argv[1:]))
    exit_process(0)
