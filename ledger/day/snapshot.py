"""The snapshot: one user's day is closed, and its holdings are fixed (rule 2, I4, I5)."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from contract.requests import SnapshotRequest
from ledger.database.program_memory import ProgramVersion
from ledger.database.rows import Row
from staking.day import ClosingFacts, DayFacts, check_order, close, closed_before, not_enrolled
from staking.models import Snapshot


@dataclass(frozen=True)
class Closing:
    """A day that is closed, and its rows."""

    snapshot: Snapshot
    record: Row
    """The row for the table ``days``."""
    holdings: Sequence[Row]
    """The rows for the table ``snapshots``."""


def repeated_or_refused(request: SnapshotRequest, facts: ClosingFacts | None, now: datetime) -> Snapshot | None:
    """What was fixed, to a repeat; None if the day is to be closed now.

    ``facts`` is None if the user is not known. Raises ContentDiffers, NotEnrolled or OutOfOrder if the day may not
    be closed.
    """
    if facts is None:
        raise not_enrolled(request)
    fixed = closed_before(request, facts)
    if fixed is None:
        check_order(request, facts, max(request.now, now))
    return fixed


def closing(
    request: SnapshotRequest, facts: ClosingFacts, of_day: DayFacts, program: ProgramVersion, now: datetime
) -> Closing:
    """Closes a day that may be closed."""
    assert facts.enrolment is not None, "check_order refuses a day without an enrolment"
    key: Row = {"user_id": request.user_id, "day": request.day}
    snapshot = close(of_day, program.program.assets)
    return Closing(
        snapshot,
        record={
            **key,
            "enrolment_id": request.enrolment_id,
            "program_version": program.version,
            "accrues": request.day >= facts.enrolment.first_accrual_day,
            "closed_at": max(request.now, now),
        },
        holdings=[
            {
                **key,
                "asset": holding.asset,
                "opening": holding.opening,
                "closing": holding.closing,
                "average": holding.average,
            }
            for holding in snapshot.holdings
        ],
    )
