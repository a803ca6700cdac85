"""Brokers for the tests of a process, which each have topics of their own."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from streaming_words import Topic

from benchmarks.brokers import Brokers, apache_kafka, brokers_in_memory


@pytest.fixture(scope="session")
def brokers(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Brokers]:
    """Brokers in memory, or Apache Kafka where --kafka-home names its jars."""
    home: Path | None = request.config.getoption("--kafka-home")
    if home is None:
        with brokers_in_memory() as made:
            yield made
        return
    with apache_kafka(home, tmp_path_factory.mktemp("kafka")) as made:
        yield made


@pytest.fixture
def topic(brokers: Brokers, request: pytest.FixtureRequest) -> Topic:
    return Topic(brokers.addresses, is_made=request.config.getoption("--kafka-home") is not None)
