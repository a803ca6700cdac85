"""The whole service in a test: a world, a Temporal server whose clock skips, and workers that come and go."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import date, datetime, timedelta
from decimal import ROUND_DOWN, Decimal
from pathlib import Path

import pytest
from polling import LOOK_AGAIN_S, PATIENCE, eventually
from servers import time_skipping
from sqlalchemy import func, select
from temporalio.api.history.v1 import HistoryEvent
from temporalio.api.testservice.v1 import LockTimeSkippingRequest, UnlockTimeSkippingRequest
from temporalio.client import Client, WorkflowExecutionStatus, WorkflowHandle
from temporalio.service import RPCError, RPCStatusCode
from temporalio.testing import WorkflowEnvironment
from temporalio.worker import Worker
from world import SHIPPED_PROGRAM, World, a_world, activation

from activities import all_activities
from contract.answers import End, Receipt, Refusal
from contract.recollection import DAYS_PER_RUN
from contract.steps import TASK_QUEUE, workflow_id
from ledger.database.schema import UtcDay, days, enrolments
from ledger.reading.statements import StatementLine
from running.worker import build_worker
from staking.models import Activation
from staking.program import Program
from temporal.client import SoftStakingClient, send_activation
from workflows.soft_staking import SoftStakingWorkflow

CLOCK_MOVES_WITHIN_S = 30


def compounding(holding: str, apr: str, days_held: int, cap: str = "10000") -> list[tuple[Decimal, Decimal]]:
    """Average and reward of each day for a holding that only its own rewards change, computed independently."""
    unit = Decimal("0.00000001")
    average = Decimal(holding)
    answer: list[tuple[Decimal, Decimal]] = []
    for _ in range(days_held):
        reward = (min(average, Decimal(cap)) * Decimal(apr) / 365).quantize(unit, ROUND_DOWN)
        answer.append((average, reward))
        average += reward
    return answer


def numbers(lines: list[StatementLine]) -> list[tuple[Decimal, Decimal]]:
    """Average and reward of each line, in tokens."""
    return [(Decimal(line.average).scaleb(-8), Decimal(line.reward).scaleb(-8)) for line in lines]


class StakingService:
    """The service of one user, with short methods."""

    def __init__(
        self,
        world: World,
        client: Client,
        *,
        environment: WorkflowEnvironment | None = None,
        user: str = "ann",
    ) -> None:
        self.user = user
        self.world = world
        self.temporal = client
        self.client = SoftStakingClient(client, timeout=PATIENCE)
        self._environment = environment
        self._worker = AsyncExitStack()

    # Workers.

    async def start_worker(
        self,
        *,
        forgetful: bool = False,
        spread: timedelta = timedelta(),
        days_per_run: int = DAYS_PER_RUN,
    ) -> None:
        """Starts a worker. A ``forgetful`` worker replays every task from its history. On the time-skipping
        server, a worker from which another one takes over must be forgetful, since that server never gives a task
        of a worker that is gone to another worker."""
        if forgetful:
            worker = Worker(
                self.temporal,
                task_queue=TASK_QUEUE,
                workflows=[SoftStakingWorkflow],
                activities=all_activities(self.world.ledger),
                max_cached_workflows=0,
            )
        else:
            worker = build_worker(self.temporal, self.world.ledger, spread=spread, days_per_run=days_per_run)
        await self._worker.enter_async_context(worker)

    async def stop_worker(self) -> None:
        await self._worker.aclose()

    async def stop_worker_at_rest(self) -> None:
        """Stops the worker as soon as the loop waits. Several tasks that are left behind would hold the server's
        clock several times."""

        async def look() -> bool:
            return await self.state() not in ("starting", "processing")

        await eventually(look)
        await self.stop_worker()

    # Time.

    async def now(self) -> datetime:
        assert self._environment
        return await self._environment.get_current_time()

    async def skip_to(self, instant: datetime) -> None:
        """Skips time to a future instant. Everything that falls due until then is done."""
        # One request must not take longer than the server allows for it.
        await self._skip_to(instant, step=timedelta(days=25))

    async def skip_without_worker_to(self, instant: datetime) -> None:
        """Skips time while a task waits that no worker takes, and which therefore holds the server's clock."""
        assert self._environment
        service = self._environment.client.test_service
        holds = 1
        await service.unlock_time_skipping(UnlockTimeSkippingRequest())
        try:
            while await self.now() < instant:
                try:
                    async with asyncio.timeout(CLOCK_MOVES_WITHIN_S):
                        # The clock runs free until that task waits, so a long step could end far too late.
                        await self._skip_to(instant, step=timedelta(minutes=10))
                except TimeoutError:
                    # A worker that was stopped may have left another task behind, which holds the clock too.
                    holds += 1
                    await service.unlock_time_skipping(UnlockTimeSkippingRequest())
        finally:
            for _ in range(holds):
                await service.lock_time_skipping(LockTimeSkippingRequest())

    async def _skip_to(self, instant: datetime, *, step: timedelta) -> None:
        assert self._environment
        while (left := instant - await self.now()) > timedelta():
            try:
                await self._environment.sleep(min(left, step))
            except RPCError as error:
                # The clock runs free until the next task waits; the server takes no sleep before that, and fails
                # with "Unbalanced lock" in its own log.
                # On a busy machine the sleep outlasts its request, and the clock goes on all the same.
                if error.status not in (RPCStatusCode.UNKNOWN, RPCStatusCode.CANCELLED):
                    raise
                await asyncio.sleep(LOOK_AGAIN_S)

    # What a user does.

    async def activate(
        self, program: Program = SHIPPED_PROGRAM, *, region: str = "FR", back_dated_to: datetime | None = None
    ) -> Receipt:
        """An activation that is accepted."""
        answer = await self.answer_to(activation(program, region=region, back_dated_to=back_dated_to))
        assert isinstance(answer, Receipt), answer
        return answer

    async def answer_to(self, asked: Activation) -> Receipt | Refusal:
        return await send_activation(self.temporal, self.user, asked, timeout=PATIENCE)

    async def deposit(self, tokens: str = "12", asset: str = "SOL", when: datetime | None = None) -> None:
        """Deposits at an instant; without one, an hour ago."""
        await self.world.move(self.user, tokens, asset, when or await self.now() - timedelta(hours=1))

    async def deactivate(self) -> End:
        return await self.client.deactivate(self.user)

    # What the ledger then has.

    async def statement(self) -> list[StatementLine]:
        return await self.world.statement(self.user)

    async def credited_through(self, day: date) -> list[StatementLine]:
        """Waits until a day is credited, and returns the statement."""

        async def look() -> list[StatementLine]:
            lines = await self.statement()
            return lines if lines and lines[-1].day >= day else []

        return await eventually(look)

    async def closed_days(self) -> list[date]:
        async with self.world.ledger.read() as connection:
            rows = await connection.execute(
                select(days.c.day).where(days.c.user_id == self.user).order_by(days.c.day)
            )
            return list(rows.scalars())

    async def closed_through(self, day: date) -> None:
        async def look() -> bool:
            async with self.world.ledger.read() as connection:
                of_user = days.c.user_id == self.user
                last = await connection.scalar(select(func.max(days.c.day, type_=UtcDay())).where(of_user))
            return last is not None and last >= day

        await eventually(look)

    async def enrolment_count(self) -> int:
        async with self.world.ledger.read() as connection:
            return await connection.scalar(select(func.count()).select_from(enrolments)) or 0

    async def state(self) -> str | None:
        status = await self.client.status(self.user)
        return status and status.state

    async def reaches_state(self, state: str) -> None:
        async def look() -> bool:
            return await self.state() == state

        await eventually(look)

    async def audit_is_clean(self) -> bool:
        found = await self.world.audit()
        assert found.is_clean, [check for check in found.checks if check.breaches]
        return True

    # The workflow.

    @property
    def workflow(self) -> WorkflowHandle[SoftStakingWorkflow, None]:
        return self.temporal.get_workflow_handle_for(SoftStakingWorkflow.run, workflow_id(self.user))

    async def workflow_status(self) -> WorkflowExecutionStatus | None:
        return (await self.workflow.describe()).status

    async def completes(self) -> None:
        async def look() -> bool:
            return await self.workflow_status() != WorkflowExecutionStatus.RUNNING

        await eventually(look)
        assert await self.workflow_status() == WorkflowExecutionStatus.COMPLETED

    async def runs(self) -> list[list[HistoryEvent]]:
        """The history of each run that the latest one continues, oldest first."""
        found: list[list[HistoryEvent]] = []
        run_id: str | None = None
        while run_id != "":
            handle = self.temporal.get_workflow_handle(workflow_id(self.user), run_id=run_id)
            events = list((await handle.fetch_history()).events)
            found.insert(0, events)
            run_id = events[0].workflow_execution_started_event_attributes.continued_execution_run_id
        return found


@asynccontextmanager
async def a_service(world: World) -> AsyncGenerator[StakingService]:
    """The service on a time-skipping server, without a worker."""
    async with time_skipping() as environment:
        service = StakingService(world, environment.client, environment=environment)
        try:
            yield service
        finally:
            await service.stop_worker()


@pytest.fixture
async def idle_service(world: World) -> AsyncGenerator[StakingService]:
    """Full pools, and no worker yet."""
    async with a_service(world) as made:
        yield made


@pytest.fixture
async def service(idle_service: StakingService) -> StakingService:
    """Full pools, and a worker."""
    await idle_service.start_worker()
    return idle_service


@pytest.fixture
async def unfunded_service(tmp_path: Path) -> AsyncGenerator[StakingService]:
    """Empty pools, and a worker."""
    async with a_world(tmp_path, program=None) as world, a_service(world) as made:
        await world.apply(SHIPPED_PROGRAM)
        await made.start_worker()
        yield made
