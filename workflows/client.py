"""The client that product services use: activate, deactivate, status. One round trip each, and safe to repeat."""

import asyncio
from collections.abc import Awaitable, Mapping
from contextlib import suppress
from datetime import timedelta
from typing import Any, Literal, TypeVar
from uuid import uuid4

from pydantic import ValidationError
from temporalio.api.enums.v1 import TaskQueueType
from temporalio.api.errordetails.v1 import NamespaceNotFoundFailure
from temporalio.api.taskqueue.v1 import TaskQueue
from temporalio.api.workflowservice.v1 import DescribeTaskQueueRequest
from temporalio.client import (
    Client,
    WithStartWorkflowOperation,
    WorkflowExecutionStatus,
    WorkflowHandle,
    WorkflowQueryFailedError,
    WorkflowUpdateFailedError,
    WorkflowUpdateRPCTimeoutOrCancelledError,
)
from temporalio.common import WorkflowIDConflictPolicy
from temporalio.contrib.pydantic import pydantic_data_converter
from temporalio.exceptions import ApplicationError
from temporalio.service import RPCError, RPCStatusCode

from staking.models import (
    Act,
    Activation,
    End,
    Hold,
    LiveStatus,
    Receipt,
    Refusal,
    SearchAttributeUse,
    check_user_id,
)
from staking.steps import STARTED_BY, TASK_QUEUE, workflow_id
from workflows import diary
from workflows.soft_staking import SoftStakingWorkflow

DEFAULT_TIMEOUT = timedelta(seconds=10)
_DESCRIBE_TIMEOUT = timedelta(seconds=3)
"""In all: left to itself, the SDK asks a server that is away again for ten seconds."""
_QUERY = "query"
_NO_SUCH_WORKFLOW = "NoSuchWorkflow"
_Answer = TypeVar("_Answer")


class ServiceError(Exception):
    """A request was not answered as asked; the message is a sentence for the person who meets it."""


class RequestRefused(ServiceError):
    """The service answered that it will not do this; ``code`` names the reason."""

    def __init__(self, code: str, message: str) -> None:
        self.code = code
        super().__init__(message)


class NoAnswer(ServiceError):
    """Nothing answered in time; the message says which part is missing and what was recorded."""


class SoftStakingClient:
    """Typed requests to the workflows of users. ``client`` must use the pydantic data converter.

    Every request raises ValueError for a malformed user id, NoAnswer after ``timeout``, and RequestRefused.
    """

    def __init__(
        self, client: Client, *, task_queue: str = TASK_QUEUE, timeout: timedelta = DEFAULT_TIMEOUT
    ) -> None:
        self._client = client
        self._task_queue = task_queue
        self._timeout = timeout

    async def activate(
        self,
        user_id: str,
        *,
        region: str,
        channel: Literal["web", "app", "api"],
        documents: Mapping[str, str],
        app_version: str | None = None,
    ) -> Receipt | Refusal:
        """Enrols a user who saw and accepted these document versions; a repeat gets the first receipt (rule 7)."""
        try:
            activation = Activation(
                region=region, channel=channel, app_version=app_version, documents=dict(documents)
            )
        except ValidationError as error:
            raise RequestRefused("BadActivation", _sentence(error)) from None
        return await send_activation(
            self._client, user_id, activation, task_queue=self._task_queue, timeout=self._timeout
        )

    async def deactivate(
        self, user_id: str, reason: str = "asked by the user", *, operator: str | None = None
    ) -> End:
        """Ends a user's enrolment at once; owed days are still paid. A repeat gets the first answer (rule 10).

        ``operator`` is who ends it, where it is not the user.
        """
        return await self._ask_or_start(
            user_id, "deactivation", "deactivate", [reason, operator] if operator else [reason], End
        )

    async def hold(self, user_id: str, act: Act) -> Hold:
        """Stops a user's loop before its next step until it is released; a repeat gets the first hold.

        A user who is not enrolled is held too, from the next activation on.
        """
        return await self._ask_or_start(user_id, "hold", "hold", [act], Hold)

    async def release(self, user_id: str, act: Act) -> Hold | None:
        """Lets a held loop go on, which catches up; answers the hold that this ended, None if there was none."""
        return await self._ask_or_start(user_id, "release", "release", [act], Hold | None)

    async def resume(self, user_id: str) -> None:
        """Starts the user's workflow, if none is running, from what the ledger knows to be unfinished."""
        starting = self._client.start_workflow(  # pyright: ignore[reportUnknownMemberType]  # as below
            SoftStakingWorkflow.run,
            args=[check_user_id(user_id)],
            id=workflow_id(user_id),
            task_queue=self._task_queue,
            id_conflict_policy=WorkflowIDConflictPolicy.USE_EXISTING,
            static_summary=diary.user_summary(user_id),
            static_details=diary.start_details("an operator's resume"),
        )
        await _answered(self._client, user_id, "start", starting, self._task_queue, self._timeout)

    async def retry(self, user_id: str, act: Act | None = None) -> bool:
        """Takes a user's blocked step up again; False if nothing was blocked or waiting."""
        retry = SoftStakingWorkflow.retry
        request = self._handle(user_id).execute_update(retry, act)  # pyright: ignore[reportUnknownMemberType]  # as below
        try:
            return await _answered(self._client, user_id, "retry", request, self._task_queue, self._timeout)
        except RequestRefused as error:
            if error.code == _NO_SUCH_WORKFLOW:
                return False
            raise

    async def refresh(self, user_id: str) -> None:
        """Makes the user's running workflow show the search attributes that its worker knows now."""
        refresh = SoftStakingWorkflow.refresh
        request = self._handle(user_id).execute_update(refresh)  # pyright: ignore[reportUnknownMemberType]  # as below
        use = await _answered(self._client, user_id, "refresh", request, self._task_queue, self._timeout)
        if use is SearchAttributeUse.NONE:
            raise RequestRefused(
                "UnknownSearchAttributes", "its worker knew no search attributes when it started: start it again"
            )

    async def status(self, user_id: str) -> LiveStatus | None:
        """What only the running workflow knows; None if none is running for the user."""
        if not await self.is_running(user_id):
            return None
        request = self._handle(user_id).query(SoftStakingWorkflow.status, rpc_timeout=self._timeout)
        return await _answered(self._client, user_id, _QUERY, request, self._task_queue, self._timeout)

    async def is_running(self, user_id: str) -> bool:
        """Whether a workflow of the user is running; asks no worker."""
        try:
            description = await _within(_DESCRIBE_TIMEOUT, self._handle(user_id).describe())
        except TimeoutError as error:
            raise _not_described() from error
        except RPCError as error:
            if _is_no_such_workflow(error):
                return False
            raise _failed(_QUERY, error) from error
        return description.status == WorkflowExecutionStatus.RUNNING

    async def _ask_or_start(self, user_id: str, what: str, update: str, args: list[Any], answer: Any) -> Any:
        """The answer to an update, with a start for a user of whom no workflow is running."""
        update_id = str(uuid4())
        start = _start(user_id, self._task_queue, update_id, cause=what)
        request = self._client.execute_update_with_start_workflow(  # pyright: ignore[reportUnknownMemberType]  # an overload of the SDK is untyped
            update, args=args, id=update_id, start_workflow_operation=start, result_type=answer
        )
        return await _answered(self._client, user_id, what, _sent(request, start), self._task_queue, self._timeout)

    def _handle(self, user_id: str) -> "WorkflowHandle[SoftStakingWorkflow, None]":
        return self._client.get_workflow_handle_for(SoftStakingWorkflow.run, workflow_id(check_user_id(user_id)))


async def send_activation(
    client: Client,
    user_id: str,
    activation: Activation,
    *,
    task_queue: str = TASK_QUEUE,
    timeout: timedelta = DEFAULT_TIMEOUT,
) -> Receipt | Refusal:
    """Sends an activation, back-dated ones of operators too. Raises what SoftStakingClient's requests raise."""
    update_id = str(uuid4())
    start = _start(user_id, task_queue, update_id, cause=diary.activation_text(activation))
    request = client.execute_update_with_start_workflow(  # pyright: ignore[reportUnknownMemberType]  # an overload of the SDK is untyped
        SoftStakingWorkflow.activate,
        activation,
        id=update_id,
        start_workflow_operation=start,
    )
    return await _answered(client, user_id, "activation", _sent(request, start), task_queue, timeout)


def _start(
    user_id: str, task_queue: str, update_id: str, *, cause: str
) -> "WithStartWorkflowOperation[SoftStakingWorkflow, None]":
    return WithStartWorkflowOperation(
        SoftStakingWorkflow.run,
        args=[check_user_id(user_id)],
        id=workflow_id(user_id),
        task_queue=task_queue,
        id_conflict_policy=WorkflowIDConflictPolicy.USE_EXISTING,
        # Ready-made, hence never encrypted: it outlives every run, and would keep its key in use for as long.
        memo={STARTED_BY: pydantic_data_converter.payload_converter.to_payload(update_id)},
        static_summary=diary.user_summary(user_id),
        static_details=diary.start_details(cause),
    )


async def _sent(
    request: Awaitable[_Answer], start: "WithStartWorkflowOperation[SoftStakingWorkflow, None]"
) -> _Answer:
    """The answer. The SDK keeps a failure in ``start`` too, and asyncio prints one that nobody looks at."""
    try:
        return await request
    except (RPCError, WorkflowUpdateRPCTimeoutOrCancelledError):
        with suppress(RPCError, asyncio.CancelledError):
            await start.workflow_handle()
        raise


async def _answered(
    client: Client,
    user_id: str,
    what: str,
    request: Awaitable[_Answer],
    task_queue: str,
    timeout: timedelta,
) -> _Answer:
    """The answer to a request, or an error that says what went wrong in one sentence."""
    try:
        return await _within(timeout, request)
    except WorkflowUpdateFailedError as error:
        raise _refused(error.cause) from error
    except WorkflowQueryFailedError as error:
        raise RequestRefused("QueryFailed", f"the {what} failed: {error}") from error
    except RPCError as error:
        if error.status in (RPCStatusCode.DEADLINE_EXCEEDED, RPCStatusCode.CANCELLED):
            raise await _no_answer(client, user_id, what, task_queue, timeout) from error
        raise _failed(what, error) from error
    except (TimeoutError, WorkflowUpdateRPCTimeoutOrCancelledError) as error:
        raise await _no_answer(client, user_id, what, task_queue, timeout) from error


async def _within(timeout: timedelta, request: Awaitable[_Answer]) -> _Answer:
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


def _sentence(error: ValidationError) -> str:
    faults = (f"{'.'.join(map(str, fault['loc']))}: {fault['msg']}" for fault in error.errors())
    return "; ".join(fault.replace("Value error, ", "") for fault in faults)


def _refused(cause: BaseException | None) -> RequestRefused:
    if isinstance(cause, ApplicationError):
        return RequestRefused(cause.type or "Refused", cause.message)
    return RequestRefused("Refused", str(cause))


def _failed(what: str, error: RPCError) -> ServiceError:
    if error.status == RPCStatusCode.UNAVAILABLE:
        return _unreachable(error.message)
    code = _NO_SUCH_WORKFLOW if _is_no_such_workflow(error) else error.status.name
    return RequestRefused(code, f"the {what} was refused: {error.message}")


def _is_no_such_workflow(error: RPCError) -> bool:
    """A namespace that does not exist is "not found" too, and says nothing about the workflow."""
    return error.status == RPCStatusCode.NOT_FOUND and not any(
        detail.Is(NamespaceNotFoundFailure.DESCRIPTOR) for detail in error.grpc_status.details
    )


def _unreachable(why: str) -> NoAnswer:
    return NoAnswer(f"the Temporal server does not answer ({why}); nothing is known to be recorded")


def _not_described() -> NoAnswer:
    return _unreachable(f"not within {_DESCRIBE_TIMEOUT.total_seconds():g} s")


async def _no_answer(client: Client, user_id: str, what: str, task_queue: str, timeout: timedelta) -> NoAnswer:
    """Which part is missing, what was recorded, and what to do."""
    try:
        return await _within(_DESCRIBE_TIMEOUT, _described(client, user_id, what, task_queue, timeout))
    except TimeoutError:
        return _not_described()
    except RPCError as error:
        return _unreachable(error.message)


async def _described(client: Client, user_id: str, what: str, task_queue: str, timeout: timedelta) -> NoAnswer:
    recorded = "" if what == _QUERY else f" {await _recorded(client, user_id, what)}"
    if await _has_worker(client, task_queue):
        missing = "a worker is running but has not answered: its log says why (is its ledger away?)"
    else:
        missing = f"no worker is polling the task queue {task_queue}: start one with: python worker.py"
    return NoAnswer(f"no answer within {timeout.total_seconds():g} s; {missing}.{recorded}")


async def _recorded(client: Client, user_id: str, what: str) -> str:
    try:
        description = await client.get_workflow_handle(workflow_id(user_id)).describe()
    except RPCError as error:
        if _is_no_such_workflow(error):
            return f"Nothing was recorded: the {what} must be repeated."
        raise
    if description.status != WorkflowExecutionStatus.RUNNING:
        return f"No workflow of the user is running: the {what} must be repeated."
    return (
        f"Temporal has recorded the workflow {description.id}, but the {what} is not confirmed; "
        "it may still be carried out once a worker answers, and repeating it is safe."
    )


async def _has_worker(client: Client, task_queue: str) -> bool:
    answer = await client.workflow_service.describe_task_queue(
        DescribeTaskQueueRequest(
            namespace=client.namespace,
            task_queue=TaskQueue(name=task_queue),
            task_queue_type=TaskQueueType.TASK_QUEUE_TYPE_WORKFLOW,
        )
    )
    return bool(answer.pollers)
