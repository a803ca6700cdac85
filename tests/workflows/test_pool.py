"""Rule 13: an empty pool holds a day back, whole, until it is funded."""

from datetime import timedelta

import pytest
from staking_service import StakingService, compounding, numbers
from temporalio.api.enums.v1 import EventType

from ledger.pools import pool_balances
from staking.days import ONE_DAY, day_of

HOUR = timedelta(hours=1)


async def test_an_empty_pool_is_named_by_the_status_and_nothing_is_paid(
    unfunded_service: StakingService,
) -> None:
    service = unfunded_service
    await service.deposit()
    receipt = await service.activate()
    await service.skip_to(receipt.first_reward_from + HOUR)
    await service.reaches_state("waiting for pool SOL")

    status = await service.client.status("ann")
    assert status is not None
    assert status.day_in_progress == day_of(receipt.first_snapshot_at)
    assert status.next_boundary == receipt.first_reward_from + ONE_DAY
    assert await service.statement() == []


async def test_a_retry_asks_a_funded_pool_now_and_pays_the_day_in_full_once(
    unfunded_service: StakingService,
) -> None:
    service = unfunded_service
    await service.deposit()
    receipt = await service.activate()
    await service.skip_to(receipt.first_reward_from + HOUR)
    await service.reaches_state("waiting for pool SOL")
    await service.world.fund("SOL", "1")

    assert await service.client.retry("ann") is True
    lines = await service.credited_through(day_of(receipt.first_snapshot_at))
    assert numbers(lines) == compounding("12", "0.008", 1)
    assert not lines[0].late
    assert await service.client.retry("ann") is False
    async with service.world.ledger.read() as connection:
        assert (await pool_balances(connection))["SOL"] == 1_00000000 - lines[0].reward


async def test_the_workflow_asks_a_funded_pool_by_itself(unfunded_service: StakingService) -> None:
    service = unfunded_service
    await service.deposit()
    receipt = await service.activate()
    await service.skip_to(receipt.first_reward_from + HOUR)
    await service.world.fund("SOL")
    await service.skip_to(receipt.first_reward_from + HOUR + timedelta(minutes=11))

    lines = await service.credited_through(day_of(receipt.first_snapshot_at))
    assert numbers(lines) == compounding("12", "0.008", 1)


@pytest.mark.parametrize(("funded", "is_paid"), [("0.00026300", False), ("0.00026301", True)])
async def test_a_pool_pays_a_day_to_the_last_unit_or_not_at_all(
    unfunded_service: StakingService, funded: str, is_paid: bool
) -> None:
    service = unfunded_service
    await service.world.fund("SOL", funded)
    await service.deposit()
    receipt = await service.activate()
    await service.skip_to(receipt.first_reward_from + HOUR)

    await service.reaches_state("sleeping" if is_paid else "waiting for pool SOL")
    assert [line.reward for line in await service.statement()] == ([26301] if is_paid else [])


async def test_one_short_pool_holds_back_the_other_assets_of_the_day(unfunded_service: StakingService) -> None:
    service = unfunded_service
    await service.world.fund("BNB")
    await service.deposit("12", "SOL")
    await service.deposit("3", "BNB")
    receipt = await service.activate()
    await service.skip_to(receipt.first_reward_from + HOUR)
    await service.reaches_state("waiting for pool SOL")
    assert await service.statement() == []

    await service.world.fund("SOL")
    await service.client.retry("ann")
    lines = await service.credited_through(day_of(receipt.first_snapshot_at))
    assert [line.asset for line in lines] == ["BNB", "SOL"]
    assert lines[0].entry_id == lines[1].entry_id


async def test_every_short_pool_is_named(unfunded_service: StakingService) -> None:
    service = unfunded_service
    await service.deposit("12", "SOL")
    await service.deposit("3", "BNB")
    receipt = await service.activate()
    await service.skip_to(receipt.first_reward_from + HOUR)
    await service.reaches_state("waiting for pool BNB, SOL")


async def test_days_that_waited_for_the_pool_come_out_the_same_and_those_past_eight_are_late(
    unfunded_service: StakingService,
) -> None:
    service = unfunded_service
    await service.deposit()
    receipt = await service.activate()
    await service.skip_to(receipt.first_reward_from + ONE_DAY + HOUR)
    await service.world.fund("SOL")
    await service.client.retry("ann")

    lines = await service.credited_through(day_of(receipt.first_snapshot_at) + ONE_DAY)
    assert numbers(lines) == compounding("12", "0.008", 2)
    assert [line.late for line in lines] == [True, False]
    assert await service.audit_is_clean()


async def test_waiting_for_the_pool_asks_less_and_less_often(unfunded_service: StakingService) -> None:
    service = unfunded_service
    await service.deposit()
    receipt = await service.activate()
    await service.skip_to(receipt.first_reward_from + HOUR)

    [events] = await service.runs()
    waits = [
        event.timer_started_event_attributes.start_to_fire_timeout.seconds
        for event in events
        if event.event_type == EventType.EVENT_TYPE_TIMER_STARTED
    ]
    assert waits[2:12] == [5, 10, 20, 40, 80, 160, 320, 600, 600, 600]
