"""What a failed request means: the service refuses it, Temporal does not take it, or nobody has decided yet."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import TypeVar

from temporalio.api.errordetails.v1 import NamespaceNotFoundFailure
from temporalio.client import (
    WorkflowQueryFailedError,
    WorkflowUpdateFailedError,
    WorkflowUpdateRPCTimeoutOrCancelledError,
)
from temporalio.exceptions import ApplicationError, WorkflowAlreadyStartedError
from temporalio.service import RPCError, RPCStatusCode

from contract.errors import NoAnswer, NotTaken, RequestRefused, ServiceError

NOT_TAKEN = frozenset(
    {
        RPCStatusCode.INVALID_ARGUMENT,
        RPCStatusCode.PERMISSION_DENIED,
        RPCStatusCode.UNAUTHENTICATED,
        RPCStatusCode.UNIMPLEMENTED,
        RPCStatusCode.OUT_OF_RANGE,
    }
)
"""The statuses of a request that Temporal will never take, however often it is sent. Any other status leaves open
whether the request is carried out: a limit, a broken connection, a run that closed meanwhile."""
_CLOSED_UNDER_IT = "AcceptedUpdateCompletedWorkflow"
_NO_CONNECTION = "Failed client connect"
_REPEATED_AFTER_S = 0.25
_REPEATED_AFTER_S_MAX = 4.0
"""A request is sent again after this time, then after twice as long each time, up to the maximum."""
_Answer = TypeVar("_Answer")


class Undecided(Exception):
    """Nobody has decided in time. ``last`` is the last failure that was heard of, None where there was none."""

    def __init__(self, last: str | None) -> None:
        self.last = last
        super().__init__(last)


async def decided(what: str, send: Callable[[bool], Awaitable[_Answer]], timeout: timedelta) -> _Answer:
    """The answer to a request, which is sent again for as long as nobody decides.

    The argument of ``send`` is whether the run that had the request before has closed; then it may use a new id.
    Raises ServiceError for what was decided, and Undecided after ``timeout``.
    """
    clock = asyncio.get_running_loop().time
    ends_at = clock() + timeout.total_seconds()
    pause_s, last, has_closed = _REPEATED_AFTER_S, None, False
    while (left_s := ends_at - clock()) > 0:
        try:
            return await within(timedelta(seconds=left_s), send(has_closed))
        except TimeoutError:
            break
        except (
            RPCError,
            RuntimeError,
            WorkflowAlreadyStartedError,
            WorkflowQueryFailedError,
            WorkflowUpdateFailedError,
            WorkflowUpdateRPCTimeoutOrCancelledError,
        ) as error:
            decision = _decision(what, error)
            # What was sent before may still be carried out, whatever is said of its repetition.
            if decision is not None and not (isinstance(decision, NotTaken) and last is not None):
                raise decision from error
            last = _text(error)
            if decision is not None:
                break
            has_closed = _is_closed_under_it(error)
        await asyncio.sleep(min(pause_s, max(ends_at - clock(), 0)))
        pause_s = min(pause_s * 2, _REPEATED_AFTER_S_MAX)
    raise Undecided(last)


async def within(timeout: timedelta, request: Awaitable[_Answer]) -> _Answer:
    """The answer in time, or TimeoutError.

    The request is awaited to its end either way: the SDK turns its cancellation into an error of its own, which
    must not be lost, nor be taken for a time-out where it was the caller who was cancelled.
    """
    asked = asyncio.ensure_future(request)
    try:
        answered, _ = await asyncio.wait({asked}, timeout=timeout.total_seconds())
    finally:
        if not asked.done():
            asked.cancel()
            await asyncio.wait({asked})
            if not asked.cancelled():
                asked.exception()
    if not answered:
        raise TimeoutError
    return asked.result()


def is_no_such_workflow(error: RPCError) -> bool:
    """A namespace that does not exist is "not found" too, and says nothing about the workflow."""
    return error.status == RPCStatusCode.NOT_FOUND and not _is_no_such_namespace(error)


def is_not_taken(error: RPCError) -> bool:
    """Whether Temporal will never take such a request, so that nothing came of it."""
    return error.status in NOT_TAKEN or _is_no_such_namespace(error)


def not_taken(what: str, error: RPCError) -> NotTaken:
    """The refusal of Temporal as a sentence."""
    return NotTaken(f"Temporal does not take the {what}, so nothing came of it: {error.message}")


def _decision(what: str, error: Exception) -> ServiceError | None:
    """The decision that a failure shows; None if it leaves open what becomes of the request."""
    if isinstance(error, RuntimeError):
        if not str(error).startswith(_NO_CONNECTION):
            raise error
        return None
    if isinstance(error, WorkflowQueryFailedError):
        return NoAnswer(f"a worker could not answer the {what}: {error}")
    if isinstance(error, RPCError):
        return not_taken(what, error) if is_not_taken(error) else None
    cause = error.cause if isinstance(error, WorkflowUpdateFailedError) else None
    if not isinstance(cause, ApplicationError) or cause.type == _CLOSED_UNDER_IT:
        return None
    if cause.non_retryable:
        return RequestRefused(cause.type or "Refused", cause.message)
    # Every refusal of ours is final. This one is of the SDK: no such message, or one that cannot be read.
    return NotTaken(f"the worker cannot take the {what}, is it of another version? {cause.message}")


def _is_closed_under_it(error: Exception) -> bool:
    if isinstance(error, WorkflowUpdateFailedError):
        return True
    return isinstance(error, RPCError) and is_no_such_workflow(error)


def _is_no_such_namespace(error: RPCError) -> bool:
    return any(detail.Is(NamespaceNotFoundFailure.DESCRIPTOR) for detail in error.grpc_status.details)


def _text(error: Exception) -> str:
    if isinstance(error, RPCError):
        return error.message
    if isinstance(error, WorkflowUpdateFailedError):
        return str(getattr(error.cause, "message", None) or error.cause)
    return str(error)
