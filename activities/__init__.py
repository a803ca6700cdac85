"""The steps of the service, as Temporal's activities."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

from activities.ledger_steps import Steps
from contract.recollection import DAYS_PER_RUN, SearchAttributeUse
from ledger.database.engine import Ledger


def all_activities(
    ledger: Ledger,
    *,
    spread: timedelta = timedelta(),
    search_attributes: SearchAttributeUse = SearchAttributeUse.NONE,
    days_per_run: int = DAYS_PER_RUN,
) -> list[Callable[..., Any]]:
    """Every activity, on one ledger, for a worker. The settings are those of the runs that start on it."""
    steps = Steps(ledger, spread, search_attributes, days_per_run)
    return [
        steps.recall,
        steps.enrol,
        steps.snapshot,
        steps.compute,
        steps.credit,
        steps.end_enrolment,
        steps.hold,
        steps.release,
    ]
