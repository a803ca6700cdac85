"""What a run knows of its user may be out of date. The run finds out, recalls, and goes on from there."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import pytest
from faults.disturbing import Call, Once, disturbed_worker
from staking_service import StakingService, a_service
from temporalio.exceptions import ApplicationError
from world import World

from contract.acts import Act, Hold
from contract.answers import End, Receipt
from contract.requests import ActRequest, EndRequest
from contract.steps import CREDIT, END_ENROLMENT, ENROL, HOLD, RELEASE, SNAPSHOT, SUPERSEDED
from ledger.acts import hold, hold_of, release
from ledger.enrolments import end_enrolment
from ledger.recall import recall
from staking.days import ONE_DAY, day_of, end_of

A_CHECK = Act(operator="olga", reason="a check")


@dataclass
class LateCommit:
    """Holds up the first call of a step until the test lets it go on, and reports how it ended."""

    step: str
    reached: asyncio.Event = field(default_factory=asyncio.Event)
    resume: asyncio.Event = field(default_factory=asyncio.Event)
    ended: asyncio.Future[str] = field(default_factory=lambda: asyncio.get_running_loop().create_future())

    async def __call__(self, call: Call) -> Any:
        if call.step != self.step or self.reached.is_set():
            return await call.run()
        self.reached.set()
        await self.resume.wait()
        try:
            answer = await call.run()
        except ApplicationError as error:
            self.ended.set_result(error.type or "")
            raise
        self.ended.set_result("committed")
        return answer


async def activates(service: StakingService) -> Receipt:
    return await service.activate()


async def deactivates(service: StakingService) -> End:
    return await service.deactivate()


async def holds(service: StakingService) -> Hold:
    return await service.client.hold("ann", A_CHECK)


async def releases(service: StakingService) -> Hold | None:
    return await service.client.release("ann", A_CHECK)


Message = Callable[[StakingService], Awaitable[Any]]
MESSAGES: list[tuple[str, list[Message], Message]] = [
    (ENROL.name, [], activates),
    (END_ENROLMENT.name, [activates], deactivates),
    (HOLD.name, [activates], holds),
    (RELEASE.name, [activates, holds], releases),
]


@pytest.mark.parametrize(("step", "before", "message"), MESSAGES, ids=[step for step, *_ in MESSAGES])
@pytest.mark.on_both_databases
async def test_a_step_that_outlives_its_terminated_run_changes_nothing(
    world: World, step: str, before: list[Message], message: Message
) -> None:
    async with a_service(world) as service:
        await service.deposit()
        late = LateCommit(step)
        async with disturbed_worker(service.temporal, world.ledger, late):
            for earlier in before:
                await earlier(service)
            lost = asyncio.create_task(message(service))
            await late.reached.wait()
            lost.cancel()  # The sender has gone. Otherwise the message would be sent again to the next run.
            await asyncio.gather(lost, return_exceptions=True)
            await service.workflow.terminate("as the runbook says")
            await service.client.resume("ann")
            await service.client.status("ann")
            receipt = await service.activate()
            late.resume.set()
            assert await late.ended == SUPERSEDED

            assert await service.enrolment_count() == 1
            async with world.ledger.read() as connection:
                held = await hold_of(connection, "ann")
            assert (held is not None) == (message is releases)
            if held is not None:
                await releases(service)
            first_day = day_of(receipt.first_snapshot_at)
            await service.skip_to(end_of(first_day) + timedelta(minutes=1))
            await service.credited_through(first_day)
            assert await service.activate() == receipt
        assert await service.audit_is_clean()


@dataclass
class SomebodyElse:
    """Recalls ann's state behind her run's back, as a second run would, and changes it."""

    world: World

    async def ends(self, call: Call) -> Any:
        known = await recall(self.world.ledger, "ann")
        still_open = known.open_enrolment
        assert still_open is not None
        request = EndRequest(
            user_id="ann",
            enrolment_id=still_open.receipt.enrolment_id,
            ended_at=still_open.receipt.activated_at + timedelta(minutes=1),
            reason="elsewhere",
            generation=known.generation,
        )
        await end_enrolment(self.world.ledger, request)
        return await call.run()

    async def holds(self, call: Call) -> Any:
        await hold(self.world.ledger, await self._act("held elsewhere"))
        return await call.run()

    async def releases(self, call: Call) -> Any:
        await release(self.world.ledger, await self._act("released elsewhere"))
        return await call.run()

    async def _act(self, act_id: str) -> ActRequest:
        known = await recall(self.world.ledger, "ann")
        now = self.world.ledger.clock()
        return ActRequest(user_id="ann", act_id=act_id, act=A_CHECK, now=now, generation=known.generation)


@pytest.mark.parametrize("step", [SNAPSHOT.name, CREDIT.name])
async def test_a_day_that_finds_its_enrolment_ended_elsewhere_is_not_paid_and_start_earning_enrols_anew(
    world: World, step: str
) -> None:
    async with a_service(world) as service:
        await service.deposit()
        elsewhere = Once(step, SomebodyElse(world).ends)
        async with disturbed_worker(service.temporal, world.ledger, elsewhere):
            first = await service.activate()
            first_day = day_of(first.first_snapshot_at)
            await service.skip_to(end_of(first_day) + timedelta(minutes=1))
            await service.completes()
            assert await service.statement() == []

            second = await service.activate()
            assert second.enrolment_id != first.enrolment_id
            paid = day_of(second.first_snapshot_at)
            await service.skip_to(end_of(paid) + timedelta(minutes=1))
            assert [line.day for line in await service.credited_through(paid)] == [paid]
        assert await service.audit_is_clean()


@pytest.mark.parametrize("step", [SNAPSHOT.name, CREDIT.name])
async def test_a_day_that_finds_its_user_held_elsewhere_waits_and_is_paid_after_the_release(
    world: World, step: str
) -> None:
    async with a_service(world) as service:
        await service.deposit()
        elsewhere = Once(step, SomebodyElse(world).holds)
        async with disturbed_worker(service.temporal, world.ledger, elsewhere):
            receipt = await service.activate()
            first_day = day_of(receipt.first_snapshot_at)
            await service.skip_to(end_of(first_day) + timedelta(minutes=1))
            await service.reaches_state("held")
            assert await service.statement() == []

            await releases(service)
            await service.skip_to(end_of(first_day + ONE_DAY) + timedelta(minutes=1))
            paid = await service.credited_through(first_day + ONE_DAY)
            assert [line.day for line in paid] == [first_day, first_day + ONE_DAY]
        assert await service.audit_is_clean()


async def test_a_message_that_finds_its_user_elsewhere_is_answered_from_there(world: World) -> None:
    other = SomebodyElse(world)
    elsewhere = {
        HOLD.name: Once(HOLD.name, other.ends),
        END_ENROLMENT.name: Once(END_ENROLMENT.name, other.holds),
        ENROL.name: Once(ENROL.name, other.releases),
    }
    at_work: list[str] = []

    async def disturb(call: Call) -> Any:
        return await (elsewhere[call.step](call) if call.step in at_work else call.run())

    async with a_service(world) as service:
        await service.deposit()
        async with disturbed_worker(service.temporal, world.ledger, disturb):
            first = await service.activate()
            at_work[:] = [HOLD.name]
            await holds(service)
            await releases(service)
            second = await service.activate()
            assert second.enrolment_id != first.enrolment_id

            at_work[:] = [END_ENROLMENT.name]
            end = await service.deactivate()
            assert end.enrolment_id == second.enrolment_id
            await service.completes()
            assert (await recall(world.ledger, "ann")).enrolments == []

            at_work[:] = [ENROL.name]
            third = await service.activate()
            assert (await recall(world.ledger, "ann")).hold is None
            first_day = day_of(third.first_snapshot_at)
            await service.skip_to(end_of(first_day) + timedelta(minutes=1))
            await service.credited_through(first_day)
        assert await service.audit_is_clean()
