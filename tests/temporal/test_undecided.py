"""If nobody has decided about a request, the answer is never a refusal. The request is sent again while there is
time, and then reported as unknown."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest
from polling import eventually
from servers import full_server
from staking_service import StakingService
from temporalio import workflow
from temporalio.api.operatorservice.v1 import RemoveSearchAttributesRequest
from temporalio.api.update.v1 import Input, Meta, Request
from temporalio.api.workflowservice.v1 import UpdateWorkflowExecutionRequest
from temporalio.client import Client
from temporalio.service import RPCError, RPCStatusCode
from temporalio.worker import Worker
from unsteady import a_way_to, impatient
from world import World, activation

from contract.acts import Act
from contract.answers import Receipt
from contract.errors import NoAnswer, NotTaken, RequestRefused
from contract.recollection import SearchAttributeUse
from contract.steps import TASK_QUEUE, WORKFLOW_TYPE, workflow_id
from running.worker import build_worker
from temporal.answers import NOT_TAKEN, is_not_taken
from temporal.client import SoftStakingClient, send_activation
from temporal.encryption import data_converter
from temporal.setup import register
from temporal.unanswered import why_unanswered

LONG, SHORT = timedelta(seconds=60), timedelta(seconds=1)
LONG_ENOUGH_TO_FAIL = timedelta(seconds=12)
"""The time for a worker to take a task and to fail, also on a busy machine."""
IN_FLIGHT_MAX = 10
"""Temporal's limit of updates in one run."""
ACT = Act(operator="olga", reason="a check")

DECIDED_BY_TEMPORAL = {
    RPCStatusCode.CANCELLED: False,
    RPCStatusCode.UNKNOWN: False,
    RPCStatusCode.INVALID_ARGUMENT: True,
    RPCStatusCode.DEADLINE_EXCEEDED: False,
    RPCStatusCode.NOT_FOUND: False,
    RPCStatusCode.ALREADY_EXISTS: False,
    RPCStatusCode.PERMISSION_DENIED: True,
    RPCStatusCode.RESOURCE_EXHAUSTED: False,
    RPCStatusCode.FAILED_PRECONDITION: False,
    RPCStatusCode.ABORTED: False,
    RPCStatusCode.OUT_OF_RANGE: True,
    RPCStatusCode.UNIMPLEMENTED: True,
    RPCStatusCode.INTERNAL: False,
    RPCStatusCode.UNAVAILABLE: False,
    RPCStatusCode.DATA_LOSS: False,
    RPCStatusCode.UNAUTHENTICATED: True,
}


def test_every_status_of_grpc_is_decided_or_open() -> None:
    assert DECIDED_BY_TEMPORAL.keys() == set(RPCStatusCode) - {RPCStatusCode.OK}
    found = {status: is_not_taken(RPCError("", status, b"")) for status in DECIDED_BY_TEMPORAL}
    assert found == DECIDED_BY_TEMPORAL
    assert {status for status, is_decided in found.items() if is_decided} == NOT_TAKEN


@asynccontextmanager
async def a_full_service(world: World, *, has_worker: bool = True) -> AsyncGenerator[StakingService]:
    """A service in real time, and ann with holdings that earn."""
    await world.move("ann", "12", "SOL", world.ledger.clock())
    async with full_server(history__workflowTaskRetryMaxInterval='"1s"') as client:
        service = StakingService(world, client)
        if has_worker:
            await service.start_worker()
        try:
            yield service
        finally:
            await service.stop_worker()


async def an_activation(client: Client, timeout: timedelta = LONG) -> object:
    return await send_activation(client, "ann", activation(), timeout=timeout)


def is_at_step(service: StakingService) -> Callable[[], Awaitable[bool]]:
    async def look() -> bool:
        try:
            description = await service.workflow.describe()
        except RPCError:
            return False
        return bool(description.raw_description.pending_activities)

    return look


def takes_no_more(client: Client) -> Callable[[], Awaitable[bool]]:
    """Whether the run has as many updates in flight as the server allows."""

    async def look() -> bool:
        request = UpdateWorkflowExecutionRequest(
            namespace=client.namespace,
            workflow_execution={"workflow_id": workflow_id("ann")},
            request=Request(meta=Meta(update_id=str(uuid4())), input=Input(name="retry")),
        )
        try:
            await client.workflow_service.update_workflow_execution(request, timeout=SHORT)
        except RPCError as error:
            return error.status == RPCStatusCode.RESOURCE_EXHAUSTED
        return False

    return look


async def test_more_simultaneous_updates_than_a_run_takes_are_all_answered_in_the_end(world: World) -> None:
    async with a_full_service(world) as service:
        client = await impatient(service.temporal)
        async with world.ledger.write():
            asked = [asyncio.create_task(an_activation(client)) for _ in range(IN_FLIGHT_MAX)]
            await eventually(takes_no_more(client))
            asked += [asyncio.create_task(an_activation(client)) for _ in range(2)]
            said = await told(lambda: an_activation(client, SHORT), "concurrent in-flight updates")
        answers = await asyncio.gather(*asked)

        assert "repeating it is safe" in said
        assert isinstance(answers[0], Receipt)
        assert answers == [answers[0]] * (IN_FLIGHT_MAX + 2)
        assert await service.enrolment_count() == 1


async def test_an_activation_whose_run_is_terminated_under_it_is_taken_up_by_the_next_run(world: World) -> None:
    async with a_full_service(world) as service:
        async with world.ledger.write():
            asked = asyncio.create_task(an_activation(service.temporal))
            await eventually(is_at_step(service))
            await service.workflow.terminate("by an operator")
        assert isinstance(await asked, Receipt)
        assert await service.enrolment_count() == 1


async def test_a_retry_whose_run_was_terminated_finds_nothing_to_take_up(world: World) -> None:
    async with a_full_service(world) as service:
        await an_activation(service.temporal)
        await service.workflow.terminate("by an operator")
        assert await service.client.retry("ann") is False
        with pytest.raises(RequestRefused, match="no workflow of user ann is running"):
            await service.client.refresh("ann")


async def test_a_request_on_a_connection_that_breaks_is_answered_once_it_is_mended(world: World) -> None:
    async with a_full_service(world, has_worker=False) as service, a_way_to(service.temporal) as way:
        client = await impatient(service.temporal, way.address)
        asked = asyncio.create_task(an_activation(client))
        await eventually(is_known(service))
        way.cut()
        await way.was_refused.wait()
        await service.start_worker()
        way.mend()
        receipt = await asked

        assert receipt == await an_activation(service.temporal)
        assert await service.enrolment_count() == 1


def is_known(service: StakingService) -> Callable[[], Awaitable[bool]]:
    async def look() -> bool:
        try:
            await service.workflow.describe()
        except RPCError:
            return False
        return True

    return look


async def test_a_connection_that_stays_broken_leaves_the_outcome_open(world: World) -> None:
    async with a_full_service(world) as service, a_way_to(service.temporal) as way:
        client = SoftStakingClient(await impatient(service.temporal, way.address), timeout=SHORT)
        way.cut()
        for request in (client.deactivate("ann"), client.hold("ann", ACT), client.resume("ann")):
            with pytest.raises(NoAnswer, match=r"Temporal server does not answer .* repeating is safe"):
                await request
        for question in (client.status("ann"), client.is_running("ann")):
            with pytest.raises(NoAnswer, match="Temporal server does not answer"):
                await question


async def test_a_server_that_a_lazy_client_never_reached_is_no_answer() -> None:
    client = await Client.connect("127.0.0.1:1", lazy=True, data_converter=data_converter({}))
    with pytest.raises(NoAnswer, match="Temporal server does not answer"):
        await an_activation(client, SHORT)


async def test_what_temporal_does_not_take_is_no_refusal_of_the_service(world: World) -> None:
    async with full_server() as client:
        nowhere = await Client.connect(
            client.service_client.config.target_host, namespace="nowhere", data_converter=client.data_converter
        )
        with pytest.raises(NotTaken, match="Temporal does not take the activation, so nothing came of it"):
            await an_activation(nowhere)
        with pytest.raises(NotTaken, match="Temporal does not take the query"):
            await SoftStakingClient(nowhere).status("ann")


@workflow.defn(name=WORKFLOW_TYPE, sandboxed=False)
class OfAnotherVersion:
    """A workflow that has none of our messages."""

    @workflow.run
    async def run(self, user_id: str) -> None:
        await workflow.wait_condition(lambda: False)


async def test_a_message_that_the_worker_does_not_know_is_no_refusal_of_the_service(world: World) -> None:
    async with full_server() as client, Worker(client, task_queue=TASK_QUEUE, workflows=[OfAnotherVersion]):
        with pytest.raises(NotTaken, match="the worker cannot take the activation, is it of another version"):
            await an_activation(client)


# Workflow tasks that fail.


async def test_a_missing_search_attribute_is_named_and_setup_mends_it_without_a_new_worker(world: World) -> None:
    async with a_full_service(world, has_worker=False) as service:
        client = service.temporal
        await register(client)
        async with build_worker(client, world.ledger, search_attributes=SearchAttributeUse.ALL):
            await client.operator_service.remove_search_attributes(
                RemoveSearchAttributesRequest(namespace=client.namespace, search_attributes=["SoftStakingState"])
            )
            asking = SoftStakingClient(client, timeout=SHORT)
            for ask in (
                lambda: an_activation(client, SHORT),
                lambda: asking.status("ann"),
                lambda: asking.hold("ann", ACT),
            ):
                said = await told(ask, "its workflow task fails: BadSearchAttributes: ")
                assert "search attribute SoftStakingState" in said
                assert "run `starter.py setup`" in said
                assert "worker.py" not in said
            await register(client)
            assert isinstance(await an_activation(client), Receipt)


async def told(ask: Callable[[], Awaitable[object]], words: str) -> str:
    """The sentence about a request without an answer, as soon as it has these words. On a busy machine it says
    less at first."""

    async def look() -> str:
        said = str(await failure_of(ask()))
        return said if words in said else ""

    return await eventually(look)


async def failure_of(request: Awaitable[object]) -> NoAnswer:
    with pytest.raises(NoAnswer) as raised:
        await request
    return raised.value


@workflow.defn(name=WORKFLOW_TYPE, sandboxed=False)
class Defective:
    """A workflow whose code fails immediately."""

    @workflow.run
    async def run(self, user_id: str) -> None:
        raise RuntimeError("a defect in the code")


async def test_a_defect_in_the_workflows_code_is_reported_with_its_sentence(world: World) -> None:
    async with full_server() as client, Worker(client, task_queue=TASK_QUEUE, workflows=[Defective]):
        said = str(await failure_of(an_activation(client, LONG_ENOUGH_TO_FAIL)))
    assert "its workflow task fails: a defect in the code; mend that" in said
    assert "repeating it is safe" in said


async def test_a_history_that_does_not_fit_the_program_is_reported_as_one(world: World) -> None:
    async with a_full_service(world) as service:
        await an_activation(service.temporal)
        await service.stop_worker()
        async with Worker(service.temporal, task_queue=TASK_QUEUE, workflows=[OfAnotherVersion]):
            # The sticky queue of the worker that is gone has the task for ten seconds first.
            said = str(
                await failure_of(SoftStakingClient(service.temporal, timeout=timedelta(seconds=15)).status("ann"))
            )
    assert "its workflow task fails: " in said or "could not answer the query" in said
    assert "ondeterminism" in said


async def test_a_worker_without_the_key_is_reported_with_the_id_of_the_key(world: World) -> None:
    async with full_server() as plain:
        client = await Client.connect(
            plain.service_client.config.target_host, data_converter=data_converter({"new": bytes(32)})
        )
        without = await Client.connect(plain.service_client.config.target_host, data_converter=data_converter({}))
        async with build_worker(without, world.ledger):
            said = str(await failure_of(an_activation(client, LONG_ENOUGH_TO_FAIL)))
    assert "its workflow task fails: " in said
    assert "under the key 'new'" in said


# Workers that ask for work, and workers that do not.


async def test_a_step_that_fails_is_reported_with_its_failure(world: World) -> None:
    async with a_full_service(world) as service:
        await world.sql("ALTER TABLE users RENAME TO users_elsewhere")
        await told(lambda: an_activation(service.temporal, SHORT), "its step")


async def test_a_worker_that_is_at_work_is_distinguished_from_one_that_is_gone(world: World) -> None:
    async with a_full_service(world) as service:
        asked_at = datetime.now(UTC)
        async with world.ledger.write():
            said = await told(lambda: an_activation(service.temporal, SHORT), "a worker asks for work, last ")
            later = asked_at + timedelta(minutes=4)
            why = await why_unanswered(service.temporal, "ann", TASK_QUEUE, asked_at=later, now=later)
            soon = datetime.now(UTC) + timedelta(seconds=40)
            and_soon = await why_unanswered(service.temporal, "ann", TASK_QUEUE, asked_at=soon, now=soon)
        identity = service.temporal.identity

    assert f"({identity}), but has not answered" in said
    assert "start one" not in said
    assert why.missing == (
        f"the last worker asked for work 4 min ago ({identity}), and none since: start one with: python worker.py"
    )
    assert and_soon.missing.startswith("the last worker asked for work 4")
    assert "has taken nothing since: if it has ended, start one with" in and_soon.missing
