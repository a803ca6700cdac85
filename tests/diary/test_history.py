"""The diary, as it is read from a server. The diaries of golden histories are tested in test_replay.py."""

from collections.abc import AsyncGenerator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from faults.disturbing import Call, disturbed_worker
from polling import eventually
from servers import full_server
from staking_service import StakingService
from temporalio.client import Client
from world import World, at

from contract.acts import Act
from contract.errors import ServiceError
from contract.requests import SnapshotRequest
from contract.steps import TASK_QUEUE, WORKFLOW_TYPE, workflow_id
from diary.history import CodeFailed, NoHistory, Pending, Record, Run, StepTaken, UserHistory, history_of
from diary.retelling import Diary, diary_lines, diary_of
from staking.days import ONE_DAY, day_of, start_of
from temporal.encryption import PayloadUnreadable, data_converter

TODAY = start_of(day_of(datetime.now(UTC)))


@pytest.fixture
async def service(world: World) -> AsyncGenerator[StakingService]:
    """The service of a user who holds 12 SOL and whose runs are short, on the full server. There is no worker
    yet."""
    async with full_server(limit__historyCount__suggestContinueAsNew="50") as client:
        made = StakingService(world, client)
        await world.move("ann", "12", "SOL", TODAY - 5 * ONE_DAY)
        try:
            yield made
        finally:
            await made.stop_worker()


async def diary(service: StakingService, *, runs_max: int | None = None, client: Client | None = None) -> Diary:
    return diary_of(
        await history_of(
            client or service.temporal,
            "ann",
            runs_max=runs_max,
            timeout=timedelta(seconds=10),
            progress=lambda runs: None,
        )
    )


def with_keys(client: Client, **keys: bytes) -> Client:
    config = client.config()
    config["data_converter"] = data_converter(keys)
    return Client(**config)


def days_credited(told: Diary) -> list[str]:
    return [str(note.day) for note in told.notes if note.kind == "credited"]


async def test_the_story_goes_back_over_runs_that_continued_and_over_one_that_was_terminated(
    service: StakingService,
) -> None:
    await service.start_worker(days_per_run=1)
    await service.activate(back_dated_to=TODAY - 3 * ONE_DAY)
    await service.reaches_state("sleeping")
    both = [str(day_of(TODAY) - 2 * ONE_DAY), str(day_of(TODAY) - ONE_DAY)]
    whole = await diary(service)
    assert len(whole.runs) > 1
    assert (days_credited(whole), whole.begins) == (both, None)

    latest = await diary(service, runs_max=1)
    assert len(latest.runs) == 1
    assert latest.begins is not None
    assert "--runs leaves out what was before (active since" in latest.begins

    await service.workflow.terminate(reason="by mistake")
    [closed] = (await diary(service)).now
    assert closed.startswith("terminated: by mistake · ")
    assert closed.endswith(" · take the user up again: starter.py resume ann --reason …")
    await service.client.resume("ann")
    await service.reaches_state("sleeping")

    async def tells_all() -> bool:
        told = await diary(service)
        kinds = [note.kind for note in told.notes]
        return days_credited(told) == both and {"activated", "recalled"} <= set(kinds)

    await eventually(tells_all)


async def test_a_step_that_fails_is_shown_with_its_attempt_and_the_last_failure(service: StakingService) -> None:
    async def fail(call: Call) -> Any:
        if call.step == "compute":
            raise RuntimeError("the ledger is away")
        return await call.run()

    async with disturbed_worker(service.temporal, service.world.ledger, fail):
        await service.activate(back_dated_to=TODAY - 3 * ONE_DAY)

        async def says_so() -> bool:
            now = (await diary(service)).now
            return any("compute is " in text and "the last failure: the ledger is away" in text for text in now)

        await eventually(says_so)


async def test_an_encrypted_history_is_read_by_whoever_has_the_keys(service: StakingService) -> None:
    encrypting = StakingService(service.world, with_keys(service.temporal, summer=bytes(32)))
    await encrypting.start_worker()
    try:
        await encrypting.activate(back_dated_to=TODAY - 2 * ONE_DAY)
        await encrypting.reaches_state("sleeping")
    finally:
        await encrypting.stop_worker()

    assert days_credited(await diary(encrypting)) == [str(day_of(TODAY) - ONE_DAY)]
    with pytest.raises(PayloadUnreadable, match="encrypted under the key 'summer'"):
        await diary(service, client=with_keys(service.temporal))


async def test_for_a_user_without_a_workflow_there_is_a_sentence(service: StakingService) -> None:
    with pytest.raises(NoHistory, match="no workflow of user ann: there never was one"):
        await diary(service)


async def test_a_history_of_a_newer_program_is_recognised_as_one(service: StakingService) -> None:
    started = {"enrolments": [], "what only later versions know": 1}
    await service.temporal.start_workflow(
        WORKFLOW_TYPE, args=["ann", started], id=workflow_id("ann"), task_queue=TASK_QUEUE
    )
    with pytest.raises(ServiceError, match="a newer version of this program has written the history of user ann"):
        await diary(service)


DAY = day_of(at("2040-03-05"))
SNAPSHOT = SnapshotRequest(user_id="ann", enrolment_id="e", day=DAY, now=at("2040-03-06"))


@pytest.mark.parametrize(
    ("record", "line"),
    [
        (
            StepTaken("snapshot", SNAPSHOT, at("2040-03-06"), attempts=3, last_failure="the ledger is away"),
            ("2040-03-05", "retried", "snapshot took 3 attempts · the last failure: the ledger is away"),
        ),
        (
            CodeFailed(at("2040-03-06 00:01"), "division by zero"),
            ("2040-03-06", "code_failed", "the workflow's code failed: division by zero"),
        ),
        (
            StepTaken("a step of later", None, at("2040-03-06"), closed_at=at("2040-03-06")),
            None,
        ),
    ],
)
def test_what_went_wrong_is_noted(record: Record, line: tuple[str, str, str] | None) -> None:
    run = Run("run", at("2040-03-04"), continues=None, carried=None, records=[record])
    told = diary_lines(diary_of(UserHistory("ann", [run], pending=[], failed_tasks=0, is_cut=False)))
    assert told == ([line] if line else [])


def test_a_step_that_is_under_way_is_shown_with_its_next_attempt() -> None:
    run = Run("run", at("2040-03-04"), continues=None, carried=None)
    waiting = Pending("credit", 4, "the ledger is away", at("2040-03-06 00:01:07"))
    pending = [waiting, Pending("hold", 1, None, None)]
    told = diary_of(UserHistory("ann", [run], pending=pending, failed_tasks=2, is_cut=False))
    assert told.now == [
        "credit is tried again 2040-03-06 00:01:07, attempt 4 · the last failure: the ledger is away",
        "hold is under way, attempt 1",
        "the workflow's code failed 2 times in a row: the worker's log says why",
    ]


async def test_a_hold_that_lasts_is_what_the_user_waits_for(service: StakingService) -> None:
    await service.start_worker()
    await service.client.hold("ann", Act(operator="anna", reason="a check"))
    await service.activate(back_dated_to=TODAY - 3 * ONE_DAY)
    await service.reaches_state("held")

    [text] = (await diary(service)).now
    assert text.startswith("held by anna since ")
    assert text.endswith(": a check")
