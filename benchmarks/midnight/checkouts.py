"""A checkout of this project, with its own code in its own processes."""

import asyncio
import os
import subprocess
import sys
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory

from temporalio.client import Client

from benchmarks.databases import Database, throwaway_database
from benchmarks.midnight.processes import Child, child
from benchmarks.midnight.references import postgresql_pid, server_pid
from benchmarks.midnight.telling import Progress
from benchmarks.midnight.waves import Alike, Group, Part
from benchmarks.midnight.workers import Workers, working
from contract.steps import workflow_id
from embedded.temporal_server import throwaway_server
from ledger.database.engine import utc_now
from staking.days import ONE_DAY, day_of, end_of

HERE = Path(__file__).parents[2]
_LOADER = Path(__file__).with_name("in_checkout") / "loader.py"
_LOOKED_EVERY_S = 0.25
_ASKED_FOR = 100
"""About how many users one question to the loader may be."""
_PROGRAM = """
effective_from = 2025-01-01
minimum_app_version = "3.1.0"
restricted_regions = ["US"]
[documents]
terms_of_use = "2025-01-01"
soft_staking_terms = "2025-01-01"
risk_warning = "2025-01-01"
"""
_ASSET = """
[assets.ASSET{number}]
minimum = "1"
cap = "10000"
apr = "0.008"
reference_price = "{number}"
"""


@dataclass(frozen=True)
class Given:
    """The settings of a checkout's fleet."""

    processes: int = 1
    cache: int | None = None
    """How many users' workflows a worker process keeps in memory; None for its default."""
    cache_once_restarted: int | None = None
    """The same for workers that were restarted."""
    assets: int = 1
    """How many assets the program has. Every user holds all of them."""
    database: Database = Database.POSTGRESQL
    variables: Mapping[str, str] = field(default_factory=dict[str, str])
    """Further environment variables of the worker."""


@dataclass(frozen=True)
class CheckoutFleet:
    """Workers of a checkout, and its ledger."""

    workers: Workers
    loader: Child
    client: Client
    url: str
    """Of the ledger."""
    address: str
    """Of the Temporal server."""
    others: dict[Part, list[int]]
    given: Given
    day: str
    """The day that is measured: the day before the one on which the measurement began."""

    def pids(self) -> dict[Part, list[int]]:
        """The processes of each part of the fleet."""
        return {Part.WORKER: self.workers.pids, **self.others}

    def workflow_id(self, user: str) -> str:
        """The id of a user's workflow."""
        return workflow_id(user)

    async def put_to_sleep(self, group: Group, wakes_at: datetime) -> None:
        """Adds users whom the ledger has enrolled and paid, and starts their runs, which catch up until the
        measured day."""
        day = date.fromisoformat(self.day)
        for alike in group.alike:
            await self.add(alike, day)
        await self.start(group.users, wakes_at - end_of(day))
        progress = Progress("have caught up", len(group.users))
        while (done := await self._count(group, str(day - ONE_DAY))) < len(group.users):
            progress.reaches(done)
            await asyncio.sleep(_LOOKED_EVERY_S)
        await self.settled(group.users)

    async def sleep_until_midnight(self, alike: Alike) -> None:
        """Adds users who have been paid so far and whose next day is today, and starts their runs."""
        await self.add(alike, date.fromisoformat(self.day) + ONE_DAY)
        await self.start(alike.users, timedelta())
        await self.settled(alike.users)

    async def add(self, alike: Alike, day: date) -> None:
        """Adds users to the ledger who have some days to make up before a day. Nothing else may write
        meanwhile."""
        next_day = day - alike.days_behind * ONE_DAY
        await self.loader.ask({"do": "add", "name": alike.name, "count": alike.count, "next_day": str(next_day)})

    async def start(self, users: Sequence[str], wake_offset: timedelta) -> None:
        """Starts the runs of users who are in the ledger, as if each run continued another one."""
        progress = Progress("have a workflow", len(users))
        for first in range(0, len(users), _ASKED_FOR):
            some = users[first : first + _ASKED_FOR]
            await self.loader.ask({"do": "start", "users": some, "wake_offset_s": wake_offset.total_seconds()})
            progress.reaches(first + len(some))

    async def settled(self, users: Sequence[str]) -> None:
        """Waits until none of the workflows that were started last has a task under way."""
        last = users[-_ASKED_FOR:]
        while await self.loader.ask({"do": "settled", "users": last}) < len(last):  # noqa: ASYNC110  # it is elsewhere
            await asyncio.sleep(_LOOKED_EVERY_S)

    async def restart_workers(self) -> None:
        """Stops the workers in good order and starts them again."""
        await self.workers.restart(*_cache(self.given.cache_once_restarted))

    async def finished(self, group: Group) -> int:
        """How many users of a group have been credited the measured day."""
        return await self._count(group, self.day)

    async def finished_at(self, group: Group) -> list[float]:
        """When each of these users was credited, as the ledger recorded it."""
        return await self.loader.ask({"do": "credited", "group": group.name, "day": self.day})

    async def left(self, group: Group) -> int:
        """How many users of a group have not been credited the measured day and are not held."""
        asked = {"do": "left", "group": group.name, "users": len(group.users), "day": self.day}
        return await self.loader.ask(asked)

    async def _count(self, group: Group, day: str) -> int:
        return await self.loader.ask({"do": "count", "group": group.name, "day": day})


@asynccontextmanager
async def checkout_fleet(path: Path, given: Given) -> AsyncGenerator[CheckoutFleet]:
    """Runs a throw-away Temporal server and ledger, and the workers of a checkout."""
    path, python = _interpreter(path)
    with ExitStack() as stack:
        url = stack.enter_context(throwaway_database(given.database))
        folder = Path(stack.enter_context(TemporaryDirectory(prefix="soft-staking-benchmark-")))
        program, wake_offset_file = folder / "program.toml", folder / "wake-offset"
        program.write_text(_program(given.assets), encoding="utf-8")
        wake_offset_file.write_text("0", encoding="utf-8")
        async with throwaway_server() as address:
            variables = {
                "PYTHONPATH": str(path),
                "SOFT_STAKING_DATA_DIR": str(folder),
                "SOFT_STAKING_DATABASE_URL": url,
                "TEMPORAL_ADDRESS": address,
                **given.variables,
            }
            # -P: the folder of this script has modules of this package, which do not belong to the checkout.
            load = [python, "-P", _LOADER, program]
            work = [python, "worker.py"]
            others = {Part.SERVER: [server_pid(address)]}
            if given.database is Database.POSTGRESQL:
                others[Part.DATABASE] = [postgresql_pid(url)]
            workers = Workers(work, given.processes, folder, folder=path, variables=variables)
            async with child(load, folder / "loader.log", folder=path, variables=variables) as loader:
                await loader.heard()
                async with working(workers, *_cache(given.cache)):
                    yield CheckoutFleet(
                        workers=workers,
                        loader=loader,
                        client=await Client.connect(address),
                        url=url,
                        address=address,
                        others=others,
                        given=given,
                        day=str(day_of(utc_now()) - ONE_DAY),
                    )


def name_of(path: Path) -> str:
    """The commit of a checkout; its folder if it has none."""
    asked = ["git", "-C", str(path), "describe", "--always", "--dirty"]
    answer = subprocess.run(asked, capture_output=True, text=True, check=False, env={**os.environ, "LC_ALL": "C"})
    return answer.stdout.strip() or path.resolve().name


def _program(assets: int) -> str:
    return _PROGRAM + "".join(_ASSET.format(number=number) for number in range(1, assets + 1))


def _cache(users: int | None) -> list[str]:
    return [] if users is None else ["--max-cached-workflows", str(users)]


def _interpreter(path: Path) -> tuple[Path, str]:
    """A checkout's absolute path, and its own interpreter; this interpreter if it has none."""
    path = path.resolve()
    own = path / ".venv" / "bin" / "python"
    return path, str(own) if own.exists() else sys.executable
