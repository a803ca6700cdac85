"""Rules 5 and 7: the terms of the day, and a region that becomes restricted."""

import asyncio
from datetime import date, timedelta

from staking_service import StakingService, compounding, numbers
from world import SHIPPED_PROGRAM, activation, program_with

from contract.answers import Refusal
from ledger.recall import recall
from staking.days import ONE_DAY, day_of
from staking.program import Program

HOUR = timedelta(hours=1)


def restricting(region: str, first: date) -> Program:
    return SHIPPED_PROGRAM.model_copy(update={"effective_from": first, "restricted_regions": [region]})


async def test_each_day_has_the_terms_in_force_on_it(service: StakingService) -> None:
    await service.deposit()
    receipt = await service.activate()
    day_two = day_of(receipt.first_snapshot_at)
    changes = day_two + 2 * ONE_DAY
    await service.world.apply(program_with(str(changes), SOL={"apr": "0.8", "cap": "10"}), now=await service.now())
    await service.skip_to(receipt.first_reward_from + 3 * ONE_DAY + HOUR)

    lines = await service.credited_through(day_two + 3 * ONE_DAY)
    assert [(line.day - day_two).days for line in lines] == [0, 1, 2, 3]
    assert [(line.apr, line.cap, str(line.outcome)) for line in lines] == [
        ("0.008", "10000", "earned"),
        ("0.008", "10000", "earned"),
        ("0.8", "10", "capped"),
        ("0.8", "10", "capped"),
    ]
    assert numbers(lines)[:2] == compounding("12", "0.008", 2)
    before = str(sum(numbers(lines)[1]))
    assert numbers(lines)[2:] == compounding(before, "0.8", 2, cap="10")
    assert await service.audit_is_clean()


async def test_terms_that_change_in_an_outage_are_those_of_the_day_not_of_the_catching_up(
    idle_service: StakingService,
) -> None:
    service = idle_service
    await service.start_worker(forgetful=True)
    await service.deposit()
    receipt = await service.activate()
    day_two = day_of(receipt.first_snapshot_at)
    await service.stop_worker_at_rest()
    await service.skip_without_worker_to(receipt.first_snapshot_at + HOUR)
    await service.world.apply(
        program_with(str(day_two + ONE_DAY), SOL={"apr": "0.8"}), now=receipt.first_snapshot_at + HOUR
    )
    await service.skip_without_worker_to(receipt.first_reward_from + ONE_DAY + HOUR)
    await service.start_worker(forgetful=True)

    lines = await service.credited_through(day_two + ONE_DAY)
    assert [line.apr for line in lines] == ["0.008", "0.8"]


async def test_an_asset_earns_from_the_day_that_a_program_brings_it(service: StakingService) -> None:
    await service.deposit()
    await service.deposit("1000", "DOT")
    receipt = await service.activate()
    day_two = day_of(receipt.first_snapshot_at)
    await service.world.apply(
        program_with(str(day_two + ONE_DAY), DOT={"minimum": "1", "cap": "5000", "apr": "0.01"}),
        now=await service.now(),
    )
    await service.world.fund("DOT")
    await service.skip_to(receipt.first_reward_from + 2 * ONE_DAY + HOUR)

    lines = await service.credited_through(day_two + 2 * ONE_DAY)
    assert [(line.day - day_two).days for line in lines if line.asset == "DOT"] == [1, 2]
    dots = [line for line in lines if line.asset == "DOT"]
    assert numbers(dots) == compounding("1000", "0.01", 2, cap="5000")
    assert await service.audit_is_clean()


async def test_a_paused_asset_earns_nothing_and_says_why(service: StakingService) -> None:
    await service.deposit()
    receipt = await service.activate()
    day_two = day_of(receipt.first_snapshot_at)
    await service.world.apply(program_with(str(day_two), SOL={"paused": True}), now=await service.now())
    await service.skip_to(receipt.first_reward_from + HOUR)

    [line] = await service.credited_through(day_two)
    assert (line.reward, str(line.outcome)) == (0, "paused")


async def test_new_document_versions_end_no_enrolment(service: StakingService) -> None:
    await service.deposit()
    receipt = await service.activate()
    day_two = day_of(receipt.first_snapshot_at)
    newer = SHIPPED_PROGRAM.model_copy(
        update={"effective_from": day_two, "documents": {**SHIPPED_PROGRAM.documents, "risk_warning": "2027"}}
    )
    await service.world.apply(newer, now=await service.now())
    await service.skip_to(receipt.first_reward_from + HOUR)

    assert [line.day for line in await service.credited_through(day_two)] == [day_two]


# A region that becomes restricted.


async def test_a_restricted_region_ends_the_enrolment_and_earlier_days_are_paid(service: StakingService) -> None:
    await service.deposit()
    receipt = await service.activate()
    day_two = day_of(receipt.first_snapshot_at)
    await service.world.apply(restricting("FR", day_two + 2 * ONE_DAY), now=await service.now())
    await service.skip_to(receipt.first_reward_from + 5 * ONE_DAY)
    await service.completes()

    assert [line.day for line in await service.statement()] == [day_two, day_two + ONE_DAY]
    end = await service.deactivate()
    assert end.reason == "region_restricted:FR"
    assert end.last_accrual_day == day_two + ONE_DAY
    assert end.ended_at == receipt.first_snapshot_at + 2 * ONE_DAY
    assert isinstance(await service.answer_to(activation()), Refusal)
    assert await service.audit_is_clean()


async def test_a_region_restricted_from_the_first_accrual_day_on_earns_nothing(service: StakingService) -> None:
    await service.deposit()
    receipt = await service.activate()
    await service.world.apply(restricting("FR", day_of(receipt.first_snapshot_at)), now=await service.now())
    await service.skip_to(receipt.first_reward_from + HOUR)
    await service.completes()

    assert await service.statement() == []
    assert (await service.deactivate()).last_accrual_day is None


async def test_a_restricted_country_ends_the_enrolment_of_its_subdivisions(service: StakingService) -> None:
    await service.deposit()
    receipt = await service.activate(region="FR-IDF")
    await service.world.apply(restricting("FR", day_of(receipt.first_snapshot_at)), now=await service.now())
    await service.skip_to(receipt.first_reward_from + HOUR)
    await service.completes()
    assert (await service.deactivate()).reason == "region_restricted:FR-IDF"


async def test_owed_days_before_a_restriction_wait_for_the_pool_and_are_paid(
    unfunded_service: StakingService,
) -> None:
    service = unfunded_service
    await service.deposit()
    receipt = await service.activate()
    day_two = day_of(receipt.first_snapshot_at)
    await service.world.apply(restricting("FR", day_two + ONE_DAY), now=await service.now())
    await service.skip_to(receipt.first_reward_from + ONE_DAY + HOUR)
    assert await service.statement() == []
    await service.world.fund("SOL")
    await service.client.retry("ann")
    await service.completes()

    assert [line.day for line in await service.statement()] == [day_two]
    assert (await service.deactivate()).last_accrual_day == day_two


async def test_a_restriction_found_in_catching_up_ends_earlier_than_the_user_did(
    unfunded_service: StakingService,
) -> None:
    service = unfunded_service
    await service.deposit()
    receipt = await service.activate()
    day_two = day_of(receipt.first_snapshot_at)
    await service.world.apply(restricting("FR", day_two + ONE_DAY), now=await service.now())
    await service.skip_to(receipt.first_reward_from + ONE_DAY + HOUR)
    end = await service.deactivate()
    assert end.last_accrual_day == day_two + ONE_DAY

    await service.world.fund("SOL")
    await service.client.retry("ann")
    await service.completes()
    assert [line.day for line in await service.statement()] == [day_two]
    assert (await recall(service.world.ledger, "ann")).enrolments == []
    assert await service.audit_is_clean()


async def test_a_restriction_from_the_first_accrual_day_found_after_the_user_stopped_completes_the_run(
    idle_service: StakingService,
) -> None:
    service = idle_service
    await service.start_worker(forgetful=True)
    await service.deposit()
    receipt = await service.activate()
    await service.world.apply(restricting("FR", day_of(receipt.first_snapshot_at)), now=await service.now())
    await service.stop_worker_at_rest()
    await service.skip_without_worker_to(receipt.first_reward_from + ONE_DAY + HOUR)
    stopping = asyncio.create_task(service.deactivate())
    await service.start_worker(forgetful=True)
    await stopping
    await service.completes()

    assert await service.statement() == []
    assert (await recall(service.world.ledger, "ann")).enrolments == []
    assert await service.audit_is_clean()


async def test_the_last_end_stays_the_last_when_an_older_enrolment_is_found_to_have_ended_earlier(
    unfunded_service: StakingService,
) -> None:
    service = unfunded_service
    await service.stop_worker()
    await service.start_worker(forgetful=True)
    await service.deposit()
    first = await service.activate()
    day_two = day_of(first.first_snapshot_at)
    await service.world.apply(restricting("FR", day_two + ONE_DAY), now=await service.now())
    await service.stop_worker_at_rest()
    await service.skip_without_worker_to(first.first_reward_from + ONE_DAY + HOUR)
    await service.start_worker(forgetful=True)
    await service.deactivate()
    second = await service.activate(region="DE")
    await service.stop_worker_at_rest()
    await service.skip_without_worker_to(second.first_reward_from + HOUR)
    await service.start_worker(forgetful=True)
    last_end = await service.deactivate()
    assert (last_end.enrolment_id, last_end.owed_days) == (second.enrolment_id, 1)

    # This is enough for the first enrolment's only day, so that the second enrolment still waits.
    await service.world.fund("SOL", "0.00026301")
    await service.client.retry("ann")
    await service.credited_through(day_two)
    await service.reaches_state("waiting for pool SOL")
    assert await service.deactivate() == last_end
