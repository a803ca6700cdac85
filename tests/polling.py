"""The one way in which tests wait for something that gives no signal. They look again and again, until a deadline
that only a failing test reaches."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import TypeVar

PATIENCE = timedelta(seconds=180)
LOOK_AGAIN_S = 0.02
_Found = TypeVar("_Found")


async def eventually(look: Callable[[], Awaitable[_Found]], what: str = "") -> _Found:
    """Returns what ``look`` finds, as soon as it finds something. ``what`` says in a failure what was waited
    for."""
    looks = _Looks(what or getattr(look, "__qualname__", repr(look)))
    while not (found := await look()):  # noqa: ASYNC110  # nothing tells it
        await asyncio.sleep(looks.pause_s())
    return found


def wait_until(look: Callable[[], _Found], what: str = "") -> _Found:
    """``eventually``, for tests without an event loop."""
    looks = _Looks(what or getattr(look, "__qualname__", repr(look)))
    while not (found := look()):
        time.sleep(looks.pause_s())
    return found


class _Looks:
    """How many looks there were so far, and how long the waiting has taken."""

    def __init__(self, what: str) -> None:
        self._what = what
        self._began_s = time.monotonic()
        self._deadline_s = self._began_s + PATIENCE.total_seconds()

    def pause_s(self) -> float:
        """How long to wait before the next look. It is at least as long as the last look took.

        A look takes time from the process that is waited for.
        """
        now_s = time.monotonic()
        assert now_s < self._deadline_s, f"not within {PATIENCE.total_seconds():.0f} s: {self._what}"
        pause_s = max(LOOK_AGAIN_S, now_s - self._began_s)
        self._began_s = now_s + pause_s
        return pause_s
