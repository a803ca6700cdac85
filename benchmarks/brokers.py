"""Brokers of Kafka on this machine, for benchmarks and tests: in memory, or Apache Kafka itself from its jars."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Generator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from settings import LOOPBACK

QUIET = {"log_level": 2}
_LISTENS_WITHIN_S = 120
_IN_MEMORY = 2
"""Brokers in memory, in one process."""
_CLUSTER = "MkU3OEVBNTcwNTJENDM2Qg"


class Brokers:
    """Brokers that can be hindered, by the addresses at which they are asked first."""

    def __init__(self, addresses: str, processes: Sequence[subprocess.Popen[str]]) -> None:
        self.addresses = addresses
        self.processes = processes

    def fall_silent(self) -> None:
        """They keep their connections open, and answer nothing."""
        for process in self.processes:
            process.send_signal(signal.SIGSTOP)

    def answer_again(self) -> None:
        for process in self.processes:
            process.send_signal(signal.SIGCONT)


@contextmanager
def brokers_in_memory() -> Generator[Brokers]:
    """Those of the client's own library, in a process of their own. They know groups of consumers and rebalances.
    A topic comes into being, with four partitions, when somebody first writes to it."""
    with subprocess.Popen(
        [sys.executable, "-m", "benchmarks.brokers"],
        cwd=Path(__file__).parents[1],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as process:
        try:
            assert process.stdout is not None, "it is a pipe"
            yield Brokers(process.stdout.readline().strip(), [process])
        finally:
            process.kill()


@contextmanager
def apache_kafka(home: Path, folder: Path, *, nodes: int = 1) -> Generator[Brokers]:
    """Apache Kafka from the jars in ``home/libs``, each node a broker and a controller; data in a folder."""
    ports = _free_ports(2 * nodes)
    brokers, controllers = ports[:nodes], ports[nodes:]
    voters = ",".join(f"{number}@{LOOPBACK}:{port}" for number, port in enumerate(controllers, 1))
    with ExitStack() as stack:
        processes = [
            stack.enter_context(_node(home, folder, number, brokers[number - 1], controllers[number - 1], voters))
            for number in range(1, nodes + 1)
        ]
        addresses = ",".join(f"{LOOPBACK}:{port}" for port in brokers)
        _wait_until_they_answer(addresses, nodes)
        yield Brokers(addresses, processes)


@contextmanager
def _node(
    home: Path, folder: Path, number: int, port: int, controller_port: int, voters: str
) -> Generator[subprocess.Popen[str]]:
    properties = {
        "process.roles": "broker,controller",
        "node.id": number,
        "controller.quorum.voters": voters,
        "listeners": f"PLAINTEXT://{LOOPBACK}:{port},CONTROLLER://{LOOPBACK}:{controller_port}",
        "advertised.listeners": f"PLAINTEXT://{LOOPBACK}:{port}",
        "controller.listener.names": "CONTROLLER",
        "log.dirs": folder / f"node-{number}",
        "offsets.topic.replication.factor": len(voters.split(",")),
        "offsets.topic.num.partitions": 2,
        "transaction.state.log.replication.factor": 1,
        "transaction.state.log.min.isr": 1,
        "group.initial.rebalance.delay.ms": 0,
        "auto.create.topics.enable": "false",
    }
    file = folder / f"node-{number}.properties"
    file.write_text("".join(f"{name}={value}\n" for name, value in properties.items()), encoding="utf-8")
    java = ["java", "-Xmx512m", "-cp", f"{home}/libs/*"]
    log = (folder / f"node-{number}.log").open("wb")
    with log:
        format_ = ["kafka.tools.StorageTool", "format", "--ignore-formatted", "-t", _CLUSTER, "-c", str(file)]
        subprocess.run([*java, *format_], stdout=log, stderr=log, check=True)
        process = subprocess.Popen(
            [*java, "kafka.Kafka", str(file)], stdin=subprocess.DEVNULL, stdout=log, stderr=log, text=True
        )
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def make_topic(addresses: str, topic: str, *, partitions: int, replicas: int = 1) -> None:
    """A topic of Apache Kafka."""
    admin = AdminClient({"bootstrap.servers": addresses, **QUIET})
    made = admin.create_topics([NewTopic(topic, partitions, replicas)])  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]  # it says nothing of its futures
    made[topic].result(60)  # pyright: ignore[reportUnknownMemberType]


def _wait_until_they_answer(addresses: str, nodes: int) -> None:
    admin = AdminClient({"bootstrap.servers": addresses, **QUIET})
    deadline_s = time.monotonic() + _LISTENS_WITHIN_S
    while True:
        try:
            if len(admin.list_topics(timeout=5).brokers) == nodes:
                return
        except KafkaException:
            if time.monotonic() > deadline_s:
                raise
        time.sleep(0.2)


def _free_ports(count: int) -> list[int]:
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.create_server((LOOPBACK, 0))) for _ in range(count)]
        return [listener.getsockname()[1] for listener in sockets]


def _serve() -> None:
    mock = AdminClient({"bootstrap.servers": "in.memory:1", "test.mock.num.brokers": _IN_MEMORY, **QUIET})
    brokers = mock.list_topics(timeout=30).brokers.values()
    print(",".join(f"{broker.host}:{broker.port}" for broker in brokers), flush=True)
    sys.stdin.read()  # until whoever started this ends
    os._exit(0)


if __name__ == "__main__":
    _serve()
