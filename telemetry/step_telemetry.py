"""What the worker records of each step: a log line for every credited day, and a count of failures that no
repetition by itself mends."""

import logging
from contextvars import ContextVar
from datetime import date
from typing import Any

from temporalio import activity
from temporalio.common import MetricMeter
from temporalio.exceptions import ApplicationError
from temporalio.worker import ActivityInboundInterceptor, ExecuteActivityInput, Interceptor

from contract.requests import ComputeRequest, CreditRequest, SnapshotRequest
from contract.steps import COMPUTE, CREDIT, END_ENROLMENT, ENROL, HOLD, RECALL, RELEASE, SNAPSHOT
from ledger.errors import LedgerError
from staking.models import CreditReceipt

day_in_progress: ContextVar[date | None] = ContextVar("day_in_progress", default=None)
"""The day of the step that this task executes."""
_STEPS = (RECALL, ENROL, SNAPSHOT, COMPUTE, CREDIT, END_ENROLMENT, HOLD, RELEASE)
_FINAL_ERRORS = ("IntegrityError", *(error.__name__ for error in LedgerError.__subclasses__()))
_log = logging.getLogger("soft_staking.steps")


class StepTelemetry(Interceptor):
    """For a worker that executes steps."""

    def __init__(self, meter: MetricMeter) -> None:
        self._refused = meter.create_counter(
            "soft_staking_refused_steps",
            "Steps that failed in a way that no repetition by itself mends, by step and error",
        )
        # Prometheus sees no increase in a counter that appears with its first value.
        for step in _STEPS:
            for error in _FINAL_ERRORS:
                self._refused.add(0, {"step": step.name, "error": error})

    def intercept_activity(self, next: ActivityInboundInterceptor) -> ActivityInboundInterceptor:  # noqa: A002
        return _Step(next, self)

    def refused(self, step: str, error: ApplicationError) -> None:
        """A step failed for good."""
        self._refused.add(1, {"step": step, "error": error.type or "unknown"})
        # A step without a day was for a message, and the sender has got the answer.
        level = logging.INFO if day_in_progress.get() is None else logging.WARNING
        _log.log(level, "refused: %s", error.type)


class _Step(ActivityInboundInterceptor):
    def __init__(self, next: ActivityInboundInterceptor, telemetry: StepTelemetry) -> None:  # noqa: A002
        super().__init__(next)
        self._telemetry = telemetry

    async def execute_activity(self, input: ExecuteActivityInput) -> Any:  # noqa: A002
        day_in_progress.set(_day_of(input.args[0] if input.args else None))
        step = activity.info().activity_type
        try:
            answer = await self.next.execute_activity(input)
        except ApplicationError as error:
            # A step that is refused at once is tried again as an activity.
            if error.non_retryable and not activity.info().is_local:
                self._telemetry.refused(step, error)
            raise
        # The loop logs once that a pool is short. Here it would be logged at each try.
        if isinstance(answer, CreditReceipt):
            _log.info("credited late" if answer.late else "credited")
        return answer


def _day_of(request: object) -> date | None:
    match request:
        case SnapshotRequest():
            return request.day
        case ComputeRequest():
            return request.snapshot.day
        case CreditRequest():
            return request.rewards.day
        case _:
            return None
