"""How a feed stands: what keeps it from posting what comes, said once when it begins and once when it ends."""

import logging
from collections.abc import Callable
from typing import Literal, TypeAlias

Of: TypeAlias = Literal["brokers", "group", "offsets", "ledger"]
_log = logging.getLogger("soft_staking.feed")


class Standing:
    """What is wrong now. Anyone may ask for it, so it says nothing about where brokers and ledger are; the log
    does."""

    def __init__(self, clock_s: Callable[[], float]) -> None:
        self._clock_s = clock_s
        self._problems: dict[Of, str] = {
            "brokers": "the brokers have not answered yet",
            "group": "this consumer has not joined its group yet",
        }
        self._said: set[Of] = set()
        self._went_on_at_s = clock_s()

    def goes_on(self) -> None:
        """The feed has read, tried or waited knowingly just now."""
        self._went_on_at_s = self._clock_s()

    def fails(self, of: Of, sentence: str, detail: object = "") -> None:
        """What hinders it from now on; the detail is for the log alone."""
        if self._problems.get(of) != sentence:
            self._problems[of] = sentence
            self._said.add(of)
            _log.warning("%s", f"{sentence}: {detail}" if detail else sentence)

    def works(self, of: Of) -> None:
        """It is not hindered by this any more."""
        sentence = self._problems.pop(of, None)
        if of in self._said:
            self._said.discard(of)
            _log.warning("it is over: %s", sentence)

    def not_ready(self) -> list[str]:
        """What keeps it from posting what comes."""
        return list(self._problems.values())

    def not_live(self, limit_s: float) -> list[str]:
        """That it stands still for a reason that it does not know."""
        stands_s = self._clock_s() - self._went_on_at_s
        return [f"the feed has stood still for more than {limit_s:.0f} s"] if stands_s > limit_s else []
