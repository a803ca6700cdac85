"""The terms of days that have begun, as an open ledger keeps them in memory."""

from dataclasses import dataclass
from datetime import date, datetime

from staking.program import Program

_DAYS_REMEMBERED_MAX = 100


@dataclass(frozen=True)
class ProgramVersion:
    """A program as it was applied."""

    version: int
    program: Program
    applied_at: datetime


class ProgramMemory:
    """The program version in force on each day that was asked for. It belongs to one ledger.

    Only days that have begun are kept: their terms never change any more (I7).
    """

    def __init__(self) -> None:
        self._of_day: dict[date, ProgramVersion] = {}

    def find(self, day: date) -> ProgramVersion | None:
        """The version that was in force on a day; None if it is not in memory."""
        return self._of_day.get(day)

    def keep(self, day: date, version: ProgramVersion) -> None:
        """Remembers a day's version. If there are too many days, all others are forgotten."""
        if len(self._of_day) >= _DAYS_REMEMBERED_MAX:
            self._of_day.clear()
        self._of_day[day] = version
