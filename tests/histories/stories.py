"""The stories of golden histories: one for each shape that a user's history may have.

Each is run by the real workflow on a server whose clock skips, with a ledger that is thrown away. They all begin
at one instant, and in none do two things happen at the same time, so that a story that is run again makes the same
commands on the same days.
"""

import tempfile
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from datetime import date, datetime, time, timedelta
from pathlib import Path
from typing import Any

from faults.disturbing import Call, disturbed
from polling import eventually
from servers import time_skipping
from staking_service import StakingService
from temporalio.api.enums.v1 import EventType
from temporalio.api.history.v1 import History
from temporalio.api.operatorservice.v1 import AddSearchAttributesRequest
from temporalio.worker import Worker
from world import SHIPPED_PROGRAM, a_world, at, program_with

from activities import all_activities
from contract.acts import Act
from contract.answers import Refusal
from contract.recollection import SearchAttributeUse
from contract.steps import SNAPSHOT, TASK_QUEUE
from staking.days import ONE_DAY, start_of
from workflows.search_attributes import ALL_KEYS
from workflows.soft_staking import SoftStakingWorkflow

DAY_1 = date(2040, 3, 4)
"""The instant at which every story begins. It lies in the future, since a server's clock only goes forward."""
MORE_THAN_AN_ACCOUNT_HOLDS = "90000000000"
ANNA = Act(operator="anna", reason="ticket 4711: where the deposit came from is checked")
DAYS_PER_RUN = 30
"""How many days a run had when the first stories were recorded, so that each story still has the same runs."""
A_FLEETS_SPREAD = timedelta(hours=1)


def day_of_story(number: int) -> date:
    return DAY_1 + (number - 1) * ONE_DAY


def on_day(number: int, clock: str) -> datetime:
    """An instant of the story in UTC, such as ``on_day(3, "08:30")``."""
    return datetime.combine(day_of_story(number), time.fromisoformat(clock), tzinfo=start_of(DAY_1).tzinfo)


async def first_days(service: StakingService) -> None:
    await service.activate()
    await service.skip_to(on_day(4, "01:00"))
    await service.credited_through(day_of_story(3))


async def outage(service: StakingService) -> None:
    await service.activate()
    await service.skip_to(on_day(3, "20:00"))
    await service.stop_worker_at_rest()
    await service.skip_without_worker_to(on_day(6, "09:00"))
    await service.start_worker(forgetful=True)
    await service.credited_through(day_of_story(5))


async def hold_and_release(service: StakingService) -> None:
    await service.activate()
    await service.skip_to(on_day(3, "15:00"))
    await service.client.hold("ann", ANNA)
    await service.skip_to(on_day(5, "09:00"))
    await service.client.release("ann", Act(operator="bert", reason="ticket 4711: all is well"))
    await service.credited_through(day_of_story(4))


async def empty_pool(service: StakingService) -> None:
    """The pool is funded for one day, and an operator has it asked. Then it is funded for good, and the workflow
    asks by itself."""
    await service.activate()
    await service.skip_to(on_day(3, "00:01:45"))
    await service.reaches_state("waiting for pool SOL")
    await service.world.fund("SOL", "0.00026301")
    await service.client.retry("ann", Act(operator="anna", reason="the pool is funded"))
    await service.credited_through(day_of_story(2))
    await service.skip_to(on_day(4, "00:01:45"))
    await service.reaches_state("waiting for pool SOL")
    await service.world.fund("SOL")
    await service.skip_to(on_day(4, "00:10"))
    await service.credited_through(day_of_story(3))


async def blocked_and_retried(service: StakingService) -> None:
    await service.world.move("ann", MORE_THAN_AN_ACCOUNT_HOLDS, "ADA", at("2040-03-02"))
    await service.activate()
    await service.skip_to(on_day(4, "09:00"))
    await service.reaches_state("blocked")
    await service.world.move("ann", "-1000000", "ADA", on_day(4, "09:00"))
    await service.client.retry("ann", Act(operator="anna", reason="the account has room again"))
    await service.credited_through(day_of_story(3))


async def deactivation(service: StakingService) -> None:
    """The user stops while a day is owed. It is paid before the workflow completes."""
    await service.activate()
    await service.skip_to(on_day(3, "00:01:45"))
    await service.reaches_state("waiting for pool SOL")
    await service.deactivate()
    await service.world.fund("SOL")
    await service.client.retry("ann")
    await service.completes()


async def continue_as_new(service: StakingService) -> None:
    await service.activate()
    await service.skip_to(on_day(33, "01:00"))
    await service.credited_through(day_of_story(32))


async def reactivation(service: StakingService) -> None:
    """The user activates again while a day of the last enrolment is still owed."""
    await service.activate()
    await service.skip_to(on_day(3, "00:01:45"))
    await service.reaches_state("waiting for pool SOL")
    await service.deactivate()
    await service.activate()
    await service.world.fund("SOL")
    await service.client.retry("ann")
    await service.credited_through(day_of_story(2))
    await service.skip_to(on_day(5, "01:00"))
    await service.credited_through(day_of_story(4))


async def back_dated(service: StakingService) -> None:
    await service.activate(back_dated_to=at("2040-02-27 18:30"))
    await service.credited_through(DAY_1 - ONE_DAY)


async def with_search_attributes(service: StakingService) -> None:
    """The search attributes take each of their possible values."""
    await service.activate()
    await service.client.hold("ann", ANNA)
    await service.client.release("ann", ANNA)
    await service.skip_to(on_day(3, "00:01:45"))
    await service.reaches_state("waiting for pool SOL")
    await service.world.fund("SOL")
    await service.client.retry("ann")
    await service.credited_through(day_of_story(2))
    await service.reaches_state("sleeping")
    await service.client.deactivate("ann", "moved away", operator="anna")
    await service.completes()


async def search_attributes_taken_up(service: StakingService) -> None:
    """Search attributes are written by a run that began on a worker which wrote none."""
    assert isinstance(service, Storyteller)
    await service.activate()
    await service.stop_worker_at_rest()
    service.story = replace(service.story, search_attributes=SearchAttributeUse.ALL)
    await service.start_worker()
    await service.client.refresh("ann")
    await service.skip_to(on_day(3, "01:00"))
    await service.credited_through(day_of_story(2))


async def found_after_a_month(service: StakingService) -> None:
    """Search attributes are written by one run, and the next run knows them."""
    await service.activate(back_dated_to=at("2040-02-01 18:30"))
    await service.credited_through(DAY_1 - ONE_DAY)
    await service.skip_to(on_day(3, "01:00"))
    await service.credited_through(day_of_story(2))


async def with_a_wake_offset(service: StakingService) -> None:
    await service.activate()
    await service.skip_to(on_day(3, "02:00"))
    await service.credited_through(day_of_story(2))


async def refused(service: StakingService) -> None:
    await service.world.move("ann", "-11.5", "SOL", at("2040-03-02"))
    answer = await service.client.activate("ann", region="US", channel="web", documents=SHIPPED_PROGRAM.documents)
    assert isinstance(answer, Refusal)
    await service.completes()


async def refused_and_noted(service: StakingService) -> None:
    await refused(service)


async def region_restricted(service: StakingService) -> None:
    """The region is restricted from Day 4 on, by a program that was applied before."""
    stricter = program_with(str(day_of_story(4))).model_copy(update={"restricted_regions": ["FR"]})
    await service.world.apply(stricter)
    await service.activate()
    await service.skip_to(on_day(5, "01:00"))
    await service.completes()


async def resumed(service: StakingService) -> None:
    """The user is taken up from the ledger after the workflow was terminated."""
    await service.activate()
    await service.skip_to(on_day(3, "01:00"))
    await service.credited_through(day_of_story(2))
    await service.workflow.terminate(reason="by mistake")
    await service.skip_to(on_day(5, "09:00"))
    await service.client.resume("ann")
    await service.credited_through(day_of_story(4))


async def retried_step(service: StakingService) -> None:
    """A step fails at once and is refused; the history then has the same commands as that of a step that succeeds
    at once."""
    await service.activate()
    await service.skip_to(on_day(3, "01:00"))
    await service.credited_through(day_of_story(2))


async def told_nothing(service: StakingService) -> None:
    await service.client.resume("ann")
    await service.skip_to(on_day(1, "10:05"))
    await service.completes()


@dataclass(frozen=True)
class Story:
    """A story of ann, who holds 12 SOL."""

    tell: Callable[[StakingService], Awaitable[None]]
    pools_are_full: bool = True
    spread: timedelta = field(default=timedelta())
    search_attributes: SearchAttributeUse = SearchAttributeUse.NONE
    changes_workers: bool = False
    """How many workers there are one after the other, so that one must take over from another."""
    failing: dict[str, int] = field(default_factory=dict)
    """How often a step fails before it succeeds, by the name of the step."""

    @property
    def name(self) -> str:
        return self.tell.__name__


STORIES = [
    Story(first_days),
    Story(outage, changes_workers=True),
    Story(hold_and_release),
    Story(empty_pool, pools_are_full=False),
    Story(blocked_and_retried),
    Story(deactivation, pools_are_full=False),
    Story(continue_as_new),
    Story(reactivation, pools_are_full=False),
    Story(back_dated),
    Story(with_search_attributes, pools_are_full=False, search_attributes=SearchAttributeUse.ALL),
    Story(search_attributes_taken_up, changes_workers=True),
    Story(found_after_a_month, search_attributes=SearchAttributeUse.ALL),
    Story(with_a_wake_offset, spread=A_FLEETS_SPREAD),
    Story(refused),
    Story(refused_and_noted, search_attributes=SearchAttributeUse.ALL),
    Story(region_restricted),
    Story(resumed),
    Story(retried_step, failing={SNAPSHOT.name: 2}),
    Story(told_nothing),
]


class LedgerAway(Exception):
    """The failure of a step that a repetition mends."""


class Storyteller(StakingService):
    """The service with the settings of a story."""

    story: Story

    async def start_worker(self, *, forgetful: bool = False) -> None:
        """``forgetful`` as in ``StakingService``. A story in which workers come and go needs such workers."""
        failures = Counter(self.story.failing)

        async def fail_at_first(call: Call) -> Any:
            if failures[call.step]:
                failures[call.step] -= 1
                raise LedgerAway("the ledger is away")
            return await call.run()

        worker = Worker(
            disturbed(self.temporal, fail_at_first),
            task_queue=TASK_QUEUE,
            workflows=[SoftStakingWorkflow],
            activities=all_activities(
                self.world.ledger,
                spread=self.story.spread,
                search_attributes=self.story.search_attributes,
                days_per_run=DAYS_PER_RUN,
            ),
            max_cached_workflows=0 if forgetful or self.story.changes_workers else 10,
        )
        await self._worker.enter_async_context(worker)

    async def register_search_attributes(self) -> None:
        """Registers the search attributes as `setup` does. `setup` itself needs answers that this server cannot
        give."""
        await self.temporal.operator_service.add_search_attributes(
            AddSearchAttributesRequest(
                namespace=self.temporal.namespace,
                search_attributes={key.name: key.indexed_value_type for key in ALL_KEYS},
            )
        )

    async def rests(self) -> bool:
        """Waits until the latest run has neither a workflow task nor a step under way."""
        events = (await self.workflow.fetch_history()).events
        begun = sum(event.event_type in _BEGINNINGS for event in events)
        return begun == sum(event.event_type in _ENDINGS for event in events)


async def histories_of(story: Story) -> dict[str, History]:
    """Runs a story and returns the history of each of its runs, by name."""
    with tempfile.TemporaryDirectory() as folder:
        async with a_world(Path(folder), program=None) as world, time_skipping() as environment:
            service = Storyteller(world, environment.client, environment=environment)
            service.story = story
            await service.register_search_attributes()
            await world.apply(SHIPPED_PROGRAM)
            for asset in ("SOL", "ADA") if story.pools_are_full else ():
                await world.fund(asset)
            await world.move("ann", "12", "SOL", at("2040-01-20"))
            await service.skip_to(on_day(1, "10:00"))
            await service.start_worker()
            try:
                await story.tell(service)
                await eventually(service.rests)
            finally:
                await service.stop_worker()
            runs = await service.runs()
    names = [story.name]
    if len(runs) > 1:
        names = [f"{story.name}_run_{number}" for number in range(1, len(runs) + 1)]
    return {name: History(events=run) for name, run in zip(names, runs, strict=True)}


_BEGINNINGS = {EventType.EVENT_TYPE_WORKFLOW_TASK_SCHEDULED, EventType.EVENT_TYPE_ACTIVITY_TASK_SCHEDULED}
_ENDINGS = {
    EventType.EVENT_TYPE_WORKFLOW_TASK_COMPLETED,
    EventType.EVENT_TYPE_WORKFLOW_TASK_FAILED,
    EventType.EVENT_TYPE_WORKFLOW_TASK_TIMED_OUT,
    EventType.EVENT_TYPE_ACTIVITY_TASK_COMPLETED,
    EventType.EVENT_TYPE_ACTIVITY_TASK_FAILED,
}
