"""What only a running workflow knows of its user."""

from collections.abc import Sequence
from datetime import date

from contract.acts import Hold
from staking.models import Instant, Model

SLEEPING = "sleeping"
"""The state of a loop that waits until a day is over and it is the user's turn."""

WAITING_FOR_POOL = "waiting for pool"
WAITING_FOR_SOURCE = "waiting for source"
"""How the states begin in which a loop waits; the names of what it waits for follow."""


def waiting(words: str, names: Sequence[str]) -> str:
    """The state of a loop that waits for these pools or sources."""
    return f"{words} {', '.join(names)}"


def waited_for(state: str, words: str) -> list[str]:
    """The names in a state that ``waiting`` made with these words; an empty list for any other state."""
    names = state.removeprefix(f"{words} ")
    return [] if names == state else names.split(", ")


class Blocked(Model):
    """A step that waits for an operator's ``retry``, since no repetition by itself mends what it failed with."""

    step: str
    day: date
    message: str


class LiveStatus(Model):
    """What only the workflow knows. Closed days, totals and holdings come from the ledger."""

    state: str
    """``starting``, ``sleeping``, ``processing``, ``blocked``, ``held``, ``idle``, or what ``waiting`` makes."""
    enrolment_id: str | None
    day_in_progress: date | None
    """The day whose steps come next or are being taken; with a spread it may be over already."""
    next_boundary: Instant | None
    """The first boundary still to come."""
    blocked: Blocked | None = None
    hold: Hold | None = None
