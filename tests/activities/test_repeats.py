"""Every step may run again much later. It gives the same answer and writes nothing twice."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import pytest
from temporalio.exceptions import ApplicationError
from temporalio.testing import ActivityEnvironment
from world import SHIPPED_PROGRAM, World, activation, at, day, units

from activities import all_activities
from contract.answers import Receipt
from contract.requests import ComputeRequest, CreditRequest, EndRequest, EnrolRequest, SnapshotRequest
from staking.models import CreditReceipt, Rewards, Snapshot

pytestmark = pytest.mark.on_both_databases

ACTIVATED = at("2026-10-01 10:00")
CREDITED = at("2026-10-03 00:01")
DAY_1, DAY_2 = day("2026-10-01"), day("2026-10-02")
ONE_DAY = timedelta(days=1)


@dataclass
class Steps:
    """Runs the activities as a worker does, for one user, with the requests that the loop sends."""

    world: World

    async def run(self, name: str, request: Any) -> Any:
        steps: dict[str, Callable[..., Awaitable[Any]]] = {
            step.__name__: step for step in all_activities(self.world.ledger)
        }
        return await ActivityEnvironment().run(steps[name], request)

    async def enrol(self, enrolment_id: str = "first", now: datetime = ACTIVATED, **changes: Any) -> Any:
        asked = activation().model_copy(update=changes)
        request = EnrolRequest(
            user_id="ann", enrolment_id=enrolment_id, activation=asked, activated_at=ACTIVATED, now=now
        )
        return await self.run("enrol", request)

    async def snapshot(self, closed: Any, *, enrolment_id: str = "first", now: datetime | None = None) -> Snapshot:
        request = SnapshotRequest(
            user_id="ann",
            enrolment_id=enrolment_id,
            day=closed,
            now=now or datetime.combine(closed + ONE_DAY, ACTIVATED.timetz()),
        )
        return await self.run("snapshot", request)

    async def compute(self, snapshot: Snapshot) -> Rewards:
        return await self.run("compute", ComputeRequest(user_id="ann", enrolment_id="first", snapshot=snapshot))

    async def credit(
        self, rewards: Rewards, *, enrolment_id: str = "first", now: datetime = CREDITED
    ) -> CreditReceipt:
        request = CreditRequest(user_id="ann", enrolment_id=enrolment_id, rewards=rewards, now=now)
        return await self.run("credit", request)

    async def end(self, when: datetime, *, enrolment_id: str = "first", reason: str = "asked") -> Any:
        request = EndRequest(user_id="ann", enrolment_id=enrolment_id, ended_at=when, reason=reason)
        return await self.run("end_enrolment", request)


@pytest.fixture
async def steps(world: World) -> Steps:
    """Ann holds 12 SOL, is enrolled, and Day 1 is closed."""
    await world.move("ann", "12", "SOL", at("2026-09-30"))
    made = Steps(world)
    assert isinstance(await made.enrol(), Receipt)
    await made.snapshot(DAY_1)
    return made


async def _error_of(asked: Awaitable[Any]) -> ApplicationError:
    with pytest.raises(ApplicationError) as refused:
        await asked
    return refused.value


async def test_enrol_gives_the_first_receipt_a_day_later(steps: Steps) -> None:
    first = await steps.enrol()

    assert await steps.enrol(now=ACTIVATED + ONE_DAY) == first


async def test_enrol_gives_the_first_receipt_after_the_end_too(steps: Steps) -> None:
    first = await steps.enrol()
    await steps.end(at("2026-10-03 12:00"))

    assert await steps.enrol(now=at("2026-10-04 12:00")) == first
    assert (await steps.run("recall", "ann")).last_end.enrolment_id == "first"


async def test_snapshot_gives_the_same_holdings_a_day_later_whatever_moved_since(
    world: World, steps: Steps
) -> None:
    first = await steps.snapshot(DAY_2)
    await world.move("ann", "-5", "SOL", at("2026-10-02 12:00"))

    assert await steps.snapshot(DAY_2, now=at("2026-10-04 09:00")) == first


async def test_compute_gives_the_same_rewards_whatever_was_applied_since(world: World, steps: Steps) -> None:
    snapshot = await steps.snapshot(DAY_2)
    first = await steps.compute(snapshot)
    changed = SHIPPED_PROGRAM.model_copy(update={"effective_from": day("2026-10-04")})
    await world.apply(changed, now=at("2026-10-03 01:00"))

    assert await steps.compute(snapshot) == first


async def test_credit_pays_once_and_gives_the_first_receipt_a_day_later(world: World, steps: Steps) -> None:
    rewards = await steps.compute(await steps.snapshot(DAY_2))
    first = await steps.credit(rewards)

    assert await steps.credit(rewards, now=at("2026-10-04 09:00")) == first
    [line] = await world.statement("ann")
    assert (line.reward, line.late) == (units("0.00026301"), False)


async def test_end_enrolment_gives_the_first_end_a_day_later(steps: Steps) -> None:
    first = await steps.end(at("2026-10-03 12:00"))

    assert await steps.end(at("2026-10-04 12:00"), reason="asked again") == first


async def test_recall_gives_the_same_before_anything_else_happens(steps: Steps) -> None:
    first, second = await steps.run("recall", "ann"), await steps.run("recall", "ann")
    assert second == first.model_copy(update={"generation": first.generation + 1})


@pytest.mark.parametrize(
    ("changes", "recorded", "asked"),
    [
        ({"region": "DE"}, "FR", "DE"),
        ({"channel": "app", "app_version": "3.2.0"}, "web", "3.2.0"),
        ({"documents": {**SHIPPED_PROGRAM.documents, "risk_warning": "2027"}}, "2026-01-01", "2027"),
    ],
)
async def test_enrol_refuses_other_content_under_the_same_id_and_names_both(
    steps: Steps, changes: dict[str, Any], recorded: str, asked: str
) -> None:
    error = await _error_of(steps.enrol(**changes))

    assert (error.type, error.non_retryable) == ("ContentDiffers", True)
    assert recorded in error.message
    assert asked in error.message


async def test_snapshot_refuses_a_day_of_another_enrolment_and_names_both(steps: Steps) -> None:
    error = await _error_of(steps.snapshot(DAY_1, enrolment_id="second"))

    assert (error.type, error.non_retryable) == ("ContentDiffers", True)
    assert "first" in error.message
    assert "second" in error.message


async def test_credit_refuses_other_rewards_than_were_paid_and_names_both(steps: Steps) -> None:
    rewards = await steps.compute(await steps.snapshot(DAY_2))
    await steps.credit(rewards)
    [line] = rewards.lines
    doubled = rewards.model_copy(update={"lines": [line.model_copy(update={"reward": line.reward * 2})]})

    error = await _error_of(steps.credit(doubled))

    assert (error.type, error.non_retryable) == ("ContentDiffers", True)
    assert "0.00026301 SOL" in error.message
    assert "0.00052602 SOL" in error.message


async def test_credit_refuses_rewards_of_another_snapshot_and_names_both(steps: Steps) -> None:
    snapshot = await steps.snapshot(DAY_2)
    [held] = snapshot.holdings
    other = snapshot.model_copy(update={"holdings": [held.model_copy(update={"average": units("100")})]})

    error = await _error_of(steps.credit(await steps.compute(other)))

    assert (error.type, error.non_retryable) == ("ContentDiffers", True)
    assert "12.00000000 SOL" in error.message
    assert "100.00000000 SOL" in error.message


async def test_credit_refuses_another_program_version_and_names_both(steps: Steps) -> None:
    rewards = await steps.compute(await steps.snapshot(DAY_2))

    error = await _error_of(steps.credit(rewards.model_copy(update={"program_version": 2})))

    assert (error.type, error.non_retryable) == ("ContentDiffers", True)
    assert "program version 1" in error.message
    assert "program version 2" in error.message


async def test_end_enrolment_refuses_an_enrolment_it_does_not_know(steps: Steps) -> None:
    error = await _error_of(steps.end(at("2026-10-03 12:00"), enrolment_id="second"))

    assert (error.type, error.non_retryable) == ("NotEnrolled", True)


async def test_a_ledger_that_cannot_be_used_just_now_is_no_refusal(world: World, steps: Steps) -> None:
    async with world.ledger.write() as connection:
        await connection.exec_driver_sql("ALTER TABLE enrolments RENAME TO away")

    error = await _error_of(steps.end(at("2026-10-03 12:00")))

    assert (error.type, error.non_retryable) == ("LedgerUnavailable", False)
    assert f"{world.ledger.where} cannot be used" in error.message
