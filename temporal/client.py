"""The client that product services and operators use: activate, deactivate, status, hold, release, retry, refresh.
One round trip each, and safe to repeat.

A request is sent again, within its timeout, for as long as nobody decides about it. A message that is not answered
soon overtakes the workflows of other users.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any, Literal, TypeVar
from uuid import uuid4

from pydantic import ValidationError
from temporalio.client import (
    Client,
    WithStartWorkflowOperation,
    WorkflowExecutionStatus,
    WorkflowHandle,
    WorkflowQueryRejectedError,
    WorkflowUpdateRPCTimeoutOrCancelledError,
)
from temporalio.common import QueryRejectCondition, WorkflowIDConflictPolicy
from temporalio.exceptions import WorkflowAlreadyStartedError
from temporalio.service import RPCError

from contract.acts import Act, Hold
from contract.answers import End, Receipt, Refusal
from contract.errors import NoAnswer, NotTaken, RequestRefused, ServiceError
from contract.live_status import LiveStatus
from contract.recollection import SearchAttributeUse
from contract.steps import STARTED_BY, TASK_QUEUE, workflow_id
from staking.models import Activation, check_user_id
from temporal.answers import Undecided, decided, is_no_such_workflow, is_not_taken, not_taken, within
from temporal.payloads import PYDANTIC
from temporal.unanswered import Unanswered, why_unanswered
from temporal.urgency import hurried
from workflows import summaries
from workflows.soft_staking import SoftStakingWorkflow

__all__ = [
    "DEFAULT_TIMEOUT",
    "NoAnswer",
    "NotTaken",
    "RequestRefused",
    "ServiceError",
    "SoftStakingClient",
    "send_activation",
]

DEFAULT_TIMEOUT = timedelta(seconds=10)
_DESCRIBE_TIMEOUT = timedelta(seconds=3)
"""The limit for a look at a workflow (describe), with its repetitions. By default the SDK repeats for 10 s."""
_QUERY = "query"
_NO_SUCH_WORKFLOW = "NoSuchWorkflow"
_Answer = TypeVar("_Answer")


class SoftStakingClient:
    """Typed requests to the workflows of users. ``client`` must use the pydantic data converter.

    Every request raises ValueError for a malformed user id, RequestRefused for what the service refuses, NotTaken
    for what Temporal does not take, and NoAnswer where nobody has decided after ``timeout``.
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
        self,
        user_id: str,
        reason: str = "asked by the user",
        *,
        operator: str | None = None,
        tell: str | None = None,
    ) -> End:
        """Ends a user's enrolment immediately; owed days are still paid. A repeat gets the first answer (rule 10).

        ``operator`` is the operator who ends it, or None for the user; ``tell`` is the operator's text for the
        user.
        """
        words = [reason, operator, tell]
        while words[-1] is None:  # a worker with older code knows no more than it is sent
            words.pop()
        return await self._ask_or_start(user_id, "deactivation", "deactivate", words, End)

    async def hold(self, user_id: str, act: Act) -> Hold:
        """Stops a user's loop before its next step until it is released; a repeat gets the first hold.

        A user who is not enrolled is held too, from the next activation on.
        """
        return await self._ask_or_start(user_id, "hold", "hold", [act], Hold)

    async def release(self, user_id: str, act: Act) -> Hold | None:
        """Lets a held loop go on and catch up. Answers the hold that this ended, or None if there was none."""
        return await self._ask_or_start(user_id, "release", "release", [act], Hold | None)

    async def resume(self, user_id: str) -> None:
        """Starts the user's workflow, if none is running, from what the ledger knows to be unfinished."""
        client, task_queue = self._client, self._task_queue
        await _answered(
            client,
            user_id,
            "start",
            lambda _: client.start_workflow(  # pyright: ignore[reportUnknownMemberType]  # as below
                SoftStakingWorkflow.run,
                args=[check_user_id(user_id)],
                id=workflow_id(user_id),
                task_queue=task_queue,
                id_conflict_policy=WorkflowIDConflictPolicy.USE_EXISTING,
                static_summary=summaries.user_summary(user_id),
                static_details=summaries.start_details("an operator's resume"),
            ),
            task_queue,
            self._timeout,
        )

    async def retry(self, user_id: str, act: Act | None = None) -> bool:
        """Takes a user's blocked step up again; False if nothing was blocked or waiting."""
        try:
            return await self._ask_running(user_id, "retry", SoftStakingWorkflow.retry, [act])
        except RequestRefused as error:
            if error.code == _NO_SUCH_WORKFLOW:
                return False
            raise

    async def refresh(self, user_id: str) -> None:
        """Makes the user's running workflow show the search attributes that its worker knows now."""
        use = await self._ask_running(user_id, "refresh", SoftStakingWorkflow.refresh, [])
        if use is SearchAttributeUse.NONE:
            raise RequestRefused(
                "UnknownSearchAttributes", "its worker knew no search attributes when it started: start it again"
            )

    async def status(self, user_id: str) -> LiveStatus | None:
        """What only the running workflow knows; None if none is running for the user."""

        async def send(_: bool) -> LiveStatus | None:
            try:
                return await self._handle(user_id).query(
                    SoftStakingWorkflow.status,
                    reject_condition=QueryRejectCondition.NOT_OPEN,
                    rpc_timeout=self._timeout,
                )
            except WorkflowQueryRejectedError:
                return None
            except RPCError as error:
                if is_no_such_workflow(error):
                    return None
                raise

        return await _answered(self._client, user_id, _QUERY, send, self._task_queue, self._timeout)

    async def is_running(self, user_id: str) -> bool:
        """Whether a workflow of the user is running; asks no worker."""
        return await self._workflow_status(user_id) == WorkflowExecutionStatus.RUNNING

    async def has_workflow(self, user_id: str) -> bool:
        """Whether the server knows a workflow of the user, running or closed; asks no worker."""
        return await self._workflow_status(user_id) is not None

    async def _workflow_status(self, user_id: str) -> WorkflowExecutionStatus | None:
        try:
            return await decided(_QUERY, lambda _: self._described_status(user_id), _DESCRIBE_TIMEOUT)
        except Undecided as error:
            raise _not_described(error.last) from error

    async def _is_running(self, user_id: str) -> bool:
        return await self._described_status(user_id) == WorkflowExecutionStatus.RUNNING

    async def _described_status(self, user_id: str) -> WorkflowExecutionStatus | None:
        try:
            description = await self._handle(user_id).describe()
        except RPCError as error:
            if is_no_such_workflow(error):
                return None
            raise
        return description.status

    async def _ask_running(self, user_id: str, what: str, update: Any, args: list[Any]) -> Any:
        """The answer to an update of a running workflow. Raises RequestRefused where none is running."""
        update_id = str(uuid4())

        async def send(_: bool) -> Any:
            handle = self._handle(user_id)
            try:
                request = handle.execute_update(update, args=args, id=update_id)  # pyright: ignore[reportUnknownMemberType]  # as below
                return await hurried(self._client, handle.id, request)
            except RPCError as error:
                # A run that closed meanwhile may have another after it.
                if is_no_such_workflow(error) and not await self._is_running(user_id):
                    raise RequestRefused(_NO_SUCH_WORKFLOW, f"no workflow of user {user_id} is running") from error
                raise

        return await _answered(self._client, user_id, what, send, self._task_queue, self._timeout)

    async def _ask_or_start(self, user_id: str, what: str, update: str, args: list[Any], answer: Any) -> Any:
        """The answer to an update, with a start for a user of whom no workflow is running."""

        async def send(update_id: str) -> Any:
            start = _start(user_id, self._task_queue, update_id, cause=what)
            request = self._client.execute_update_with_start_workflow(  # pyright: ignore[reportUnknownMemberType]  # an overload of the SDK is untyped
                update, args=args, id=update_id, start_workflow_operation=start, result_type=answer
            )
            return await hurried(self._client, workflow_id(user_id), _sent(request, start))

        return await _answered(self._client, user_id, what, _under_one_id(send), self._task_queue, self._timeout)

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

    async def send(update_id: str) -> Receipt | Refusal:
        start = _start(user_id, task_queue, update_id, cause=summaries.activation_text(activation))
        request = client.execute_update_with_start_workflow(  # pyright: ignore[reportUnknownMemberType]  # an overload of the SDK is untyped
            SoftStakingWorkflow.activate,
            activation,
            id=update_id,
            start_workflow_operation=start,
        )
        return await hurried(client, workflow_id(user_id), _sent(request, start))

    return await _answered(client, user_id, "activation", _under_one_id(send), task_queue, timeout)


def _under_one_id(send: Callable[[str], Awaitable[_Answer]]) -> Callable[[bool], Awaitable[_Answer]]:
    """Sends repetitions under the id of the first request, so that a run carries out only one of them. After a run
    that closed the id is new, since Temporal would for ever answer the old one with that run's failure."""
    update_id = str(uuid4())

    def send_again(has_closed: bool) -> Awaitable[_Answer]:
        nonlocal update_id
        if has_closed:
            update_id = str(uuid4())
        return send(update_id)

    return send_again


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
        memo={STARTED_BY: PYDANTIC.payload_converter.to_payload(update_id)},
        static_summary=summaries.user_summary(user_id),
        static_details=summaries.start_details(cause),
    )


async def _sent(
    request: Awaitable[_Answer], start: "WithStartWorkflowOperation[SoftStakingWorkflow, None]"
) -> _Answer:
    """The answer to the request. The SDK keeps a failure in ``start`` too. It is read here, since asyncio prints
    an error about a failure that nobody reads."""
    try:
        return await request
    except (RPCError, WorkflowAlreadyStartedError, WorkflowUpdateRPCTimeoutOrCancelledError):
        with suppress(RPCError, WorkflowAlreadyStartedError, asyncio.CancelledError):
            await start.workflow_handle()
        raise


async def _answered(
    client: Client,
    user_id: str,
    what: str,
    send: Callable[[bool], Awaitable[_Answer]],
    task_queue: str,
    timeout: timedelta,
) -> _Answer:
    """The answer to a request, or an error that says what went wrong in one sentence."""
    asked_at = datetime.now(UTC)
    try:
        return await decided(what, send, timeout)
    except Undecided as error:
        looking = why_unanswered(client, user_id, task_queue, asked_at=asked_at, now=datetime.now(UTC))
        raise await _no_answer(looking, what, error.last, timeout) from error


async def _no_answer(
    looking: Awaitable[Unanswered], what: str, last: str | None, timeout: timedelta
) -> ServiceError:
    """The error for a request without an answer: which part is missing, what was recorded, and what to do."""
    try:
        why = await within(_DESCRIBE_TIMEOUT, looking)
    except TimeoutError:
        return _not_described(last)
    except RPCError as error:
        return not_taken(what, error) if last is None and is_not_taken(error) else _unreachable(error.message)
    except RuntimeError as error:
        return _unreachable(str(error))
    heard = f" (last heard: {last})" if last and not why.is_certain else ""
    sentence = f"no answer within {timeout.total_seconds():g} s{heard}; {why.missing}."
    if what == _QUERY:
        return NoAnswer(sentence)
    return NoAnswer(f"{sentence} {why.workflow}; the {what} may be carried out or not, and repeating it is safe.")


def _not_described(last: str | None) -> NoAnswer:
    return _unreachable(last or f"not within {_DESCRIBE_TIMEOUT.total_seconds():g} s")


def _unreachable(why: str) -> NoAnswer:
    return NoAnswer(
        f"the Temporal server does not answer ({why}); nothing is known to be recorded, and repeating is safe"
    )


def _sentence(error: ValidationError) -> str:
    faults = (f"{'.'.join(map(str, fault['loc']))}: {fault['msg']}" for fault in error.errors())
    return "; ".join(fault.replace("Value error, ", "") for fault in faults)
