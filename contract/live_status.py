"""What only a running workflow knows of its user."""

from datetime import date

from contract.acts import Hold
from staking.models import Instant, Model

SLEEPING = "sleeping"
"""The state of a loop that waits for the end of a day, and whose user is owed nothing."""


class Blocked(Model):
    """A step that waits for an operator's ``retry``, since no repetition by itself mends what it failed with."""

    step: str
    day: date
    message: str


class LiveStatus(Model):
    """What only the workflow knows. Closed days, totals and holdings come from the ledger."""

    state: str
    """``starting``, ``sleeping``, ``processing``, ``waiting for pool <assets>``, ``blocked``, ``held`` or
    ``idle``."""
    enrolment_id: str | None
    day_in_progress: date | None
    """The day for whose end the loop waits, or that is being processed."""
    next_boundary: Instant | None
    """The first boundary still to come."""
    blocked: Blocked | None = None
    hold: Hold | None = None
