"""Fills a checkout's ledger, starts its users' workflows, and counts who was paid. It is asked in lines of JSON.

It uses only code that every checkout has, and is not measured itself.
"""

import asyncio
import json
import sys
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import date, timedelta
from importlib.util import find_spec
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any

from sqlalchemy import func, or_, select
from temporalio.client import Client

from benchmarks import grown_ledger
from embedded.exiting import exit_process
from ledger.movements import deposit
from settings import Settings
from staking.days import ONE_DAY
from staking.models import Activation
from staking.money import UNITS_PER_TOKEN
from staking.program import Program, parse_program

if TYPE_CHECKING or find_spec("contract"):
    from activities import Steps as RecallStep
    from contract.acts import Act
    from contract.answers import Receipt
    from contract.errors import ServiceError
    from contract.recollection import RunSettings
    from contract.steps import TASK_QUEUE, WORKFLOW_TYPE, workflow_id
    from ledger.database.engine import Ledger, open_ledger, upgrade_ledger, utc_now
    from ledger.database.schema import days
    from temporal.client import SoftStakingClient, send_activation
    from temporal.connection import connect
else:  # This is for a checkout in which these modules do not have folders of their own yet.
    from activities.recall import RecallStep
    from ledger.engine import Ledger, open_ledger, upgrade_ledger, utc_now
    from ledger.schema import days
    from staking.steps import TASK_QUEUE, WORKFLOW_TYPE, workflow_id
    from workflows.client import ServiceError, SoftStakingClient, send_activation
    from workflows.connection import connect

    from staking.models import Act, Receipt, RunSettings

_AT_ONCE = 20
_HELD = 1000 * UNITS_PER_TOKEN
_TIMEOUT = timedelta(minutes=2)
_OPERATOR = "benchmarks"
_NOT_ALONE = {
    "sqlite": ("PRAGMA busy_timeout = 10000",),
    "postgresql": ("SET session_replication_role = replica", "SET synchronous_commit = off"),
}
"""How users are added while workers have the same database open."""


class Loader:
    """One ledger and one Temporal server, and the users who are enrolled there."""

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
        """The answer to one line."""
        match question:
            case {"do": "add", "name": str(name), "count": int(count), "next_day": str(day)}:
                return await self._add(name, count, date.fromisoformat(day))
            case {"do": "start", "users": [*users], "wake_offset_s": float(offset_s)}:
                return await self._each(users, lambda user: self._start(user, timedelta(seconds=offset_s)))
            case {"do": "settled", "users": [*users]}:
                return await self._settled(users)
            case {"do": "count", "group": str(group), "day": str(day)}:
                return await self._count(group, date.fromisoformat(day))
            case {"do": "credited", "group": str(group), "day": str(day)}:
                return await self._credited(group, date.fromisoformat(day))
            case {"do": "fund", "users": [*users]}:
                return await self._each(users, self._fund)
            case {"do": "send", "pause_s": float(pause_s), "messages": [*messages]}:
                self._sending = asyncio.create_task(self._send(pause_s, messages))
                return True
            case {"do": "left", "group": str(group), "users": int(users), "day": str(day)}:
                return await self._left(group, users, date.fromisoformat(day))
            case {"do": "stop sending"}:
                return await self._stop_sending()
            case _:
                raise ValueError(question)

    async def _add(self, prefix: str, count: int, next_day: date) -> int:
        """Adds users as they stand after their first rewards, whose next day is the given one."""
        # This function exists in every checkout. It uses days of its own, and assumes that nobody else uses the
        # database.
        its_own = {"FIRST_DAY": next_day - 2 * ONE_DAY, "NEXT_DAY": next_day, "_IN_HASTE": _NOT_ALONE}
        for name, value in its_own.items():
            setattr(grown_ledger, name, value)
        users = grown_ledger.Users(prefix, count, assets=len(self._program.assets))
        await asyncio.to_thread(grown_ledger.add_users, Settings().ledger_url, users, self._program)
        return count

    async def _start(self, user: str, wake_offset: timedelta) -> None:
        """Starts a run that begins like one that continues another: with what the ledger knows of the user, and
        asleep."""
        known = await RecallStep(self._ledger).recall(user)
        changed: dict[str, object] = {"wake_offset": wake_offset}
        if "days_per_run" in RunSettings.model_fields:
            changed["days_per_run"] = Settings().days_per_run
        carried = known.model_copy(update={"settings": known.settings.model_copy(update=changed)})
        await self._client.start_workflow(
            WORKFLOW_TYPE, args=[user, carried], id=workflow_id(user), task_queue=TASK_QUEUE
        )

    async def _settled(self, users: Sequence[str]) -> int:
        """How many workflows of these users have no task under way."""
        settled = 0

        async def look(user: str) -> None:
            nonlocal settled
            found = await self._client.get_workflow_handle(workflow_id(user)).describe()
            settled += not found.raw_description.HasField("pending_workflow_task")

        await self._each(users, look)
        return settled

    async def _each(self, users: Sequence[str], do: Callable[[str], Awaitable[None]]) -> int:
        turn = asyncio.Semaphore(_AT_ONCE)

        async def in_turn(user: str) -> None:
            async with turn:
                await do(user)

        await asyncio.gather(*map(in_turn, users))
        return len(users)

    async def _fund(self, user: str) -> None:
        for asset in self._program.assets:
            await deposit(
                self._ledger,
                user,
                asset,
                _HELD,
                idempotency_key=f"{asset} of {user}",
                now=utc_now(),
                occurred_at=utc_now() - timedelta(hours=1),
            )

    async def _activate(self, user: str) -> None:
        activation = Activation(region="FR", channel="web", documents=self._program.documents)
        receipt = await send_activation(self._client, user, activation, timeout=_TIMEOUT)
        if not isinstance(receipt, Receipt):
            raise RuntimeError(f"{user} was refused: {receipt}")

    async def _count(self, group: str, day: date) -> int:
        """How many users of a group are done with the day: it is credited, or closed if it accrues nothing."""
        done = or_(days.c.credited_at.is_not(None), days.c.accrues.is_(False))
        of_group = days.c.user_id.like(f"{group}.%") & (days.c.day == day)
        async with self._ledger.read() as connection:
            return (await connection.scalar(select(func.count()).where(of_group, done))) or 0

    async def _credited(self, group: str, day: date) -> list[float]:
        of_group = days.c.user_id.like(f"{group}.%") & (days.c.day == day)
        async with self._ledger.read() as connection:
            rows = await connection.scalars(
                select(days.c.credited_at).where(of_group, days.c.credited_at.is_not(None))
            )
            return [instant.timestamp() for instant in rows]

    async def _left(self, group: str, users: int, day: date) -> int:
        """How many users of a group, which has ``users`` members, are not done with the day and not held."""
        of_group = days.c.user_id.like(f"{group}.%") & (days.c.day == day)
        async with self._ledger.read() as connection:
            done = await connection.scalars(
                select(days.c.user_id).where(of_group, days.c.credited_at.is_not(None))
            )
            held = {user for user in self._held if user.startswith(f"{group}.")}
            return users - len(held.union(done))

    async def _send(self, pause_s: float, messages: Sequence[tuple[str, str, str]]) -> None:
        """Sends messages at a steady rate, however long the answers take. Each is the message, its name, and the
        user."""
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
        await grown_ledger.furnish(ledger, program)
        loader = Loader(ledger, await connect(), program)
        print(json.dumps("ready"), flush=True)
        while line := await asyncio.to_thread(sys.stdin.readline):
            print(json.dumps(await loader.answer(json.loads(line))), flush=True)


if __name__ == "__main__":
    asyncio.run(_main(parse_program(Path(sys.argv[1]).read_text(encoding="utf-8"))))
    # A process that used Temporal's SDK must be left with care.
    exit_process(0)
