"""Worker Deployment Versioning: a user's workflow lives for years, and moves on to the version that is current."""

import asyncio
import sys
from datetime import UTC, datetime
from pathlib import Path

from faults.story import Move, post
from polling import eventually
from servers import full_server
from temporalio.client import Client
from temporalio.common import VersioningBehavior, WorkerDeploymentVersion
from temporalio.worker import Worker
from world import World, activation

from contract.answers import Receipt
from contract.steps import workflow_id
from running.options import WorkerOptions
from running.worker import build_worker
from staking.days import ONE_DAY
from temporal.client import SoftStakingClient, send_activation

DEPLOYMENT = "soft-staking"
TEMPORAL = Path(sys.executable).parent / "temporal"


async def a_worker(server: Client, world: World, build_id: str | None) -> Worker:
    # A client of its own, since one client has one worker per task queue.
    address = server.service_client.config.target_host
    client = await Client.connect(address, data_converter=server.data_converter)
    version = WorkerDeploymentVersion(DEPLOYMENT, build_id) if build_id else None
    return build_worker(client, world.ledger, WorkerOptions(version=version))


async def make_current(server: Client, build_id: str) -> None:
    """Makes a version current as docs/running-workers.md says, as soon as the server knows it."""

    async def is_made() -> bool:
        command = [
            *("worker", "deployment", "set-current-version", "--yes"),
            *("--deployment-name", DEPLOYMENT, "--build-id", build_id),
            *("--address", server.service_client.config.target_host),
        ]
        process = await asyncio.create_subprocess_exec(
            TEMPORAL, *command, stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.DEVNULL
        )
        return await process.wait() == 0

    await eventually(is_made, f"version {build_id} is current")


async def test_a_sleeping_user_moves_on_from_no_version_to_version_1_and_to_version_2(world: World) -> None:
    await post(world, "ann", [Move(datetime.now(UTC) - ONE_DAY, "12", "SOL")])
    async with full_server() as server:
        service = SoftStakingClient(server)
        async with await a_worker(server, world, None):
            receipt = await send_activation(server, "ann", activation())
            assert isinstance(receipt, Receipt)
        async with await a_worker(server, world, "1"):
            await make_current(server, "1")
            assert (await service.status("ann")).state == "sleeping"
            assert await service.retry("ann") is False
        async with await a_worker(server, world, "2"):
            await make_current(server, "2")
            assert (await service.deactivate("ann")).owed_days == 0
            handle = server.get_workflow_handle(workflow_id("ann"))
            await handle.result()
        history = await handle.fetch_history()

    completed = [
        event.workflow_task_completed_event_attributes
        for event in history.events
        if event.HasField("workflow_task_completed_event_attributes")
    ]
    versions = [task.deployment_version.build_id for task in completed]
    assert list(dict.fromkeys(versions)) == ["", "1", "2"]
    assert completed[-1].versioning_behavior == VersioningBehavior.AUTO_UPGRADE.value
    assert not any(event.HasField("workflow_task_failed_event_attributes") for event in history.events)
