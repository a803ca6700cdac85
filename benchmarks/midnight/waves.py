"""A wave: users sleep until one instant, which wakes all of them, and the cost of that is measured."""

import asyncio
import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, fields
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from statistics import median
from time import perf_counter
from typing import Protocol

from temporalio.client import Client

from benchmarks.grown_ledger import Users
from benchmarks.midnight.histories import DayInHistory, days_in_history
from benchmarks.midnight.processes import BenchmarkFailed, cpu_s, resident_bytes
from benchmarks.midnight.telling import Progress, say
from ledger.database.engine import utc_now

_FIRST_USERS = 5
_TRIAL_SHARE, _TRIAL_USERS_MAX = 6, 100
"""A share of the users with whom it is tried how long they take to fall asleep."""
_NEVER = timedelta(days=1)
_ATTEMPTS = 5
"""Each attempt has twice the time of the attempt before."""
_MARGIN = 1.3
"""The time that users get, divided by the time that they are expected to take to fall asleep."""
_AT_LEAST = timedelta(seconds=3)
_ASLEEP_AFTER_S = 1
"""After the last sign of a user this time passes until the timer is written."""
_RESTARTED_WITHIN = timedelta(seconds=8)
_BEFORE_THE_WAVE_S = 0.3
_LOOKED_EVERY_S = 0.2
_SETTLED_AFTER_S = 1.5
"""In this time the last user's workflow goes to sleep again."""
_HISTORIES_READ = 200


class Part(StrEnum):
    """The parts whose CPU is counted."""

    WORKER = "worker"
    SERVER = "server"
    DATABASE = "database"


@dataclass(frozen=True)
class Alike:
    """Users who have equally many days to make up. Their ids begin with the same text."""

    name: str
    count: int
    days_behind: int

    @property
    def users(self) -> list[str]:
        """Every user's id."""
        return Users(self.name, self.count).ids


@dataclass(frozen=True)
class Group:
    """Users who are put to sleep together. Their ids begin with the same text."""

    name: str
    days_behind: Sequence[int]
    """How many days each user's run processes before the measured day."""

    @property
    def alike(self) -> list[Alike]:
        """The same users, grouped by how many days they have to make up."""
        return [Alike(f"{self.name}.{days}", count, days) for days, count in Counter(self.days_behind).items()]

    @property
    def users(self) -> list[str]:
        """Every user's id."""
        return [user for alike in self.alike for user in alike.users]


class Fleet(Protocol):
    """One or several workers with what they need, and the users whose workflows sleep there."""

    @property
    def client(self) -> Client | None:
        """A client of the Temporal server, if there is one."""
        ...

    def pids(self) -> dict[Part, list[int]]:
        """The processes of each part of the fleet."""
        ...

    def workflow_id(self, user: str) -> str:
        """The id of a user's workflow."""
        ...

    async def put_to_sleep(self, group: Group, wakes_at: datetime) -> None:
        """Puts the users to sleep until an instant, which is close. Returns when all of them sleep."""
        ...

    async def restart_workers(self) -> None:
        """Stops the workers in good order and starts them again, so that nothing is in their caches."""
        ...

    async def finished(self, group: Group) -> int:
        """How many users of a group are done with the measured day."""
        ...

    async def finished_at(self, group: Group) -> list[float]:
        """When each of these users was done, as a timestamp."""
        ...


@dataclass(frozen=True)
class Plan:
    """How a fleet is measured."""

    days_behind: Sequence[int]
    """How many days each user has to make up."""
    cold: bool = False
    """Whether the workers are restarted before the wave."""
    patience_s: float = 300


@dataclass(frozen=True)
class Cost:
    """What a wave cost for one user and day. A figure that does not exist is None."""

    users: float
    finished: float
    """How many users were done in time. All other figures are of these users."""
    users_per_s: float
    worker_ms: float
    """CPU, as in the two following fields."""
    server_ms: float | None
    database_ms: float | None
    in_all_ms: float
    late_p50_s: float
    """The time after the instant at which all users were to wake."""
    late_p99_s: float
    late_max_s: float
    events: float | None
    history_bytes: float | None
    actions: float | None
    """Actions that Temporal Cloud bills, by its published rule."""
    stored_bytes: float | None
    """The size of the run's history so far."""
    carried_bytes: float | None
    """The size of what the run began with."""
    worker_rss_mb: float


def median_of(costs: Sequence[Cost]) -> Cost:
    """The median of each figure."""

    def of(name: str) -> float | None:
        figures = [getattr(cost, name) for cost in costs]
        return None if None in figures else median(figures)

    return Cost(**{field.name: of(field.name) for field in fields(Cost)})  # pyright: ignore[reportArgumentType]  # the fields that may be None are those that were


async def measure(fleet: Fleet, plan: Plan) -> Cost:
    """Puts users to sleep until an instant that leaves time for that, and measures their wave."""
    group, wakes_at = await asleep(fleet, plan)
    pids = fleet.pids()
    await until(wakes_at - timedelta(seconds=_BEFORE_THE_WAVE_S))
    before = {part: cpu_s(pids[part]) for part in pids}
    await until(wakes_at)
    await paid(fleet, group, plan.patience_s)
    await asyncio.sleep(_SETTLED_AFTER_S)
    after = {part: cpu_s(pids[part]) for part in pids}
    rss = resident_bytes(pids[Part.WORKER])
    late_s = sorted(instant - wakes_at.timestamp() for instant in await fleet.finished_at(group))
    if not late_s:
        raise BenchmarkFailed(f"no user was done within {plan.patience_s:g} s")
    used_ms = {part: (after[part] - before[part]) * 1000 / len(late_s) for part in pids}
    history = await _history(fleet, group, wakes_at) if len(late_s) == len(group.users) else None
    return Cost(
        users=len(group.users),
        finished=len(late_s),
        users_per_s=len(late_s) / late_s[-1],
        worker_ms=used_ms[Part.WORKER],
        server_ms=used_ms.get(Part.SERVER),
        database_ms=used_ms.get(Part.DATABASE),
        in_all_ms=sum(used_ms.values()),
        late_p50_s=quantile(late_s, 0.5),
        late_p99_s=quantile(late_s, 0.99),
        late_max_s=late_s[-1],
        events=history and history.events,
        history_bytes=history and history.bytes,
        actions=history and history.actions,
        stored_bytes=history and history.stored_bytes,
        carried_bytes=history and history.carried_bytes,
        worker_rss_mb=rss / 1e6,
    )


async def asleep(fleet: Fleet, plan: Plan) -> tuple[Group, datetime]:
    """Puts users to sleep until an instant that is close, but leaves them the time to fall asleep."""
    expected = timedelta(seconds=await _seconds_to_fall_asleep(fleet, plan))
    for attempt in range(1, _ATTEMPTS + 1):
        group = Group(f"sleeper{attempt}", plan.days_behind)
        needed = _AT_LEAST + expected * _MARGIN + _RESTARTED_WITHIN * plan.cold
        wakes_at = utc_now() + needed * 2 ** (attempt - 1)
        await fleet.put_to_sleep(group, wakes_at)
        await asyncio.sleep(_ASLEEP_AFTER_S)
        if plan.cold:
            await fleet.restart_workers()
        if utc_now() < wakes_at - timedelta(seconds=_BEFORE_THE_WAVE_S):
            return group, wakes_at
        say("not everybody was asleep in time; again, with more of it")
        await paid(fleet, group, plan.patience_s)
    raise BenchmarkFailed(f"the users were not asleep in time, {_ATTEMPTS} times: is the machine busy?")


async def _seconds_to_fall_asleep(fleet: Fleet, plan: Plan) -> float:
    """How long all users are expected to take to fall asleep. This is measured with few users and then with more,
    who sleep until long after the wave."""
    users = len(plan.days_behind)
    few, more = min(_FIRST_USERS, users), min(max(users // _TRIAL_SHARE, _FIRST_USERS), _TRIAL_USERS_MAX, users)
    # Because of the first users the fleet's processes load modules and open connections.
    first = Group("first", plan.days_behind[:few])
    await fleet.put_to_sleep(first, utc_now())
    await paid(fleet, first, plan.patience_s)
    few_s, more_s = [
        await _seconds_of(fleet, Group(name, plan.days_behind[:count]))
        for name, count in (("few", few), ("more", more))
    ]
    if more == few:
        return max(few_s, more_s) * users / few
    return few_s + max(more_s - few_s, 0) / (more - few) * (users - few)


async def _seconds_of(fleet: Fleet, group: Group) -> float:
    began_s = perf_counter()
    await fleet.put_to_sleep(group, utc_now() + _NEVER)
    return perf_counter() - began_s


async def until(instant: datetime) -> None:
    """Waits until an instant, by this process's clock."""
    await asyncio.sleep(max((instant - datetime.now(UTC)).total_seconds(), 0))


async def paid(fleet: Fleet, group: Group, patience_s: float) -> None:
    """Waits until the users are done with the measured day, or the patience is over."""
    clock = asyncio.get_running_loop().time
    until_s = clock() + patience_s
    progress = Progress("are paid", len(group.users))
    while (done := await fleet.finished(group)) < len(group.users) and clock() < until_s:
        progress.reaches(done)
        await asyncio.sleep(_LOOKED_EVERY_S)


async def _history(fleet: Fleet, group: Group, since: datetime) -> DayInHistory | None:
    if fleet.client is None:
        return None
    users = group.users[:: math.ceil(len(group.users) / _HISTORIES_READ)]
    return await days_in_history(fleet.client, [fleet.workflow_id(user) for user in users], since)


def quantile(ordered: Sequence[float], share: float) -> float:
    """The smallest figure that is not exceeded by this share of the figures."""
    return ordered[max(math.ceil(share * len(ordered)) - 1, 0)]
