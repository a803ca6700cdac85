"""Soft Staking, one workflow per user: sleep until the boundary, snapshot, compute, credit, and again."""

import asyncio
import logging
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from datetime import date, datetime, timedelta
from typing import Any, TypeVar

from temporalio import workflow
from temporalio.exceptions import ActivityError, ApplicationError, is_cancelled_exception

with workflow.unsafe.imports_passed_through():
    from staking.days import ONE_DAY, day_of, end_of, start_of
    from staking.models import (
        Act,
        Activation,
        ActRequest,
        Blocked,
        ComputeRequest,
        CreditReceipt,
        CreditRequest,
        End,
        EndRequest,
        EndsHere,
        Enrolment,
        EnrolRequest,
        Hold,
        LiveStatus,
        Noted,
        Receipt,
        Recollection,
        Refusal,
        Rewards,
        SearchAttributeUse,
        Snapshot,
        SnapshotRequest,
        check_user_id,
    )
    from staking.steps import (
        COMPUTE,
        CREDIT,
        END_ENROLMENT,
        ENROL,
        FOUND_ELSEWHERE,
        HOLD,
        RECALL,
        RELEASE,
        SNAPSHOT,
        STARTED_BY,
        SUPERSEDED,
        WORKFLOW_TYPE,
        Answer,
        Request,
        Step,
        workflow_id,
    )
    from workflows import diary, search_attributes
    from workflows.steps import A_TASK_LATER, NotAtOnce, execute, execute_at_once, message_of, type_of

FIRST_MESSAGE_WITHIN = timedelta(minutes=1)
"""A run that was started but not yet told anything waits this long for its activation."""
POOL_ASKED_AGAIN_AFTER = timedelta(seconds=5)
"""An empty pool is asked again after this, then after twice as long each time, up to the maximum."""
POOL_ASKED_AGAIN_AFTER_MAX = timedelta(minutes=10)
REASON_LENGTH_MAX = 500
WAITING_FOR_POOL = "waiting for pool"
_Told = TypeVar("_Told")
_log = workflow.LoggerAdapter(logging.getLogger("soft_staking.loop"), None)
_log.workflow_info_on_message = False
_FIRST_TASK_HISTORY_LENGTH = 3
"""Started, task scheduled, task started: a message that is handled at this length came with the start."""


class DayTakenBack(Exception):
    """What the loop set out to do is not to be done any more: the enrolment ended while a step was blocked, and
    the day is no accrual day; or the run has recalled, and the ledger stands elsewhere."""


@workflow.defn(name=WORKFLOW_TYPE)
class SoftStakingWorkflow:
    """Belongs to the user, not to one enrolment: a later activation enrols anew while owed days still wait."""

    @workflow.init
    def __init__(self, user_id: str, carried: Recollection | None = None) -> None:
        self._user_id = user_id
        self._known = carried or Recollection(noted=Noted())
        if self._known.noted is None:
            shown = workflow.info().typed_search_attributes
            self._known = self._known.with_noted(search_attributes.noted_before(self._known, shown))
        self._found_elsewhere = False
        self._is_ready = carried is not None
        self._was_told_something = carried is not None
        self._was_refused = False
        self._state = "starting"
        self._blocked: Blocked | None = None
        self._retry_asked = False
        self._credited_in_this_run = 0
        self._one_message_at_a_time = asyncio.Lock()

    @workflow.run
    async def run(self, user_id: str, carried: Recollection | None = None) -> None:
        """Pays the user every day, until nothing is enrolled and nothing is owed."""
        self._check_it_is_the_users_own()
        await self._recall_unless_carried()
        while enrolment := await self._oldest_unfinished_enrolment():
            day = enrolment.next_day
            if not await self._sleep_until_over(day):
                continue

            with suppress(DayTakenBack):
                snapshot = await self._snapshot(day, enrolment)
                if day != enrolment.activation_day:
                    rewards = await self._compute(snapshot, enrolment)
                    if isinstance(rewards, EndsHere):
                        await self._end_before(day, rewards.reason, enrolment)
                        continue
                    await self._credit(rewards, enrolment)
                self._is_done_with(day, enrolment)
        self._note_how_it_ended()

    # The steps of a day.

    async def _sleep_until_over(self, day: date) -> bool:
        """False if the enrolment ended first, so that the day will not be processed."""
        wakes_at = self._wakes_at(day)
        if workflow.now() >= wakes_at:
            await self._begin_another_task(day)
        while workflow.now() < wakes_at and not self._is_taken_back():
            self._state = "sleeping"
            self._note()
            await self._wait(self._is_taken_back, wakes_at - workflow.now(), f"{day} · until its boundary")
        # A deactivation before the boundary may still be on its way to the ledger, and this day is its day.
        await workflow.wait_condition(lambda: not self._one_message_at_a_time.locked())
        return not self._is_taken_back()

    async def _begin_another_task(self, day: date) -> None:
        """Before steps at once: what was answered to a message leaves with the task before, and so do the steps of
        an earlier day. So no message waits for longer than a day's steps take."""
        if self._known.settings.steps_at_once:
            await workflow.sleep(A_TASK_LATER, summary=diary.summary(f"{day} · is over"))

    async def _snapshot(self, day: date, enrolment: Enrolment) -> Snapshot:
        return await self._step(
            SNAPSHOT,
            day,
            lambda: SnapshotRequest(
                user_id=self._user_id,
                enrolment_id=enrolment.receipt.enrolment_id,
                day=day,
                now=workflow.now(),
                generation=self._known.generation,
            ),
        )

    async def _compute(self, snapshot: Snapshot, enrolment: Enrolment) -> Rewards | EndsHere:
        return await self._step(
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
        """Rule 13: an empty pool holds the whole day back; the workflow sleeps and asks again."""
        ask_again_after = POOL_ASKED_AGAIN_AFTER
        waits_for: list[str] = []
        while True:
            answer = await self._step(
                CREDIT,
                rewards.day,
                lambda: CreditRequest(
                    user_id=self._user_id,
                    enrolment_id=enrolment.receipt.enrolment_id,
                    rewards=rewards,
                    now=workflow.now(),
                    generation=self._known.generation,
                ),
                at_once=not waits_for,
            )
            if isinstance(answer, CreditReceipt):
                if waits_for:
                    _tell(logging.INFO, f"waits no longer for pool {', '.join(waits_for)}", rewards.day)
                self._credited_in_this_run += 1
                self._known = self._known.with_credit(rewards)
                return
            if answer.assets != waits_for:
                waits_for = answer.assets
                _tell(logging.WARNING, f"waits for pool {', '.join(waits_for)}", rewards.day)
            self._state = f"{WAITING_FOR_POOL} {', '.join(answer.assets)}"
            self._note()
            await self._wait_for_retry(ask_again_after, f"{rewards.day} · {self._state}")
            ask_again_after = min(ask_again_after * 2, POOL_ASKED_AGAIN_AFTER_MAX)

    async def _end_before(self, day: date, reason: str, enrolment: Enrolment) -> None:
        """Rule 7: the day is no accrual day, so the enrolment ended at the boundary that opened it."""
        end = await self._step(
            END_ENROLMENT,
            day,
            lambda: EndRequest(
                user_id=self._user_id,
                enrolment_id=enrolment.receipt.enrolment_id,
                ended_at=start_of(day),
                reason=reason,
                generation=self._known.generation,
            ),
        )
        self._known = self._known.with_end(end, last_accrual_day=day - ONE_DAY)

    def _is_done_with(self, day: date, enrolment: Enrolment) -> None:
        self._known = self._known.with_next_day(enrolment.receipt.enrolment_id, day + ONE_DAY)

    # Messages.

    @workflow.update
    async def activate(self, activation: Activation) -> Receipt | Refusal:
        """Enrols the user, or answers the first receipt again, or every reason to refuse (rule 7)."""
        now = self._activation_instant()
        return await self._answer(lambda: self._enrol(activation, now))

    async def _enrol(self, activation: Activation, now: datetime) -> Receipt | Refusal:
        already_open = self._known.open_enrolment
        if already_open is not None:
            return already_open.receipt
        back_dating = activation.back_dating
        answer = await self._ask(
            ENROL,
            EnrolRequest(
                user_id=self._user_id,
                enrolment_id=str(workflow.uuid4()),
                activation=activation,
                activated_at=back_dating.activated_at if back_dating else now,
                now=workflow.now(),
                generation=self._known.generation,
            ),
            diary.activation_text(activation),
        )
        if isinstance(answer, Receipt):
            self._known = self._known.with_enrolment(answer, activation.region)
            self._note()
        else:
            self._was_refused = True
        return answer

    @activate.validator
    def _activation_is_given(self, activation: Activation) -> None:
        # A null passes the converter unread. What is found only after acceptance would hold up the loop.
        if not isinstance(activation, Activation):  # pyright: ignore[reportUnnecessaryIsInstance]  # a null is none
            raise _refused("an activation is missing", "BadActivation")

    @workflow.update
    async def deactivate(self, reason: str, operator: str | None = None, tell: str | None = None) -> End:
        """Rule 10: ends the enrolment at once; owed days are still paid. A repeat gets the first answer.

        ``operator`` is who ended it, where it was not the user, and ``tell`` what the user reads of it.
        """
        ended_at = workflow.now()
        return await self._answer(lambda: self._end(ended_at, reason, operator, tell))

    async def _end(self, ended_at: datetime, reason: str, operator: str | None, tell: str | None) -> End:
        still_open = self._known.open_enrolment
        if still_open is None:
            if self._known.last_end is None:
                raise _refused(f"user {self._user_id} is not enrolled", "NotEnrolled")
            return self._known.last_end
        end = await self._ask(
            END_ENROLMENT,
            EndRequest(
                user_id=self._user_id,
                enrolment_id=still_open.receipt.enrolment_id,
                ended_at=ended_at,
                reason=reason,
                operator=operator,
                tell=tell,
                generation=self._known.generation,
            ),
            f"{operator}: {reason}" if operator else reason,
        )
        last_accrual_day = end.last_accrual_day or day_of(end.ended_at) - ONE_DAY
        self._known = self._known.with_end(end, last_accrual_day=last_accrual_day)
        self._note()
        return end

    @deactivate.validator
    def _reason_is_short(self, reason: str, operator: str | None = None, tell: str | None = None) -> None:
        if not 1 <= len(reason) <= REASON_LENGTH_MAX:
            raise _refused(f"a reason has 1 to {REASON_LENGTH_MAX} characters", "BadReason")
        if operator is not None and not 1 <= len(operator) <= REASON_LENGTH_MAX:
            raise _refused(f"an operator's name has 1 to {REASON_LENGTH_MAX} characters", "BadOperator")
        if tell is not None and not 1 <= len(tell) <= REASON_LENGTH_MAX:
            raise _refused(f"a text for the user has 1 to {REASON_LENGTH_MAX} characters", "BadText")

    @workflow.update
    async def hold(self, act: Act) -> Hold:
        """Stops the loop before its next step, until it is released. A repeat gets the first hold."""
        return await self._answer(lambda: self._hold(act))

    async def _hold(self, act: Act) -> Hold:
        if self._known.hold is not None:
            return self._known.hold
        held = await self._ask(HOLD, self._act_request(act), _act_text(act))
        self._known = self._known.with_hold(held)
        self._note()
        return held

    @workflow.update
    async def release(self, act: Act) -> Hold | None:
        """Lets a held loop go on: ordinary catch-up. Answers the hold that this ended, None if there was none."""
        return await self._answer(lambda: self._release(act))

    async def _release(self, act: Act) -> Hold | None:
        if self._known.hold is None:
            return None
        ended = await self._ask(RELEASE, self._act_request(act), _act_text(act))
        self._known = self._known.with_hold(None)
        self._note()
        return ended

    @hold.validator
    def _hold_is_given(self, act: Act) -> None:
        _check_act(act)

    @release.validator
    def _release_is_given(self, act: Act) -> None:
        _check_act(act)

    @workflow.update
    def retry(self, act: Act | None = None) -> bool:
        """Takes a blocked step up again, or asks an empty pool now; False if nothing waited for it.

        ``act`` is kept in the history alone.
        """
        waits = self._blocked is not None or self._state.startswith(WAITING_FOR_POOL)
        self._retry_asked = waits
        return waits

    @workflow.update
    async def refresh(self) -> SearchAttributeUse:
        """Takes up which search attributes its worker writes now, writes them, and answers that. The wake stays
        where it is."""
        async with self._one_message():
            recalled = await self._ask(RECALL, self._user_id, "which search attributes to write")
            if recalled.generation:
                self._take_up(recalled)
                # What was written may be lost: an attribute that was removed and made again is empty.
                self._note(anew=True)
            else:  # as runs did before they were counted
                self._known = self._known.with_search_attributes_of(recalled)
                self._note()
            return recalled.settings.search_attributes

    @workflow.query
    def status(self) -> LiveStatus:
        """What only the workflow knows; closed days and totals are in the ledger."""
        first = self._known.first_unfinished
        return LiveStatus(
            state=self._state_now(),
            enrolment_id=first and first.receipt.enrolment_id,
            day_in_progress=first and first.next_day,
            next_boundary=first and end_of(max(first.next_day, day_of(workflow.now()))),
            blocked=self._blocked,
            hold=self._known.hold,
        )

    # What the loop and the messages share.

    async def _step(
        self,
        step: Step[Request, Answer],
        day: date,
        request: Callable[[], Request],
        *,
        at_once: bool = True,
    ) -> Answer:
        """One step of a day. What a retry cannot mend parks the loop until someone asks for a retry."""
        at_once = at_once and self._known.settings.steps_at_once
        while True:
            await self._until_released(day, step)
            if self._found_elsewhere:
                raise DayTakenBack
            self._state = "processing"
            generation = self._known.generation
            try:
                asked = request()
                summary = diary.step_text(day, step.name, asked)
                answer = await self._execute(step, asked, summary, at_once=at_once)
                if self._found_elsewhere:
                    raise DayTakenBack
                return answer
            except ActivityError as error:
                if is_cancelled_exception(error):
                    raise
                if type_of(error) == SUPERSEDED:
                    await self._recall_since(generation)
                    raise DayTakenBack from error
                at_once = False
                self._blocked = Blocked(step=step.name, day=day, message=message_of(error))
                self._state = "blocked"
                self._note()
                await self._wait_for_retry(None, f"{day} · blocked at {step.name}")
                self._blocked = None
                self._check_still_to_do()
                if type_of(error) in FOUND_ELSEWHERE and workflow.patched("recall-before-retry"):
                    await self._recall_since(generation)
                    raise DayTakenBack from error

    async def _until_released(self, day: date, step: Step[Any, Any]) -> None:
        """An operator's hold stops the loop before a step; what comes after the release is ordinary catch-up."""
        while self._known.hold is not None:
            self._state = "held"
            self._note()
            await self._wait(
                lambda: self._known.hold is None or self._is_taken_back(),
                None,
                f"{day} · held before {step.name}",
            )
            self._check_still_to_do()
            await self._begin_another_task(day)
            self._check_still_to_do()

    def _is_taken_back(self) -> bool:
        """Whether the day that the loop is at is not to be processed any more."""
        return self._found_elsewhere or self._known.enrolments[0].is_finished

    def _check_still_to_do(self) -> None:
        if self._is_taken_back():
            raise DayTakenBack

    async def _recall_since(self, generation: int) -> None:
        """Asks the ledger where the user stands, unless a message has done so since that recollection."""
        async with self._one_message_at_a_time:
            if self._known.generation == generation:
                await self._recall_again()

    async def _recall_again(self) -> None:
        self._take_up(await self._execute(RECALL, self._user_id, "where the ledger stands"))
        self._note()

    def _take_up(self, recalled: Recollection) -> None:
        """The ledger decides what is true; the loop begins the day anew if that changes what it has to do."""
        self._found_elsewhere |= recalled.differs_for_the_loop(self._known)
        self._known = self._known.superseded_by(recalled)

    async def _ask(self, step: Step[Request, Answer], request: Request, summary: str) -> Answer:
        """One step for a message: what a retry cannot mend is the message's answer."""
        try:
            return await self._execute(step, request, summary)
        except ActivityError as error:
            if is_cancelled_exception(error):
                raise
            raise _refused(message_of(error), type_of(error)) from error

    async def _execute(
        self, step: Step[Request, Answer], request: Request, summary: str, *, at_once: bool = False
    ) -> Answer:
        if at_once:
            with suppress(NotAtOnce):
                return await execute_at_once(step, request, summary)
        self._show()
        return await execute(step, request, summary)

    async def _wait_for_retry(self, timeout: timedelta | None, summary: str) -> None:
        self._retry_asked = False
        await self._wait(lambda: self._retry_asked or self._is_taken_back(), timeout, summary)

    async def _wait(self, until: Callable[[], bool], timeout: timedelta | None, summary: str) -> None:
        """The one way to wait. Messages fill a history too, so a wait ends where it grows too long."""
        self._show()

        def history_is_full() -> bool:
            return workflow.info().is_continue_as_new_suggested()

        with suppress(asyncio.TimeoutError):
            await workflow.wait_condition(
                lambda: until() or history_is_full(), timeout=timeout, timeout_summary=diary.summary(summary)
            )
        if history_is_full():
            await self._continue_as_new()

    async def _continue_as_new(self) -> None:
        await workflow.wait_condition(workflow.all_handlers_finished)
        workflow.continue_as_new(args=[self._user_id, self._known.carried_on()])

    def _check_it_is_the_users_own(self) -> None:
        try:
            expected = workflow_id(check_user_id(self._user_id))
        except ValueError as error:
            raise _refused(str(error), "BadUserId") from error
        if workflow.info().workflow_id != expected:
            raise _refused(f"the workflow of user {self._user_id} must have the id {expected}", "WrongWorkflowId")

    async def _recall_unless_carried(self) -> None:
        """What the ledger knows to be unfinished is taken up, whatever became of an earlier run."""
        if self._is_ready and not self._known.generation and workflow.patched("generations"):
            await self._recall_since(0)  # what was carried is from a run that was not counted
        if not self._is_ready:
            recalled = await self._ask(RECALL, self._user_id, "what the ledger knows of the user")
            self._known = recalled.with_noted(Noted())
            self._is_ready = True
        if not self._known.enrolments and not self._was_told_something:
            await self._wait(lambda: self._was_told_something, FIRST_MESSAGE_WITHIN, "until the first message")

    async def _oldest_unfinished_enrolment(self) -> Enrolment | None:
        """None only when no enrolment is open, no day is owed and no message is being answered."""
        if self._credited_in_this_run >= self._known.settings.days_per_run and self._known.first_unfinished:
            await self._continue_as_new()
        await workflow.wait_condition(
            lambda: self._known.first_unfinished is not None or workflow.all_handlers_finished()
        )
        self._known = self._known.without_finished()
        self._found_elsewhere = False
        return self._known.first_unfinished

    @asynccontextmanager
    async def _one_message(self) -> AsyncGenerator[None]:
        """Messages are answered one after the other, once the run knows where it stands."""
        self._was_told_something = True
        await workflow.wait_condition(lambda: self._is_ready)
        async with self._one_message_at_a_time:
            yield
        self._show()

    async def _answer(self, message: Callable[[], Awaitable[_Told]]) -> _Told:
        """Answers a message, after those before it; anew from where the ledger stands, if that is elsewhere."""
        async with self._one_message():
            while True:
                try:
                    return await message()
                except ApplicationError as error:
                    if error.type != SUPERSEDED:
                        raise
                await self._recall_again()

    def _activation_instant(self) -> datetime:
        """The run's start where this activation started it, so that a worker gap does not move Day 1; else now."""
        info, update = workflow.info(), workflow.current_update_info()
        if info.continued_run_id is not None or update is None:
            return workflow.now()
        started_by = workflow.memo_value(STARTED_BY, None, type_hint=str)
        if started_by is None:
            started_the_run = info.get_current_history_length() <= _FIRST_TASK_HISTORY_LENGTH
        else:
            started_the_run = started_by == update.id
        return info.workflow_start_time if started_the_run else workflow.now()

    def _wakes_at(self, day: date) -> datetime:
        return end_of(day) + self._known.settings.wake_offset

    def _act_request(self, act: Act) -> ActRequest:
        return ActRequest(
            user_id=self._user_id,
            act_id=str(workflow.uuid4()),
            act=act,
            now=workflow.now(),
            generation=self._known.generation,
        )

    # What it shows of itself.

    def _state_now(self) -> str:
        if self._known.first_unfinished is None:
            return "idle"
        return "held" if self._known.hold is not None else self._state

    def _show(self) -> None:
        first = self._known.first_unfinished
        workflow.set_current_details(
            diary.current_details(
                user_id=self._user_id,
                state=self._state_now(),
                enrolment=first,
                wakes_at=first and self._wakes_at(first.next_day),
                last_credited_day=self._known.last_credited_day,
                credited=self._known.credited,
                hold=self._known.hold,
                blocked=self._blocked,
            )
        )

    def _note_how_it_ended(self) -> None:
        """A run of a user who was never enrolled shows a refusal, so that it is told from those who were paid."""
        if self._known.last_end is not None:
            self._note()
            return
        shows_itself = self._known.settings.search_attributes is not SearchAttributeUse.NONE
        if self._was_refused and shows_itself and workflow.patched("refusals-are-noted"):
            self._state = search_attributes.REFUSED
            self._note()

    def _note(self, *, anew: bool = False) -> None:
        """Writes the search attributes that have changed, or all of them: each write is an event."""
        before = self._known.noted or Noted()
        still_open = self._known.open_enrolment
        latest = still_open or self._known.first_unfinished
        after = search_attributes.to_note(
            before,
            self._known.settings.search_attributes,
            state=self._state_noted(before.state),
            # An ended user is looked for where the enrolment was.
            region=latest.region if latest else before.region,
            hold=self._known.hold,
            end=None if still_open else self._known.last_end,
        )
        changes = search_attributes.changes(before, after, anew=anew)
        if changes:
            workflow.upsert_search_attributes(changes)  # pyright: ignore[reportUnknownMemberType]  # the SDK's is untyped
            self._known = self._known.with_noted(after)

    def _state_noted(self, before: str | None) -> str | None:
        """None for a user who was never enrolled nor refused. Steps, and a hold, leave it as it was."""
        if self._known.first_unfinished is None:
            if self._known.last_end is not None:
                return search_attributes.ENDED
            return search_attributes.REFUSED if self._state == search_attributes.REFUSED else None
        if self._state == "blocked":
            return search_attributes.BLOCKED
        if self._state.startswith(WAITING_FOR_POOL):
            return search_attributes.WAITING_FOR_POOL
        if self._state == "sleeping" or before in (None, search_attributes.ENDED):
            return search_attributes.EARNING
        return before


def _tell(level: int, message: str, day: date) -> None:
    """A line in the worker's log; none while a history is replayed."""
    _log.log(level, message, extra={"day": day.isoformat()})


def _act_text(act: Act) -> str:
    return f"{act.operator}: {act.reason}"


def _check_act(act: Act) -> None:
    # A null passes the converter unread. What is found only after acceptance would hold up the loop.
    if not isinstance(act, Act):  # pyright: ignore[reportUnnecessaryIsInstance]  # a null is none
        raise _refused("who acts and why is missing", "BadAct")


def _refused(message: str, type_name: str) -> ApplicationError:
    return ApplicationError(message, type=type_name, non_retryable=True)
