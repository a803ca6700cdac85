"""When a fleet's rewards are credited, with and without a spread: ``python -m benchmarks.spread``.

A thousand real workflows on a Temporal server whose clock skips. Each is taken over two boundaries; the instants
are those that the ledger recorded.
"""

import asyncio
import sys
from collections import Counter
from collections.abc import Coroutine
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import Progress
from sqlalchemy import func, select
from temporalio.testing import TimeSkippingConfig, WorkflowEnvironment
from temporalio.worker import Worker

from activities import all_activities
from contract.answers import Receipt
from contract.steps import TASK_QUEUE, workflow_id
from embedded.exiting import exit_process
from ledger.database.engine import Ledger, make_ledger, open_ledger, utc_now
from ledger.database.schema import days, rewards
from ledger.movements import deposit
from ledger.pools import fund_pool
from ledger.programs import apply_program
from settings import SHIPPED_PROGRAM_FILE, sqlite_url
from staking.days import SPREAD_MAX, end_of
from staking.money import UNITS_PER_TOKEN
from staking.program import parse_program
from temporal.client import SoftStakingClient
from temporal.payloads import PYDANTIC
from workflows.soft_staking import SoftStakingWorkflow

_AT_ONCE = 20
_SKIPPING = {
    "frontend.WorkflowTimeSkippingEnabled": "true",
    "history.timerProcessorMaxTimeShift": '"10ms"',
    "history.workflowIdReuseMinimalInterval": '"0s"',
}
_BAR = 50


def main(
    users: Annotated[int, typer.Option(min=1, help="How many workflows wake.")] = 1000,
    hours: Annotated[float, typer.Option(min=0, max=SPREAD_MAX.seconds / 3600, help="The spread.")] = 7,
) -> None:
    """Measure when rewards are credited."""
    for spread in (timedelta(), timedelta(hours=hours)):
        asyncio.run(_measure(users, spread))
    # A process that used Temporal's SDK must be left with care.
    exit_process(0)


async def _measure(users: int, spread: timedelta) -> None:
    user_ids = [f"user-{number}" for number in range(users)]
    with TemporaryDirectory() as folder:
        url = sqlite_url(Path(folder) / "ledger.db")
        await make_ledger(url)
        async with (
            await _time_skipping() as environment,
            open_ledger(url) as ledger,
            Worker(
                environment.client,
                task_queue=TASK_QUEUE,
                workflows=[SoftStakingWorkflow],
                activities=all_activities(ledger, spread=spread),
            ),
        ):
            receipts = await _activate(ledger, SoftStakingClient(environment.client), user_ids)
            until = max(receipt.first_reward_until for receipt in receipts)
            await _all_at_once(
                "passing two boundaries",
                [
                    environment.fast_forward(
                        environment.client.get_workflow_handle(workflow_id(user_id)), until - datetime.now(UTC)
                    )
                    for user_id in user_ids
                ],
            )
            await _print_histogram(ledger, spread)


async def _time_skipping() -> WorkflowEnvironment:
    return await WorkflowEnvironment.start_time_skipping_v2(
        ts_config=TimeSkippingConfig(enabled=False),
        data_converter=PYDANTIC,
        dev_server_existing_path=str(Path(sys.executable).with_name("temporal")),
        dev_server_startup_timeout=timedelta(seconds=30),
        dev_server_extra_args=[
            word for key, value in _SKIPPING.items() for word in ("--dynamic-config-value", f"{key}={value}")
        ],
    )


async def _activate(ledger: Ledger, client: SoftStakingClient, user_ids: list[str]) -> list[Receipt]:
    program = parse_program(SHIPPED_PROGRAM_FILE.read_text(encoding="utf-8"))
    await apply_program(ledger, program, operator="benchmarks", now=utc_now())
    await fund_pool(ledger, "SOL", 1_000 * UNITS_PER_TOKEN, operator="benchmarks", now=utc_now())

    async def activate(user_id: str) -> Receipt:
        amount = 12 * UNITS_PER_TOKEN
        await deposit(ledger, user_id, "SOL", amount, idempotency_key=f"deposit/{user_id}", now=utc_now())
        answer = await client.activate(user_id, region="FR", channel="web", documents=program.documents)
        assert isinstance(answer, Receipt), answer
        return answer

    return await _all_at_once("activating", [activate(user_id) for user_id in user_ids])


async def _all_at_once(what: str, work: list[Coroutine[Any, Any, Any]]) -> list[Any]:
    turn = asyncio.Semaphore(_AT_ONCE)
    with Progress(console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task(what, total=len(work))

        async def one(part: Coroutine[Any, Any, Any]) -> Any:
            async with turn:
                answer = await part
            progress.advance(task)
            return answer

        return await asyncio.gather(*(one(part) for part in work))


async def _print_histogram(ledger: Ledger, spread: timedelta) -> None:
    async with ledger.read() as connection:
        credited = (await connection.execute(select(days.c.day, days.c.credited_at, days.c.late))).all()
        sums = await connection.execute(select(rewards.c.reward, func.count()).group_by(rewards.c.reward))
    half_hours = Counter(
        int((row.credited_at - end_of(row.day)) / timedelta(minutes=30)) for row in credited if row.credited_at
    )
    late = sum(bool(row.late) for row in credited)
    amounts = {f"{reward} units": count for reward, count in sums}
    print(f"spread {spread}: {half_hours.total()} users credited, {late} late; rewards {amounts}")
    for half_hour in range(max(half_hours, default=0) + 1):
        count = half_hours[half_hour]
        bar = "█" * round(_BAR * count / max(half_hours.values()))
        print(f"  {half_hour // 2:02}:{half_hour % 2 * 30:02}  {count:>5}  {bar}")


if __name__ == "__main__":
    typer.run(main)
