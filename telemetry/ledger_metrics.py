"""What the ledger does, and what an operator watches in it, as metrics."""

import asyncio
import logging
import time
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Literal

from temporalio.common import MetricMeter

from ledger.database.engine import Ledger
from ledger.errors import LedgerUnavailable
from ledger.events.readers import unread_since
from ledger.reading.fleet import FleetFigures, SourceFigures, fleet_figures
from staking.models import CreditReceipt, RewardLine
from telemetry.runtime import LEDGER_BATCH_REQUESTS, LEDGER_TRANSACTION_SECONDS

READ_EVERY_S = 30
READ_EVERY_S_MAX = 300
_READ_WITHIN_S = 300
"""The limit for a reading, since nobody waits for it who could interrupt it."""
_REST_PER_READING = 50
"""After a reading there is a pause this many times as long, within these bounds, so that a large ledger is read
seldom."""
_log = logging.getLogger("soft_staking.ledger")


class LedgerMetrics:
    """Counts what a ledger does. Each credit counts once, in the process that committed it."""

    def __init__(self, meter: MetricMeter) -> None:
        self._transaction = meter.create_histogram_float(
            LEDGER_TRANSACTION_SECONDS, "Transactions of the ledger, with their waiting for a turn, by kind"
        )
        self._batch = meter.create_histogram(
            LEDGER_BATCH_REQUESTS, "Steps of different users that one transaction answered"
        )
        self._credits = meter.create_counter("soft_staking_credits", "Days credited")
        self._late_credits = meter.create_counter("soft_staking_late_credits", "Days credited late (rule 11)")
        self._rewards = meter.create_counter("soft_staking_reward_units", "Rewards credited, in 1e-8 tokens")
        # Prometheus sees no increase in a counter that appears with its first value.
        self._credits.add(0)
        self._late_credits.add(0)

    def transaction(self, kind: Literal["read", "write"], duration_s: float) -> None:
        self._transaction.record(duration_s, {"kind": kind})

    def batch(self, request_count: int) -> None:
        self._batch.record(request_count)

    def credited(self, receipt: CreditReceipt, lines: Sequence[RewardLine]) -> None:
        self._credits.add(1)
        if receipt.late:
            self._late_credits.add(1)
        for line in lines:
            self._rewards.add(line.reward, {"asset": line.asset})


class _Gauges:
    def __init__(self, meter: MetricMeter) -> None:
        self._owed_days = meter.create_gauge("soft_staking_owed_days", "Days that are over and not credited yet")
        self._owed_users = meter.create_gauge("soft_staking_owed_users", "Users who are owed a day")
        self._waits = meter.create_gauge_float(
            "soft_staking_oldest_owed_day_age_seconds",
            "Since the oldest owed day of a user who is not held was over, back-dated ones left out; 0 if none is",
        )
        self._held = meter.create_gauge("soft_staking_held_users", "Users whose loop an operator holds")
        self._refused_movements = meter.create_gauge(
            "soft_staking_refused_movements", "Movements of feeds that could not be posted, and wait"
        )
        self._behind = meter.create_gauge_float(
            "soft_staking_source_behind_seconds", "Since the instant through which a source is complete"
        )
        self._late = meter.create_gauge_float(
            "soft_staking_source_late_seconds",
            "Since the end of the first day that is not closed because of a source; 0 if there is none",
        )
        self._sources: set[str] = set()
        # Prometheus keeps every number as a double, and the balances of several pool accounts may exceed 64 bits
        # together.
        self._balance = meter.create_gauge_float(
            "soft_staking_pool_balance_units", "In the reward pool, in 1e-8 tokens"
        )
        self._days_left = meter.create_gauge_float(
            "soft_staking_pool_left_days",
            "The pool's balance, less what waits for it, by its average daily outflow of the last 7 days",
        )
        self._waiting = meter.create_gauge(
            "soft_staking_waiting_users", "Users whose closed day is held back since the pool cannot pay it"
        )
        self._missing = meter.create_gauge_float(
            "soft_staking_pool_missing_units", "What the pool lacks to pay the days that wait, in 1e-8 tokens"
        )
        self._unread = meter.create_gauge_float(
            "soft_staking_unread_event_age_seconds",
            "Since the oldest event was recorded that a live reader has not had; 0 if each has had all",
        )
        self._read_at = meter.create_gauge_float(
            "soft_staking_ledger_read_timestamp_seconds", "When these gauges were last read from the ledger"
        )

    def show(self, found: FleetFigures, oldest_unread: datetime | None, now: datetime) -> None:
        for held, owed in (("false", found.owed), ("true", found.owed_to_held)):
            self._owed_days.set(owed.promised_days, {"held": held, "back_dated": "false"})
            self._owed_days.set(owed.back_dated_days, {"held": held, "back_dated": "true"})
            self._owed_users.set(owed.users, {"held": held})
        self._waits.set(found.owed.waits_for(now).total_seconds())
        self._held.set(found.held_users)
        waiting = found.to_be_tried_again
        self._refused_movements.set(waiting, {"tried_again": "true"})
        self._refused_movements.set(found.refused_movements - waiting, {"tried_again": "false"})
        self._show_sources(found.sources)
        for asset, pool in found.pools.items():
            self._balance.set(float(pool.balance), {"asset": asset})
            self._days_left.set(pool.days_left, {"asset": asset})
            self._waiting.set(pool.waiting_users, {"asset": asset})
            self._missing.set(float(pool.missing), {"asset": asset})
        self._unread.set((now - oldest_unread).total_seconds() if oldest_unread else 0)
        self._read_at.set(now.timestamp())

    def _show_sources(self, sources: Mapping[str, SourceFigures]) -> None:
        # A gauge keeps its last value, so the gauges of a source that was removed are set to 0.
        seconds = dict.fromkeys(self._sources, (0.0, 0.0)) | {
            name: (source.behind.total_seconds(), source.late.total_seconds()) for name, source in sources.items()
        }
        for name, (behind_s, late_s) in seconds.items():
            self._behind.set(behind_s, {"source": name})
            self._late.set(late_s, {"source": name})
        self._sources |= seconds.keys()


@asynccontextmanager
async def watching(ledger: Ledger, meter: MetricMeter, now: Callable[[], datetime]) -> AsyncGenerator[None]:
    """Shows what an operator watches, read from the ledger again and again, until the context is left."""
    task = asyncio.create_task(_watch(ledger, _Gauges(meter), now))
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def _watch(ledger: Ledger, gauges: _Gauges, now: Callable[[], datetime]) -> None:
    while True:
        began_s = time.monotonic()
        try:
            instant = now()
            async with asyncio.timeout(_READ_WITHIN_S):
                found = await fleet_figures(ledger, instant)
                oldest_unread = await unread_since(ledger, now=instant)
            gauges.show(found, oldest_unread, instant)
        except LedgerUnavailable:
            # The gauges keep their last values, and one of them says when these were read.
            _log.warning("the ledger's gauges could not be read", exc_info=True)
        except Exception:
            _log.exception("the ledger's gauges could not be read")
        took_s = time.monotonic() - began_s
        await asyncio.sleep(min(max(READ_EVERY_S, _REST_PER_READING * took_s), READ_EVERY_S_MAX))
