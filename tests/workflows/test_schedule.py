"""Rule 1, to the second."""

import json
from datetime import UTC, datetime, timedelta

import pytest
from staking_service import StakingService
from temporalio.api.enums.v1 import EventType
from temporalio.api.history.v1 import MarkerRecordedEventAttributes

from staking.days import ONE_DAY, day_of, end_of, start_of

SECOND = timedelta(seconds=1)


async def test_the_first_reward_is_for_day_two_and_comes_on_day_three(service: StakingService) -> None:
    await service.deposit()
    receipt = await service.activate()

    await service.skip_to(receipt.first_reward_from - 2 * SECOND)
    assert await service.statement() == []
    await service.skip_to(receipt.first_reward_from + 60 * SECOND)

    [line] = await service.credited_through(receipt.first_snapshot_at.date())
    assert line.day == receipt.first_snapshot_at.date()
    assert receipt.first_reward_from <= line.credited_at < receipt.first_reward_until
    assert (await service.deactivate()).last_accrual_day == line.day


async def test_nothing_is_closed_before_the_first_boundary(service: StakingService) -> None:
    await service.deposit()
    receipt = await service.activate()

    await service.skip_to(receipt.first_snapshot_at - 2 * SECOND)
    assert await service.closed_days() == []
    await service.skip_to(receipt.first_snapshot_at + SECOND)

    await service.closed_through(day_of(receipt.activated_at))
    assert await service.statement() == []


async def test_the_receipt_names_the_first_snapshot_and_the_first_reward(service: StakingService) -> None:
    await service.deposit()
    before = await service.now()
    receipt = await service.activate()

    assert before <= receipt.activated_at <= await service.now()
    day_two = day_of(receipt.activated_at) + ONE_DAY
    assert receipt.first_snapshot_at == start_of(day_two)
    assert receipt.first_reward_from == start_of(day_two) + ONE_DAY
    assert receipt.first_reward_until == start_of(day_two) + timedelta(days=1, hours=8)


async def test_an_activation_in_the_last_second_of_a_day_earns_from_the_next_day(service: StakingService) -> None:
    await service.deposit()
    midnight = end_of(day_of(await service.now()))
    await service.skip_to(midnight - SECOND)
    receipt = await service.activate()

    assert midnight - SECOND <= receipt.activated_at < midnight
    assert receipt.first_snapshot_at == midnight
    await service.skip_to(midnight + ONE_DAY + SECOND)
    [line] = await service.credited_through(day_of(midnight))
    assert line.day == day_of(midnight)


async def test_an_activation_at_midnight_belongs_to_the_day_that_begins(service: StakingService) -> None:
    await service.deposit()
    midnight = end_of(day_of(await service.now()))
    await service.skip_to(midnight)
    receipt = await service.activate()

    assert midnight <= receipt.activated_at
    assert receipt.first_snapshot_at == midnight + ONE_DAY
    await service.skip_to(midnight + 2 * ONE_DAY + SECOND)
    [line] = await service.credited_through(day_of(midnight) + ONE_DAY)
    assert line.day == day_of(midnight) + ONE_DAY


@pytest.mark.parametrize(
    ("before_midnight", "days_until_first_snapshot"), [(timedelta(microseconds=1), 0), (timedelta(), 1)]
)
async def test_midnight_divides_activations_to_the_microsecond(
    service: StakingService, before_midnight: timedelta, days_until_first_snapshot: int
) -> None:
    midnight = start_of(day_of(await service.now())) - 3 * ONE_DAY
    await service.deposit(when=midnight - ONE_DAY)
    receipt = await service.activate(back_dated_to=midnight - before_midnight)

    assert receipt.activated_at == midnight - before_midnight
    assert receipt.first_snapshot_at == midnight + days_until_first_snapshot * ONE_DAY


def completed_at(marker: MarkerRecordedEventAttributes) -> datetime:
    """When a step at once was done, in UTC."""
    told = json.loads(marker.details["data"].payloads[0].data)["complete_time"]
    return datetime.fromtimestamp(told["seconds"] + told["nanos"] / 1e9, UTC).replace(tzinfo=None)


async def test_each_timer_is_set_for_the_boundary_and_never_wakes_before_it(service: StakingService) -> None:
    await service.deposit()
    receipt = await service.activate()
    await service.skip_to(receipt.first_reward_from + 3 * ONE_DAY + 60 * SECOND)

    [events] = await service.runs()
    set_for: list[datetime] = []
    workflow_now = first = receipt.first_snapshot_at.replace(tzinfo=None)
    for event in events:
        if event.event_type == EventType.EVENT_TYPE_WORKFLOW_TASK_STARTED:
            workflow_now = event.event_time.ToDatetime()
        elif event.event_type == EventType.EVENT_TYPE_MARKER_RECORDED:
            workflow_now = completed_at(event.marker_recorded_event_attributes)  # A step takes some time.
        elif event.event_type == EventType.EVENT_TYPE_TIMER_STARTED:
            timeout = event.timer_started_event_attributes.start_to_fire_timeout.ToTimedelta()
            set_for.append(workflow_now + timeout)
    woke = [
        event.event_time.ToDatetime() for event in events if event.event_type == EventType.EVENT_TYPE_TIMER_FIRED
    ]
    boundaries: list[datetime] = [first + n * ONE_DAY for n in range(6)]
    # The server's instants end at the millisecond.
    assert [round(instant.timestamp(), 1) for instant in set_for] == [b.timestamp() for b in boundaries]
    assert len(woke) == 5
    assert all(boundary <= instant for boundary, instant in zip(boundaries, woke, strict=False))
