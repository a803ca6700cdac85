"""One of several processes that all do the same work on one ledger: ``stress_process.py URL SEED NUMBER LIFE``.

All requests follow from the seed, so that each request is made by several processes; only their order differs
between processes. In a life that ends early the process kills itself in the middle of something, and is expected
to be started again. Each answer is a line of JSON on stdout.
"""

import asyncio
import json
import os
import random
import signal
import sys
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import asdict, dataclass
from datetime import date, datetime, timedelta
from functools import partial
from itertools import count
from typing import Any, TypeVar

from pydantic import BaseModel
from sqlalchemy import event
from world import LONG_AGO, World, at, program_with

from ledger.corrections import adjust, reverse
from ledger.database.engine import Ledger, open_ledger
from ledger.entries import Recorded
from ledger.errors import LedgerError
from ledger.movements import deposit, trade, withdraw
from ledger.pools import fund_pool
from ledger.programs import switch_assets
from staking.days import ONE_DAY, end_of, start_of
from staking.models import PoolShort, Snapshot

TOKEN = 10**8
USERS = ("Ann", "bob", "Cyd", "dan")
LEAVER = "dan"
START = at("2026-10-01 10:00")
DAYS = [START.date() + number * ONE_DAY for number in range(6)]
MOVEMENTS_A_DAY = 14
LANES = 4
"""How many requests of one process are under way at the same time."""
LIVES_THAT_END_EARLY = (0, 1, 0, 2)
"""How many requests each process makes."""
TERMS = {"minimum": "1", "cap": "500", "apr": "0.5"}
REVERSED = {("Ann", DAYS[2]), ("bob", DAYS[3])}
"""The users and days whose reward is reversed."""

Job = Callable[[], Awaitable[None]]
_Answer = TypeVar("_Answer")


@dataclass(frozen=True)
class Movement:
    """A movement that several processes post under one key."""

    key: str
    user: str
    changes: dict[str, int]
    occurred_at: datetime
    is_reversed: bool


def movements_of(seed: str, day: date) -> list[Movement]:
    chance = random.Random(f"{seed} {day}")
    return [_movement(chance, f"{day} movement {number}", day) for number in range(MOVEMENTS_A_DAY)]


def _movement(chance: random.Random, key: str, day: date) -> Movement:
    units = chance.randint(1, 30 * TOKEN)
    asset, other = chance.sample(["SOL", "SUI"], 2)
    changes = chance.choice([{asset: units}, {asset: -units}, {asset: -units, other: 2 * units}])
    occurred_at = start_of(day) + timedelta(minutes=chance.randint(0, 24 * 60 - 1))
    return Movement(key, chance.choice(USERS), changes, occurred_at, is_reversed=chance.random() < 0.3)


class Process:
    """What one of the processes does."""

    def __init__(self, world: World, seed: str, number: str) -> None:
        self._world = world
        self._seed = seed
        self._chance = random.Random(f"{seed} process {number}")

    async def work(self) -> None:
        """All requests, day after day."""
        await self._begin()
        for day in DAYS:
            jobs = list(self._jobs_of(day))
            self._chance.shuffle(jobs)

            async def lane(jobs: list[Job] = jobs) -> None:
                while jobs:
                    await jobs.pop()()

            await asyncio.gather(*(lane() for _ in range(LANES)))

    async def _begin(self) -> None:
        ledger = self._world.ledger
        second = program_with(str(DAYS[3]), SOL={**TERMS, "apr": "0.9"}, SUI=TERMS)
        await self._ask("program", "the second program", self._world.apply(second, now=START))
        pause = switch_assets(
            ledger, ["SUI"], paused=True, operator="tests", reason="a test", first_day=DAYS[4], now=START
        )
        await self._ask("program", "the pause", pause)
        for user in USERS:
            await self._move(Movement(f"first of {user}", user, {"SOL": 50 * TOKEN}, START, is_reversed=False))
            await self._ask("enrolment", f"enrolment of {user}", self._world.enrol(user, START))

    def _jobs_of(self, day: date) -> Iterator[Job]:
        for movement in movements_of(self._seed, day):
            if self._chance.random() < 0.8:
                yield partial(self._move, movement)
        for user in USERS:
            yield partial(self._close_and_credit, user, day)
        for job in (self._import, self._fund_and_take_back, self._adjust):
            yield partial(job, day)
        if day == DAYS[-1]:
            yield self._leave
        else:
            yield partial(
                self._close, USERS[0], day + ONE_DAY
            )  # This is too early, unless another process is ahead.

    async def _move(self, movement: Movement) -> None:
        now = end_of(movement.occurred_at.date())
        words = partial(_posted, self._world.ledger, movement, now)
        posted = await self._ask("entry", movement.key, words(), user=movement.user, changes=movement.changes)
        if posted is not None and movement.is_reversed:
            await self._take_back(posted.entry.entry_id, now)

    async def _adjust(self, day: date) -> None:
        user, key = USERS[day.day % len(USERS)], f"{day} fee"
        words = adjust(
            self._world.ledger,
            user,
            "SOL",
            -TOKEN,
            reason="a fee",
            operator="zoe",
            now=end_of(day),
            idempotency_key=key,
        )
        await self._ask("entry", key, words, user=user, changes={"SOL": -TOKEN})

    async def _take_back(self, entry_id: int, now: datetime) -> None:
        words = reverse(self._world.ledger, entry_id, reason="a mistake", operator="zoe", now=now)
        await self._ask("reversal", f"reversal of {entry_id}", words, reverses=entry_id)

    async def _close(self, user: str, day: date) -> Snapshot | None:
        return await self._ask(
            "snapshot", f"snapshot {user} {day}", self._world.snapshot(user, day), user=user, day=str(day)
        )

    async def _close_and_credit(self, user: str, day: date) -> None:
        snapshot = await self._close(user, day)
        if snapshot is None or day == DAYS[0]:
            return
        rewards = await self._world.compute(snapshot)
        owed = {line.asset: line.reward for line in rewards.lines}
        for attempt in count():
            words = self._world.credit(user, rewards)
            credit = await self._ask(
                "credit", f"credit {user} {day}", words, user=user, day=str(day), changes=owed
            )
            if not isinstance(credit, PoolShort):
                break
            for asset in credit.assets:
                await self._fund(f"{day} {asset} for {user} {attempt}", asset, 3 * owed[asset])
        if credit is not None and credit.entry_id is not None and (user, day) in REVERSED:
            await self._take_back(credit.entry_id, end_of(day))

    async def _fund(self, key: str, asset: str, units: int) -> None:
        words = fund_pool(self._world.ledger, asset, units, operator="tests", now=START, idempotency_key=key)
        await self._ask("funding", key, words, changes={asset: units})

    async def _fund_and_take_back(self, day: date) -> None:
        key = f"{day} funding by mistake"
        await self._fund(key, "SOL", TOKEN)
        ((entry_id,),) = await self._world.sql(
            "SELECT entry_id FROM entries WHERE idempotency_key = :key", key=key
        )
        await self._take_back(entry_id, START)

    async def _import(self, day: date) -> None:
        """Two lines for each user. One of them was in the export of the day before."""
        lines = [
            f"{user},{of} 12:00:00,Spot,Deposit,SUI,{number},"
            for of in (day - ONE_DAY, day)
            for number, user in enumerate(USERS, 1)
        ]
        await self._ask("import", f"import {day}", self._world.import_lines(*lines, answer="same"), lines=lines)

    async def _leave(self) -> None:
        ended_at = start_of(DAYS[-1]) + timedelta(hours=12)
        await self._ask("end", f"end of {LEAVER}", self._world.end(LEAVER, ended_at))

    async def _ask(self, kind: str, request: str, words: Awaitable[_Answer], **content: object) -> _Answer | None:
        """The answer to a request, which is also printed; None if the ledger refuses it."""
        said = {"kind": kind, "request": request, **content}
        try:
            answer = await words
        except LedgerError as refusal:
            _say(said | {"refused": type(refusal).__name__})
            return None
        _say(said | ({"short": True} if isinstance(answer, PoolShort) else {"answer": _lasting(answer)}))
        return answer


def _posted(ledger: Ledger, movement: Movement, now: datetime) -> Awaitable[Recorded]:
    user, occurred_at = movement.user, movement.occurred_at
    legs = [(asset, abs(units)) for asset, units in sorted(movement.changes.items(), key=lambda leg: leg[1])]
    if len(legs) == 2:
        (sold, bought) = legs
        return trade(ledger, user, *sold, *bought, idempotency_key=movement.key, now=now, occurred_at=occurred_at)
    move = deposit if min(movement.changes.values()) > 0 else withdraw
    return move(ledger, user, *legs[0], idempotency_key=movement.key, now=now, occurred_at=occurred_at)


def _lasting(answer: object) -> Any:
    """The part that is the same in every answer to a request; None if only its effect is the same."""
    if isinstance(answer, Recorded):
        entry = asdict(answer.entry)
        del entry["reversed_by"]
        return entry
    return answer.model_dump(mode="json") if isinstance(answer, BaseModel) else None


def _say(said: dict[str, object]) -> None:
    os.write(1, f"{json.dumps(said, default=str)}\n".encode())


def die_in_the_middle(ledger: Ledger, steps: int) -> None:
    """Kills this process after so many statements, commits and returns of connections."""
    left = iter(range(steps))

    def step(*_: object) -> None:
        if next(left, None) is None:
            os.kill(os.getpid(), signal.SIGKILL)

    engine = ledger._engine.sync_engine
    for name in ("before_cursor_execute", "commit"):
        event.listen(engine, name, step)
    event.listen(engine.pool, "checkin", step)


async def live(url: str, seed: str, number: str, life: str) -> None:
    async with open_ledger(url, clock=lambda: LONG_AGO) as ledger:
        if int(life) <= LIVES_THAT_END_EARLY[int(number) % len(LIVES_THAT_END_EARLY)]:
            die_in_the_middle(ledger, random.Random(f"{seed} {number} {life}").randint(20, 900))
        await Process(World(ledger), seed, number).work()


if __name__ == "__main__":
    asyncio.run(live(*sys.argv[1:]))
