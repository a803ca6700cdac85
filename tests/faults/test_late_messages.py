"""A message that takes long on its way to the ledger, while the boundary passes."""

import asyncio
from datetime import timedelta
from typing import Any

import pytest
from faults.disturbing import Call, ProcessDied, disturbed_worker
from staking_service import a_service
from temporalio import activity
from world import World

from contract.steps import END_ENROLMENT
from staking.days import ONE_DAY, day_of, end_of

pytestmark = pytest.mark.on_both_databases


async def test_the_day_of_a_deactivation_earns_nothing_though_its_record_comes_after_midnight(
    world: World,
) -> None:
    async with a_service(world) as service:
        await service.deposit()
        started_at = await service.now()
        day_three = day_of(started_at) + 2 * ONE_DAY
        boundary = end_of(day_three)
        asked = asyncio.Event()

        async def away_until_after_midnight(call: Call) -> Any:
            asked_at = activity.info().current_attempt_scheduled_time
            if call.step == END_ENROLMENT.name and asked_at < boundary + timedelta(minutes=1):
                asked.set()
                raise ProcessDied
            return await call.run()

        async with disturbed_worker(service.temporal, world.ledger, away_until_after_midnight):
            await service.activate()
            await service.skip_to(boundary - timedelta(minutes=2))
            deactivation = asyncio.create_task(service.deactivate())
            await asked.wait()
            await service.skip_to(boundary + timedelta(hours=2))
            end = await deactivation
            await service.completes()

        assert (end.ended_at.date(), end.last_accrual_day) == (day_three, day_three - ONE_DAY)
        assert [line.day for line in await service.statement()] == [day_three - ONE_DAY]
        assert await service.audit_is_clean()
