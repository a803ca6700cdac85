"""Rate limits: how much each subject may use in a minute, counted in this process."""

from collections import Counter
from datetime import datetime

_MINUTE_S = 60


class MinuteLimit:
    """Counts what each subject (an address, a key) has used since the minute began; each minute begins at zero."""

    def __init__(self, most: int) -> None:
        self.most = most
        self._used: Counter[str] = Counter()
        self._minute = 0

    def use(self, subject: str, weight: int, *, now: datetime) -> int:
        """Adds a weight. Answers everything that the subject has used, which may be over the limit."""
        minute = int(now.timestamp()) // _MINUTE_S
        if minute != self._minute:
            self._minute = minute
            self._used.clear()
        self._used[subject] += weight
        return self._used[subject]

    def is_over(self, used: int) -> bool:
        return used > self.most


def seconds_left(now: datetime) -> int:
    """Whole seconds until the minute is over, rounded up."""
    return _MINUTE_S - int(now.timestamp()) % _MINUTE_S
