"""The commands of the README, and those of the runbook that need no trouble, are run on what `make run` gives."""

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from commandline import Answer, CommandLine, Installation, stopped
from documentation import commands_in, make_run
from polling import wait_until
from world import ROOT

README = (ROOT / "README.md").read_text(encoding="utf-8")
RUNBOOK = "".join(
    (ROOT / "docs" / f"{page}.md").read_text(encoding="utf-8") for page in ("operations", "users", "corrections")
)
IS_RUN = (
    "First look",
    "Why did a user not get a reward?",
    "Hold",
    "Retry and resume",
    "Move balances",
    "Correct a reward",
    "Correct a funding",
    "Who did what",
)
"""Sections of the runbook whose commands need no trouble to be there."""
SAMPLES = ("ada", "ben", "cleo", "dan", "eve")
_FENCED = re.compile(r"^ *```(\w*)\n(.*?)^ *```$", flags=re.M | re.S)


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Installation]:
    """An installation in a folder that has what the README's commands name there."""
    for name in ("examples", "program.toml", "worker.py", "starter.py"):
        (tmp_path / name).symlink_to(ROOT / name)
    place = Installation(tmp_path, forked=False)
    place.variables = {"TEMPORAL_ADDRESS": place.address}
    place.data_dir = tmp_path / ".soft-staking"
    yield place
    place.kill_what_is_left()


@pytest.fixture
def cli(place: Installation) -> CommandLine:
    return CommandLine(place.folder, **place.variables)


def section(title: str) -> str:
    """A section of the runbook."""
    return RUNBOOK.split(f"\n## {title}\n", 1)[1].split("\n## ", 1)[0]


def as_its_reader_types_it(command: list[str], cli: CommandLine) -> list[str]:
    """The command with the entry id that `ledger show` prints, instead of the id on the page."""
    if command[:2] != ["ledger", "reverse"]:
        return command
    of_a_pool = command[2] == "--pool"
    whose = command[2:4] if of_a_pool else command[2:3]
    shown = cli.json("ledger", "show", *whose, *(["--without-rewards"] if of_a_pool else ["SOL"]))["entries"]
    entry = [line["entry_id"] for line in shown if not of_a_pool or line["kind"] == "pool_funding"][-1]
    return [*command[:2], *whose, str(entry), *command[3 + len(whose) :]]


def run(command: list[str], cli: CommandLine) -> Answer:
    answer = cli.run(*as_its_reader_types_it(command, cli))
    assert answer.code == 0, (command, answer)
    assert not re.search("Traceback|unexpected|refused", answer.err), (command, answer)
    if "--activated-at" in command:
        # The README says: "If there are no rewards yet, ask again."
        wait_until(lambda: cli.json("status", command[1])["owed_days"] == [], "every owed day is paid")
    return answer


def run_service(program: str, cli: CommandLine) -> None:
    """The product service, saved and run as the README says."""
    service = cli.folder / "service.py"
    service.write_text(program)
    environment = cli.environment | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, service], cwd=cli.folder, env=environment, capture_output=True, text=True
    )
    assert (done.returncode, done.stderr) == (0, "")


def assert_shown(block: str, said: str) -> None:
    """Tests that the output has what the README shows, except for ids and instants."""
    varying = r"[0-9a-f]{8}-[0-9a-f-]{27}|\d{4}-\d{2}-\d{2} \d\d:\d\d:\d\d|\d{4}-\d{2}-\d{2}$"
    shown, actual = (re.sub(varying, "…", text, flags=re.M) for text in (block, said))
    lines = {" ".join(line.split()) for line in actual.splitlines()}
    assert [line for line in shown.splitlines() if " ".join(line.split()) not in lines | {""}] == []


def reversals_of(user: str, cli: CommandLine) -> list[object]:
    return [entry for entry in cli.json("ledger", "show", user)["entries"] if entry["reverses"] is not None]


def test_the_commands_of_the_readme_and_the_runbook_do_what_they_say_in_the_order_in_which_they_stand(
    place: Installation, cli: CommandLine
) -> None:
    compared = 0
    with stopped(place.start(*make_run())):
        for page in (README, *map(section, IS_RUN)):
            said, said_before = "", 0
            for fenced in _FENCED.finditer(page):
                language, block = fenced.groups()
                if language == "sh":
                    said = "".join(run(command, cli).out for command in commands_in(block))
                    said_before = fenced.end()
                elif language == "python":
                    run_service(block, cli)
                elif said and not page[said_before : fenced.start()].strip():
                    assert_shown(block, said)
                    compared += 1
        harmed = {user: reversals_of(user, cli) for user in SAMPLES}

    assert compared == 2
    assert harmed == {user: [] for user in SAMPLES}
