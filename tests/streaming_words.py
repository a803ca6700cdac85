"""Topics in tests: short words for what an exchange's systems write."""

import json
import os
from collections.abc import Iterable, Sequence
from itertools import count
from typing import Any

from confluent_kafka import Producer

from benchmarks.brokers import QUIET, make_topic

PARTITIONS = 4
_numbers = count(1)


class Topic:
    """A topic that no other test knows, with four partitions, each of which begins with a message of its own."""

    def __init__(self, brokers: str, *, is_made: bool = False) -> None:
        self.name = f"movements-{os.getpid()}-{next(_numbers)}"
        self.brokers = brokers
        self._producer = Producer({"bootstrap.servers": brokers, "linger.ms": 5, **QUIET})
        if is_made:
            make_topic(brokers, self.name, partitions=PARTITIONS, replicas=len(brokers.split(",")))

    def write(self, values: Iterable[bytes | str | None], *, partition: int) -> None:
        """Messages in their order; the brokers have them afterwards."""
        for value in values:
            self._producer.produce(self.name, value=value, partition=partition)
            self._producer.poll(0)
        assert self._producer.flush(120) == 0, "the brokers did not take everything"

    def send(self, movements: Iterable[dict[str, Any]]) -> None:
        """A message for each movement, with its user as the key; the brokers have them afterwards."""
        for movement in movements:
            self._producer.produce(self.name, key=movement["user"], value=json.dumps(movement))
            self._producer.poll(0)
        assert self._producer.flush(120) == 0, "the brokers did not take everything"


def movement(user: str = "ann", amount: str = "1", **fields: str) -> dict[str, Any]:
    said = {"id": f"written {next(_numbers)}", "user": user, "asset": "SOL", "amount": amount}
    return said | {"at": "2026-10-01T10:00:00Z"} | fields


def deposits(users: Sequence[str], how_many: int) -> list[dict[str, Any]]:
    """One token each, to these users in turn."""
    return [movement(users[number % len(users)]) for number in range(how_many)]


def mark(through: str, source: str = "wallet") -> str:
    return json.dumps({"source": source, "complete_through": through})
