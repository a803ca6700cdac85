"""The rows of the table. Every row is measured in each round, so that a busy minute of the machine affects all
rows."""

from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path

from benchmarks.databases import Database
from benchmarks.midnight.checkouts import HERE, Given, checkout_fleet, name_of
from benchmarks.midnight.reference_worker import Does
from benchmarks.midnight.references import dbos_reference, has_dbos, temporal_reference
from benchmarks.midnight.telling import say
from benchmarks.midnight.waves import Cost, Fleet, Plan, measure, median_of

_REFERENCE_CACHE_MIN = 1000


class Kind(StrEnum):
    """The kinds of rows."""

    FLOOR = "floor"
    COLD_FLOOR = "cold floor"
    ENDS = "ends"
    ACTIVITIES = "activities"
    LOCAL_ACTIVITIES = "local"
    DBOS = "dbos"
    HERE = "here"
    AGAINST = "against"


@dataclass(frozen=True)
class Choices:
    """The choices of the person who measures."""

    users: int = 200
    days_behind: int = 1
    cache: int | None = None
    """How many workflows each worker process of a checkout keeps in memory; None for its default."""
    processes: int = 1
    assets: int = 1
    database: Database = Database.POSTGRESQL
    cold: bool = False
    """Whether a checkout's workers are restarted before the wave."""
    against: Sequence[Path] = ()
    patience_s: float = 300

    @property
    def given(self) -> Given:
        """The settings of a checkout's fleet. If the cache is to be small in the wave, users fall asleep with a
        cache of the usual size."""
        return Given(
            processes=self.processes,
            cache=None if self._is_cache_small else self.cache,
            cache_once_restarted=self.cache,
            assets=self.assets,
            database=self.database,
        )

    @property
    def plan(self) -> Plan:
        """The plan for a checkout's fleet."""
        return Plan([self.days_behind] * self.users, cold=self.is_cold, patience_s=self.patience_s)

    @property
    def is_cold(self) -> bool:
        """Whether a checkout's workers have nobody in memory when the wave begins."""
        return self.cold or self._is_cache_small

    @property
    def _is_cache_small(self) -> bool:
        return self.cache is not None and self.cache < self.users


@dataclass(frozen=True)
class Row:
    """One row, and how to start the fleet that it measures."""

    kind: Kind
    name: str
    fleet: Callable[[], AbstractAsyncContextManager[Fleet]]
    plan: Plan


@dataclass(frozen=True)
class Line:
    """The figures of a row."""

    kind: Kind
    name: str
    cost: Cost
    """The median of each figure."""
    rounds: Sequence[Cost]


def rows(asked: Choices, kinds: Sequence[Kind]) -> list[Row]:
    """The rows of these kinds, in the order of the table. References are never cold, since they show what warm
    ones cost; only if a checkout is cold there is a cold floor too."""
    warm = replace(asked.plan, cold=False)
    cache = max(_REFERENCE_CACHE_MIN, asked.users)
    if Kind.FLOOR in kinds and asked.is_cold:
        kinds = [*kinds, Kind.COLD_FLOOR]

    def reference(does: Does) -> Callable[[], AbstractAsyncContextManager[Fleet]]:
        once_restarted = cache if asked.cache is None else asked.cache
        return lambda: temporal_reference(
            does, processes=asked.processes, cache=cache, cache_once_restarted=once_restarted
        )

    found = [
        Row(Kind.FLOOR, "timer only (the floor)", reference(Does.NOTHING), warm),
        Row(Kind.COLD_FLOOR, "timer only, as cold", reference(Does.NOTHING), asked.plan),
        Row(Kind.ENDS, "timer only, then it ends", reference(Does.ENDS), warm),
        Row(Kind.ACTIVITIES, "timer, 3 activities", reference(Does.ACTIVITIES), warm),
        Row(Kind.LOCAL_ACTIVITIES, "timer, 3 local ones", reference(Does.LOCAL_ACTIVITIES), warm),
        Row(Kind.DBOS, "DBOS, sleep, 3 steps", dbos_reference, warm),
        _checkout(Kind.HERE, f"this checkout, {name_of(HERE)}", HERE, asked),
        *(_checkout(Kind.AGAINST, f"against {name_of(path)}", path, asked) for path in asked.against),
    ]
    if Kind.DBOS in kinds and not has_dbos():
        say("DBOS is left out, since it is not installed: pip install --constraint constraints.txt '.[bench]'")
        kinds = [kind for kind in kinds if kind is not Kind.DBOS]
    return [row for row in found if row.kind in kinds]


def _checkout(kind: Kind, name: str, path: Path, asked: Choices) -> Row:
    return Row(kind, name, lambda: checkout_fleet(path, asked.given), asked.plan)


async def measured(all_rows: Sequence[Row], rounds: int) -> list[Line]:
    """Measures every row in every round."""
    costs: dict[str, list[Cost]] = {row.name: [] for row in all_rows}
    for number in range(1, rounds + 1):
        for row in all_rows:
            say(f"round {number} of {rounds}: {row.name}")
            async with row.fleet() as fleet:
                costs[row.name].append(await measure(fleet, row.plan))
    return [Line(row.kind, row.name, median_of(costs[row.name]), costs[row.name]) for row in all_rows]
