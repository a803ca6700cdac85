"""A day waits for every source, and goes on by itself within a minute after the source's report."""

from datetime import datetime, timedelta

from staking_service import StakingService, compounding, numbers

from ledger.feed.sources import remove_source, tell_complete
from staking.days import day_of

HOUR = timedelta(hours=1)


async def tell(service: StakingService, through: datetime) -> None:
    await tell_complete(service.world.ledger, "wallet", through, now=through)


async def test_a_late_source_is_named_and_its_day_is_paid_within_a_minute_after_its_report(
    service: StakingService,
) -> None:
    await service.deposit()
    receipt = await service.activate()
    await tell(service, receipt.first_snapshot_at)
    await service.skip_to(receipt.first_reward_from + HOUR)
    await service.reaches_state("waiting for source wallet")
    assert await service.statement() == []

    await tell(service, receipt.first_reward_from)
    await service.skip_to(receipt.first_reward_from + HOUR + timedelta(minutes=1))

    lines = await service.credited_through(day_of(receipt.first_snapshot_at))
    assert numbers(lines) == compounding("12", "0.008", 1)
    assert lines[0].credited_at <= receipt.first_reward_from + HOUR + timedelta(minutes=1)


async def test_a_retry_asks_immediately_a_source_that_has_reported(service: StakingService) -> None:
    await service.deposit()
    receipt = await service.activate()
    await tell(service, receipt.first_snapshot_at)
    await service.skip_to(receipt.first_reward_from + HOUR)
    await service.reaches_state("waiting for source wallet")
    await tell(service, receipt.first_reward_from)

    assert await service.client.retry("ann") is True

    assert len(await service.credited_through(day_of(receipt.first_snapshot_at))) == 1


async def test_a_user_who_waits_for_a_source_can_stop_and_is_still_paid(service: StakingService) -> None:
    await service.deposit()
    receipt = await service.activate()
    await tell(service, receipt.first_snapshot_at)
    await service.skip_to(receipt.first_reward_from + HOUR)
    await service.reaches_state("waiting for source wallet")

    await service.client.deactivate("ann", "enough")
    await remove_source(
        service.world.ledger, "wallet", operator="tests", reason="gone", now=receipt.first_reward_from
    )
    await service.skip_to(receipt.first_reward_from + HOUR + timedelta(minutes=2))

    assert len(await service.credited_through(day_of(receipt.first_snapshot_at))) == 1
