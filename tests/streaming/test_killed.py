"""Consumers that are killed at any moment, and the command that runs one."""

import asyncio
import json
import os
import random
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import databases
import pytest
from commandline import STARTER, CommandLine, clean_environment
from measured import free_address, scraped
from polling import PATIENCE, eventually, wait_until
from streaming_words import PARTITIONS, Topic, deposits, movement
from world import ROOT, World, at, units

from ledger.feed.topics import TopicFeed, offsets_to_read

USERS = [f"user-{number}" for number in range(20)]
GROUP = "staking"
KILLS = 4
PROCESS = Path(__file__).parent / "consumer_process.py"


@contextmanager
def consumer(folder: Path, topic: Topic) -> Iterator[subprocess.Popen[bytes]]:
    arguments = (databases.url_in(folder), topic.name, GROUP, topic.brokers)
    environment = clean_environment(folder) | {"PYTHONPATH": str(ROOT)}
    with subprocess.Popen([sys.executable, PROCESS, *arguments], env=environment) as process:
        try:
            yield process
        finally:
            process.kill()


@pytest.mark.on_both_databases
async def test_whenever_a_consumer_is_killed_every_message_is_posted_once(
    world: World, topic: Topic, tmp_path: Path
) -> None:
    seed = random.randrange(10**6)
    print(f"seed {seed}")  # noqa: T201
    choices = random.Random(seed)
    written = 0

    async def read() -> int:
        feed = TopicFeed(topic.name, GROUP)
        return sum((await offsets_to_read(world.ledger, feed, range(PARTITIONS))).values())

    async def read_through(target: int) -> None:
        """Writes a little ahead of the consumer until it has read so much."""
        nonlocal written

        async def look() -> bool:
            nonlocal written
            if (there := await read()) >= target:
                return True
            if written < there + 60:
                topic.send([*deposits(USERS, 8), movement(choices.choice(USERS), "-100000")])
                topic.write(["{"], partition=choices.randrange(PARTITIONS))
                written += 10
            return False

        await eventually(look, f"{target} messages are read")

    for _ in range(KILLS):
        target = await read() + choices.randint(1, 120)
        with consumer(tmp_path, topic) as process:
            await read_through(target)
            process.send_signal(signal.SIGKILL)
    with consumer(tmp_path, topic) as process:
        await read_through(written + 30)

        async def all_is_read() -> bool:
            return await read() == written

        await eventually(all_is_read, "everything is read")
        process.terminate()
        assert await asyncio.to_thread(process.wait, PATIENCE.total_seconds()) == 0

    assert await world.sql("SELECT count(*) FROM entries WHERE idempotency_key LIKE 'written %'") == [
        (written * 8 // 10,)
    ]
    assert await world.sql("SELECT count(*), max(times) FROM refused_movements") == [(written // 10, 1)]
    assert await world.sql("SELECT count(*) FROM refused_messages") == [(written // 10,)]
    balances = [(await world.balances(user)).get("SOL", 0) for user in USERS]
    assert sum(balances) == units(str(written * 8 // 10))
    assert (await world.audit(at("2026-10-05"))).is_clean


def asked(url: str) -> tuple[int, list[str]]:
    try:
        with urllib.request.urlopen(url) as answer:
            return answer.status, json.load(answer)["problems"]
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)["problems"]


def test_the_command_posts_tells_how_it_stands_and_drains(tmp_path: Path, topic: Topic) -> None:
    shell = CommandLine(tmp_path, SOFT_STAKING_DATABASE_URL=databases.url_in(tmp_path))
    assert shell.run("db", "upgrade").code == 0
    topic.send(deposits(USERS, 40))
    health, metrics = free_address(), free_address()

    process = shell.start(
        *("feed", "--topic", topic.name, "--group", GROUP, "--brokers", topic.brokers),
        *("--health", str(health), "--metrics", str(metrics)),
    )
    try:
        labels = {"topic": topic.name, "kind": "posted"}

        def all_are_posted() -> bool:
            assert process.poll() is None, process.communicate()
            try:
                found = scraped(metrics)
            except OSError:
                return False
            return any(each.labels == labels and each.value == 40 for each in found.samples)

        wait_until(all_are_posted)
        wait_until(lambda: asked(f"http://{health}/readyz") == (200, []), "it is ready")
        assert asked(f"http://{health}/livez") == (200, [])
        wait_until(lambda: "soft_staking_feed_lag_messages" in scraped(metrics).names, "the lag is shown")
        lags = [each.value for each in scraped(metrics).samples if each.name == "soft_staking_feed_lag_messages"]
        assert lags == [0] * PARTITIONS
        topic.send(deposits(USERS, 40))
    finally:
        process.terminate()
    _, said = process.communicate(timeout=PATIENCE.total_seconds())

    assert process.returncode == 0, said
    assert f"Feed        {topic.name} as {GROUP}" in said
    assert "SASL" not in said


@pytest.mark.parametrize(
    ("arguments", "environment", "code", "sentence"),
    [
        ((), {}, 1, "which Kafka? Name brokers with --brokers or SOFT_STAKING_KAFKA_BROKERS"),
        (("--topic", "a b"), {}, 2, "'a b' is no topic"),
        (("--topic", ".."), {}, 2, "'..' is no topic"),
        (("--group", ""), {}, 2, "a group has 1 to 200 printable characters"),
        (
            ("--brokers", "127.0.0.1:1"),
            {"SOFT_STAKING_KAFKA_SECURITY_PROTOCOL": "sasl_ssl"},
            1,
            "which needs SOFT_STAKING_KAFKA_SASL_USERNAME and SOFT_STAKING_KAFKA_SASL_PASSWORD",
        ),
        (
            ("--brokers", "127.0.0.1:1"),
            {"SOFT_STAKING_KAFKA_SECURITY_PROTOCOL": "ssl", "SOFT_STAKING_KAFKA_CA_FILE": "/nowhere"},
            1,
            "these settings of Kafka cannot be used: ",
        ),
        (("--brokers", "127.0.0.1:1"), {"SOFT_STAKING_KAFKA_SASL_MECHANISM": "GUESS"}, 2, "'SCRAM-SHA-512'"),
    ],
)
def test_what_the_command_cannot_use_is_said_in_a_sentence(
    tmp_path: Path, arguments: tuple[str, ...], environment: dict[str, str], code: int, sentence: str
) -> None:
    shell = CommandLine(tmp_path, SOFT_STAKING_DATABASE_URL=databases.url_in(tmp_path))
    assert shell.run("db", "upgrade").code == 0

    answer = shell.run("feed", "--topic", "t", "--group", "g", *arguments, **environment)

    assert (answer.code, sentence in answer.err) == (code, True), answer
    assert "unexpected" not in answer.err


def test_without_the_client_of_kafka_the_command_says_what_to_install(tmp_path: Path) -> None:
    (tmp_path / "confluent_kafka.py").write_text("raise ModuleNotFoundError(name='confluent_kafka')")
    environment = clean_environment(tmp_path) | {"PYTHONPATH": os.pathsep.join([str(tmp_path), str(ROOT)])}

    run = subprocess.run(
        [sys.executable, STARTER, "feed", "--topic", "t", "--group", "g"],
        env=environment,
        capture_output=True,
        text=True,
    )

    assert (run.returncode, run.stdout) == (1, "")
    assert run.stderr == (
        "Kafka needs the package confluent_kafka, which is not installed: install the extra `kafka` "
        "(pip install 'soft-staking[kafka]')\n"
    )
