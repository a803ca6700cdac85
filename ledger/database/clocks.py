"""Compares the recording clock with the database's: one of several machines may have a wrong clock unnoticed.

If a clock is ahead, what is recorded counts from that later instant, and so does everything that the user does
until then.
"""

from datetime import datetime, timedelta

APART_MAX = timedelta(seconds=5)
"""The largest difference that is allowed, as for the clock of a source."""


def apart(before: datetime, there: datetime, after: datetime) -> timedelta:
    """By how much our clock is ahead of the database's; negative if it is behind. The database's clock was read
    between two readings of ours. The result is zero if the database's clock was between these two."""
    if there < before:
        return before - there
    return min(after - there, timedelta())


def problem_of(before: datetime, there: datetime, after: datetime) -> str | None:
    """A sentence if the two clocks differ by more than is allowed; else None."""
    difference = apart(before, there, after)
    if abs(difference) <= APART_MAX:
        return None
    return (
        f"the clock of this machine says {_shown(after)} and that of the ledger's database {_shown(there)}: "
        f"nothing is written while they differ by more than {APART_MAX.seconds} s; set the wrong one right"
    )


def _shown(instant: datetime) -> str:
    return f"{instant:%Y-%m-%d %H:%M:%S} UTC"
