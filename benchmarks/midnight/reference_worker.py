"""A worker for reference workflows: they sleep, and at most take three steps that do nothing."""

import argparse
import asyncio
import signal
import sys
from datetime import UTC, datetime, timedelta
from enum import StrEnum

from temporalio import activity, workflow
from temporalio.client import Client
from temporalio.worker import PollerBehaviorSimpleMaximum, Worker

with workflow.unsafe.imports_passed_through():
    from benchmarks.midnight.reporting import report
    from benchmarks.midnight.workers import POLLING
    from embedded.exiting import exit_process
    from running.options import WorkerOptions

TASK_QUEUE = "reference"
STEPS = 3
_STEP_TIMEOUT = timedelta(seconds=10)
_OPTIONS = WorkerOptions()


class Does(StrEnum):
    """What a workflow does when it wakes."""

    NOTHING = "nothing"
    ENDS = "ends"
    """It does nothing and ends."""
    ACTIVITIES = "activities"
    LOCAL_ACTIVITIES = "local activities"


@activity.defn
async def nothing(step: int) -> int:
    """A step that does nothing, so that only the cost of a step remains."""
    return step


@workflow.defn
class ReferenceWorkflow:
    """Sleeps until an instant, has its day, and sleeps again."""

    @workflow.run
    async def run(self, user: str, wakes_at: float, does: Does) -> None:
        """``wakes_at`` is a timestamp."""
        if not workflow.unsafe.is_replaying():
            report("asleep", user)
        pause = datetime.fromtimestamp(wakes_at, UTC) - workflow.now()
        await workflow.sleep(max(pause, timedelta(milliseconds=1)))
        for step in range(STEPS):
            if does is Does.ACTIVITIES:
                await workflow.execute_activity(nothing, step, start_to_close_timeout=_STEP_TIMEOUT)
            elif does is Does.LOCAL_ACTIVITIES:
                await workflow.execute_local_activity(nothing, step, start_to_close_timeout=_STEP_TIMEOUT)
        if not workflow.unsafe.is_replaying():
            report("done", user)
        if does is not Does.ENDS:
            await workflow.sleep(timedelta(days=1))


async def _main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("address")
    parser.add_argument("--max-cached-workflows", type=int, default=_OPTIONS.max_cached_workflows)
    asked = parser.parse_args()
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    # The settings are those of the service's workers, so that only the work differs.
    worker = Worker(
        await Client.connect(asked.address),
        task_queue=TASK_QUEUE,
        workflows=[ReferenceWorkflow],
        activities=[nothing],
        max_cached_workflows=WorkerOptions(asked.max_cached_workflows).workflows_in_memory,
        max_concurrent_workflow_tasks=_OPTIONS.max_concurrent_workflow_tasks,
        max_concurrent_activities=_OPTIONS.max_concurrent_activities,
        workflow_task_poller_behavior=PollerBehaviorSimpleMaximum(_OPTIONS.max_polls),
        activity_task_poller_behavior=PollerBehaviorSimpleMaximum(_OPTIONS.max_polls),
    )
    async with worker:
        print(POLLING, file=sys.stderr, flush=True)
        await stop.wait()


if __name__ == "__main__":
    asyncio.run(_main())
    # A process that used Temporal's SDK must be left with care.
    exit_process(0)
