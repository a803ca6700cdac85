"""How a workflow executes a step: at once, within the task that is under way, or as an activity of its own.

Decision 0004 says why a step is tried at once first, and which traps the rules here avoid.
"""

from datetime import timedelta

from temporalio import workflow
from temporalio.common import RetryPolicy
from temporalio.exceptions import ActivityError, ApplicationError, FailureError, is_cancelled_exception

from contract.steps import Answer, Request, Step
from workflows import summaries

STEP_TIMEOUT = timedelta(seconds=10)
"""This limit is short, since nothing else notices a killed worker. The ledger's lock timeout is shorter still."""
RETRY_WITHOUT_LIMIT = RetryPolicy(initial_interval=timedelta(seconds=1), maximum_interval=timedelta(minutes=1))
AT_ONCE_TIMEOUT = timedelta(seconds=2)
"""Three such steps, one after the other, end before the task must say that it is alive (after 8 of its 10 s)."""
A_TASK_LATER = timedelta(milliseconds=1)
"""The shortest timer. What comes after it is in another task of the workflow."""
_ONE_TRY = RetryPolicy(maximum_attempts=1)
"""A second try would wait within the task, and would occupy a place that other users' tasks need."""


class NotAtOnce(Exception):
    """The step did not succeed within the task that is under way, and has to go on as an activity."""


async def execute(step: Step[Request, Answer], request: Request, summary: str) -> Answer:
    """Executes a step as an activity, which any worker may take and which is retried without limit.

    It costs three events and a task of the workflow. Raises ActivityError for what a retry cannot mend.
    """
    return await workflow.execute_activity(
        step.name,
        request,
        result_type=step.answer,
        start_to_close_timeout=STEP_TIMEOUT,
        retry_policy=RETRY_WITHOUT_LIMIT,
        summary=summaries.summary(summary),
    )


async def execute_at_once(step: Step[Request, Answer], request: Request, summary: str) -> Answer:
    """Executes a step as a local activity, which is tried once. It costs one event in the task that is under way.

    Raises NotAtOnce for whatever reason it does not succeed. What only seemed to fail may be recorded in the
    ledger: the same step as an activity then gets the answer that was recorded.
    """
    try:
        return await workflow.execute_local_activity(
            step.name,
            request,
            result_type=step.answer,
            schedule_to_close_timeout=AT_ONCE_TIMEOUT,
            retry_policy=_ONE_TRY,
            summary=summaries.summary(summary),
        )
    except FailureError as error:
        # One that failed raises a bare ApplicationError, one that ran out of time an ActivityError.
        if is_cancelled_exception(error):
            raise
        raise NotAtOnce from error


def message_of(error: ActivityError) -> str:
    """Why a step failed, in the words of the step."""
    cause = error.cause
    return cause.message if isinstance(cause, ApplicationError) else str(cause or error)


def type_of(error: ActivityError) -> str:
    """The type of a step's refusal, or of the error."""
    cause = error.cause
    return (cause.type if isinstance(cause, ApplicationError) else None) or type(error).__name__
