"""All of Temporal's database is lost. Everything goes on from the ledger, and nothing is paid twice or changed."""

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from commandline import CommandLine, Installation, stopped, utc_today
from polling import wait_until
from world import EXPORT_HEADER, ROOT

PROGRAM = ("--program", str(ROOT / "program.toml"))
USERS = {"paid": "SOL", "waiting": "SUI", "held": "SOL", "ended": "SOL", "ended-owed": "SUI"}


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


def enrol_all(cli: CommandLine) -> None:
    lines = [f"{user},{days_ago(9)} 10:00:00,Spot,Deposit,{asset},2000," for user, asset in USERS.items()]
    assert cli.run("import", cli.write("in.csv", "\n".join([EXPORT_HEADER, *lines, ""]))).code == 0
    cli.json("hold", "held", "--reason", "a check")
    since = ("--activated-at", f"{days_ago(6)}T12:00", "--operator", "ann", "--reason", "moved")
    for user in USERS:
        cli.json("activate", user, "--region", "FR", "--channel", "web", "--accept-terms", *since)


def states(cli: CommandLine) -> dict[str, str]:
    return {user: cli.json("status", user)["state"] for user in USERS}


def test_a_lost_temporal_database_is_made_up_for_from_the_ledger(place: Installation, cli: CommandLine) -> None:
    asleep = {"paid": "sleeping", "waiting": "waiting for pool SUI", "held": "held", "ended": "ended"}
    with stopped(place.start(*PROGRAM)):
        cli.json("pool", "fund", "SOL", "100")
        enrol_all(cli)
        wait_until(lambda: states(cli)["ended"] == "sleeping", "ended is paid")
        for user in ("ended", "ended-owed"):
            cli.json("deactivate", user)
        before = asleep | {"ended-owed": "waiting for pool SUI"}
        wait_until(lambda: states(cli) == before, "all are at rest")
        paid = {user: cli.json("rewards", user) for user in USERS}
    for file in place.data_dir.glob("temporal.db*"):
        file.unlink()

    with stopped(place.start(*PROGRAM)):
        lost = states(cli)
        would = cli.json("resume", "--dry-run")["would"]
        answer = cli.json("resume", "--reason", "the disk broke")
        wait_until(lambda: states(cli) == before, "all are where they were")
        assert {user: cli.json("rewards", user) for user in USERS} == paid
        cli.json("pool", "fund", "SUI", "100")
        cli.json("release", "held", "--reason", "all is well")
        for user in ("waiting", "ended-owed"):
            cli.json("retry", user)
        wait_until(lambda: cli.json("owed")["owed"] == [], "nothing is owed")
        after = {user: cli.json("rewards", user) for user in USERS}
        audit = cli.json("audit")

    assert lost == dict.fromkeys(USERS, "not running") | {"ended": "ended"}
    assert would == ["ended-owed", "held", "paid", "waiting"]
    assert (answer["resumed"], answer["failed"]) == (4, [])
    assert (after["paid"], after["ended"]) == (paid["paid"], paid["ended"])
    assert len(after["paid"]) == 5
    # A user whose workflow was lost while it waited has the same rewards as a user whose workflow was not.
    numbers = {user: [(row["day"], row["average"], row["reward"]) for row in rows] for user, rows in after.items()}
    assert numbers["held"] == numbers["paid"] == numbers["ended"]
    assert numbers["waiting"] == numbers["ended-owed"]
    assert audit["clean"] is True
