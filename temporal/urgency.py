"""How a message that is not answered soon overtakes the wakes of all other users: by Temporal's priorities.

A priority belongs to a workflow. When it changes, a task of the workflow that waits for a worker is put into the
queue anew, before all tasks of a lower one. So only the workflow that was asked is raised, only while somebody
waits for it, and a message that is answered soon leaves nothing of all this in the history.
"""

import asyncio
from collections.abc import Awaitable
from contextlib import suppress
from datetime import timedelta
from typing import TypeVar

from google.protobuf.field_mask_pb2 import FieldMask
from temporalio.api.common.v1 import Priority, WorkflowExecution
from temporalio.api.workflow.v1 import WorkflowExecutionOptions
from temporalio.api.workflowservice.v1 import UpdateWorkflowExecutionOptionsRequest
from temporalio.client import Client
from temporalio.service import RPCError

from temporal.answers import is_not_taken

ANSWERED_SOON = timedelta(milliseconds=200)
"""A worker that has no backlog answers sooner."""
_HIGHER, _HIGHEST = Priority(priority_key=2), Priority(priority_key=1)
"""One after the other: a message makes a task that the server has in memory only. The first change writes that
task down, and it is the second one that puts it into the queue anew."""
_AS_USUAL = Priority()
_RAISED_WITHIN = timedelta(seconds=5)
_RESTORED_WITHIN = timedelta(seconds=1)
"""Short, since whoever asked waits for it, also where Temporal has fallen silent."""
_FAILURES = (RPCError, RuntimeError)
"""The SDK raises the second one where it finds no server to connect to."""
_Answer = TypeVar("_Answer")


async def hurried(client: Client, workflow_id: str, request: Awaitable[_Answer]) -> _Answer:
    """The answer to a message. Its workflow comes before the others where that is not soon, until it is.

    A server that has no priorities, or does not let this client set them, answers in its own time.
    """
    priorities = _Priorities(client, workflow_id)
    raising = asyncio.create_task(priorities.raise_unless_soon())
    try:
        return await request
    finally:
        raising.cancel()
        await asyncio.wait({raising})
        await priorities.restore()


class _Priorities:
    """The priority of one workflow, which may be raised."""

    def __init__(self, client: Client, workflow_id: str) -> None:
        self._client = client
        self._workflow_id = workflow_id
        self._may_be_raised = False

    async def raise_unless_soon(self) -> None:
        """Again and again, since the workflow that a message starts may not be there yet."""
        pause_s = ANSWERED_SOON.total_seconds()
        await asyncio.sleep(pause_s)
        to_come = [_HIGHER, _HIGHEST]
        while to_come:
            self._may_be_raised = True
            try:
                await self._set(to_come[0], _RAISED_WITHIN, retry=True)
                del to_come[0]
            except _FAILURES as error:
                self._may_be_raised = to_come[0] is _HIGHEST
                if isinstance(error, RPCError) and is_not_taken(error):
                    return
                await asyncio.sleep(pause_s)

    async def restore(self) -> None:
        if self._may_be_raised:
            with suppress(*_FAILURES):
                await self._set(_AS_USUAL, _RESTORED_WITHIN, retry=False)

    async def _set(self, priority: Priority, timeout: timedelta, *, retry: bool) -> None:
        await self._client.workflow_service.update_workflow_execution_options(
            UpdateWorkflowExecutionOptionsRequest(
                namespace=self._client.namespace,
                workflow_execution=WorkflowExecution(workflow_id=self._workflow_id),
                workflow_execution_options=WorkflowExecutionOptions(priority=priority),
                update_mask=FieldMask(paths=["priority"]),
            ),
            retry=retry,
            timeout=timeout,
        )
