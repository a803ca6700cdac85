"""What operators filter workflows by. Typed, never encrypted, and written only when they change.

A server must know them before a workflow may write them (``workflows/setup.py``); a run writes them only if its
worker saw that at its start (``SearchAttributeUse``).
"""

from typing import Any

from temporalio.common import (
    SearchAttributeKey,
    SearchAttributeUpdate,
    TypedSearchAttributes,
)

from staking.models import End, Hold, SearchAttributeUse

EARNING, WAITING_FOR_POOL, BLOCKED, ENDED = "earning", "waiting_for_pool", "blocked", "ended"
"""Where a user's loop stands; ``earning`` where nothing is in its way."""

STATE = SearchAttributeKey.for_keyword("SoftStakingState")
REGION = SearchAttributeKey.for_keyword("SoftStakingRegion")
HELD = SearchAttributeKey.for_bool("SoftStakingHeld")
END_REASON = SearchAttributeKey.for_keyword("SoftStakingEndReason")
ALL_KEYS = (STATE, REGION, HELD, END_REASON)

DEACTIVATED, REGION_RESTRICTED = "deactivated", "region_restricted"
"""All that is told of an end's reason where histories are encrypted."""

_LENGTH_MAX = 255
"""Of a keyword, in the databases behind Temporal."""


def changes(
    written: TypedSearchAttributes,
    use: SearchAttributeUse,
    *,
    state: str | None,
    region: str | None,
    hold: Hold | None,
    end: End | None,
) -> list[SearchAttributeUpdate[Any]]:
    """What must be written; ``end`` is that of a user with no open enrolment. No state: never enrolled."""
    if use is SearchAttributeUse.NONE:
        return []
    tells_terms = use is SearchAttributeUse.ALL
    end_reason = end and _end_reason(end.reason, in_full=tells_terms)
    updates: list[SearchAttributeUpdate[Any]] = []
    for key, value in (
        (STATE, state),
        (REGION, region if tells_terms else None),
        (END_REASON, end_reason),
    ):
        if written.get(key) != value:
            updates.append(key.value_unset() if value is None else key.value_set(value))
    if written.get(HELD) != (hold is not None):
        updates.append(HELD.value_set(hold is not None))
    return updates


def _end_reason(reason: str, *, in_full: bool) -> str:
    """In full, or only its kind: what follows the colon of a rule's reason names a region."""
    if in_full:
        return reason[:_LENGTH_MAX]
    return REGION_RESTRICTED if reason.startswith(f"{REGION_RESTRICTED}:") else DEACTIVATED
