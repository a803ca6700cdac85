"""The spread moves each user's wake, the same every day, and never a number."""

from datetime import timedelta

import pytest
from staking_service import StakingService, compounding, numbers

from contract.recollection import DAYS_PER_RUN
from staking.days import ONE_DAY, SPREAD_MAX, day_of, end_of, wake_offset

HOUR = timedelta(hours=1)
OFFSET = wake_offset("ann", SPREAD_MAX)


async def test_the_days_of_a_user_are_credited_at_the_same_offset_over_runs_and_workers(
    idle_service: StakingService,
) -> None:
    service = idle_service
    await service.start_worker(spread=SPREAD_MAX)
    await service.deposit()
    receipt = await service.activate()
    first_day = day_of(receipt.first_snapshot_at)
    await service.skip_to(receipt.first_reward_from + OFFSET - timedelta(minutes=1))
    assert await service.statement() == []

    await service.skip_to(receipt.first_reward_from + ONE_DAY * DAYS_PER_RUN + OFFSET + HOUR)
    lines = await service.credited_through(first_day + ONE_DAY * DAYS_PER_RUN)
    assert len(await service.runs()) == 2
    assert numbers(lines) == compounding("12", "0.008", DAYS_PER_RUN + 1)
    delays = [line.credited_at - end_of(line.day) - OFFSET for line in lines]
    assert all(timedelta() <= delay < timedelta(minutes=1) for delay in delays)
    assert not any(line.late for line in lines)


async def test_days_that_are_caught_up_wait_for_no_offset(idle_service: StakingService) -> None:
    service = idle_service
    await service.start_worker(spread=SPREAD_MAX)
    since = await service.now() - 3 * ONE_DAY
    await service.deposit(when=since - HOUR)
    await service.activate(back_dated_to=since)
    lines = await service.credited_through(day_of(await service.now()) - 2 * ONE_DAY)
    assert numbers(lines)[:1] == compounding("12", "0.008", 1)


async def test_stopping_between_the_boundary_and_the_wake_still_pays_the_day_before(
    idle_service: StakingService,
) -> None:
    service = idle_service
    await service.start_worker(spread=SPREAD_MAX)
    await service.deposit()
    receipt = await service.activate()
    await service.skip_to(receipt.first_reward_from + OFFSET / 2)
    end = await service.deactivate()
    assert (end.owed_days, end.last_accrual_day) == (1, day_of(receipt.first_snapshot_at))
    await service.skip_to(receipt.first_reward_from + OFFSET + HOUR)
    await service.completes()
    assert numbers(await service.statement()) == compounding("12", "0.008", 1)


def test_offsets_are_stable_within_the_spread_and_fill_it() -> None:
    spread = timedelta(hours=4)
    offsets = [wake_offset(f"user-{number}", spread) for number in range(2000)]
    assert offsets == [wake_offset(f"user-{number}", spread) for number in range(2000)]
    assert all(timedelta() <= offset < spread for offset in offsets)
    in_each_hour = [sum(offset // HOUR == hour for offset in offsets) for hour in range(4)]
    assert min(in_each_hour) > 400


@pytest.mark.parametrize("user", ["ann", "1001"])
def test_without_a_spread_nobody_waits(user: str) -> None:
    assert wake_offset(user, timedelta()) == timedelta()
