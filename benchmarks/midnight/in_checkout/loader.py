"""Fills a checkout's ledger, enrols its users, and tells who was paid: asked in lines of JSON.

It uses what every checkout has, and is no part of what is measured.
"""

import asyncio
import json
import sys
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import date, datetime, timedelta
from pathlib import Path
from time import perf_counter
from typing import Any

from sqlalchemy import func, or_, select
from temporalio.client import Client

from benchmarks.grown_ledger import furnish
from embedded.exiting import exit_process
from ledger.engine import Ledger, open_ledger, upgrade_ledger, utc_now
from ledger.movements import deposit
from ledger.schema import days
from settings import Settings
from staking.days import ONE_DAY, start_of
from staking.models import Act, Activation, BackDating, Receipt
from staking.money import UNITS_PER_TOKEN
from staking.program import Program, parse_program
from workflows.client import ServiceError, SoftStakingClient, send_activation
from workflows.connection import connect

_AT_ONCE = 20
_HELD = 1000 * UNITS_PER_TOKEN
_TIMEOUT = timedelta(minutes=2)
_OPERATOR = "benchmarks"


class Loader:
    """One ledger and one Temporal server, and whoever is enrolled there."""

    def __init__(self, ledger: Ledger, client: Client, program: Program) -> None:
        self._ledger = ledger
        self._client = client
        self._program = program
        self._service = SoftStakingClient(client, timeout=_TIMEOUT)
        self._sending: asyncio.Task[None] | None = None
        self._enough = asyncio.Event()
        self._answered_s: dict[str, list[float]] = {}
        self._held: set[str] = set()
        self._failures: list[str] = []

    async def answer(self, question: Mapping[str, Any]) -> Any:
        """To one line."""
        match question:
            case {"do": "enrol", "users": [*users], "days_behind": [*behind], "day": str(day)}:
                return await self._enrol(users, behind, date.fromisoformat(day))
            case {"do": "enrol now", "users": [*users]}:
                return await self._enrol(users, None, None)
            case {"do": "count", "group": str(group), "day": str(day)}:
                return await self._count(group, date.fromisoformat(day))
            case {"do": "credited", "group": str(group), "day": str(day)}:
                return await self._credited(group, date.fromisoformat(day))
            case {"do": "fund", "users": [*users]}:
                for user in users:
                    await self._fund(user, None)
                return len(users)
            case {"do": "send", "pause_s": float(pause_s), "messages": [*messages]}:
                self._sending = asyncio.create_task(self._send(pause_s, messages))
                return True
            case {"do": "left", "group": str(group), "users": int(users), "day": str(day)}:
                return await self._left(group, users, date.fromisoformat(day))
            case {"do": "stop sending"}:
                return await self._stop_sending()
            case _:
                raise ValueError(question)

    async def _enrol(self, users: Sequence[str], behind: Sequence[int] | None, day: date | None) -> int:
        turn = asyncio.Semaphore(_AT_ONCE)

        async def enrol(number: int, user: str) -> None:
            async with turn:
                activated_at = None
                if behind is not None and day is not None:
                    activated_at = start_of(day - (behind[number] + 1) * ONE_DAY) + ONE_DAY / 2
                await self._fund(user, activated_at)
                await self._activate(user, activated_at)

        await asyncio.gather(*(enrol(number, user) for number, user in enumerate(users)))
        return len(users)

    async def _fund(self, user: str, activated_at: datetime | None) -> None:
        since = (activated_at or utc_now()) - timedelta(hours=1)
        for asset in self._program.assets:
            await deposit(
                self._ledger,
                user,
                asset,
                _HELD,
                idempotency_key=f"{asset} of {user}",
                now=utc_now(),
                occurred_at=since,
            )

    async def _activate(self, user: str, activated_at: datetime | None = None) -> None:
        back_dating = activated_at and BackDating(
            activated_at=activated_at, operator=_OPERATOR, reason="history before the measured wake"
        )
        activation = Activation(
            region="FR", channel="web", documents=self._program.documents, back_dating=back_dating
        )
        receipt = await send_activation(self._client, user, activation, timeout=_TIMEOUT)
        if not isinstance(receipt, Receipt):
            raise RuntimeError(f"{user} was refused: {receipt}")

    async def _count(self, group: str, day: date) -> int:
        """Users of a group whose day is done: credited, or closed where it accrues nothing."""
        done = or_(days.c.credited_at.is_not(None), days.c.accrues.is_(False))
        of_group = days.c.user_id.like(f"{group}-%") & (days.c.day == day)
        async with self._ledger.read() as connection:
            return (await connection.scalar(select(func.count()).where(of_group, done))) or 0

    async def _credited(self, group: str, day: date) -> list[float]:
        of_group = days.c.user_id.like(f"{group}-%") & (days.c.day == day)
        async with self._ledger.read() as connection:
            rows = await connection.scalars(
                select(days.c.credited_at).where(of_group, days.c.credited_at.is_not(None))
            )
            return [instant.timestamp() for instant in rows]

    async def _left(self, group: str, users: int, day: date) -> int:
        """Users of a group of so many whose day is not done and who are not held."""
        of_group = days.c.user_id.like(f"{group}-%") & (days.c.day == day)
        async with self._ledger.read() as connection:
            done = await connection.scalars(
                select(days.c.user_id).where(of_group, days.c.credited_at.is_not(None))
            )
            held = {user for user in self._held if user.startswith(f"{group}-")}
            return users - len(held.union(done))

    async def _send(self, pause_s: float, messages: Sequence[tuple[str, str, str]]) -> None:
        """At a steady rate, however long the answers take: the message, what it is called, and the user."""
        async with asyncio.TaskGroup() as sent:
            for message, name, user in messages:
                sent.create_task(self._timed(name, self._activate if message == "activate" else self._hold, user))
                await asyncio.sleep(pause_s)
                if self._enough.is_set():
                    break

    async def _hold(self, user: str) -> None:
        await self._service.hold(user, Act(operator=_OPERATOR, reason="measured"))
        self._held.add(user)

    async def _timed(self, name: str, send: Callable[[str], Awaitable[None]], user: str) -> None:
        began_s = perf_counter()
        try:
            await send(user)
        except ServiceError as error:
            self._failures.append(f"{name} of {user}: {error}")
        self._answered_s.setdefault(name, []).append(perf_counter() - began_s)

    async def _stop_sending(self) -> Mapping[str, Any]:
        self._enough.set()
        if self._sending is not None:
            await self._sending
        return {"answered_s": self._answered_s, "failures": self._failures}


async def _main(program: Program) -> None:
    url = Settings().ledger_url
    await upgrade_ledger(url)
    async with open_ledger(url) as ledger:
        await furnish(ledger, program)
        loader = Loader(ledger, await connect(), program)
        print(json.dumps("ready"), flush=True)
        while line := await asyncio.to_thread(sys.stdin.readline):
            print(json.dumps(await loader.answer(json.loads(line))), flush=True)


if __name__ == "__main__":
    asyncio.run(_main(parse_program(Path(sys.argv[1]).read_text(encoding="utf-8"))))
    # A process that used Temporal's SDK must be left with care.
    exit_process(0)
