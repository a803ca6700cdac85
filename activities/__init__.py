"""The steps of the service: thin, idempotent, and the only code between Temporal and the ledger."""

from collections.abc import Callable
from typing import Any

from activities.compute import ComputeStep
from activities.credit import CreditStep
from activities.end_enrolment import EndEnrolmentStep
from activities.enrol import EnrolStep
from activities.recall import RecallStep
from activities.snapshot import SnapshotStep
from ledger.engine import Ledger


def all_activities(ledger: Ledger) -> list[Callable[..., Any]]:
    """Every activity, on one ledger, for a worker."""
    return [
        RecallStep(ledger).recall,
        EnrolStep(ledger).enrol,
        SnapshotStep(ledger).snapshot,
        ComputeStep(ledger).compute,
        CreditStep(ledger).credit,
        EndEnrolmentStep(ledger).end_enrolment,
    ]
