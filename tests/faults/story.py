"""One user's story, which happens twice: in the service under faults, and by hand without Temporal."""

import asyncio
from collections.abc import Awaitable, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar

from polling import eventually
from sqlalchemy import func, select
from temporalio.client import Client, WorkflowExecutionStatus
from temporalio.testing import WorkflowEnvironment
from temporalio.worker import Replayer
from world import World, a_world

from contract.answers import Receipt
from contract.requests import EndRequest
from contract.steps import workflow_id
from ledger.auditing.audit import audit
from ledger.database.engine import Ledger
from ledger.database.schema import days
from ledger.enrolments import end_enrolment
from ledger.reading.statements import StatementLine
from staking.days import ONE_DAY, day_of, end_of, start_of
from temporal.payloads import PYDANTIC
from workflows.soft_staking import SoftStakingWorkflow

Answer = TypeVar("Answer")


@dataclass(frozen=True)
class Move:
    """A deposit; a negative amount is a withdrawal."""

    when: datetime
    tokens: str
    asset: str


@dataclass(frozen=True)
class Span:
    """An enrolment as the ledger should have it."""

    activated_at: datetime
    last_accrual_day: date


def movements(from_day: date, count: int) -> list[Move]:
    """An ordinary year of a user with two assets. Something moves on most days, at irregular hours."""
    opened = start_of(from_day)
    moves = [Move(opened - ONE_DAY, "12", "SOL"), Move(opened - ONE_DAY, "1000.00000007", "SUI")]
    for number in range(1, count):
        when = opened + timedelta(days=number, hours=(number * 7) % 24, seconds=number)
        if number % 3 == 1:
            moves.append(Move(when, "-3", "SOL"))
        elif number % 3 == 2:
            moves.append(Move(when, "3.25000001", "SOL"))
        if number % 4 == 0:
            moves.append(Move(when + timedelta(minutes=1), "-0.33333333", "SUI"))
    return moves


async def post(world: World, user: str, moves: Sequence[Move]) -> None:
    for move in moves:
        await world.move(user, move.tokens, move.asset, move.when)


async def lines_by_hand(folder: Path, user: str, moves: Sequence[Move], *spans: Span) -> list[tuple[Any, ...]]:
    """The statement of a ledger in which each day is closed and credited in order, once."""
    async with a_world(_new(folder)) as world:
        await post(world, user, moves)
        for number, span in enumerate(spans):
            enrolment_id = f"by hand {number}"
            assert isinstance(await world.enrol(user, span.activated_at, enrolment_id=enrolment_id), Receipt)
            day = day_of(span.activated_at)
            await world.snapshot(user, day, enrolment_id=enrolment_id)
            while (day := day + ONE_DAY) <= span.last_accrual_day:
                await world.pay(user, day, enrolment_id=enrolment_id)
            request = EndRequest(
                user_id=user,
                enrolment_id=enrolment_id,
                ended_at=end_of(span.last_accrual_day),
                reason="over",
            )
            await end_enrolment(world.ledger, request)
        return content(await world.statement(user))


def content(lines: Sequence[StatementLine]) -> list[tuple[Any, ...]]:
    """What a fault must not change: everything except who wrote it and when."""
    names = (
        "user_id",
        "day",
        "asset",
        "opening",
        "closing",
        "average",
        "minimum",
        "cap",
        "apr",
        "reward",
        "outcome",
    )
    return [tuple(getattr(line, name) for name in names) for line in lines]


def _new(folder: Path) -> Path:
    folder.mkdir()
    return folder


async def assert_audit_is_clean(ledger: Ledger) -> None:
    found = await audit(ledger, now=ledger.clock())
    assert found.is_clean, [breach.what for check in found.checks for breach in check.breaches]


async def credited_days(ledger: Ledger) -> int:
    """How many days of all users are credited."""
    async with ledger.read() as connection:
        counted = await connection.scalar(select(func.count()).where(days.c.credited_at.is_not(None)))
    return counted or 0


async def until_paid(ledger: Ledger, user_days: int) -> None:
    """Waits until so many days are credited."""

    async def they_are() -> bool:
        return await credited_days(ledger) >= user_days

    await eventually(they_are, f"{user_days} days credited")


async def while_time_passes(environment: WorkflowEnvironment, request: Awaitable[Answer]) -> Answer:
    """Sends a request whose steps are retried, and moves the skipping clock forward until it is answered."""
    answer = asyncio.ensure_future(request)
    while not answer.done():
        await environment.sleep(timedelta(seconds=5))
        await asyncio.sleep(0.01)
    return answer.result()


async def is_running(client: Client, user: str) -> bool:
    description = await client.get_workflow_handle(workflow_id(user)).describe()
    return description.status == WorkflowExecutionStatus.RUNNING


async def pending_failure(client: Client, user: str) -> str:
    """What the server knows about the failure of the step that is being retried; empty if there is no failure."""
    description = await client.get_workflow_handle(workflow_id(user)).describe()
    failures = [pending.last_failure.message for pending in description.raw_description.pending_activities]
    return failures[0] if failures else ""


async def assert_replays(client: Client, user: str) -> None:
    """Tests that the code replays the history of the user's latest run."""
    history = await client.get_workflow_handle(workflow_id(user)).fetch_history()
    replayer = Replayer(workflows=[SoftStakingWorkflow], data_converter=PYDANTIC)
    await replayer.replay_workflow(history)
