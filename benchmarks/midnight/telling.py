"""What a person who waits reads meanwhile."""

import sys
from time import monotonic

_TOLD_EVERY_S = 2


def say(sentence: str) -> None:
    """On stderr, so that stdout has the figures alone."""
    print(sentence, file=sys.stderr, flush=True)


class Progress:
    """How far something has come, told every 2 s; what is done sooner is not told of."""

    def __init__(self, what: str, total: int) -> None:
        self._what = what
        self._total = total
        self._told_at_s = monotonic()

    def reaches(self, done: int) -> None:
        """So many by now."""
        if done < self._total and monotonic() - self._told_at_s >= _TOLD_EVERY_S:
            self._told_at_s = monotonic()
            say(f"  {done:,} of {self._total:,} users {self._what}")
