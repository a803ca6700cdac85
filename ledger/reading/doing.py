"""What a user's loop does just now, as the workflow answers, or as it follows from the ledger."""

from dataclasses import dataclass
from datetime import date, datetime

from contract.live_status import SLEEPING, Blocked, LiveStatus
from ledger.reading.standing import Standing
from staking.days import end_of


@dataclass(frozen=True)
class Doing:
    """What a user's loop does. Instants and days are UTC."""

    state: str
    """A word of the workflow (``contract/live_status.py``), or ``not running``, ``ended``, ``not enrolled`` or
    ``unknown``."""
    day_in_progress: date | None = None
    next_boundary: datetime | None = None
    blocked: Blocked | None = None


UNKNOWN = Doing("unknown")
"""For a workflow that does not answer, or whose worker writes to another ledger."""


def doing(standing: Standing, live: LiveStatus | None) -> Doing:
    """What the workflow says that it does. ``live`` is None if there is no workflow."""
    if live is not None:
        return Doing(live.state, live.day_in_progress, live.next_boundary, live.blocked)
    if standing.enrolled or standing.owed_days:
        return Doing("not running")
    return Doing("ended" if standing.receipt else "not enrolled")


def may_be_at_work(standing: Standing) -> bool:
    """Whether the workflow has, or may have, anything to do before the next boundary.

    Then only the workflow knows how far it is, or what hinders it. In all other cases the ledger shows the state:
    the workflow sleeps, or there is none.
    """
    return bool(standing.is_behind or standing.owed_days or standing.hold or standing.restricted_since)


def doing_nothing(standing: Standing, today: date) -> Doing:
    """What the loop does of a user who cannot be at work."""
    return Doing(SLEEPING, today, end_of(today)) if standing.enrolled else doing(standing, None)
