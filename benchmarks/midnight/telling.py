"""Sentences for the person who waits for a measurement."""

import sys
from time import monotonic

_TOLD_EVERY_S = 2


def say(sentence: str) -> None:
    """Prints a sentence on stderr, so that stdout has only the figures."""
    print(sentence, file=sys.stderr, flush=True)


class Progress:
    """Prints every 2 s how far something has come. If it is done sooner, nothing is printed."""

    def __init__(self, what: str, total: int) -> None:
        self._what = what
        self._total = total
        self._told_at_s = monotonic()

    def reaches(self, done: int) -> None:
        """Sets how many are done by now."""
        if done < self._total and monotonic() - self._told_at_s >= _TOLD_EVERY_S:
            self._told_at_s = monotonic()
            say(f"  {done:,} of {self._total:,} users {self._what}")
