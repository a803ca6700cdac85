"""Finding users by what their workflows show of themselves: Temporal's visibility, which lags by moments."""

from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass

from temporalio.client import Client, WorkflowExecution, WorkflowExecutionStatus
from temporalio.service import RPCError, RPCStatusCode

from contract.errors import RequestRefused, ServiceError
from contract.steps import WORKFLOW_TYPE, user_of
from workflows.search_attributes import END_REASON, ENDED, HELD, REFUSED, REGION, STATE

_PAGE_SIZE = 500
_IDS_AT_ONCE = 100
_OURS = f"WorkflowType = '{WORKFLOW_TYPE}'"
_RUNNING = "ExecutionStatus = 'Running'"
_TASK_FAILS = "TemporalReportedProblems IS NOT NULL"
"""The server itself sets this attribute, of a workflow whose task has failed several times in a row."""
_LAST_OF_ITS_CHAIN = "ExecutionStatus != 'ContinuedAsNew'"


@dataclass(frozen=True)
class Filter:
    """Conditions that must all be true of a user. Without any, all users whose workflow is running match."""

    state: str | None = None
    region: str | None = None
    """A region. A country includes its subdivisions (rule 7)."""
    is_held: bool = False
    end_reason: str | None = None
    """The beginning of the reason for which the enrolment ended."""
    is_failing: bool = False
    """Whether the workflow's task fails again and again, so that nothing happens until it is mended."""

    @property
    def query(self) -> str:
        """The conditions as a query in the server's language."""
        parts = [_OURS, _LAST_OF_ITS_CHAIN if self._may_be_closed else _RUNNING]
        if self.state is not None:
            parts.append(f"{STATE.name} = {_quoted(self.state)}")
        if self.region is not None:
            subdivisions = _quoted(f"{self.region}-")
            parts.append(f"({REGION.name} = {_quoted(self.region)} OR {REGION.name} STARTS_WITH {subdivisions})")
        if self.is_held:
            parts.append(f"{HELD.name} = true")
        if self.end_reason is not None:
            parts.append(f"{END_REASON.name} STARTS_WITH {_quoted(self.end_reason)}")
        if self.is_failing:
            parts += [_RUNNING, _TASK_FAILS]
        return " AND ".join(parts)

    @property
    def _may_be_closed(self) -> bool:
        return self.state in (ENDED, REFUSED) or self.is_held or self.end_reason is not None


@dataclass(frozen=True)
class FoundUser:
    """A user, as the search attributes of the latest run show it. They are None where runs write none."""

    user_id: str
    state: str | None
    region: str | None
    is_held: bool | None
    end_reason: str | None
    workflow: str
    """``running``, ``completed``, ``terminated`` …"""


async def found_users(client: Client, wanted: Filter, *, limit: int) -> list[FoundUser]:
    """At most ``limit`` of the users who match: first those whose workflow runs, then those whose closed last.

    Raises ServiceError, for a server that does not know the search attributes too.
    """
    found: list[FoundUser] = []
    page: list[WorkflowExecution] = []
    async for execution in _executions(client, wanted.query):
        page.append(execution)
        if len(page) == _IDS_AT_ONCE:
            found += await _latest(client, page)
            page = []
            if len(found) >= limit:
                break
    found += await _latest(client, page)
    return found[:limit]


async def users_in_state(client: Client, state: str) -> list[str]:
    """The users whose running workflow shows a state other than ``ended``. Raises ServiceError."""
    return [user_of(execution.id) async for execution in _executions(client, Filter(state=state).query)]


async def running_users(client: Client) -> AsyncGenerator[str]:
    """The users whose workflow is running. Raises ServiceError."""
    async for execution in _executions(client, f"{_OURS} AND {_RUNNING}"):
        yield user_of(execution.id)


async def failing_user_count(client: Client) -> int:
    """How many users' workflow tasks fail again and again. Raises ServiceError."""
    try:
        return (await client.count_workflows(f"{_OURS} AND {_RUNNING} AND {_TASK_FAILS}")).count
    except RPCError as error:
        raise ServiceError(f"the workflows could not be counted: {error.message}") from error


async def outdated_users(client: Client, *, is_encrypted: bool) -> list[str]:
    """The users whose running workflow shows other attributes than one that starts now. Raises ServiceError."""
    region = f"{REGION.name} IS {'NOT ' if is_encrypted else ''}NULL"
    query = f"{_OURS} AND {_RUNNING} AND ({STATE.name} IS NULL OR {region})"
    return [user_of(execution.id) async for execution in _executions(client, query)]


async def _latest(client: Client, page: Sequence[WorkflowExecution]) -> list[FoundUser]:
    """The executions after which no other run of the same user began."""
    closed = [execution for execution in page if execution.status != WorkflowExecutionStatus.RUNNING]
    newest = {execution.id: execution for execution in closed}
    if closed:
        ids = ", ".join(_quoted(execution_id) for execution_id in newest)
        async for run in _executions(client, f"{_OURS} AND {_LAST_OF_ITS_CHAIN} AND WorkflowId IN ({ids})"):
            newest[run.id] = max(newest[run.id], run, key=lambda run: run.start_time)
    return [
        _found(execution) for execution in page if newest.get(execution.id, execution).run_id == execution.run_id
    ]


def _found(execution: WorkflowExecution) -> FoundUser:
    written = execution.typed_search_attributes
    status = execution.status or WorkflowExecutionStatus.RUNNING
    return FoundUser(
        user_id=user_of(execution.id),
        state=written.get(STATE),
        region=written.get(REGION),
        is_held=written.get(HELD),
        end_reason=written.get(END_REASON),
        workflow=status.name.lower(),
    )


async def _executions(client: Client, query: str) -> AsyncGenerator[WorkflowExecution]:
    try:
        async for execution in client.list_workflows(query, page_size=_PAGE_SIZE):
            yield execution
    except RPCError as error:
        if error.status == RPCStatusCode.INVALID_ARGUMENT and "search attribute" in error.message:
            raise RequestRefused(
                "UnknownSearchAttribute",
                "the Temporal server does not know the search attributes: run `starter.py setup`, then start the "
                "workers again",
            ) from error
        raise ServiceError(f"the workflows could not be listed: {error.message}") from error


def _quoted(text: str) -> str:
    """The text as a value in the server's query language, which has no way to write a backslash."""
    if "\\" in text:
        raise ServiceError("a text with a backslash cannot be asked for: leave it out, and what follows")
    return "'" + text.replace("'", "''") + "'"
