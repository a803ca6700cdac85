"""The search attributes by which operators filter workflows. They are typed, never encrypted, and written only
when they change.

A server must know them before a workflow may write them (``temporal/setup.py``); a run writes them only if its
worker saw that at its start (``SearchAttributeUse``).
"""

from typing import Any

from temporalio.common import (
    SearchAttributeKey,
    SearchAttributeUpdate,
    TypedSearchAttributes,
)

from contract.acts import Hold
from contract.answers import End
from contract.recollection import Noted, Recollection, SearchAttributeUse

EARNING, WAITING_FOR_POOL, WAITING_FOR_SOURCE = "earning", "waiting_for_pool", "waiting_for_source"
BLOCKED, ENDED = "blocked", "ended"
"""The states of a user's loop. It is ``earning`` where nothing is in its way."""
REFUSED = "refused"
"""The state of a user who was never enrolled: the activation was refused, and the run did nothing else."""

STATE = SearchAttributeKey.for_keyword("SoftStakingState")
REGION = SearchAttributeKey.for_keyword("SoftStakingRegion")
HELD = SearchAttributeKey.for_bool("SoftStakingHeld")
END_REASON = SearchAttributeKey.for_keyword("SoftStakingEndReason")
ALL_KEYS = (STATE, REGION, HELD, END_REASON)

DEACTIVATED, REGION_RESTRICTED = "deactivated", "region_restricted"
"""The only reasons of an end that are shown where histories are encrypted."""

_LENGTH_MAX = 255
"""How many characters of a keyword the databases behind Temporal take."""


def as_noted(
    before: Noted,
    use: SearchAttributeUse,
    *,
    state: str | None,
    region: str | None,
    hold: Hold | None,
    end: End | None,
) -> Noted:
    """What the search attributes should say by now, in place of ``before``.

    ``state`` is None for a user who was never enrolled. ``end`` is the last end of a user without an open
    enrolment, and None for any other user.
    """
    if use is SearchAttributeUse.NONE:
        return before
    tells_terms = use is SearchAttributeUse.ALL
    return Noted(
        state=state,
        region=region if tells_terms else None,
        held=hold is not None,
        end_reason=end and _end_reason(end.reason, in_full=tells_terms),
    )


def changes(before: Noted, after: Noted, *, anew: bool = False) -> list[SearchAttributeUpdate[Any]]:
    """The values that must be written; with ``anew`` also those that were written before and may be lost."""
    updates: list[SearchAttributeUpdate[Any]] = []
    for key, was, value in (
        (STATE, before.state, after.state),
        (REGION, before.region, after.region),
        (END_REASON, before.end_reason, after.end_reason),
    ):
        if value is None:
            updates += [key.value_unset()] if was is not None else []
        elif anew or was != value:
            updates.append(key.value_set(value))
    if after.held is not None and (anew or before.held != after.held):
        updates.append(HELD.value_set(after.held))
    return updates


def noted_before(carried: Recollection, shown: TypedSearchAttributes) -> Noted:
    """What earlier runs have written, for a run that does not carry it.

    It follows from what was carried, but for the state of a loop that met an obstacle last. ``shown`` is what the
    run's first event shows. That depends on the names that the namespace has today: an attribute that was removed,
    renamed or given another type since is missing.
    """
    still_open = carried.open_enrolment
    latest = still_open or carried.first_unfinished
    return as_noted(
        Noted(),
        carried.settings.search_attributes,
        state=shown.get(STATE) or (EARNING if latest else ENDED),
        region=latest and latest.region,
        hold=carried.hold,
        end=None if still_open else carried.last_end,
    )


def _end_reason(reason: str, *, in_full: bool) -> str:
    """The reason of an end, or only its kind, since a rule's reason names a region after its colon."""
    if in_full:
        return reason[:_LENGTH_MAX]
    return REGION_RESTRICTED if reason.startswith(f"{REGION_RESTRICTED}:") else DEACTIVATED
