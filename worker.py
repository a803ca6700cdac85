"""The worker: runs the workflows and their steps."""

from datetime import timedelta

from temporalio.client import Client
from temporalio.worker import Worker

from activities import all_activities
from ledger.engine import Ledger
from staking.steps import TASK_QUEUE
from workflows.soft_staking import SoftStakingWorkflow

GRACEFUL_SHUTDOWN = timedelta(seconds=30)


def build_worker(client: Client, ledger: Ledger, *, task_queue: str = TASK_QUEUE) -> Worker:
    """A worker on an open ledger; ``client`` must use the pydantic data converter."""
    return Worker(
        client,
        task_queue=task_queue,
        workflows=[SoftStakingWorkflow],
        activities=all_activities(ledger),
        graceful_shutdown_timeout=GRACEFUL_SHUTDOWN,
    )
