"""db check and db upgrade, and what every other command says about a ledger of another schema version."""

from pathlib import Path

import databases
import earlier_ledgers
import pytest
from commandline import CommandLine, Worker

from ledger.database.migrations import SCHEMA_VERSION

on_postgresql = pytest.mark.parametrize("database", [databases.POSTGRESQL], indirect=True)
NEWER = SCHEMA_VERSION + 97


@pytest.fixture
def cli(alone: CommandLine, tmp_path: Path) -> CommandLine:
    """A shell with an empty ledger of its own, of either kind."""
    alone.environment["SOFT_STAKING_DATABASE_URL"] = databases.url_in(tmp_path)
    return alone


@pytest.mark.on_both_databases
def test_an_upgrade_makes_a_ledger_and_says_what_there_was_before(cli: CommandLine) -> None:
    checked = cli.run("db", "check", "--json")
    made = cli.json("db", "upgrade")
    again = cli.json("db", "upgrade")

    where = made["ledger"]
    assert (checked.code, checked.err) == (1, "")
    assert checked.json == {"ledger": where, "version": None, "needed": SCHEMA_VERSION, "current": False}
    assert made == {"ledger": where, "from": None, "to": SCHEMA_VERSION}
    assert again == {"ledger": where, "from": SCHEMA_VERSION, "to": SCHEMA_VERSION}
    assert cli.json("db", "check") == {
        "ledger": where,
        "version": SCHEMA_VERSION,
        "needed": SCHEMA_VERSION,
        "current": True,
    }
    assert cli.json("audit")["clean"] is True


@pytest.mark.on_both_databases
def test_people_read_what_was_done_in_a_sentence(cli: CommandLine) -> None:
    answers = [cli.run("db", command) for command in ("check", "upgrade", "upgrade", "check")]

    where = cli.json("db", "check")["ledger"]
    current = f"the ledger {where} has schema version {SCHEMA_VERSION}, the one that this program needs.\n"
    none = answers.pop(0)
    assert (none.code, none.err) == (1, "")
    assert none.out.startswith(f"there is no ledger at {where}: ")
    assert [(answer.code, answer.out, answer.err) for answer in answers] == [
        (0, f"the ledger {where} was made, with schema version {SCHEMA_VERSION}.\n", ""),
        (0, current, ""),
        (0, current, ""),
    ]


@pytest.mark.on_both_databases
def test_an_older_ledger_is_upgraded(cli: CommandLine, tmp_path: Path) -> None:
    earlier_ledgers.make(tmp_path, version=1)

    checked = cli.run("db", "check")
    upgraded = cli.run("db", "upgrade")

    assert (checked.code, upgraded.code) == (1, 0)
    assert f"has schema version 1, and this program needs schema version {SCHEMA_VERSION};" in checked.out
    assert upgraded.out.endswith(f" was upgraded from schema version 1 to {SCHEMA_VERSION}.\n")
    assert cli.json("db", "check")["current"] is True


@pytest.mark.on_both_databases
def test_every_command_stops_at_a_newer_ledger_in_one_sentence(cli: CommandLine, tmp_path: Path) -> None:
    cli.json("db", "upgrade")
    databases.raw(tmp_path, f"UPDATE alembic_version SET version_num = '{NEWER}'")

    stopped = [
        cli.run(*command)
        for command in (("audit",), ("pool", "fund", "SOL", "1"), ("rewards", "ann"), ("db", "upgrade"))
    ]

    assert {(answer.code, answer.out) for answer in stopped} == {(1, "")}
    (sentence,) = {answer.err for answer in stopped}
    both = f" has schema version {NEWER}, and this program needs schema version {SCHEMA_VERSION}; "
    assert sentence.endswith(f"{both}use the newer program\n")
    checked = cli.run("db", "check", "--json")
    assert (checked.code, checked.json["version"], checked.json["current"]) == (1, NEWER, False)


@on_postgresql
@pytest.mark.parametrize("command", [("audit",), ("pool", "show"), ("program", "show")])
def test_a_postgresql_database_without_tables_is_not_filled_by_just_any_command(
    command: tuple[str, ...], cli: CommandLine
) -> None:
    answer = cli.run(*command)

    assert (answer.code, answer.out) == (1, "")
    assert answer.sentences == [cli.run("db", "check").out.removesuffix(".\n")]
    assert "there is no ledger at postgresql://" in answer.err


@on_postgresql
def test_a_worker_stops_at_a_ledger_of_another_version_in_one_sentence(cli: CommandLine, tmp_path: Path) -> None:
    earlier_ledgers.make(tmp_path, version=1)

    worker = Worker(tmp_path, cli.environment).ended()

    assert (worker.code, worker.out) == (1, "")
    assert len(worker.sentences) == 1
    assert f"has schema version 1, and this program needs schema version {SCHEMA_VERSION};" in worker.err


@pytest.mark.parametrize("command", ["check", "upgrade"])
def test_a_password_is_never_shown(command: str, alone: CommandLine) -> None:
    for url in (
        "postgresql://ann:s3cret@127.0.0.1:1/ledger",
        "postgresql://ann:s3cret@127.0.0.1:port/ledger",
        "postgresql://127.0.0.1:1/ledger?user=ann&password=s3cret",
    ):
        answer = alone.run("db", command, SOFT_STAKING_DATABASE_URL=url)
        assert (answer.code, answer.out, len(answer.sentences)) == (1, "", 1)
        assert "s3cret" not in answer.err
