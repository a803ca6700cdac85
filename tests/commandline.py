"""The entrances as a user runs them: processes of their own, against a real installation."""

import asyncio
import json
import os
import random
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, date, datetime
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, TypeVar

from world import ROOT

from ledger.engine import make_ledger
from settings import sqlite_url

STARTER, WORKER = str(ROOT / "starter.py"), str(ROOT / "worker.py")
DEADLINE_S = 60.0
SENTENCE_LENGTH_MAX = 400
WRITTEN_TO = "written to the ledger "
_T = TypeVar("_T")

# Importing takes a command most of its time, and there are hundreds of commands: so one process imports (alembic
# too, which makes every new ledger), and each command is a fork of it, with its own folder, environment, streams
# and exit.
_FORKS = """
import json, os, sys
import alembic.operations, alembic.script
import starter
for order in map(json.loads, sys.stdin):
    if (pid := os.fork()) == 0:
        os.chdir(order["folder"])
        os.environ.clear()
        os.environ.update(order["environment"])
        for number, path in enumerate((os.devnull, order["out"], order["err"])):
            os.dup2(os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC), number)
        sys.argv = [sys.argv[0], *order["arguments"]]
        starter.main()
    print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), flush=True)
"""


@dataclass(frozen=True)
class Answer:
    """How a command ended, and what it said."""

    code: int
    out: str
    err: str
    written_to: str | None = None
    """The ledger that it says it wrote to, which is no longer in ``err``."""

    @property
    def json(self) -> Any:
        return json.loads(self.out)

    @property
    def sentences(self) -> list[str]:
        return self.err.splitlines()


def assert_refused(answer: Answer, code: int, *expected: str) -> None:
    """One sentence for each expected part, in this order, and nothing else."""
    assert (answer.code, answer.out) == (code, ""), answer
    assert len(answer.sentences) == len(expected), answer.err
    for sentence, part in zip(answer.sentences, expected, strict=True):
        assert part in sentence, answer.err
        assert len(sentence) < SENTENCE_LENGTH_MAX
        assert not sentence.startswith("unexpected")


def _without_the_ledger(said: str) -> tuple[str, str | None]:
    """What a command said on stderr without the line that names the ledger it wrote to, and that ledger."""
    lines = said.splitlines(keepends=True)
    named = [line for line in lines if line.startswith(WRITTEN_TO)]
    assert len(named) <= 1, said
    rest = "".join(line for line in lines if line not in named)
    return rest, named[0].removeprefix(WRITTEN_TO).rstrip("\n") if named else None


class Forks:
    """Runs commands of starter.py, one after the other."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._process = subprocess.Popen(
            [sys.executable, "-c", _FORKS], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT
        )

    def run(self, folder: Path, environment: dict[str, str], arguments: tuple[str, ...]) -> Answer:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        out, err = self._folder / "out", self._folder / "err"
        order = {
            "folder": str(folder),
            "environment": environment,
            "arguments": arguments,
            "out": str(out),
            "err": str(err),
        }
        print(json.dumps(order), file=self._process.stdin, flush=True)
        code = int(self._process.stdout.readline())
        said, written_to = _without_the_ledger(err.read_text())
        return Answer(code, out.read_text(), said, written_to)

    def close(self) -> None:
        self._process.communicate()


class CommandLine:
    """A shell in a folder: runs starter.py there with these variables."""

    def __init__(self, forks: Forks, folder: Path, **environment: str) -> None:
        self.forks = forks
        self.folder = folder
        self.environment = clean_environment(folder) | environment

    def run(self, *arguments: str, **environment: str) -> Answer:
        return self.forks.run(self.folder, self.environment | environment, arguments)

    def json(self, *arguments: str) -> Any:
        """What a command prints for machines, which must be done and silent otherwise."""
        answer = self.run(*arguments, "--json")
        assert (answer.code, answer.err) == (0, ""), answer
        return answer.json

    def start(self, *arguments: str, stdout: int = subprocess.PIPE) -> subprocess.Popen[str]:
        """A command that goes on by itself, in a process group of its own."""
        return subprocess.Popen(
            [sys.executable, STARTER, *arguments],
            cwd=self.folder,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=stdout,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def write(self, name: str, content: str | bytes) -> str:
        """A file in the folder; answers its name."""
        path = self.folder / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return name


def an_empty_ledger(forks: Forks, folder: Path) -> CommandLine:
    """A shell in a folder, with an empty ledger of its own there and no Temporal server."""
    data_dir = folder / "data"
    data_dir.mkdir()
    (data_dir / "ledger.db").write_bytes(_empty_ledger())
    return CommandLine(forks, folder, SOFT_STAKING_DATA_DIR=str(folder / "data"), TEMPORAL_ADDRESS="127.0.0.1:1")


@cache
def _empty_ledger() -> bytes:
    """Made once, since making one takes longer than most commands."""
    with TemporaryDirectory() as folder:
        file = Path(folder) / "ledger.db"
        asyncio.run(make_ledger(sqlite_url(file)))
        return file.read_bytes()


class Installation:
    """A data folder and two ports for worker.py --dev."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.data_dir = folder / "data"
        port, self.ui_port, self.pages_port = free_ports(3)
        self.address = f"127.0.0.1:{port}"
        self.variables = {"SOFT_STAKING_DATA_DIR": str(self.data_dir), "TEMPORAL_ADDRESS": self.address}

    def start(self, *arguments: str, **environment: str) -> "Worker":
        """worker.py --dev, once it polls."""
        worker = self.try_to_start(*arguments, **environment)
        worker.wait_until_it_polls()
        return worker

    def try_to_start(self, *arguments: str, **environment: str) -> "Worker":
        variables = self.variables | environment
        ports = ("--ui-port", str(self.ui_port), "--port", str(self.pages_port))
        return Worker(self.folder, variables, "--dev", *ports, *arguments)

    @property
    def server_pid(self) -> int:
        return json.loads((self.data_dir / "temporal.json").read_text())["pid"]

    def create_namespace(self, name: str) -> None:
        temporal = str(Path(sys.executable).parent / "temporal")
        where = ["-n", name, "--address", self.address]
        subprocess.run([temporal, "operator", "namespace", "create", *where], check=True, capture_output=True)
        # The server serves a new namespace a moment later.
        look = [temporal, "task-queue", "describe", "-t", "any", *where]
        eventually(lambda: subprocess.run(look, capture_output=True).returncode == 0, f"{name} is served")

    def kill_what_is_left(self) -> None:
        for pid in pids_with(f"--db-filename {self.data_dir.resolve()}/"):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


class Worker:
    """worker.py, or a script that is like it, as a process, in a process group of its own."""

    def __init__(
        self, folder: Path, variables: dict[str, str], *arguments: str, script: str | Path = WORKER
    ) -> None:
        self._log = folder / f"worker-{random.getrandbits(32):08x}.log"
        with self._log.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, script, *arguments],
                cwd=folder,
                env=clean_environment(folder) | variables,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                start_new_session=True,
            )

    @property
    def said(self) -> str:
        return self._log.read_text()

    @property
    def children(self) -> list[int]:
        """Its child processes, such as each of several workers."""
        ps = subprocess.run(["ps", "-A", "-o", "pid=,ppid="], capture_output=True, text=True, check=True)
        pairs = [line.split() for line in ps.stdout.splitlines()]
        return [int(pid) for pid, parent in pairs if int(parent) == self.process.pid]

    def wait_until_it_polls(self) -> None:
        eventually(lambda: self.process.poll() is not None or "Ctrl-C stops it" in self.said, "the worker polls")
        assert self.process.poll() is None, self.said

    def ended(self) -> Answer:
        out, _ = self.process.communicate(timeout=DEADLINE_S)
        return Answer(self.process.returncode, out, self.said)

    def stop(self, number: signal.Signals = signal.SIGTERM) -> Answer:
        self.process.send_signal(number)
        return self.ended()


@contextmanager
def stopped(worker: Worker) -> Iterator[Worker]:
    """Stops a worker on leaving, if the test has not."""
    try:
        yield worker
    finally:
        if worker.process.poll() is None:
            worker.stop()


def clean_environment(folder: Path) -> dict[str, str]:
    """Nothing of the developer's own settings."""
    return {"PATH": os.environ["PATH"], "HOME": str(folder), "LANG": "C.UTF-8"}


def eventually(happens: Callable[[], _T], what: str) -> _T:
    """The first answer that is true, asked again and again until a deadline."""
    deadline = time.monotonic() + DEADLINE_S
    while not (answer := happens()):
        assert time.monotonic() < deadline, f"not within {DEADLINE_S:.0f} s: {what}"
        time.sleep(0.05)
    return answer


def utc_today() -> date:
    return datetime.now(UTC).date()


def pids_with(argument: str) -> list[int]:
    """The processes of Temporal servers with this in their command line."""
    return [pid for pid, _, command in _servers() if argument in command]


def servers_under(parent: int) -> list[int]:
    """The processes of Temporal servers that a process started."""
    return [pid for pid, ppid, _ in _servers() if ppid == parent]


def _servers() -> list[tuple[int, int, str]]:
    ps = subprocess.run(
        ["ps", "-ww", "-A", "-o", "pid=,ppid=,stat=,command="], capture_output=True, text=True, check=True
    )
    lines = [line.split(None, 3) for line in ps.stdout.splitlines()]
    return [
        (int(pid), int(ppid), command)
        for pid, ppid, stat, command in lines
        if " server start-dev " in command and not stat.startswith("Z")
    ]


def is_running(pid: int) -> bool:
    # A killed orphan may stay a zombie where nobody reaps it, as in a container without an init.
    ps = subprocess.run(["ps", "-p", str(pid), "-o", "stat="], capture_output=True, text=True)
    return bool(ps.stdout.strip()) and not ps.stdout.strip().startswith("Z")


def free_ports(count: int) -> list[int]:
    # Below the range from which the system serves port 0 and outgoing connections: a port that a test wants a
    # second time must not be given away in between.
    ports: list[int] = []
    while len(ports) < count:
        port = random.randint(15_000, 30_000)
        with suppress(OSError), socket.create_server(("127.0.0.1", port)):
            ports.append(port)
    return ports
