"""Months of days: over runs that continue as new, leap days and outages."""

import asyncio
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest
from servers import full_server
from staking_service import StakingService, a_service, compounding, numbers
from temporalio.api.history.v1 import HistoryEvent
from world import World, a_world, at, day, program_with

from contract.recollection import DAYS_PER_RUN
from diary.history import StepTaken, read_run
from ledger.reading.statements import StatementLine
from staking.days import ONE_DAY, day_of, end_of, start_of
from staking.models import CreditReceipt
from temporal.payloads import PYDANTIC

EVENTS_PER_RUN_MAX = 2_000


def days_between(first: date, last: date) -> list[date]:
    return [first + n * ONE_DAY for n in range((last - first).days + 1)]


async def credits_in(run: list[HistoryEvent]) -> int:
    records = (await read_run(run, PYDANTIC)).records
    return sum(isinstance(record, StepTaken) and isinstance(record.answer, CreditReceipt) for record in records)


async def test_470_days_over_a_leap_day_are_each_credited_once_and_in_time(service: StakingService) -> None:
    await service.deposit()
    receipt = await service.activate()
    first = receipt.first_snapshot_at.date()
    last = first + 469 * ONE_DAY
    await service.skip_to(end_of(last) + timedelta(minutes=1))
    lines = await service.credited_through(last)

    assert [line.day for line in lines] == days_between(first, last)
    assert date(2028, 2, 29) in [line.day for line in lines]
    assert not any(line.late for line in lines)
    assert numbers(lines) == compounding("12", "0.008", 470)
    assert await service.audit_is_clean()

    runs = await service.runs()
    whole, rest = divmod(470, DAYS_PER_RUN)
    assert [await credits_in(run) for run in runs] == [DAYS_PER_RUN] * whole + [rest]
    assert max(len(run) for run in runs) < EVENTS_PER_RUN_MAX


async def test_a_back_dated_enrolment_is_paid_over_the_leap_day_it_contains(tmp_path: Path) -> None:
    async with a_world(tmp_path, program=None) as world, a_service(world) as service:
        # The second version ends the enrolment, so that three weeks are enough.
        ended_by = program_with("2024-03-05").model_copy(update={"restricted_regions": ["FR"]})
        await world.apply(program_with("2023-01-01"))
        await world.apply(ended_by)
        await world.fund("SOL")
        await world.move("ann", "12", "SOL", at("2024-02-01"))
        await service.start_worker()
        await service.activate(back_dated_to=at("2024-02-14 10:00"))
        await service.completes()

        lines = await service.statement()
        assert [line.day for line in lines] == days_between(day("2024-02-15"), day("2024-03-04"))
        assert numbers(lines) == compounding("12", "0.008", len(lines))
        assert not any(line.late for line in lines)
        assert await service.audit_is_clean()


async def test_an_outage_over_five_midnights_changes_no_number_and_marks_what_is_late(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    undisturbed = await _eight_days(tmp_path_factory.mktemp("undisturbed"), outage=False)
    disturbed = await _eight_days(tmp_path_factory.mktemp("disturbed"), outage=True)

    assert [_without_lateness(line) for line in disturbed] == [_without_lateness(line) for line in undisturbed]
    assert [line.late for line in undisturbed] == [False] * 7
    assert [line.late for line in disturbed] == [False] + [True] * 4 + [False] * 2


async def _eight_days(folder: Path, *, outage: bool) -> list[StatementLine]:
    """Accrual days 1 to 7 with two movements on each. The outage is from 20:00 of day 2 to 00:30 of day 7."""
    async with a_world(folder) as world, a_service(world) as service:
        await service.start_worker(forgetful=True)
        await service.deposit("100")
        receipt = await service.activate()
        first = receipt.first_snapshot_at

        for n in range(1, 8):
            midnight = first + (n - 1) * ONE_DAY
            if outage and 2 < n < 7:
                await world.move("ann", f"-{n}.5", "SOL", midnight + timedelta(hours=6))
                await world.move("ann", f"{n * 2}", "SOL", midnight + timedelta(hours=6 + n, minutes=n))
                continue
            if outage and n == 7:
                await service.skip_without_worker_to(midnight + timedelta(minutes=30))
                await service.start_worker(forgetful=True)
            await service.skip_to(midnight + timedelta(hours=1))
            await service.closed_through(day_of(midnight) - ONE_DAY)
            await world.move("ann", f"-{n}.5", "SOL", midnight + timedelta(hours=6))
            await world.move("ann", f"{n * 2}", "SOL", midnight + timedelta(hours=6 + n, minutes=n))
            if outage and n == 2:
                await service.skip_to(midnight + timedelta(hours=20))
                await service.stop_worker_at_rest()

        await service.skip_to(first + 7 * ONE_DAY + timedelta(minutes=1))
        lines = await service.credited_through(day_of(first) + 6 * ONE_DAY)
        assert await service.audit_is_clean()
        return lines


def _without_lateness(line: StatementLine) -> tuple[object, ...]:
    return (line.day, line.asset, line.opening, line.closing, line.average, line.reward, line.outcome)


async def test_a_history_that_messages_fill_is_continued_while_the_user_sleeps(world: World) -> None:
    async with full_server(limit__historyCount__suggestContinueAsNew="50") as client:
        service = StakingService(world, client)
        await service.start_worker()
        try:
            today = start_of(day_of(datetime.now(UTC)))
            await world.move("ann", "12", "SOL", today - 3 * ONE_DAY)
            first = await service.activate(back_dated_to=today - 2 * ONE_DAY)
            await service.reaches_state("sleeping")
            answers = [await service.activate() for _ in range(40)]

            assert answers == [first] * 40
            runs = await service.runs()
            assert len(runs) > 1
            # Forty messages in one run exceed the limit. When exactly the run continues depends on how busy the
            # machine is.
            assert max(len(run) for run in runs) < 160
            assert [line.day for line in await service.statement()] == [day_of(today) - ONE_DAY]
            assert await service.state() == "sleeping"
            end = await service.deactivate()
            assert (end.enrolment_id, end.owed_days) == (first.enrolment_id, 0)
        finally:
            await service.stop_worker()


async def test_messages_at_the_moment_of_continuing_are_all_answered(world: World) -> None:
    async with full_server(limit__historyCount__suggestContinueAsNew="30") as client:
        service = StakingService(world, client)
        await service.start_worker()
        try:
            await world.move("ann", "12", "SOL", datetime.now(UTC) - ONE_DAY)
            first = await service.activate()
            for _ in range(8):
                assert set(await asyncio.gather(*(_enrolment_id(service) for _ in range(8)))) == {
                    first.enrolment_id
                }
            assert len(await service.runs()) > 1
            assert await service.enrolment_count() == 1
        finally:
            await service.stop_worker()


async def _enrolment_id(service: StakingService) -> str:
    return (await service.activate()).enrolment_id
