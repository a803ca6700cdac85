"""Whether a process lives and can do its work.

Anyone may ask, so the answer says what is away, and nothing about where it is, nor about any user.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence

from temporalio.api.workflowservice.v1 import GetSystemInfoRequest
from temporalio.client import Client

from ledger.database.engine import Ledger, schema_of
from ledger.errors import ClockIsWrong

ANSWERS_WITHIN_S = 3.0
"""The limit for Temporal and the ledger, which are asked at the same time. The timeout of a probe must be
longer."""
STANDS_STILL_AFTER_S = 15.0
"""A request to the ledger gets its answer, or learns that the ledger is away, sooner than this."""
_BEYOND_HELP_AFTER_S = 60.0
_ASKED_AGAIN_AFTER_S = 1.0
"""However many requests come, Temporal and the ledger are asked at most once in this time."""

Problems = Callable[[], Sequence[str]]
"""What is wrong now, in one sentence each; nothing, if all is well."""


def _none() -> Sequence[str]:
    return ()


class Health:
    """Live: the process answers. Ready: the ledger and Temporal answer it too, and nothing else is in the way.

    Without a client it is the health of a process that does not need Temporal.
    """

    def __init__(
        self,
        ledger: Ledger,
        client: Client | None,
        *,
        not_live: Problems = _none,
        not_ready: Problems = _none,
        stands_still_after_s: float = STANDS_STILL_AFTER_S,
        beyond_help_after_s: float = _BEYOND_HELP_AFTER_S,
    ) -> None:
        self._ledger = ledger
        self._stands_still_after_s, self._beyond_help_after_s = stands_still_after_s, beyond_help_after_s
        self._checks = [_problem_of_ledger(ledger), *([_problem_of_temporal(client)] if client else [])]
        self._asking = asyncio.Lock()
        self._asked_at = -_ASKED_AGAIN_AFTER_S
        self._away: Sequence[str] = ()
        self._not_live = not_live
        self._not_ready = not_ready

    def not_live(self) -> list[str]:
        """Problems that only a restart of this process will solve."""
        return [*self._not_live(), *self._standing_still(self._beyond_help_after_s)]

    async def not_ready(self) -> list[str]:
        """What keeps this process from working now, as of a second ago at most."""
        async with self._asking:
            if time.monotonic() - self._asked_at >= _ASKED_AGAIN_AFTER_S:
                found = await asyncio.gather(*(check() for check in self._checks))
                self._away = [problem for problem in found if problem]
                self._asked_at = time.monotonic()
        return [*self._not_ready(), *self._standing_still(self._stands_still_after_s), *self._away]

    def _standing_still(self, limit_s: float) -> list[str]:
        stands_still = self._ledger.oldest_request_s() > limit_s
        return [f"requests to the ledger have waited for more than {limit_s:.0f} s"] if stands_still else []


_Check = Callable[[], Awaitable[str | None]]


def _problem_of_ledger(ledger: Ledger) -> _Check:
    async def ask() -> str | None:
        schema = await schema_of(ledger)
        try:
            ledger.check_clock()
        except ClockIsWrong as error:
            return str(error)
        return None if schema.is_current else "the ledger has another schema version than this program"

    return _in_time(ask, "the ledger does not answer")


def _problem_of_temporal(client: Client) -> _Check:
    async def ask() -> None:
        # The one call that needs no permission; a client that connects makes it too.
        await client.workflow_service.get_system_info(GetSystemInfoRequest())

    return _in_time(ask, "Temporal does not answer")


def _in_time(ask: _Check | Callable[[], Awaitable[None]], otherwise: str) -> _Check:
    async def check() -> str | None:
        try:
            async with asyncio.timeout(ANSWERS_WITHIN_S):
                return await ask()
        # Any error counts. Its text is not shown, since it may contain addresses.
        except Exception:
            return otherwise

    return check
