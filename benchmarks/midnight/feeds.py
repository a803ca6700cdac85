"""How fast all users are paid while their movements come in over HTTP, and how fast they are paid without them."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from statistics import median
from time import perf_counter

from benchmarks.exchange_list import free_port
from benchmarks.feed import body_of, connection_to, service, token_of_a_feed
from benchmarks.midnight.checkouts import CheckoutFleet, Given, checkout_fleet
from benchmarks.midnight.processes import BenchmarkFailed
from benchmarks.midnight.telling import say
from benchmarks.midnight.waves import Plan, asleep, paid, until
from ledger.database.engine import open_ledger

_REQUESTS_PER_S = 5
_ASSET = "ASSET1"
"""An asset that every user holds and is paid in."""
_BEFORE_THE_WAVE = timedelta(seconds=0.5)


@dataclass(frozen=True)
class FedWave:
    """The medians of some rounds. Each round has a wave without a feed and one with it."""

    users: int
    users_per_s: float
    fed_users_per_s: float
    movements_per_s: float
    """How many movements were posted, from half a second before the wave until all users were paid."""
    ratio: float
    """How fast the wave with a feed was, divided by the speed of the other wave of its round."""


@dataclass(frozen=True)
class _Wave:
    users_per_s: float
    movements_per_s: float


@dataclass
class _Fed:
    """What a feed has posted by now."""

    began_s: float
    movements: int = 0


async def measured_feed(path: Path, given: Given, plan: Plan, per_s: int, rounds: int) -> FedWave:
    """Pays all users with movements that come in at a steady rate, and without them, each on a new ledger.

    `starter.py serve` runs in both waves.
    """
    without: list[_Wave] = []
    fed: list[_Wave] = []
    for number in range(1, rounds + 1):
        say(f"round {number} of {rounds}: without movements")
        without.append(await _wave(path, given, plan, 0))
        say(f"round {number} of {rounds}: with {per_s:,} movements a second")
        fed.append(await _wave(path, given, plan, per_s))
    return FedWave(
        users=len(plan.days_behind),
        users_per_s=median(wave.users_per_s for wave in without),
        fed_users_per_s=median(wave.users_per_s for wave in fed),
        movements_per_s=median(wave.movements_per_s for wave in fed),
        ratio=median(one.users_per_s / other.users_per_s for one, other in zip(fed, without, strict=True)),
    )


async def _wave(path: Path, given: Given, plan: Plan, per_s: int) -> _Wave:
    port = free_port()
    async with checkout_fleet(path, given) as fleet, service(fleet.url, port, fleet.address):
        token = await _token(fleet)
        group, wakes_at = await asleep(fleet, plan)
        await until(wakes_at - _BEFORE_THE_WAVE)
        async with _feeding(port, token, group.users, per_s) as fed:
            await until(wakes_at)
            await paid(fleet, group, plan.patience_s)
            movements_per_s = fed.movements / (perf_counter() - fed.began_s)
        late_s = [instant - wakes_at.timestamp() for instant in await fleet.finished_at(group)]
    if len(late_s) < len(group.users):
        raise BenchmarkFailed(f"{len(group.users) - len(late_s)} users were not paid within {plan.patience_s:g} s")
    return _Wave(len(late_s) / max(late_s), movements_per_s)


async def _token(fleet: CheckoutFleet) -> str:
    async with open_ledger(fleet.url) as ledger:
        return await token_of_a_feed(ledger)


@asynccontextmanager
async def _feeding(port: int, token: str, users: list[str], per_s: int) -> AsyncGenerator[_Fed]:
    """Posts movements of the users in turn, until the context is left. The first are posted when it is entered."""
    fed = _Fed(perf_counter())
    if not per_s:
        yield fed
        return
    of_a_request = max(per_s // _REQUESTS_PER_S, 1)
    async with connection_to(port, token) as post:

        async def send() -> None:
            await post(body_of(users, fed.movements, of_a_request, asset=_ASSET))
            fed.movements += of_a_request

        async def go_on() -> None:
            """Sends each request when its time has come; if the one before is not answered by then, after that."""
            while True:
                await asyncio.sleep(fed.began_s + fed.movements / per_s - perf_counter())
                await send()

        await send()
        feeding = asyncio.create_task(go_on())
        try:
            yield fed
            if feeding.done():
                raise BenchmarkFailed("the feed has ended") from feeding.exception()
        finally:
            feeding.cancel()
            await asyncio.gather(feeding, return_exceptions=True)
