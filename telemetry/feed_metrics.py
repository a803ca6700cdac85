"""A topic that is read as a feed, as metrics."""

from collections import Counter
from collections.abc import Mapping
from datetime import datetime

from temporalio.common import MetricMeter

KINDS = ("posted", "repeated", "refused", "mark", "unreadable")


class FeedMetrics:
    """What is read of one topic, and how far behind that is."""

    def __init__(self, meter: MetricMeter, topic: str) -> None:
        self._topic = topic
        self._messages = meter.create_counter(
            "soft_staking_feed_messages", "What came from a topic, by what became of it; a movement counts as one"
        )
        self._lag = meter.create_gauge(
            "soft_staking_feed_lag_messages", "Messages of a partition that are not posted yet"
        )
        self._lag_s = meter.create_gauge_float(
            "soft_staking_feed_lag_seconds",
            "How long ago the next message to post was written, about; 0 if all is",
        )
        self._answered_at = meter.create_gauge_float(
            "soft_staking_feed_answered_timestamp_seconds", "When the brokers last told of the topic"
        )
        self._shown: set[int] = set()
        # Prometheus sees no increase in a counter that appears with its first value.
        for kind in KINDS:
            self._messages.add(0, {"topic": topic, "kind": kind})

    def came(self, kinds: Counter[str]) -> None:
        for kind, count in kinds.items():
            self._messages.add(count, {"topic": self._topic, "kind": kind})

    def answered(self, now: datetime) -> None:
        self._answered_at.set(now.timestamp(), {"topic": self._topic})

    def behind(self, lags: Mapping[int, tuple[int, float]]) -> None:
        """By partition that this process has: messages and seconds. Others that it had are others' now."""
        for partition in self._shown | lags.keys():
            messages, seconds = lags.get(partition, (0, 0.0))
            labels = {"topic": self._topic, "partition": str(partition)}
            self._lag.set(messages, labels)
            self._lag_s.set(seconds, labels)
        self._shown = set(lags)
