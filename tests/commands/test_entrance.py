import subprocess
import sys
from pathlib import Path

import pytest
from commandline import STARTER, WORKER, CommandLine
from world import EXPORT_HEADER, ROOT

HELP = {
    "": [
        "activate",
        "deactivate",
        "status",
        "rewards",
        "import",
        "program",
        "pool",
        "audit",
        "demo",
        "TEMPORAL_ADDRESS",
    ],
    "activate": ["--region", "--accept-terms", "Example: python starter.py activate 1001"],
    "deactivate": ["--reason", "Owed days are still paid"],
    "status": ["--timeout", "what the workflow does right now"],
    "rewards": ["--from", "--csv", "min(average, cap) x APR / 365"],
    "import": ["--timezone", "--dry-run", "nothing is written unless every line is good"],
    "program": ["show", "apply", "check"],
    "program show": ["--json"],
    "program apply": ["FILE.toml", "a later one must start after today"],
    "program check": ["Every problem is reported"],
    "pool": ["fund", "show"],
    "pool fund": ["ASSET", "--key", "the same key again changes nothing"],
    "pool show": ["--json"],
    "retry": ["blocked step"],
    "serve": ["--port", "SOFT_STAKING_GATEWAY_PEERS", "until it is stopped"],
    "audit": ["name every breach and exit with 1"],
    "demo": ["--movements", "throws both away"],
}


@pytest.mark.parametrize("command", HELP)
def test_help_teaches(alone: CommandLine, command: str) -> None:
    answer = alone.run(*command.split(), "--help", COLUMNS="200")
    assert (answer.code, answer.err) == (0, "")
    text = " ".join(answer.out.replace("│", " ").split())
    assert [words for words in HELP[command] if words not in text] == []


def test_the_workers_help_teaches(alone: CommandLine) -> None:
    answer = subprocess.run(
        [sys.executable, WORKER, "--help"],
        capture_output=True,
        text=True,
        env=alone.environment | {"COLUMNS": "200"},
        cwd=alone.folder,
    )
    assert (answer.returncode, answer.stderr) == (0, "")
    text = " ".join(answer.stdout.replace("│", " ").split())
    for words in (
        "--dev",
        "--ui-port",
        "--port",
        "--samples",
        "--program",
        "SIGTERM",
        "one command is a whole installation",
    ):
        assert words in text


def test_a_command_that_serves_nothing_does_not_import_a_web_framework() -> None:
    look = "import sys, starter, worker; print({'fastapi', 'uvicorn', 'jinja2', 'cryptography'} & {*sys.modules})"
    found = subprocess.run([sys.executable, "-c", look], cwd=ROOT, capture_output=True, text=True, check=True)
    assert found.stdout == "set()\n"


def test_no_command_at_all_shows_the_help_as_wrong_usage(alone: CommandLine) -> None:
    answer = alone.run()
    assert answer.code == 2
    assert "Commands" in answer.out + answer.err


def test_a_command_that_used_the_sdk_exits_with_its_true_code_every_time(cli: CommandLine, user: str) -> None:
    cli.json("deposit", user, "DOGE", "1", "--key", f"known {user}")
    for _ in range(3):
        answers = cli.run_at_once(("retry", user), ("deactivate", user))
        assert [answer.code for answer in answers] == [0, 1], answers


def test_two_simultaneous_activations_of_one_user_get_one_receipt(cli: CommandLine, user: str) -> None:
    line = f"{user},2026-01-01 10:00:00,Spot,Deposit,SOL,12,"
    assert cli.run("import", cli.write("in.csv", f"{EXPORT_HEADER}\n{line}\n")).code == 0
    arguments = ("activate", user, "--region", "FR", "--channel", "web", "--accept-terms", "--json")

    answers = cli.run_at_once(arguments, arguments)

    assert [answer.code for answer in answers] == [0, 0], answers
    assert answers[0] == answers[1]
    assert cli.json("activate", *arguments[1:-1])["enrolment_id"] in answers[0].out


@pytest.mark.parametrize("arguments", [("audit",), ("--help",), ("status", "zoe"), ("pool", "show", "--json")])
def test_output_that_cannot_be_written_is_a_failure(alone: CommandLine, arguments: tuple[str, ...]) -> None:
    answer = alone.run_into(Path("/dev/full"), *arguments)
    assert answer.code == 1
    assert "No space left on device" in answer.err
    assert "Traceback" not in answer.err


def test_a_reader_that_goes_away_sees_no_traceback(alone: CommandLine) -> None:
    shell = f"{sys.executable} {STARTER} audit 2>&1 | true"
    answer = subprocess.run(
        ["bash", "-o", "pipefail", "-c", shell], env=alone.environment, cwd=alone.folder, capture_output=True
    )
    assert (answer.returncode, answer.stderr) == (1, b"")
