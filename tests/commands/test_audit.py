"""audit: a table for people, one JSON value for machines, and an exit code for both."""

import sqlite3
from contextlib import closing
from datetime import timedelta

import pytest
from commandline import CommandLine, utc_today
from world import ROOT, World, at

from ledger.database.engine import open_ledger

PROGRAM_FILE = str(ROOT / "program.toml")


def tamper(alone: CommandLine, statement: str) -> None:
    with closing(sqlite3.connect(alone.folder / "data" / "ledger.db", isolation_level=None)) as connection:
        connection.execute(statement)


async def enrol_ann(alone: CommandLine) -> str:
    """Enrols a user two days ago, so that yesterday is owed. Returns yesterday."""
    activated_on = utc_today() - timedelta(days=2)
    async with open_ledger(f"sqlite:///{alone.folder}/data/ledger.db") as ledger:
        world = World(ledger)
        await world.move("ann", "12", "SOL", at(activated_on.isoformat()))
        await world.enrol("ann", at(f"{activated_on} 10:00"))
    return (activated_on + timedelta(days=1)).isoformat()


@pytest.fixture
def funded(alone: CommandLine) -> CommandLine:
    """A shell with a ledger that has the shipped program and one SOL in its pool."""
    alone.json("program", "apply", PROGRAM_FILE)
    alone.json("pool", "fund", "SOL", "1")
    return alone


def test_an_untouched_ledger_passes_its_audit(funded: CommandLine) -> None:
    result = funded.json("audit")
    text = funded.run("audit")

    assert (result["clean"], result["entries"], result["postings"]) == (True, 1, 2)
    assert {"I1", "I2", "I3", "I4", "I5", "I6", "I7"} <= {check["invariant"] for check in result["checks"]}
    assert (result["owed_users"], result["owed_days"], result["owed"]) == (0, 0, [])
    assert result["reversed_rewards"] == 0
    assert (text.code, text.err) == (0, "")
    assert text.out.splitlines()[-1] == "1 entries, 2 postings, 0 credited days: every invariant holds."


def test_a_breach_is_a_row_for_machines_and_a_sentence_for_people(funded: CommandLine) -> None:
    tamper(funded, "UPDATE accounts SET balance = 200000000 WHERE kind = 'pool'")

    result = funded.run("audit", "--json")
    text = funded.run("audit")

    assert (result.code, result.err) == (1, "")
    assert result.json["clean"] is False
    (broken,) = (check for check in result.json["checks"] if check["breaches"])
    (breach,) = broken["breaches"]
    assert (broken["invariant"], broken["breach_count"], breach["table"]) == ("I1", 1, "accounts")
    assert breach["key"].keys() == {"account_id"}
    assert breach["values"] == {
        "kind": "pool",
        "user_id": None,
        "asset": "SOL",
        "balance": "2.00000000",
        "posted": "1.00000000",
    }
    assert "holds 2.00000000, but its postings sum to 1.00000000" in breach["what"]
    assert text.code == 1
    assert breach["what"] in " ".join(text.out.split())
    assert text.out.splitlines()[-1].endswith("the ledger is broken.")


async def test_owed_days_are_listed_and_are_no_breach(funded: CommandLine) -> None:
    yesterday = await enrol_ann(funded)

    result = funded.json("audit")
    text = funded.run("audit")

    assert (result["clean"], result["owed_users"], result["owed_days"]) == (True, 1, 1)
    assert result["owed"] == [{"user": "ann", "days": 1, "first": yesterday, "last": yesterday}]
    assert "Owed and not credited yet: 1 accrual days, 1 users." in text.out
    assert ["ann", "1", yesterday, yesterday] in [line.split() for line in text.out.splitlines()]
