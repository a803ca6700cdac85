"""worker.py as a process: what it survives, what it leaves behind, and how it ends."""

import json
import os
import re
import signal
import urllib.request
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from commandline import (
    CommandLine,
    Installation,
    Worker,
    is_running,
    make_empty_ledger,
    pids_with,
    stopped,
    utc_today,
)
from measured import free_address, scraped
from polling import wait_until
from world import EXPORT_HEADER, ROOT

PROGRAM = ("--program", str(ROOT / "program.toml"))
WEB = ("--region", "FR", "--channel", "web", "--accept-terms")


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Installation]:
    place = Installation(tmp_path)
    yield place
    place.kill_what_is_left()


@pytest.fixture
def cli(place: Installation, tmp_path: Path) -> CommandLine:
    return CommandLine(tmp_path, **place.variables)


def days_ago(days: int) -> str:
    return str(utc_today() - timedelta(days=days))


def enrolled_earlier(cli: CommandLine, user: str, *, days: int) -> dict[str, Any]:
    line = f"{user},{days_ago(days + 1)} 10:00:00,Spot,Deposit,SOL,12,"
    assert cli.run("import", cli.write("in.csv", f"{EXPORT_HEADER}\n{line}\n")).code == 0
    back_dating = ("--activated-at", f"{days_ago(days)}T12:00", "--operator", "ann", "--reason", "moved")
    return cli.json("activate", user, *WEB, *back_dating)


def is_paid(cli: CommandLine, user: str) -> bool:
    return cli.json("status", user)["last_credited_day"] == days_ago(1)


def test_an_installation_stopped_and_started_again_goes_on_where_it_was(
    place: Installation, cli: CommandLine
) -> None:
    with stopped(place.start(*PROGRAM)) as worker:
        server = place.server_pid
        said = worker.said
        receipt = enrolled_earlier(cli, "zoe", days=4)
        wait_until(lambda: cli.json("status", "zoe")["state"] == "waiting for pool SOL", "the pool is asked")
        with urllib.request.urlopen(f"http://127.0.0.1:{place.ui_port}") as page:
            assert page.status == 200
        first = worker.stop(signal.SIGTERM)
    assert not is_running(server)
    cli.json("pool", "fund", "SOL", "1")
    metrics = free_address()
    with stopped(place.start(*PROGRAM, "--metrics", str(metrics))) as worker:
        status = cli.json("status", "zoe")
        wait_until(lambda: cli.json("retry", "zoe") and is_paid(cli, "zoe"), "the owed days are paid")
        credits_counted = scraped(metrics).value("soft_staking_credits_total")
        wait_until(lambda: "soft_staking_owed_days" in scraped(metrics).names, "the ledger's gauges are read")
        days = [row["day"] for row in cli.json("rewards", "zoe")]
        second = worker.stop(signal.SIGINT)

    assert (first.code, first.out) == (0, "")
    assert (second.code, second.out) == (0, "")
    for fact in (place.address, f"http://127.0.0.1:{place.ui_port}", str(place.data_dir), "applied: 10 assets"):
        assert fact in said
    assert "applied" not in second.err
    assert "Traceback" not in first.err + second.err
    assert (status["enrolled"], status["enrolment_id"]) == (True, receipt["enrolment_id"])
    assert days == [days_ago(3), days_ago(2), days_ago(1)]
    assert credits_counted == len(days)
    logged = [json.loads(line) for line in second.err.splitlines() if line.startswith("{")]
    assert [line["day"] for line in logged if line["message"] == "credited"] == days
    assert cli.json("audit")["clean"] is True
    assert pids_with(str(place.data_dir)) == []


STAGES = {
    "Holds too little": "Not active; no tag",
    "Sees a grey tag": "Not active; a grey tag on SOL",
    "Activated today": "Active since today",
    "Thirty days of rewards": "Active; 30 days of rewards",
    "Stopped": "Stopped",
}


def test_sample_users_are_offered_at_every_stage_and_are_not_made_twice(
    place: Installation, cli: CommandLine
) -> None:
    pages = f"http://127.0.0.1:{place.pages_port}"

    def stages() -> dict[str, str]:
        with urllib.request.urlopen(f"{pages}/people") as page:
            found = re.findall(r"<h2>([^<]+)</h2><p class=\"note\">\w+ · ([^<]+)</p>", page.read().decode())
        return dict(found)

    for _ in range(2):
        with stopped(place.start(*PROGRAM, "--samples")) as worker:
            said = worker.said
            wait_until(lambda: stages() == STAGES, "every stage is reached")
            rewards = len(cli.json("rewards", "dan")), len(cli.json("rewards", "eve"))
            assert worker.stop(signal.SIGTERM).code == 0
        assert f"Pages       {pages}\n" in said
        assert rewards[1] == 26
    assert cli.json("audit")["clean"] is True


def test_an_installation_stays_in_its_folder_whatever_that_is_called(tmp_path: Path) -> None:
    place = Installation(tmp_path)
    place.variables["SOFT_STAKING_DATA_DIR"] = "50%20off?mode=memory#1"
    with stopped(place.start(*PROGRAM)) as worker:
        assert worker.stop().code == 0

    assert [path.name for path in tmp_path.iterdir() if path.is_dir()] == ["50%20off?mode=memory#1"]
    kept = {path.name for path in (tmp_path / "50%20off?mode=memory#1").iterdir()}
    assert {"ledger.db", "temporal.db", "session.key"} <= kept


def test_an_interrupted_terminal_leaves_no_orphan(place: Installation) -> None:
    with stopped(place.start(*PROGRAM)) as worker:
        server = place.server_pid
        os.killpg(worker.process.pid, signal.SIGINT)
        ended = worker.ended()

    assert (ended.code, ended.out) == (0, "")
    assert "Traceback" not in ended.err
    assert not is_running(server)


def test_users_go_on_after_the_embedded_server_was_killed(place: Installation, cli: CommandLine) -> None:
    with stopped(place.start(*PROGRAM)) as worker:
        receipt = enrolled_earlier(cli, "zoe", days=3)
        wait_until(lambda: cli.json("status", "zoe")["state"] == "waiting for pool SOL", "the pool is asked")
        os.kill(place.server_pid, signal.SIGKILL)
        wait_until(lambda: "server runs again at" in worker.said, "the server is started again")
        cli.json("pool", "fund", "SOL", "1")
        # The worker may take its time to connect again.
        cli.json("retry", "zoe", "--timeout", "60")
        wait_until(lambda: len(cli.json("rewards", "zoe")) == 2, "the owed days are paid")
        status = cli.json("status", "zoe", "--timeout", "60")
        server = place.server_pid
        ended = worker.stop()

    assert status["enrolment_id"] == receipt["enrolment_id"]
    assert "the embedded Temporal server has ended; it is started again in 1 s" in worker.said
    assert (ended.code, ended.out) == (0, "")
    assert not is_running(server)


def test_a_worker_whose_server_cannot_be_started_again_says_so_and_ends(
    place: Installation, cli: CommandLine
) -> None:
    with stopped(place.start(*PROGRAM)) as worker:
        break_the_database(place)
        os.kill(place.server_pid, signal.SIGKILL)
        wait_until(lambda: "is started again in 2 s" in worker.said, "it is tried")
        meanwhile = cli.run("status", "zoe", "--timeout", "1")
        ended = worker.ended()
    afterwards = cli.run("status", "zoe", "--timeout", "1")

    assert f"`worker.py --dev` runs (process {worker.process.pid})" in meanwhile.err
    assert (ended.code, ended.out) == (1, "")
    assert "this worker has no Temporal server any more, so it ends. The embedded Temporal" in ended.sentences[-1]
    assert "Traceback" not in ended.err
    assert "start one with `python worker.py --dev`" in afterwards.err


def test_an_interrupt_while_the_server_is_started_again_ends_in_good_order(place: Installation) -> None:
    with stopped(place.start(*PROGRAM)) as worker:
        break_the_database(place)
        os.kill(place.server_pid, signal.SIGKILL)
        wait_until(lambda: "is started again in 2 s" in worker.said, "it is tried")
        os.killpg(worker.process.pid, signal.SIGINT)
        ended = worker.ended()

    assert (ended.code, ended.out) == (0, "")
    assert "Traceback" not in ended.err
    assert pids_with(str(place.data_dir)) == []


def break_the_database(place: Installation) -> None:
    """Damages the database, so that no server can start on it."""
    for file in place.data_dir.glob("temporal.db*"):
        file.unlink()
    (place.data_dir / "temporal.db").mkdir()


def test_the_server_that_a_killed_worker_left_is_reused(place: Installation, cli: CommandLine) -> None:
    with stopped(place.start(*PROGRAM)) as worker:
        server = place.server_pid
        worker.stop(signal.SIGKILL)
    assert is_running(server)

    with stopped(place.start()) as worker:
        assert "found running and reused" in worker.said
        assert place.server_pid == server
        enrolled_earlier(cli, "zoe", days=1)
    assert not is_running(server)


def test_a_second_installation_is_refused_where_one_runs(place: Installation, tmp_path: Path) -> None:
    its_port, its_ui_port = (Installation(tmp_path / name) for name in ("port", "ui"))
    its_ui_port.ui_port = place.ui_port
    for other in (its_port, its_ui_port):
        other.folder.mkdir()
    with stopped(place.start(*PROGRAM)) as worker:
        others = [
            place.try_to_start(),
            its_port.try_to_start(TEMPORAL_ADDRESS=place.address),
            its_ui_port.try_to_start(),
        ]
        ended = [other.ended() for other in others]
        assert worker.process.poll() is None

    assert [other.code for other in ended] == [1, 1, 1]
    [of_data], [of_port], [of_ui_port] = (other.sentences for other in ended)
    assert f"in use by another installation (process {worker.process.pid})" in of_data
    assert f"Port {place.address.partition(':')[2]} on 127.0.0.1 cannot be used" in of_port
    assert "TEMPORAL_ADDRESS" in of_port
    assert f"Port {place.ui_port} on 127.0.0.1 cannot be used" in of_ui_port
    assert "--ui-port" in of_ui_port


def test_an_encrypted_installation_shows_plain_text_to_its_own_web_ui_and_to_who_has_the_keys(
    place: Installation, cli: CommandLine
) -> None:
    key = cli.json("payload-keys", "new")
    with_keys = {"SOFT_STAKING_PAYLOAD_KEYS": f"{key['id']}:{key['key']}"}
    with stopped(place.start(*PROGRAM, **with_keys)) as worker:
        without = cli
        cli = CommandLine(cli.folder, **cli.environment, **with_keys)
        enrolled_earlier(cli, "zoe", days=2)
        wait_until(lambda: cli.json("status", "zoe")["state"] == "waiting for pool SOL", "the pool is asked")
        lacking = without.run("deactivate", "zoe")
        with urllib.request.urlopen(f"http://127.0.0.1:{place.ui_port}/api/v1/settings") as answer:
            codec = json.load(answer)["Codec"]["Endpoint"]
        ended = worker.stop()

    assert (ended.code, ended.out) == (0, "")
    assert f"Codec       {codec}\n" in ended.err
    assert lacking.code == 1
    assert [f"under the key '{key['id']}'" in sentence for sentence in lacking.sentences] == [True]
    assert key["key"] not in ended.err + lacking.err


REFUSED: dict[str, tuple[dict[str, str], tuple[str, ...], int, str]] = {
    "no server": ({"TEMPORAL_ADDRESS": "127.0.0.1:1"}, (), 1, "python worker.py --dev"),
    "garbage for an address": ({"TEMPORAL_ADDRESS": "garbage"}, (), 1, "HOST:PORT"),
    "--dev elsewhere": ({"TEMPORAL_ADDRESS": "temporal.example.com:7233"}, ("--dev",), 1, "without --dev"),
    "--dev with garbage": ({"TEMPORAL_ADDRESS": "garbage"}, ("--dev",), 1, "127.0.0.1:PORT"),
    "--dev in an unwritable place": ({"SOFT_STAKING_DATA_DIR": "/proc/staking"}, ("--dev",), 1, "/proc/staking"),
    "garbage for a ledger": ({"SOFT_STAKING_DATABASE_URL": "garbage"}, (), 1, "'garbage' is not a database URL"),
    "broken temporal.toml": ({"TEMPORAL_CONFIG_FILE": "broken.toml"}, (), 1, "TOML parse error"),
    "a program that is missing": ({}, ("--program", "missing.toml"), 1, "missing.toml cannot be read"),
    "no port for the UI": ({}, ("--dev", "--ui-port", "0"), 2, "--ui-port"),
    "a version without a deployment": ({}, ("--build-id", "1"), 2, "--deployment and --build-id go together"),
    "a deployment that is no name": ({}, ("--deployment", "a.b", "--build-id", "1"), 2, "'a.b' is no name"),
    "no address for the health": ({}, ("--health", "8081"), 2, "'8081' is not HOST:PORT"),
    "samples without an installation": ({}, ("--samples",), 2, "--samples goes with --dev"),
    "keys that are none": ({"SOFT_STAKING_PAYLOAD_KEYS": "key"}, (), 2, "SOFT_STAKING_PAYLOAD_KEYS: key 1 is not"),
    "one word too many": ({}, ("now",), 2, "(now)"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_worker_that_cannot_start_says_why_in_one_sentence(tmp_path: Path, case: str) -> None:
    variables, arguments, code, sentence = REFUSED[case]
    (tmp_path / "broken.toml").write_text("[profile.default\n")
    make_empty_ledger(tmp_path / ".soft-staking")

    ended = Worker(tmp_path, variables, *arguments).ended()

    assert (ended.code, ended.out) == (code, "")
    assert len(ended.err.splitlines()) == 1
    assert sentence in ended.err
    assert "Traceback" not in ended.err
