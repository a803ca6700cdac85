"""Soft Staking, one workflow per user: sleep until the boundary, snapshot, compute, credit, and again.

What others may ask of a run is in ``messages.py``, all but ``retry``, which only the loop understands. What a run
knows of its user is in ``user_run.py``, and what it shows of itself is computed in ``showing.py``.
"""

import asyncio
import logging
from collections.abc import Callable
from contextlib import suppress
from datetime import date, timedelta

from temporalio import workflow
from temporalio.exceptions import ActivityError, is_cancelled_exception

from workflows.messages import Messages
from workflows.user_run import refused

with workflow.unsafe.imports_passed_through():
    from contract.acts import Act
    from contract.live_status import Blocked
    from contract.recollection import Enrolment, Noted, Recollection, SearchAttributeUse
    from contract.requests import ComputeRequest, CreditRequest, EndRequest, SnapshotRequest
    from contract.steps import (
        COMPUTE,
        CREDIT,
        END_ENROLMENT,
        LEDGER_DIFFERS,
        RECALL,
        SNAPSHOT,
        SUPERSEDED,
        WORKFLOW_TYPE,
        Answer,
        Request,
        Step,
        workflow_id,
    )
    from staking.days import ONE_DAY, end_of, start_of
    from staking.models import CreditReceipt, EndsHere, PoolShort, Rewards, Snapshot, SourceLate, check_user_id
    from workflows import summaries
    from workflows.executing import A_TASK_LATER, message_of, type_of
    from workflows.showing import Processing, Refused, Sleeping, state_text

FIRST_MESSAGE_WITHIN = timedelta(minutes=1)
"""A run that was started and has not got a message yet waits this long for its activation."""
POOL_ASKED_AGAIN_AFTER = timedelta(seconds=5)
"""An empty pool is asked again after this, then after twice as long each time, up to the maximum."""
POOL_ASKED_AGAIN_AFTER_MAX = timedelta(minutes=10)
SOURCES_ASKED_AGAIN_AFTER = timedelta(seconds=45)
"""How soon the closing is asked again while a source is late: all go on within a minute after its report."""
_log = workflow.LoggerAdapter(logging.getLogger("soft_staking.loop"), None)
_log.workflow_info_on_message = False


class DayDropped(Exception):
    """The loop must not go on with the day that it is at, and looks anew at what is unfinished.

    Either the enrolment has ended, so that the day is no accrual day; or the run has recalled, and the ledger has
    another state than the loop believed. Nothing that was paid changes.
    """


@workflow.defn(name=WORKFLOW_TYPE)
class SoftStakingWorkflow(Messages):
    """The runs of one user, not of one enrolment: a later activation enrols anew while owed days still wait
    (decision 0003)."""

    @workflow.init
    def __init__(self, user_id: str, carried: Recollection | None = None) -> None:
        super().__init__(user_id, carried)
        self._retry_asked = False
        self._credited_in_this_run = 0

    @workflow.run
    async def run(self, user_id: str, carried: Recollection | None = None) -> None:
        """Pays the user day by day, until no enrolment is open and no day is owed.

        Each step of a day waits while an operator holds the user, and parks while something blocks it
        (``_take_step``); a snapshot parks while a source is late, and a credit while its pool is short. A day that
        is dropped is left as it is, and the loop looks anew at what is unfinished. A run continues as new after
        some credited days, and during any wait (``_wait``) for which its history has grown too long.
        """
        self._check_it_is_the_users_own()
        await self._recall_unless_carried()
        await self._wait_for_a_first_message()
        while await self._wait_for_something_unfinished():
            enrolment = self._turn_to_the_oldest()
            day = enrolment.next_day
            with suppress(DayDropped):
                await self._sleep_until_over(day)
                snapshot = await self._snapshot(day, enrolment)
                if day != enrolment.activation_day:  # which earns nothing, and gives the next day its opening
                    rewards = await self._compute(snapshot, enrolment)
                    if isinstance(rewards, EndsHere):
                        await self._end_before(day, rewards.reason, enrolment)
                        raise DayDropped
                    await self._credit(rewards, enrolment)
                self._go_on_after(day, enrolment)
            if self._credited_in_this_run >= self._user.settings.days_per_run and self._user.first_unfinished:
                await self._continue_as_new()
        self._publish_how_it_ended()

    # A day, from its beginning to its end.

    async def _wait_for_something_unfinished(self) -> bool:
        """False only when no enrolment is open, no day is owed and no message is being answered."""
        await workflow.wait_condition(
            lambda: self._user.first_unfinished is not None or workflow.all_handlers_finished()
        )
        return self._user.first_unfinished is not None

    def _turn_to_the_oldest(self) -> Enrolment:
        """Makes the oldest unfinished enrolment the first one that the run knows of, and returns it."""
        self._user = self._user.without_finished()
        self._ledger_differs = False
        return self._user.enrolments[0]

    async def _sleep_until_over(self, day: date) -> None:
        """Sleeps until the boundary, and then, if the users' wakes are spread, until it is the user's turn."""
        wakes_at = end_of(day) + self._user.settings.wake_offset
        if workflow.now() >= wakes_at:
            await self._begin_another_task(day)
        while workflow.now() < wakes_at and not self._day_is_dropped():
            self._state = Sleeping(day, wakes_at)
            self._publish()
            await self._wait(self._day_is_dropped, wakes_at - workflow.now(), f"{day} · until its boundary")
        # A deactivation before the boundary may still be on its way to the ledger, and makes this no accrual day.
        await workflow.wait_condition(lambda: not self._one_message_at_a_time.locked())
        self._raise_if_dropped()

    async def _snapshot(self, day: date, enrolment: Enrolment) -> Snapshot:
        """A day is not closed while a source is late; the loop parks, and asks again by itself."""
        waits_for: list[str] = []
        while True:
            answer = await self._take_step(
                SNAPSHOT,
                day,
                lambda: SnapshotRequest(
                    user_id=self._user_id,
                    enrolment_id=enrolment.receipt.enrolment_id,
                    day=day,
                    now=workflow.now(),
                    generation=self._user.generation,
                ),
            )
            if isinstance(answer, Snapshot):
                return answer
            if answer.sources != waits_for:
                waits_for = answer.sources
                _tell(logging.INFO, f"waits for source {', '.join(waits_for)}", day)
            await self._park(answer, SOURCES_ASKED_AGAIN_AFTER)
            self._raise_if_dropped()

    async def _compute(self, snapshot: Snapshot, enrolment: Enrolment) -> Rewards | EndsHere:
        return await self._take_step(
            COMPUTE,
            snapshot.day,
            lambda: ComputeRequest(
                user_id=self._user_id,
                enrolment_id=enrolment.receipt.enrolment_id,
                snapshot=snapshot,
                region=enrolment.region,
            ),
        )

    async def _credit(self, rewards: Rewards, enrolment: Enrolment) -> None:
        """Rule 13: an empty pool holds the whole day back; the loop parks, and asks again by itself."""
        ask_again_after = POOL_ASKED_AGAIN_AFTER
        waits_for: list[str] = []
        while True:
            answer = await self._take_step(
                CREDIT,
                rewards.day,
                lambda: CreditRequest(
                    user_id=self._user_id,
                    enrolment_id=enrolment.receipt.enrolment_id,
                    rewards=rewards,
                    now=workflow.now(),
                    generation=self._user.generation,
                ),
                at_once=not waits_for,
            )
            if isinstance(answer, CreditReceipt):
                break
            if answer.assets != waits_for:
                waits_for = answer.assets
                _tell(logging.WARNING, f"waits for pool {', '.join(waits_for)}", rewards.day)
            await self._park(answer, ask_again_after)
            ask_again_after = min(ask_again_after * 2, POOL_ASKED_AGAIN_AFTER_MAX)
        if waits_for:
            _tell(logging.INFO, f"waits no longer for pool {', '.join(waits_for)}", rewards.day)
        self._credited_in_this_run += 1
        self._user = self._user.with_credit(rewards)

    async def _end_before(self, day: date, reason: str, enrolment: Enrolment) -> None:
        """Rule 7: the day is no accrual day, so the enrolment ended at the boundary that opened it."""
        end = await self._take_step(
            END_ENROLMENT,
            day,
            lambda: EndRequest(
                user_id=self._user_id,
                enrolment_id=enrolment.receipt.enrolment_id,
                ended_at=start_of(day),
                reason=reason,
                generation=self._user.generation,
            ),
        )
        self._user = self._user.with_end(end, last_accrual_day=day - ONE_DAY)

    def _go_on_after(self, day: date, enrolment: Enrolment) -> None:
        self._user = self._user.with_next_day(enrolment.receipt.enrolment_id, day + ONE_DAY)

    # What may come between the steps: a hold, a block, a late source, a short pool, a day that is dropped.

    async def _take_step(
        self,
        step: Step[Request, Answer],
        day: date,
        request: Callable[[], Request],
        *,
        at_once: bool = True,
    ) -> Answer:
        """Takes one step of a day, after a hold is released, and again for as long as something blocks it."""
        at_once = at_once and self._user.settings.steps_at_once
        while True:
            await self._wait_while_held(day)
            if self._ledger_differs:
                raise DayDropped
            self._state = Processing()
            generation = self._user.generation
            try:
                asked = request()
                summary = summaries.step_text(day, step.name, asked)
                answer = await self._execute(step, asked, summary, at_once=at_once)
                if self._ledger_differs:
                    raise DayDropped
                return answer
            except ActivityError as error:
                if is_cancelled_exception(error):
                    raise
                if type_of(error) == SUPERSEDED:
                    await self._recall_since(generation)
                    raise DayDropped from error
                await self._park(Blocked(step=step.name, day=day, message=message_of(error)))
                self._raise_if_dropped()
                if type_of(error) in LEDGER_DIFFERS and workflow.patched("recall-before-retry"):
                    await self._recall_since(generation)
                    raise DayDropped from error
                at_once = False

    async def _wait_while_held(self, day: date) -> None:
        """An operator's hold stops the loop before a step; what comes after the release is ordinary catch-up."""
        while self._user.hold is not None:
            # What is shown is the hold, for as long as there is one.
            self._state = Processing()
            self._publish()
            await self._wait(lambda: self._user.hold is None or self._day_is_dropped())
            self._raise_if_dropped()
            await self._begin_another_task(day)
            self._raise_if_dropped()

    async def _park(
        self, state: Blocked | PoolShort | SourceLate, ask_again_after: timedelta | None = None
    ) -> None:
        """Stands still until someone asks for a retry, or until the time is up, where one is given."""
        self._state = state
        self._publish()
        self._retry_asked = False
        summary = f"{state.day} · {state_text(state)}"
        await self._wait(lambda: self._retry_asked or self._day_is_dropped(), ask_again_after, summary)

    @workflow.update
    def retry(self, act: Act | None = None) -> bool:
        """Takes a blocked step up again, or asks an empty pool or a late source now; False if none waited for it.

        ``act`` is kept in the history alone.
        """
        self._retry_asked = isinstance(self._state, Blocked | PoolShort | SourceLate)
        return self._retry_asked

    def _day_is_dropped(self) -> bool:
        """Whether the day that the loop is at is not to be processed any more."""
        return self._ledger_differs or self._user.enrolments[0].is_finished

    def _raise_if_dropped(self) -> None:
        if self._day_is_dropped():
            raise DayDropped

    # How a run begins, waits, and ends.

    def _check_it_is_the_users_own(self) -> None:
        try:
            expected = workflow_id(check_user_id(self._user_id))
        except ValueError as error:
            raise refused(str(error), "BadUserId") from error
        if workflow.info().workflow_id != expected:
            raise refused(f"the workflow of user {self._user_id} must have the id {expected}", "WrongWorkflowId")

    async def _recall_unless_carried(self) -> None:
        """Asks the ledger what is unfinished for the user, so that nothing depends on how an earlier run ended."""
        if self._is_ready and not self._user.generation and workflow.patched("generations"):
            await self._recall_since(0)  # what was carried is from a run that was not counted
        if not self._is_ready:
            recalled = await self._ask(RECALL, self._user_id, "what the ledger knows of the user")
            self._user = recalled.with_noted(Noted())
            self._is_ready = True

    async def _wait_for_a_first_message(self) -> None:
        """Gives the message that a run was started for the time to arrive, where there is nothing else to do."""
        if not self._user.enrolments and not self._was_told_something:
            self._publish(details_only=True)
            await self._wait(lambda: self._was_told_something, FIRST_MESSAGE_WITHIN, "until the first message")

    async def _begin_another_task(self, day: date) -> None:
        """Steps at once share a task neither with the answers to messages nor with another day's steps. So nobody
        who sends a message waits for longer than the steps of one day take."""
        if self._user.settings.steps_at_once:
            await workflow.sleep(A_TASK_LATER, summary=summaries.summary(f"{day} · is over"))

    async def _wait(self, until: Callable[[], bool], timeout: timedelta | None = None, summary: str = "") -> None:
        """Waits, or continues as new where the history has grown too long, which messages can cause too."""

        def history_is_full() -> bool:
            return workflow.info().is_continue_as_new_suggested()

        with suppress(asyncio.TimeoutError):
            await workflow.wait_condition(
                lambda: until() or history_is_full(), timeout=timeout, timeout_summary=summaries.summary(summary)
            )
        if history_is_full():
            await self._continue_as_new()

    async def _continue_as_new(self) -> None:
        await workflow.wait_condition(workflow.all_handlers_finished)
        workflow.continue_as_new(args=[self._user_id, self._user.carried_on()])

    def _publish_how_it_ended(self) -> None:
        """The run of a user who was never enrolled shows the refusal, so that operators can find it."""
        if self._user.last_end is not None:
            self._publish()
            return
        shows_itself = self._user.settings.search_attributes is not SearchAttributeUse.NONE
        if self._was_refused and shows_itself and workflow.patched("refusals-are-noted"):
            self._state = Refused()
            self._publish()


def _tell(level: int, message: str, day: date) -> None:
    """A line in the worker's log; none while a history is replayed."""
    _log.log(level, message, extra={"day": day.isoformat()})
