"""Somebody has to notice that nothing happened: days that are owed past their deadline are told as events."""

import asyncio
import logging
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from datetime import datetime

from ledger.database.engine import Ledger
from ledger.errors import LedgerUnavailable
from ledger.events.delayed import tell_of_delayed_days

LOOKS_EVERY_S = 60
LOOKS_EVERY_S_MAX = 300
_REST_PER_LOOK = 50
"""After a look there is a pause this many times as long, within these bounds, as with the ledger's gauges."""
_WITHIN_S = 300
_log = logging.getLogger("soft_staking.ledger")


@asynccontextmanager
async def telling_of_delays(ledger: Ledger, now: Callable[[], datetime]) -> AsyncGenerator[None]:
    """Tells of delayed days, again and again, until the context is left."""
    task = asyncio.create_task(_tell(ledger, now))
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def _tell(ledger: Ledger, now: Callable[[], datetime]) -> None:
    while True:
        began_s = time.monotonic()
        try:
            async with asyncio.timeout(_WITHIN_S):
                await tell_of_delayed_days(ledger, now=now())
        except (LedgerUnavailable, TimeoutError):
            _log.warning("delayed days could not be told", exc_info=True)
        except Exception:
            _log.exception("delayed days could not be told")
        took_s = time.monotonic() - began_s
        await asyncio.sleep(min(max(LOOKS_EVERY_S, _REST_PER_LOOK * took_s), LOOKS_EVERY_S_MAX))
