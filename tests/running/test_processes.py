"""worker.py with one process and with several: what it survives, how it stops, and what it reports."""

import json
import os
import signal
import urllib.error
import urllib.request
from collections.abc import Generator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import databases
import pytest
from commandline import Worker, free_ports, is_running
from faults.story import Move, assert_audit_is_clean, credited_days, post, until_paid
from measured import free_address, scraped
from polling import wait_until
from servers import full_server
from temporalio.client import Client
from world import ROOT, World, activation

from contract.answers import Receipt
from staking.days import ONE_DAY
from temporal.client import send_activation

HELD_WORKER = Path(__file__).with_name("held_worker.py")


class Watched(Worker):
    """A worker with a server and a ledger of the test. Its steps wait, and its health can be asked for."""

    def __init__(self, folder: Path, client: Client, *arguments: str, **variables: str) -> None:
        (port,) = free_ports(1)
        self._health = f"http://127.0.0.1:{port}"
        variables |= {
            "TEMPORAL_ADDRESS": client.service_client.config.target_host,
            "SOFT_STAKING_DATABASE_URL": databases.url_in(folder),
            "PYTHONPATH": f"{ROOT}:{ROOT / 'tests'}",
        }
        super().__init__(folder, variables, "--health", f"127.0.0.1:{port}", *arguments, script=HELD_WORKER)

    def health(self, path: str) -> tuple[int, list[str]]:
        """The status of the health answer, and the problems in it."""
        try:
            with urllib.request.urlopen(f"{self._health}{path}") as answer:
                return answer.status, json.load(answer)["problems"]
        except urllib.error.HTTPError as error:
            return error.code, json.load(error)["problems"]


@contextmanager
def ended(worker: Watched) -> Generator[Watched]:
    """Ends everything after the test, whether it passed or failed."""
    children: list[int] = []
    try:
        worker.wait_until_it_polls()
        children = worker.children
        yield worker
    finally:
        worker.process.kill()
        worker.process.communicate()
    wait_until(lambda: not any(map(is_running, children)), "its worker processes end with it")


async def a_held_step(world: World, client: Client, folder: Path, user: str, days: int) -> None:
    """Activates a user who is owed so many days from the beginning, and waits until the first is held."""
    (folder / "reached").unlink(missing_ok=True)
    (folder / "go").unlink(missing_ok=True)
    activated_at = datetime.now(UTC) - (days + 1) * ONE_DAY
    await post(world, user, [Move(activated_at - ONE_DAY, "12", "SOL")])
    assert isinstance(await send_activation(client, user, activation(back_dated_to=activated_at)), Receipt)
    wait_until((folder / "reached").exists, "a step runs")


async def test_killed_worker_processes_are_replaced_and_stopped_ones_finish_their_steps(
    world: World, tmp_path: Path
) -> None:
    metrics = free_address(processes=2)

    def credits_counted() -> float:
        return sum(scraped(metrics.of_process(place)).value("soft_staking_credits_total") for place in (1, 2))

    async with full_server() as client:
        with ended(Watched(tmp_path, client, "--processes", "2", "--metrics", str(metrics))) as worker:
            assert worker.health("/livez") == (200, [])
            wait_until(lambda: worker.health("/readyz") == (200, []), "it is ready")
            await a_held_step(world, client, tmp_path, "ann", 3)
            for child in worker.children:
                os.kill(child, signal.SIGKILL)
            wait_until(lambda: worker.health("/readyz")[0] == 503, "the loss is noticed")
            (tmp_path / "go").touch()
            await until_paid(world.ledger, 3)
            wait_until(lambda: worker.health("/readyz") == (200, []), "they are replaced")
            wait_until(lambda: credits_counted() == 3, "each counts what it credited, next to its parent")
            assert "soft_staking_owed_days" in scraped(metrics).names

            await a_held_step(world, client, tmp_path, "bob", 1)
            worker.process.send_signal(signal.SIGTERM)
            wait_until(lambda: worker.health("/readyz") == (503, ["stopping"]), "it takes no more work")
            assert worker.health("/livez") == (200, [])
            (tmp_path / "go").touch()
            stopped = worker.ended()

    assert (stopped.code, stopped.out) == (0, "")
    assert "worker process 1 ended by SIGKILL; another starts in 1 s" in stopped.sentences
    assert stopped.sentences[-1] == "stopping: running steps finish first"
    bobs = databases.raw(tmp_path, "SELECT count(*) FROM days WHERE user_id = 'bob'")
    assert (await credited_days(world.ledger), bobs) == (3, [(1,)])
    await assert_audit_is_clean(world.ledger)


async def test_a_second_signal_ends_several_processes_immediately(world: World, tmp_path: Path) -> None:
    async with full_server() as client:
        with ended(Watched(tmp_path, client, "--processes", "2")) as worker:
            await a_held_step(world, client, tmp_path, "ann", 1)

            def has_ended() -> bool:
                worker.process.send_signal(signal.SIGTERM)
                return worker.process.poll() is not None

            wait_until(has_ended, "a signal after the first ends it")
            stopped = worker.ended()

    assert stopped.code == 1
    assert stopped.sentences[-1] == "stopped immediately; what was running will be repeated safely"


@pytest.mark.parametrize(
    ("processes", "sentence"),
    [("1", "stopped after 1 s; what was running"), ("2", "ended by SIGKILL")],
    ids=["one", "several"],
)
async def test_a_step_that_never_ends_does_not_hold_up_a_stop_for_ever(
    world: World, tmp_path: Path, processes: str, sentence: str
) -> None:
    async with full_server() as client:
        with ended(Watched(tmp_path, client, "--processes", processes, HURRIED_STOP="yes")) as worker:
            await a_held_step(world, client, tmp_path, "ann", 1)
            stopped = worker.stop()

    assert stopped.code == 1
    assert sentence in stopped.sentences[-1]
