"""The recording clock beside the database's: one of several machines may have a wrong one, and would not know.

What is recorded on a clock that is ahead counts from then, and so does everything that its user does until then.
"""

from datetime import datetime, timedelta

APART_MAX = timedelta(seconds=5)
"""As much as a source's clock may be ahead."""


def apart(before: datetime, there: datetime, after: datetime) -> timedelta:
    """By how much the clock here is ahead of the database's, which was read between two readings of the one here;
    negative where it is behind, and nothing where it cannot be told from how long the reading took."""
    if there < before:
        return before - there
    return min(after - there, timedelta())


def problem_of(before: datetime, there: datetime, after: datetime) -> str | None:
    """A sentence if the two clocks differ by more than is borne."""
    difference = apart(before, there, after)
    if abs(difference) <= APART_MAX:
        return None
    return (
        f"the clock of this machine says {_shown(after)} and that of the ledger's database {_shown(there)}: "
        f"nothing is written while they differ by more than {APART_MAX.seconds} s; set the wrong one right"
    )


def _shown(instant: datetime) -> str:
    return f"{instant:%Y-%m-%d %H:%M:%S} UTC"
