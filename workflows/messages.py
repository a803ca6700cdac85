"""What others ask of a user's run, and how it answers. The daily loop is built on this: ``soft_staking.py``.

What the run knows of its user is in ``user_run.py``.
"""

from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import datetime
from typing import TypeVar

from temporalio import workflow
from temporalio.exceptions import ActivityError, ApplicationError, is_cancelled_exception

from workflows.user_run import UserRun, refused

with workflow.unsafe.imports_passed_through():
    from contract.acts import Act, Hold
    from contract.answers import End, Receipt, Refusal
    from contract.live_status import LiveStatus
    from contract.recollection import SearchAttributeUse
    from contract.requests import ActRequest, EndRequest, EnrolRequest
    from contract.steps import (
        END_ENROLMENT,
        ENROL,
        HOLD,
        RECALL,
        RELEASE,
        STARTED_BY,
        SUPERSEDED,
        Answer,
        Request,
        Step,
    )
    from staking.days import ONE_DAY, day_of
    from staking.models import REASON_LENGTH_MAX, Activation
    from workflows import showing, summaries
    from workflows.executing import message_of, type_of

_MessageAnswer = TypeVar("_MessageAnswer")
_FIRST_TASK_HISTORY_LENGTH = 3
"""Started, task scheduled, task started: a message that is handled at this length came with the start."""


class Messages(UserRun):
    """The messages of a user's run. The run answers one message after the other."""

    @workflow.update
    async def activate(self, activation: Activation) -> Receipt | Refusal:
        """Enrols the user, or answers the first receipt again, or every reason to refuse (rule 7)."""
        now = self._activation_instant()
        return await self._answer(lambda: self._enrol(activation, now))

    async def _enrol(self, activation: Activation, now: datetime) -> Receipt | Refusal:
        already_open = self._user.open_enrolment
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
                generation=self._user.generation,
            ),
            summaries.activation_text(activation),
        )
        if isinstance(answer, Receipt):
            self._user = self._user.with_enrolment(answer, activation.region)
            self._publish()
        else:
            self._was_refused = True
        return answer

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

    @activate.validator
    def _activation_is_given(self, activation: Activation) -> None:
        # The converter lets a null pass unread. Once it was accepted, such a message would hold up the loop.
        if not isinstance(activation, Activation):  # pyright: ignore[reportUnnecessaryIsInstance]  # a null is not
            raise refused("an activation is missing", "BadActivation")

    @workflow.update
    async def deactivate(self, reason: str, operator: str | None = None, tell: str | None = None) -> End:
        """Rule 10: ends the enrolment immediately; owed days are still paid. A repeat gets the first answer.

        ``operator`` is the operator who ended it, or None for the user; ``tell`` is the operator's text for the
        user.
        """
        ended_at = workflow.now()
        return await self._answer(lambda: self._end(ended_at, reason, operator, tell))

    async def _end(self, ended_at: datetime, reason: str, operator: str | None, tell: str | None) -> End:
        still_open = self._user.open_enrolment
        if still_open is None:
            if self._user.last_end is None:
                raise refused(f"user {self._user_id} is not enrolled", "NotEnrolled")
            return self._user.last_end
        end = await self._ask(
            END_ENROLMENT,
            EndRequest(
                user_id=self._user_id,
                enrolment_id=still_open.receipt.enrolment_id,
                ended_at=ended_at,
                reason=reason,
                operator=operator,
                tell=tell,
                generation=self._user.generation,
            ),
            f"{operator}: {reason}" if operator else reason,
        )
        last_accrual_day = end.last_accrual_day or day_of(end.ended_at) - ONE_DAY
        self._user = self._user.with_end(end, last_accrual_day=last_accrual_day)
        self._publish()
        return end

    @deactivate.validator
    def _reason_is_short(self, reason: str, operator: str | None = None, tell: str | None = None) -> None:
        if not 1 <= len(reason) <= REASON_LENGTH_MAX:
            raise refused(f"a reason has 1 to {REASON_LENGTH_MAX} characters", "BadReason")
        if operator is not None and not 1 <= len(operator) <= REASON_LENGTH_MAX:
            raise refused(f"an operator's name has 1 to {REASON_LENGTH_MAX} characters", "BadOperator")
        if tell is not None and not 1 <= len(tell) <= REASON_LENGTH_MAX:
            raise refused(f"a text for the user has 1 to {REASON_LENGTH_MAX} characters", "BadText")

    @workflow.update
    async def hold(self, act: Act) -> Hold:
        """Stops the loop before its next step, until it is released. A repeat gets the first hold."""
        return await self._answer(lambda: self._hold(act))

    async def _hold(self, act: Act) -> Hold:
        if self._user.hold is not None:
            return self._user.hold
        held = await self._ask(HOLD, self._act_request(act), _act_text(act))
        self._user = self._user.with_hold(held)
        self._publish()
        return held

    @workflow.update
    async def release(self, act: Act) -> Hold | None:
        """Lets a held loop go on: ordinary catch-up. Answers the hold that this ended, None if there was none."""
        return await self._answer(lambda: self._release(act))

    async def _release(self, act: Act) -> Hold | None:
        if self._user.hold is None:
            return None
        ended = await self._ask(RELEASE, self._act_request(act), _act_text(act))
        self._user = self._user.with_hold(None)
        self._publish()
        return ended

    def _act_request(self, act: Act) -> ActRequest:
        return ActRequest(
            user_id=self._user_id,
            act_id=str(workflow.uuid4()),
            act=act,
            now=workflow.now(),
            generation=self._user.generation,
        )

    @hold.validator
    def _hold_is_given(self, act: Act) -> None:
        _check_act(act)

    @release.validator
    def _release_is_given(self, act: Act) -> None:
        _check_act(act)

    @workflow.update
    async def refresh(self) -> SearchAttributeUse:
        """Takes over which search attributes its worker writes by now, writes them, and answers which these are.

        The hour at which the loop wakes stays as it was.
        """
        async with self._one_message():
            recalled = await self._ask(RECALL, self._user_id, "which search attributes to write")
            if recalled.generation:
                self._take_over(recalled)
                # An attribute that was removed and made again is empty, so all of them are written anew.
                self._publish(anew=True)
            else:  # an answer from before recalls were counted
                self._user = self._user.with_search_attributes_of(recalled)
                self._publish()
            return recalled.settings.search_attributes

    @workflow.query
    def status(self) -> LiveStatus:
        """What only the workflow knows; closed days and totals are in the ledger."""
        return showing.status(self._user, self._state, workflow.now())

    # How a message is answered.

    async def _answer(self, message: Callable[[], Awaitable[_MessageAnswer]]) -> _MessageAnswer:
        """Answers a message after those before it; once more, where the ledger turns out to stand elsewhere."""
        async with self._one_message():
            while True:
                try:
                    return await message()
                except ApplicationError as error:
                    if error.type != SUPERSEDED:
                        raise
                await self._recall_again()

    @asynccontextmanager
    async def _one_message(self) -> AsyncGenerator[None]:
        """Messages are answered one after the other, once the run knows how its user stands."""
        self._was_told_something = True
        await workflow.wait_condition(lambda: self._is_ready)
        async with self._one_message_at_a_time:
            yield

    async def _ask(self, step: Step[Request, Answer], request: Request, summary: str) -> Answer:
        """Takes one step for a message. What a retry cannot mend is the message's answer."""
        try:
            return await self._execute(step, request, summary)
        except ActivityError as error:
            if is_cancelled_exception(error):
                raise
            raise refused(message_of(error), type_of(error)) from error


def _act_text(act: Act) -> str:
    return f"{act.operator}: {act.reason}"


def _check_act(act: Act) -> None:
    # As for an activation: the converter lets a null pass unread.
    if not isinstance(act, Act):  # pyright: ignore[reportUnnecessaryIsInstance]  # a null is not
        raise refused("who acts and why is missing", "BadAct")
