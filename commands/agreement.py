"""Whether a user's workflow and the ledger that a command reads have the same enrolment.

They do, unless the worker writes to another ledger than the one that the command was pointed at.
"""

import asyncio
from collections.abc import Awaitable, Callable

from contract.live_status import LiveStatus
from ledger.database.engine import Ledger
from ledger.enrolments import is_recorded
from ledger.reading.recollection import unfinished_of
from temporal.client import SoftStakingClient

_LOOKS = 10
_LOOK_AGAIN_S = 0.3
"""A step is in the ledger a moment before its workflow gets the answer. After this time they agree."""


async def disagreement(
    ledger: Ledger, user_id: str, live: LiveStatus, look_again: Callable[[], Awaitable[LiveStatus | None]]
) -> str | None:
    """How the workflow contradicts the ledger, as a sentence; None if they agree, or the workflow has ended.

    ``look_again`` asks the workflow anew.
    """
    told = await _difference(ledger, user_id, live)
    for _ in range(_LOOKS):
        if told is None or not await _is_recorded(ledger, live.enrolment_id):
            break
        await asyncio.sleep(_LOOK_AGAIN_S)
        again = await look_again()
        if again is None:
            return None
        live = again
        told = await _difference(ledger, user_id, live)
    return told and f"{told}: {another_ledger(ledger)}"


async def disagreement_once_started(ledger: Ledger, user_id: str, client: SoftStakingClient) -> str | None:
    """The same for a workflow that was just started because the ledger has something unfinished."""
    live = await client.status(user_id)
    told = live and await disagreement(ledger, user_id, live, lambda: client.status(user_id))
    if told or await client.is_running(user_id):
        return told
    async with ledger.read() as connection:
        if not (await unfinished_of(connection, user_id)).enrolments:
            return None
    return f"the workflow of {user_id} has found nothing to do and ended: {another_ledger(ledger)}"


async def is_of_another_ledger(ledger: Ledger, enrolment_id: str | None) -> bool:
    """Whether a workflow has an enrolment that is not in this ledger. An enrolment is always recorded in the
    ledger first."""
    return not await _is_recorded(ledger, enrolment_id)


def another_ledger(ledger: Ledger) -> str:
    """What may be wrong, and what to do."""
    return (
        f"the worker may use another ledger than {ledger.where}, which this command looked at, or that one was "
        "restored from an earlier backup: name the same with SOFT_STAKING_DATA_DIR or SOFT_STAKING_DATABASE_URL"
    )


async def _is_recorded(ledger: Ledger, enrolment_id: str | None) -> bool:
    if enrolment_id is None:
        return True
    async with ledger.read() as connection:
        return await is_recorded(connection, enrolment_id)


async def _difference(ledger: Ledger, user_id: str, live: LiveStatus) -> str | None:
    async with ledger.read() as connection:
        recalled = await unfinished_of(connection, user_id)
    unfinished = [enrolment.receipt.enrolment_id for enrolment in recalled.enrolments]
    if live.enrolment_id in unfinished or (live.enrolment_id is None and not unfinished):
        return None
    theirs = f"is at enrolment {live.enrolment_id}" if live.enrolment_id else "has no enrolment to work on"
    if not unfinished:
        ours = "of which the ledger has none that is unfinished"
    else:
        ours = f"and the ledger at {unfinished[0]}" if live.enrolment_id else f"and the ledger has {unfinished[0]}"
    return f"the workflow of {user_id} {theirs}, {ours}"
