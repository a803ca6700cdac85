"""Messages that are malformed, come at a wrong time or come together are refused with a reason, and the loop goes
on."""

import asyncio
from contextlib import suppress
from datetime import timedelta

import pytest
from polling import PATIENCE
from staking_service import StakingService
from temporalio.client import WorkflowFailureError, WorkflowUpdateFailedError
from temporalio.exceptions import ApplicationError
from world import SHIPPED_PROGRAM

from contract.errors import RequestRefused
from contract.steps import TASK_QUEUE, WORKFLOW_TYPE, workflow_id
from staking.days import ONE_DAY, day_of
from staking.models import REASON_LENGTH_MAX
from temporal.client import SoftStakingClient

HOUR = timedelta(hours=1)
WELL_FORMED = {"region": "FR", "channel": "web", "documents": SHIPPED_PROGRAM.documents}
MALFORMED_ACTIVATIONS: dict[str, list[object]] = {
    "a malformed region": [{**WELL_FORMED, "region": "Atlantis"}],
    "an unknown channel": [{**WELL_FORMED, "channel": "fax"}],
    "a malformed app version": [{**WELL_FORMED, "app_version": "newest"}],
    "an unknown field": [{**WELL_FORMED, "bonus": "1"}],
    "a missing region": [{"channel": "web"}],
    "a back-dating without an operator": [
        {**WELL_FORMED, "back_dating": {"activated_at": "2026-01-01T00:00:00Z"}}
    ],
    "a back-dating without a time zone": [
        {
            **WELL_FORMED,
            "back_dating": {"activated_at": "2026-01-01T00:00:00", "operator": "tests", "reason": "moved"},
        }
    ],
    "too many documents": [{**WELL_FORMED, "documents": {f"document_{n}": "1" for n in range(33)}}],
    "no activation": [],
    "nothing": [None],
    "a text": ["Start Earning"],
    "a second argument": [WELL_FORMED, "and more"],
}
MALFORMED_REASONS: dict[str, list[object]] = {
    "no reason": [],
    "nothing": [None],
    "an empty reason": [""],
    "a reason of 10,000 characters": ["x" * 10_000],
    "a reason one character too long": ["x" * (REASON_LENGTH_MAX + 1)],
    "a number": [7],
    "an empty operator": ["enough", ""],
    "an operator that is a number": ["enough", 7],
    "a text for the user that is a number": ["enough", "ann", 7],
    "a fourth argument": ["enough", "ann", "we ended it", "and more"],
}
MALFORMED_ACTS: dict[str, list[object]] = {
    "nothing": [None],
    "no act": [],
    "no reason": [{"operator": "ann"}],
    "an empty reason": [{"operator": "ann", "reason": ""}],
    "a text": ["ann"],
    "an unknown field": [{"operator": "ann", "reason": "a check", "until": "tomorrow"}],
}


@pytest.mark.parametrize(
    ("update", "cases"),
    [
        ("activate", MALFORMED_ACTIVATIONS),
        ("deactivate", MALFORMED_REASONS),
        ("hold", MALFORMED_ACTS),
        ("release", MALFORMED_ACTS),
    ],
    ids=["activate", "deactivate", "hold", "release"],
)
async def test_malformed_messages_are_refused_and_the_loop_lives_on(
    service: StakingService, update: str, cases: dict[str, list[object]]
) -> None:
    await service.deposit()
    receipt = await service.activate()
    accepted: list[str] = []
    for case, arguments in cases.items():
        with suppress(WorkflowUpdateFailedError):
            await service.workflow.execute_update(update, args=arguments, rpc_timeout=PATIENCE)
            accepted.append(case)
        assert await service.activate() == receipt, case

    assert accepted == []
    await service.skip_to(receipt.first_reward_from + HOUR)
    await service.credited_through(day_of(receipt.first_snapshot_at))


@pytest.mark.parametrize("arguments", [[], [None]])
async def test_a_first_message_without_an_activation_is_refused_and_the_next_is_answered(
    service: StakingService, arguments: list[object]
) -> None:
    await service.deposit()
    await service.temporal.start_workflow(WORKFLOW_TYPE, "ann", id=workflow_id("ann"), task_queue=TASK_QUEUE)
    with pytest.raises(WorkflowUpdateFailedError):
        await service.workflow.execute_update("activate", args=arguments, rpc_timeout=PATIENCE)
    await service.activate()


async def test_an_unknown_update_is_refused_and_the_loop_lives_on(service: StakingService) -> None:
    await service.deposit()
    receipt = await service.activate()
    with pytest.raises(WorkflowUpdateFailedError):
        await service.workflow.execute_update("double_my_reward")
    assert await service.activate() == receipt


async def test_a_reason_of_the_greatest_length_is_kept_whole(service: StakingService) -> None:
    await service.deposit()
    await service.activate()
    reason = "é" * REASON_LENGTH_MAX
    assert (await service.client.deactivate("ann", reason)).reason == reason


async def test_the_client_refuses_a_reason_that_is_too_long_in_one_sentence(service: StakingService) -> None:
    await service.deposit()
    await service.activate()
    with pytest.raises(RequestRefused, match=f"a reason has 1 to {REASON_LENGTH_MAX} characters") as raised:
        await service.client.deactivate("ann", "x" * 10_000)
    assert raised.value.code == "BadReason"


@pytest.mark.parametrize("user_id", ["", "ann/bob", "ann bob", "x" * 65, "ann\n", "änn"])
async def test_the_client_refuses_a_malformed_user_id_before_it_asks(
    idle_service: StakingService, user_id: str
) -> None:
    client: SoftStakingClient = idle_service.client
    with pytest.raises(ValueError, match="is not a user id"):
        await client.activate(user_id, region="FR", channel="web", documents={})
    with pytest.raises(ValueError, match="is not a user id"):
        await client.deactivate(user_id)
    with pytest.raises(ValueError, match="is not a user id"):
        await client.status(user_id)


@pytest.mark.parametrize(
    ("user_id", "id_of_the_run", "says"),
    [
        ("ann", workflow_id("bob"), "must have the id soft-staking/ann"),
        ("ann", "ann", "must have the id soft-staking/ann"),
        ("ann bob", workflow_id("ann bob"), "'ann bob' is not a user id"),
        ("", workflow_id(""), "'' is not a user id"),
    ],
)
async def test_a_run_under_a_wrong_id_fails_and_says_what_is_wrong(
    service: StakingService, user_id: str, id_of_the_run: str, says: str
) -> None:
    with pytest.raises(WorkflowFailureError) as raised:
        await service.temporal.execute_workflow(WORKFLOW_TYPE, user_id, id=id_of_the_run, task_queue=TASK_QUEUE)

    assert isinstance(raised.value.cause, ApplicationError)
    assert says in raised.value.cause.message


async def test_a_retry_with_nothing_blocked_or_waiting_answers_false(service: StakingService) -> None:
    assert await service.client.retry("ann") is False
    await service.deposit()
    await service.activate()
    assert await service.client.retry("ann") is False


async def test_a_user_without_a_workflow_has_no_status(service: StakingService) -> None:
    assert await service.client.status("ann") is None


async def test_the_status_follows_the_day(service: StakingService) -> None:
    await service.deposit()
    receipt = await service.activate()
    status = await service.client.status("ann")
    assert status is not None
    assert (status.state, status.enrolment_id) == ("sleeping", receipt.enrolment_id)
    assert (status.day_in_progress, status.next_boundary) == (
        day_of(receipt.activated_at),
        receipt.first_snapshot_at,
    )

    await service.skip_to(receipt.first_reward_from + HOUR)
    await service.reaches_state("sleeping")
    status = await service.client.status("ann")
    assert status is not None
    assert status.next_boundary == receipt.first_reward_from + ONE_DAY


async def test_a_run_that_ends_while_messages_are_answered_answers_them_all(service: StakingService) -> None:
    await service.deposit()
    receipt = await service.activate()
    ends = await asyncio.gather(*(service.deactivate() for _ in range(8)))

    assert ends == [ends[0]] * 8
    assert ends[0].enrolment_id == receipt.enrolment_id
    await service.completes()


async def test_starting_and_stopping_at_the_same_time_leaves_one_clear_state(service: StakingService) -> None:
    await service.deposit()
    await service.activate()
    answers = await asyncio.gather(
        *(call() for _ in range(4) for call in (service.deactivate, service.activate)), return_exceptions=True
    )

    assert not [answer for answer in answers if isinstance(answer, BaseException)]
    end = await service.deactivate()
    await service.completes()
    assert await service.deactivate() == end
    assert await service.audit_is_clean()
