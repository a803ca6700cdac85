"""Which sources are late, in memory for some seconds: users who wait for them ask again and again."""

import time
from collections.abc import Callable
from datetime import date

from staking.models import SourceLate

KEPT_S = 5
"""A source's report is seen by all processes at most this much later."""


class LateSources:
    """The sources that were late when they were last read. That no source is late is never kept."""

    def __init__(self, clock_s: Callable[[], float] = time.monotonic) -> None:
        self._clock_s = clock_s
        self._known: SourceLate | None = None
        self._read_at_s = 0.0

    def keep(self, known: SourceLate) -> None:
        """Keeps what was just read."""
        self._known, self._read_at_s = known, self._clock_s()

    def forget(self) -> None:
        """Forgets what was read, since this process has changed it."""
        self._known = None

    def known_of(self, day: date) -> SourceLate | None:
        """The sources that were late for a day some seconds ago; None if that is not known any more."""
        if self._known is None or self._known.day != day or self._clock_s() - self._read_at_s > KEPT_S:
            return None
        return self._known
