"""How many movements a second `starter.py feed` posts from Kafka: ``python -m benchmarks.feed_from_kafka``.

Everything is on this machine: the ledger, the brokers, `starter.py feed` in one process, and this process, which
writes the messages. All movements are new. The brokers are those of the client's own library, in memory, or Apache
Kafka itself if ``--kafka-home`` names the folder with its jars.
"""

import asyncio
import json
import os
import sys
from collections.abc import AsyncGenerator, Generator, Sequence
from contextlib import asynccontextmanager, contextmanager
from itertools import count
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from time import perf_counter
from typing import Annotated

import typer
from confluent_kafka import Producer
from sqlalchemy import func, select

from benchmarks.brokers import QUIET, Brokers, apache_kafka, brokers_in_memory, make_topic
from benchmarks.databases import Database, throwaway_database
from ledger.database.engine import Ledger, make_ledger, open_ledger, utc_now
from ledger.database.schema import feed_offsets

_STARTER = Path(__file__).parents[1] / "starter.py"
_TOPIC = "movements"
_PARTITIONS = 4
_LOOKS_EVERY_S = 0.05
_numbers = count(1)


def main(
    database: Annotated[Database, typer.Option(help="Where the ledger is.")] = Database.POSTGRESQL,
    users: Annotated[int, typer.Option(min=1, help="Whose movements come in turn.")] = 10_000,
    movements: Annotated[int, typer.Option(min=1, help="How many are written in a round.")] = 30_000,
    rounds: Annotated[int, typer.Option(min=1, help="How many rounds; the result is their median.")] = 3,
    kafka_home: Annotated[
        Path | None, typer.Option(exists=True, file_okay=False, help="Apache Kafka's folder, with libs/ in it.")
    ] = None,
) -> None:
    """Measure what a feed posts from Kafka."""
    with throwaway_database(database) as url, brokers(kafka_home) as found:
        rates = asyncio.run(_measured(url, found.addresses, users, movements, rounds))
    each = ", ".join(f"{rate:,.0f}" for rate in rates)
    print(f"{users} users from Kafka: {median(rates):,.0f} movements/s ({each})")


async def _measured(url: str, addresses: str, users: int, movements: int, rounds: int) -> list[float]:
    await make_ledger(url)
    names = [f"user-{number}" for number in range(users)]
    rates: list[float] = []
    async with open_ledger(url) as ledger, feeding(url, addresses):
        await post_from_kafka(ledger, addresses, names, users)  # This opens the users' accounts.
        for number in range(1, rounds + 1):
            print(f"round {number} of {rounds} …", file=sys.stderr, flush=True)
            rates.append(await post_from_kafka(ledger, addresses, names, movements))
    return rates


@contextmanager
def brokers(home: Path | None) -> Generator[Brokers]:
    """Apache Kafka where its jars are named, with the topic; otherwise brokers in memory."""
    if home is None:
        with brokers_in_memory() as made:
            yield made
        return
    with TemporaryDirectory() as folder, apache_kafka(home, Path(folder)) as made:
        make_topic(made.addresses, _TOPIC, partitions=_PARTITIONS)
        yield made


@asynccontextmanager
async def feeding(url: str, addresses: str) -> AsyncGenerator[None]:
    """`starter.py feed` as a process of its own."""
    with TemporaryDirectory() as folder:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, str(_STARTER), "feed", "--topic", _TOPIC, "--group", "benchmarks"),
            *("--brokers", addresses),
            env={**os.environ, "SOFT_STAKING_DATABASE_URL": url, "SOFT_STAKING_DATA_DIR": folder},
        )
        try:
            yield
        finally:
            process.terminate()
            await process.wait()


async def post_from_kafka(ledger: Ledger, addresses: str, users: Sequence[str], movements: int) -> float:
    """Writes new movements to the topic, and answers how many of them were posted a second until all were."""
    before = await _read(ledger)
    values = [_movement(users[number % len(users)]) for number in range(movements)]
    began_s = perf_counter()
    await asyncio.to_thread(_write, addresses, values)
    while await _read(ledger) < before + movements:  # noqa: ASYNC110  # nothing tells it
        await asyncio.sleep(_LOOKS_EVERY_S)
    return movements / (perf_counter() - began_s)


def _movement(user: str) -> tuple[str, bytes]:
    movement = {
        "id": f"kafka {next(_numbers)}",
        "user": user,
        "asset": "SOL",
        "amount": "0.00000001",
        "at": utc_now().isoformat(),
    }
    return user, json.dumps(movement).encode()


def _write(addresses: str, values: Sequence[tuple[str, bytes]]) -> None:
    producer = Producer({"bootstrap.servers": addresses, "linger.ms": 5, **QUIET})
    for user, value in values:
        producer.produce(_TOPIC, key=user, value=value)
        producer.poll(0)
    producer.flush(60)


async def _read(ledger: Ledger) -> int:
    async with ledger.read() as connection:
        return await connection.scalar(select(func.sum(feed_offsets.c.next_offset))) or 0


if __name__ == "__main__":
    typer.run(main)
