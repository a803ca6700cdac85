"""A consumer that may be killed: ``consumer_process.py URL TOPIC GROUP BROKERS``. SIGTERM drains it."""

import asyncio
import sys
from datetime import UTC, datetime

from temporalio.runtime import Runtime

from ledger.database.engine import open_ledger
from ledger.feed.topics import TopicFeed
from running.process import stop_signal
from settings import Settings
from streaming.connection import configuration
from streaming.feed import KafkaFeed
from telemetry.feed_metrics import FeedMetrics

SESSION_TIMEOUT_S = 6.0
"""The shortest that Apache Kafka allows: so long others wait for one that was killed."""


async def _consume(url: str, topic: str, group: str, brokers: str) -> None:
    async with open_ledger(url) as ledger:
        metrics = FeedMetrics(Runtime.default().metric_meter, topic)
        feed = KafkaFeed(ledger, TopicFeed(topic, group), metrics, lambda: datetime.now(UTC), stop_signal())
        await feed.run(configuration(Settings(), brokers), session_timeout_s=SESSION_TIMEOUT_S)


if __name__ == "__main__":
    asyncio.run(_consume(*sys.argv[1:]))
