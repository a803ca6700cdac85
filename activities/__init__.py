"""The steps of the service: thin, idempotent, and the only code between Temporal and the ledger."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

from activities.compute import ComputeStep
from activities.credit import CreditStep
from activities.end_enrolment import EndEnrolmentStep
from activities.enrol import EnrolStep
from activities.hold import HoldStep
from activities.recall import RecallStep
from activities.snapshot import SnapshotStep
from ledger.engine import Ledger
from staking.models import DAYS_PER_RUN, SearchAttributeUse


def all_activities(
    ledger: Ledger,
    *,
    spread: timedelta = timedelta(),
    search_attributes: SearchAttributeUse = SearchAttributeUse.NONE,
    days_per_run: int = DAYS_PER_RUN,
) -> list[Callable[..., Any]]:
    """Every activity, on one ledger, for a worker. The settings are those of the runs that start on it."""
    return [
        RecallStep(ledger, spread, search_attributes, days_per_run).recall,
        EnrolStep(ledger).enrol,
        SnapshotStep(ledger).snapshot,
        ComputeStep(ledger).compute,
        CreditStep(ledger).credit,
        EndEnrolmentStep(ledger).end_enrolment,
        HoldStep(ledger).hold,
        HoldStep(ledger).release,
    ]
