"""The worker of this process: which workflows and steps it runs, and how much of them."""

from datetime import timedelta

from temporalio.client import Client
from temporalio.worker import UnsandboxedWorkflowRunner, Worker

from activities import all_activities
from activities.webhook_steps import WebhookSteps
from contract.recollection import DAYS_PER_RUN, SearchAttributeUse
from contract.steps import TASK_QUEUE
from ledger.database.engine import Ledger
from running.options import WorkerOptions
from telemetry.runtime import meter_of
from telemetry.step_telemetry import StepTelemetry
from webhooks.delivering import Delivery
from workflows.soft_staking import SoftStakingWorkflow
from workflows.webhook import WebhookWorkflow

WORKFLOW_RUNNER = UnsandboxedWorkflowRunner()
"""The sandbox finds workflow code that is not deterministic: goldens are replayed in it, and many tests run in
it. A worker runs without it, since it takes half of what a user's day costs a process beside the ledger."""
BACK_TO_ALL_WORKERS_AFTER = timedelta(seconds=20)
"""How long a task waits for the worker that has its workflow in memory; within this time the whole wave of
these tasks is done. If that worker was killed, its users wait for so long, once."""
GRACEFUL_SHUTDOWN = timedelta(seconds=30)
"""This is longer than a step's start-to-close timeout, so that every running step finishes."""


def build_worker(
    client: Client,
    ledger: Ledger,
    options: WorkerOptions = WorkerOptions(),  # noqa: B008  # it is frozen
    *,
    task_queue: str = TASK_QUEUE,
    spread: timedelta = timedelta(),
    search_attributes: SearchAttributeUse = SearchAttributeUse.NONE,
    days_per_run: int = DAYS_PER_RUN,
    delivery: Delivery | None = None,
) -> Worker:
    """A worker on an open ledger; ``client`` must use the pydantic data converter.

    Spread, search attributes and days are those of the runs that start on it.
    """
    return Worker(
        client,
        task_queue=task_queue,
        workflows=[SoftStakingWorkflow, WebhookWorkflow],
        workflow_runner=WORKFLOW_RUNNER,
        activities=[
            *all_activities(ledger, spread=spread, search_attributes=search_attributes, days_per_run=days_per_run),
            *([] if delivery is None else [WebhookSteps(delivery).deliver]),
        ],
        interceptors=[StepTelemetry(meter_of(client))],
        graceful_shutdown_timeout=GRACEFUL_SHUTDOWN,
        max_cached_workflows=options.workflows_in_memory,
        max_concurrent_workflow_tasks=options.max_concurrent_workflow_tasks,
        max_concurrent_activities=options.max_concurrent_activities,
        max_concurrent_local_activities=options.max_concurrent_workflow_tasks,
        sticky_queue_schedule_to_start_timeout=BACK_TO_ALL_WORKERS_AFTER,
        workflow_task_poller_behavior=options.poller_behavior,
        activity_task_poller_behavior=options.poller_behavior,
        deployment_config=options.deployment_config,
    )
