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
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, date, datetime
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, TypeVar

from polling import PATIENCE, wait_until
from world import ROOT

from ledger.database.engine import make_ledger
from settings import sqlite_url

STARTER, WORKER = str(ROOT / "starter.py"), str(ROOT / "worker.py")
SENTENCE_LENGTH_MAX = 400
WRITTEN_TO = "written to the ledger "
_T = TypeVar("_T")

# Importing takes a command most of its time, and there are hundreds of commands: so one process imports (alembic
# too, which makes every new ledger) and puts the entrances' commands together, and each command or worker is a
# fork of it, with its own folder, environment, streams and exit.
_FORKS = """
import functools, json, os, sys
import alembic.operations, alembic.script
import typer.main
import starter, worker
from commands.help import command_of

typer.main.get_command = functools.cache(typer.main.get_command)
entrances = {"starter.py": starter, "worker.py": worker}
for entrance in entrances.values():
    command_of(entrance.app)

def ending(pid, options=0):
    ended, status = os.waitpid(pid, options)
    return os.waitstatus_to_exitcode(status) if ended else None

for order in map(json.loads, sys.stdin):
    if "ended" in order:
        answer = ending(order["ended"], os.WNOHANG)
    elif (pid := os.fork()) == 0:
        if order["goes_on"]:
            os.setsid()
        os.chdir(order["folder"])
        os.environ.clear()
        os.environ.update(order["environment"])
        for number, path in enumerate((os.devnull, order["out"], order["err"])):
            os.dup2(os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC), number)
        sys.argv = [order["script"], *order["arguments"]]
        sys.orig_argv = [sys.executable, *sys.argv]
        entrances[os.path.basename(order["script"])].main()
    else:
        answer = pid if order["goes_on"] else ending(pid)
    print(json.dumps(answer), flush=True)
"""


@dataclass(frozen=True)
class Answer:
    """How a command ended, and what it said."""

    code: int
    out: str
    err: str
    written_to: str | None = None
    """The ledger to which the command said that it wrote. The line is taken out of ``err``."""

    @property
    def json(self) -> Any:
        return json.loads(self.out)

    @property
    def sentences(self) -> list[str]:
        return self.err.splitlines()


def assert_refused(answer: Answer, code: int, *expected: str) -> None:
    """Tests that there is one sentence for each expected part, in this order, and nothing else."""
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
    """Runs starter.py and worker.py as forks of a process that has imported them."""

    def __init__(self) -> None:
        self._folder = TemporaryDirectory(prefix="forks-")
        self._process = subprocess.Popen(
            [sys.executable, "-c", _FORKS], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT
        )

    def run(
        self, folder: Path, environment: dict[str, str], arguments: tuple[str, ...], *, into: Path | None = None
    ) -> Answer:
        """Runs a command of starter.py until it has ended. What it writes ``into`` another file is not
        returned."""
        out, err = self._files("the only one")
        code = self._fork(STARTER, folder, environment, arguments, out=into or out, err=err, goes_on=False)
        said, written_to = _without_the_ledger(err.read_text())
        return Answer(code, "" if into else out.read_text(), said, written_to)

    def run_at_once(
        self, folder: Path, environment: dict[str, str], commands: Iterable[tuple[str, ...]]
    ) -> list[Answer]:
        """Runs several commands of starter.py until all have ended."""
        started: list[tuple[Fork, Path]] = []
        for number, arguments in enumerate(commands):
            out, err = self._files(str(number))
            pid = self._fork(STARTER, folder, environment, arguments, out=out, err=err, goes_on=True)
            started.append((Fork(self, pid, out), err))
        return [_answer_of(fork, err) for fork, err in started]

    def start_worker(
        self, folder: Path, environment: dict[str, str], arguments: tuple[str, ...], *, out: Path, err: Path
    ) -> "Fork":
        """Starts worker.py, which goes on by itself in a process group of its own."""
        return Fork(self, self._fork(WORKER, folder, environment, arguments, out=out, err=err, goes_on=True), out)

    def code_of(self, pid: int) -> int | None:
        """The exit code of such a process; None while it runs. It can be asked once."""
        return self._answer_to({"ended": pid})

    def close(self) -> None:
        self._process.communicate()
        self._folder.cleanup()

    def _files(self, name: str) -> tuple[Path, Path]:
        folder = Path(self._folder.name)
        return folder / f"{name}.out", folder / f"{name}.err"

    def _fork(
        self,
        script: str,
        folder: Path,
        environment: dict[str, str],
        arguments: tuple[str, ...],
        *,
        out: Path,
        err: Path,
        goes_on: bool,
    ) -> int:
        order = {
            "script": script,
            "folder": str(folder),
            "environment": environment,
            "arguments": arguments,
            "out": str(out),
            "err": str(err),
            "goes_on": goes_on,
        }
        return self._answer_to(order)

    def _answer_to(self, order: dict[str, Any]) -> Any:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        print(json.dumps(order), file=self._process.stdin, flush=True)
        return json.loads(self._process.stdout.readline())


@cache
def forks() -> Forks:
    """The forks of this process."""
    return Forks()


def end_forks() -> None:
    """Ends the process, after the last test that uses it."""
    if forks.cache_info().currsize:
        forks().close()


class Fork:
    """A fork that goes on by itself, with the methods of a ``Popen``."""

    def __init__(self, forks: Forks, pid: int, out: Path) -> None:
        self.pid = pid
        self.returncode: int | None = None
        self._forks = forks
        self._out = out

    def poll(self) -> int | None:
        if self.returncode is None:
            self.returncode = self._forks.code_of(self.pid)
        return self.returncode

    def send_signal(self, number: int) -> None:
        # It is not reaped before somebody polls, so that no other process gets its number.
        if self.poll() is None:
            os.kill(self.pid, number)

    def communicate(self, timeout: float) -> tuple[str, None]:
        """Waits until it has ended, and returns what it wrote."""
        deadline = time.monotonic() + timeout
        while self.poll() is None:
            assert time.monotonic() < deadline, f"it goes on after {timeout:.0f} s"
            time.sleep(0.02)
        return self._out.read_text(), None


def _answer_of(fork: Fork, err: Path) -> Answer:
    out, _ = fork.communicate(PATIENCE.total_seconds())
    said, written_to = _without_the_ledger(err.read_text())
    assert fork.returncode is not None
    return Answer(fork.returncode, out, said, written_to)


class CommandLine:
    """A shell in a folder, which runs starter.py there with these environment variables."""

    def __init__(self, folder: Path, **environment: str) -> None:
        self.folder = folder
        self.environment = clean_environment(folder) | environment

    def run(self, *arguments: str, **environment: str) -> Answer:
        return forks().run(self.folder, self.environment | environment, arguments)

    def run_into(self, file: Path, *arguments: str) -> Answer:
        """Runs a command whose output goes to a file."""
        return forks().run(self.folder, self.environment, arguments, into=file)

    def run_at_once(self, *commands: tuple[str, ...]) -> list[Answer]:
        """Runs commands at the same time, each in a process of its own."""
        return forks().run_at_once(self.folder, self.environment, commands)

    def json(self, *arguments: str) -> Any:
        """What a command prints with --json. It must end with 0 and print nothing else."""
        answer = self.run(*arguments, "--json")
        assert (answer.code, answer.err) == (0, ""), answer
        return answer.json

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        """Starts a command that goes on by itself, in a process group of its own."""
        return subprocess.Popen(
            [sys.executable, STARTER, *arguments],
            cwd=self.folder,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def write(self, name: str, content: str | bytes) -> str:
        """Writes a file in the folder and returns its name."""
        path = self.folder / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return name


def an_empty_ledger(folder: Path) -> CommandLine:
    """A shell in a folder, with an empty ledger of its own there and no Temporal server."""
    make_empty_ledger(folder / "data")
    return CommandLine(folder, SOFT_STAKING_DATA_DIR=str(folder / "data"), TEMPORAL_ADDRESS="127.0.0.1:1")


def make_empty_ledger(data_dir: Path) -> None:
    """Makes a data folder with an empty ledger."""
    data_dir.mkdir()
    (data_dir / "ledger.db").write_bytes(_empty_ledger())


@cache
def _empty_ledger() -> bytes:
    """The ledger is made once and copied, since making one takes longer than most commands."""
    with TemporaryDirectory() as folder:
        file = Path(folder) / "ledger.db"
        asyncio.run(make_ledger(sqlite_url(file)))
        return file.read_bytes()


class Installation:
    """A data folder and two ports for worker.py --dev, which may run as a fork."""

    def __init__(self, folder: Path, *, forked: bool = True) -> None:
        self.folder = folder
        self.forked = forked
        self.data_dir = folder / "data"
        port, self.ui_port, self.pages_port = free_ports(3)
        self.address = f"127.0.0.1:{port}"
        self.variables = {"SOFT_STAKING_DATA_DIR": str(self.data_dir), "TEMPORAL_ADDRESS": self.address}

    def start(self, *arguments: str, **environment: str) -> "Worker":
        """Starts worker.py --dev and waits until it polls."""
        worker = self.try_to_start(*arguments, **environment)
        worker.wait_until_it_polls()
        return worker

    def try_to_start(self, *arguments: str, **environment: str) -> "Worker":
        variables = self.variables | environment
        ports = ("--ui-port", str(self.ui_port), "--port", str(self.pages_port))
        return Worker(self.folder, variables, "--dev", *ports, *arguments, script=None if self.forked else WORKER)

    @property
    def server_pid(self) -> int:
        return json.loads((self.data_dir / "temporal.json").read_text())["pid"]

    def create_namespace(self, name: str) -> None:
        temporal = str(Path(sys.executable).parent / "temporal")
        where = ["-n", name, "--address", self.address]
        subprocess.run([temporal, "operator", "namespace", "create", *where], check=True, capture_output=True)
        # The server needs a moment until it serves a new namespace.
        look = [temporal, "task-queue", "describe", "-t", "any", *where]
        wait_until(lambda: subprocess.run(look, capture_output=True).returncode == 0, f"{name} is served")

    def kill_what_is_left(self) -> None:
        for pid in pids_with(f"--db-filename {self.data_dir.resolve()}/"):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


class Worker:
    """Starts worker.py as a fork, or a similar script as a process, in a process group of its own."""

    def __init__(
        self, folder: Path, variables: dict[str, str], *arguments: str, script: str | Path | None = None
    ) -> None:
        name = f"worker-{random.getrandbits(32):08x}"
        environment = clean_environment(folder) | variables
        self._log = folder / f"{name}.log"
        self.process: subprocess.Popen[str] | Fork
        if script is None:
            out = folder / f"{name}.out"
            for file in (out, self._log):
                file.touch()
            self.process = forks().start_worker(folder, environment, arguments, out=out, err=self._log)
            return
        with self._log.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, script, *arguments],
                cwd=folder,
                env=environment,
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
        """The child processes of a worker, such as each of several worker processes."""
        ps = subprocess.run(["ps", "-A", "-o", "pid=,ppid="], capture_output=True, text=True, check=True)
        pairs = [line.split() for line in ps.stdout.splitlines()]
        return [int(pid) for pid, parent in pairs if int(parent) == self.process.pid]

    def wait_until_it_polls(self) -> None:
        wait_until(lambda: self.process.poll() is not None or "Ctrl-C stops it" in self.said, "the worker polls")
        assert self.process.poll() is None, self.said

    def ended(self) -> Answer:
        out, _ = self.process.communicate(timeout=PATIENCE.total_seconds())
        code = self.process.returncode
        assert code is not None
        return Answer(code, out, self.said)

    def stop(self, number: signal.Signals = signal.SIGTERM) -> Answer:
        self.process.send_signal(number)
        return self.ended()


@contextmanager
def stopped(worker: Worker) -> Iterator[Worker]:
    """Stops a worker at the end, if the test has not stopped it."""
    try:
        yield worker
    finally:
        if worker.process.poll() is None:
            worker.stop()


def clean_environment(folder: Path) -> dict[str, str]:
    """The environment without the developer's own settings."""
    return {"PATH": os.environ["PATH"], "HOME": str(folder), "LANG": "C.UTF-8"}


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
    # A killed orphan may stay a zombie if nobody reaps it, as in a container without an init.
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
