"""The page for an exchange that connects: its service is run, with its commands, on what `make run` gives."""

import json
import re
import subprocess
import sys
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from datetime import date

import pytest
from commandline import CommandLine, Installation, clean_environment, stopped
from documentation import CONNECT, commands_in, fenced, make_run
from polling import wait_until
from world import ROOT

from staking.days import ONE_DAY


@pytest.fixture
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    place = Installation(tmp_path_factory.mktemp("place"))
    (place.folder / "program.toml").symlink_to(ROOT / "program.toml")
    yield place
    place.kill_what_is_left()


@contextmanager
def running(cli: CommandLine, address: str, token: str) -> Generator[subprocess.Popen[str]]:
    """The page's service, until it is killed."""
    service = subprocess.Popen(
        [sys.executable, "exchange.py"],
        cwd=cli.folder,
        env=clean_environment(cli.folder) | {"STAKING_URL": address, "STAKING_TOKEN": token},
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        yield service
    finally:
        service.kill()
        service.communicate()


def results(service: subprocess.Popen[str], count: int) -> list[str]:
    assert service.stdout is not None
    return [service.stdout.readline().strip() for _ in range(count)]


def test_the_service_of_40_lines_is_credited_each_day_once_although_it_is_killed_and_started_again(
    place: Installation,
) -> None:
    (program,), (movements,) = fenced(CONNECT, "python"), fenced(CONNECT, "json")
    assert len(program.splitlines()) <= 40
    make_token, activate, *look_and_remove = [
        command for block in fenced(CONNECT, "sh") for command in commands_in(block)
    ]
    cli = CommandLine(place.folder, **place.variables)
    cli.write("exchange.py", program)
    cli.write("movements.jsonl", movements)
    rewards = cli.folder / "rewards.jsonl"

    def credited() -> list[date]:
        lines = rewards.read_text().splitlines() if rewards.exists() else []
        events = [json.loads(line) for line in lines]
        return [date.fromisoformat(each["data"]["day"]) for each in events if each["subject"] == "alice"]

    with stopped(place.start(*make_run())):
        (token,) = re.findall(r"sst_\w+", cli.run(*make_token).out)
        address = f"http://127.0.0.1:{place.pages_port}"
        with running(cli, address, token) as service:
            assert results(service, 3) == ["posted w-1", "posted w-2", "posted w-3"]
            assert cli.run(*activate).code == 0
            wait_until(credited, "a reward is written")
        with running(cli, address, token) as service:
            assert results(service, 3) == ["repeated w-1", "repeated w-2", "repeated w-3"]
            written = len(credited())
            wait_until(lambda: len(credited()) >= written + 5, "more rewards are written")
        listed, removed = (cli.run(*command) for command in look_and_remove)

    assert credited() == [date(2026, 10, 2) + number * ONE_DAY for number in range(len(credited()))]
    assert (listed.code, removed.code) == (0, 0)
    assert "wallet" in listed.out
    assert cli.json("sources", "list") == []
