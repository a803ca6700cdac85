"""A failure that no repetition mends parks the loop. The workflow does not end, nothing is lost, and the status
says why."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from faults.disturbing import Call, Disturb, disturbed_worker
from faults.story import (
    Move,
    Span,
    assert_audit_is_clean,
    assert_replays,
    content,
    is_running,
    lines_by_hand,
    post,
    until_paid,
)
from polling import eventually
from servers import full_server, time_skipping
from staking_service import a_service
from temporalio.exceptions import ApplicationError
from temporalio.testing import WorkflowEnvironment
from world import World, activation

from contract.answers import Receipt
from contract.live_status import Blocked
from contract.steps import CREDIT, SNAPSHOT, workflow_id
from running.worker import build_worker
from staking.days import ONE_DAY, day_of
from temporal.client import SoftStakingClient, send_activation

pytestmark = pytest.mark.on_both_databases


async def undisturbed(call: Call) -> Any:
    return await call.run()


@dataclass
class Parked:
    """Ann, whose loop is parked on her first accrual day."""

    environment: WorkflowEnvironment
    client: SoftStakingClient
    activated_at: datetime
    first_day: date
    moves: list[Move]

    async def blocked(self) -> Blocked | None:
        status = await self.client.status("ann")
        return None if status is None or status.state != "blocked" else status.blocked

    async def until_blocked(self) -> Blocked:
        async def it_is() -> bool:
            return await self.blocked() is not None

        await eventually(it_is, "blocked")
        blocked = await self.blocked()
        assert blocked is not None
        return blocked

    async def until_asleep(self) -> None:
        async def it_is() -> bool:
            status = await self.client.status("ann")
            return status is not None and status.state == "sleeping"

        await eventually(it_is, "asleep")


async def park(world: World, environment: WorkflowEnvironment, tokens: str) -> Parked:
    now = await environment.get_current_time()
    moves = [Move(now - ONE_DAY, tokens, "SOL"), Move(now - ONE_DAY, "1000", "SUI")]
    await post(world, "ann", moves)
    receipt = await send_activation(environment.client, "ann", activation())
    assert isinstance(receipt, Receipt)
    await environment.sleep(receipt.first_reward_from + timedelta(hours=1) - now)
    first_day = day_of(receipt.first_snapshot_at)
    made = Parked(environment, SoftStakingClient(environment.client), receipt.activated_at, first_day, moves)
    await made.until_blocked()
    return made


@asynccontextmanager
async def parked(world: World, tokens: str, disturb: Disturb = undisturbed) -> AsyncGenerator[Parked]:
    async with time_skipping() as environment, disturbed_worker(environment.client, world.ledger, disturb):
        yield await park(world, environment, tokens)


FULL = "90000000000"


async def withdraw(world: World, case: Parked, tokens: str) -> None:
    move = Move(await case.environment.get_current_time(), f"-{tokens}", "SOL")
    case.moves.append(move)
    await post(world, "ann", [move])


async def assert_paid_through(world: World, tmp_path: Path, case: Parked, last_day: date) -> None:
    expected = await lines_by_hand(tmp_path / "by hand", "ann", case.moves, Span(case.activated_at, last_day))
    assert content(await world.statement("ann")) == expected
    await assert_audit_is_clean(world.ledger)


async def test_a_blocked_step_is_named_with_its_day_and_the_reason(world: World) -> None:
    async with parked(world, FULL) as case:
        blocked = await case.until_blocked()

        assert (blocked.step, blocked.day) == ("credit", case.first_day)
        assert "SOL balance is 90000000000.00000000" in blocked.message
        assert await is_running(case.environment.client, "ann")


async def test_a_blocked_day_pays_nothing_at_all(world: World) -> None:
    async with parked(world, FULL):
        assert await world.statement("ann") == []


async def test_a_retry_before_the_cause_is_mended_blocks_again(world: World) -> None:
    async with parked(world, FULL) as case:
        first = await case.until_blocked()

        assert await case.client.retry("ann")

        assert await case.until_blocked() == first
        assert await is_running(case.environment.client, "ann")


async def test_a_retry_after_the_cause_is_mended_pays_every_owed_day(world: World) -> None:
    async with parked(world, FULL) as case:
        await case.environment.sleep(timedelta(days=3))
        await withdraw(world, case, "1000000000")

        assert await case.client.retry("ann")
        await case.until_asleep()

        paid = [line.day for line in await world.statement("ann") if line.asset == "SOL"]
        assert paid == [case.first_day + number * ONE_DAY for number in range(4)]
        assert not await case.client.retry("ann")
        await assert_audit_is_clean(world.ledger)


async def test_a_deactivation_is_answered_while_a_day_is_blocked(world: World) -> None:
    async with parked(world, FULL) as case:
        end = await case.client.deactivate("ann")

        assert (end.last_accrual_day, end.owed_days) == (case.first_day, 1)
        assert await is_running(case.environment.client, "ann")


async def test_days_owed_at_a_deactivation_are_paid_once_the_cause_is_mended(world: World) -> None:
    async with parked(world, FULL) as case:
        await case.environment.sleep(ONE_DAY)
        end = await case.client.deactivate("ann")
        await withdraw(world, case, "1000000000")

        await case.client.retry("ann")
        await case.environment.client.get_workflow_handle(workflow_id("ann")).result()

        assert end.owed_days == 2
        assert [line.day for line in await world.statement("ann") if line.asset == "SOL"] == [
            case.first_day,
            case.first_day + ONE_DAY,
        ]
        await assert_replays(case.environment.client, "ann")


async def test_a_user_who_comes_back_while_a_day_is_blocked_is_paid_for_both_enrolments(world: World) -> None:
    async with parked(world, FULL) as case:
        await case.client.deactivate("ann")
        await case.environment.sleep(2 * ONE_DAY)
        again = await send_activation(case.environment.client, "ann", activation())
        assert isinstance(again, Receipt)
        await case.environment.sleep(2 * ONE_DAY)
        await withdraw(world, case, "1000000000")

        await case.client.retry("ann")
        await case.until_asleep()

        second = day_of(again.first_snapshot_at)
        days = [line.day for line in await world.statement("ann") if line.asset == "SOL"]
        assert days == [case.first_day, second]
        await assert_audit_is_clean(world.ledger)


async def test_a_day_record_that_was_tampered_with_blocks_and_is_paid_once_put_right(
    world: World, tmp_path: Path
) -> None:
    seen: list[str] = []

    async def tamper(call: Call) -> Any:
        if call.step == CREDIT.name and not seen:
            seen.append(call.step)
            await world.sql(
                "INSERT INTO enrolments (enrolment_id, user_id, region, channel, activated_at, recorded_at, "
                "first_accrual_day, ended_at, end_reason, last_accrual_day, owed_days_at_end) "
                "SELECT 'forged', user_id, region, channel, activated_at, recorded_at, "
                "first_accrual_day, activated_at, 'forged', first_accrual_day - 2, 0 FROM enrolments"
            )
            await world.sql("UPDATE days SET enrolment_id = 'forged' WHERE accrues")
        return await call.run()

    async with parked(world, "12", tamper) as case:
        blocked = await case.until_blocked()
        assert (blocked.step, blocked.day) == ("credit", case.first_day)
        assert "forged" in blocked.message
        await world.sql(
            "UPDATE days SET enrolment_id = (SELECT enrolment_id FROM enrolments "
            "WHERE enrolment_id <> 'forged') WHERE enrolment_id = 'forged'"
        )
        await world.sql("DELETE FROM enrolments WHERE enrolment_id = 'forged'")

        await case.client.retry("ann")
        await case.until_asleep()

        await assert_paid_through(world, tmp_path, case, case.first_day)


async def test_a_block_survives_a_worker_that_is_replaced(world: World) -> None:
    now = datetime.now(UTC)
    await post(world, "ann", [Move(now - 3 * ONE_DAY, FULL, "SOL")])
    async with full_server() as server:
        client = SoftStakingClient(server)

        async def is_blocked() -> bool:
            status = await client.status("ann")
            return status is not None and status.state == "blocked"

        async with build_worker(server, world.ledger):
            await send_activation(server, "ann", activation(back_dated_to=now - 2 * ONE_DAY))
            await eventually(is_blocked, "blocked")
        await post(world, "ann", [Move(now, "-1000000000", "SOL")])

        async with build_worker(server, world.ledger):
            assert await is_blocked()
            assert await client.retry("ann")
            await until_paid(world.ledger, 1)


async def test_an_enrolment_that_ends_while_its_first_closing_is_blocked_holds_nothing_up(world: World) -> None:
    async def refuse_every_snapshot(call: Call) -> Any:
        if call.step == SNAPSHOT.name:
            raise ApplicationError("made up", type="OutOfOrder", non_retryable=True)
        return await call.run()

    async with (
        a_service(world) as service,
        disturbed_worker(service.temporal, world.ledger, refuse_every_snapshot),
    ):
        await service.deposit()
        receipt = await service.activate()
        await service.skip_to(receipt.first_snapshot_at + timedelta(hours=1))
        await service.reaches_state("blocked")

        end = await service.deactivate()

        assert (end.last_accrual_day, end.owed_days) == (None, 0)
        await service.completes()
