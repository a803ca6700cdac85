"""What the service is compared with: Temporal's own cost on the same server, and DBOS on PostgreSQL."""

import asyncio
import importlib.util
import sys
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from tempfile import TemporaryDirectory

import psycopg
from temporalio.client import Client

from benchmarks.databases import Database, throwaway_database
from benchmarks.midnight.processes import child_with, parent_of
from benchmarks.midnight.reference_worker import TASK_QUEUE, Does, ReferenceWorkflow
from benchmarks.midnight.waves import Group, Part
from benchmarks.midnight.workers import Workers, working
from embedded.temporal_server import throwaway_server

_AT_ONCE = 50


@dataclass(frozen=True)
class Reference:
    """Reference workflows, which sleep and at most take steps that do nothing."""

    workers: Workers
    others: dict[Part, list[int]]
    client: Client | None
    does: Does
    cache_once_restarted: int = 0

    def pids(self) -> dict[Part, list[int]]:
        """The processes of each part of the fleet."""
        return {Part.WORKER: self.workers.pids, **self.others}

    def workflow_id(self, user: str) -> str:
        """The id of a user's workflow."""
        return user

    async def put_to_sleep(self, group: Group, wakes_at: datetime) -> None:
        """Starts a workflow for each user."""
        if self.client is None:
            await self.workers.tell({"users": group.users, "wakes_at": wakes_at.timestamp()})
        else:
            await self._start(self.client, group.users, wakes_at)
        await self.workers.all_told("asleep", group.users)

    async def restart_workers(self) -> None:
        """Stops the workers in good order and starts them again."""
        await self.workers.restart("--max-cached-workflows", str(self.cache_once_restarted))

    async def finished(self, group: Group) -> int:
        """How many users of a group are done."""
        return len(await self.finished_at(group))

    async def finished_at(self, group: Group) -> list[float]:
        """When each of these users was done, as a timestamp."""
        done = self.workers.told["done"]
        return [done[user] for user in group.users if user in done]

    async def _start(self, client: Client, users: Sequence[str], wakes_at: datetime) -> None:
        turn = asyncio.Semaphore(_AT_ONCE)

        async def start(user: str) -> None:
            async with turn:
                await client.start_workflow(
                    ReferenceWorkflow.run,
                    args=[user, wakes_at.timestamp(), self.does],
                    id=self.workflow_id(user),
                    task_queue=TASK_QUEUE,
                )

        await asyncio.gather(*map(start, users))


@asynccontextmanager
async def temporal_reference(
    does: Does, *, processes: int, cache: int, cache_once_restarted: int
) -> AsyncGenerator[Reference]:
    """Runs workflows on a throw-away Temporal server; ``cache`` is how many a process keeps in memory."""
    with TemporaryDirectory(prefix="soft-staking-benchmark-") as folder:
        async with throwaway_server() as address:
            command = [sys.executable, "-m", "benchmarks.midnight.reference_worker", address]
            command += ["--max-cached-workflows", str(cache)]
            client = await Client.connect(address)
            async with working(Workers(command, processes, Path(folder))) as workers:
                others = {Part.SERVER: [server_pid(address)]}
                yield Reference(workers, others, client, does, cache_once_restarted)


def has_dbos() -> bool:
    """Whether DBOS is installed here."""
    return importlib.util.find_spec("dbos") is not None


@asynccontextmanager
async def dbos_reference() -> AsyncGenerator[Reference]:
    """Runs DBOS in one process, on a PostgreSQL server of its own."""
    with (
        throwaway_database(Database.POSTGRESQL) as url,
        TemporaryDirectory(prefix="soft-staking-benchmark-") as folder,
    ):
        command = [sys.executable, "-m", "benchmarks.midnight.dbos_worker", url]
        async with working(Workers(command, 1, Path(folder))) as workers:
            yield Reference(workers, {Part.DATABASE: [postgresql_pid(url)]}, None, Does.ACTIVITIES)


def server_pid(address: str) -> int:
    """The process of a throw-away Temporal server that this program started."""
    return child_with(address.rpartition(":")[2])


def postgresql_pid(url: str) -> int:
    """The process whose children are all processes of a PostgreSQL server."""
    with psycopg.connect(url) as connection:
        row = connection.execute("SELECT pg_backend_pid()").fetchone()
        assert row is not None
        return parent_of(row[0])
