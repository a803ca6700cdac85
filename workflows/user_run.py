"""A user's run in Temporal: what it knows of its user, how it recalls that, and how it publishes it.

The messages (``messages.py``) and the daily loop (``soft_staking.py``) are built on this.
"""

import asyncio
from contextlib import suppress

from temporalio import workflow
from temporalio.exceptions import ApplicationError

with workflow.unsafe.imports_passed_through():
    from contract.recollection import Noted, Recollection
    from contract.steps import RECALL, Answer, Request, Step
    from workflows import search_attributes, showing
    from workflows.executing import NotAtOnce, execute, execute_at_once
    from workflows.showing import LoopState, Starting


class UserRun:
    """What a run knows of its user, and what its messages and its loop share."""

    def __init__(self, user_id: str, carried: Recollection | None) -> None:
        self._user_id = user_id
        self._user = carried or Recollection(noted=Noted())
        if self._user.noted is None:
            shown = workflow.info().typed_search_attributes
            self._user = self._user.with_noted(search_attributes.noted_before(self._user, shown))
        self._state: LoopState = Starting()
        self._ledger_differs = False
        """A recall has found that the ledger does not stand where the loop believed, so the loop drops its day."""
        self._is_ready = carried is not None
        self._was_told_something = carried is not None
        self._was_refused = False
        self._one_message_at_a_time = asyncio.Lock()

    async def _execute(
        self, step: Step[Request, Answer], request: Request, summary: str, *, at_once: bool = False
    ) -> Answer:
        if at_once:
            with suppress(NotAtOnce):
                return await execute_at_once(step, request, summary)
        self._publish(details_only=True)
        return await execute(step, request, summary)

    async def _recall_since(self, generation: int) -> None:
        """Asks the ledger how the user stands, unless a message has done so since that recollection."""
        async with self._one_message_at_a_time:
            if self._user.generation == generation:
                await self._recall_again()

    async def _recall_again(self) -> None:
        self._take_over(await self._execute(RECALL, self._user_id, "where the ledger stands"))
        self._publish()

    def _take_over(self, recalled: Recollection) -> None:
        """The ledger decides what is true; the loop begins the day anew if that changes what it has to do."""
        self._ledger_differs |= recalled.differs_for_the_loop(self._user)
        self._user = self._user.superseded_by(recalled)

    def _publish(self, *, details_only: bool = False, anew: bool = False) -> None:
        """Shows operators how the user stands: in the current details, and in the search attributes.

        Writing search attributes is an event of the history. So only those that have changed are written, or all
        of them where ``anew`` is true, and what soon passes by itself is shown in the details only.
        """
        workflow.set_current_details(showing.current_details(self._user_id, self._user, self._state))
        if details_only:
            return
        before, after = self._user.noted or Noted(), showing.to_note(self._user, self._state)
        changes = search_attributes.changes(before, after, anew=anew)
        if changes:
            workflow.upsert_search_attributes(changes)  # pyright: ignore[reportUnknownMemberType]  # the SDK's is untyped
            self._user = self._user.with_noted(after)


def refused(message: str, type_name: str) -> ApplicationError:
    """The failure of a message, or of a whole run, that no repetition mends; ``message`` is for who asked."""
    return ApplicationError(message, type=type_name, non_retryable=True)
