"""A whole installation, as its operator and its users use it, on either database: processes, files and answers."""

from collections.abc import Iterator
from datetime import timedelta
from decimal import Decimal
from pathlib import Path

import databases
import pytest
from commandline import CommandLine, Installation, stopped, utc_today
from polling import wait_until
from staking_service import compounding
from world import EXPORT_HEADER, ROOT

pytestmark = pytest.mark.on_both_databases

PROGRAM = str(ROOT / "program.toml")
WEB = ("--region", "FR", "--channel", "web", "--accept-terms")


@pytest.fixture
def place(tmp_path: Path, database: str) -> Iterator[Installation]:
    """worker.py --dev, whose ledger is where SOFT_STAKING_DATABASE_URL says."""
    place = Installation(tmp_path, forked=False)
    place.variables["SOFT_STAKING_DATABASE_URL"] = databases.url_in(tmp_path)
    yield place
    place.kill_what_is_left()
    databases.forget(tmp_path)


@pytest.fixture
def cli(place: Installation, tmp_path: Path) -> CommandLine:
    return CommandLine(tmp_path, **place.variables)


def days_ago(days: int) -> str:
    return str(utc_today() - timedelta(days=days))


def test_a_user_who_was_enrolled_elsewhere_is_paid_every_owed_day(place: Installation, cli: CommandLine) -> None:
    cli.json("db", "upgrade")
    cli.json("program", "apply", PROGRAM)
    line = f"zoe,{days_ago(6)} 10:00:00,Spot,Deposit,SOL,12.00000000,"
    cli.json("import", cli.write("export.csv", f"{EXPORT_HEADER}\n{line}\n"))
    cli.json("pool", "fund", "SOL", "1", "--key", "the first funding")
    with stopped(place.start()) as worker:
        back_dating = ("--activated-at", f"{days_ago(5)}T12:00", "--operator", "ann", "--reason", "moved")
        receipt = cli.json("activate", "zoe", *WEB, *back_dating)
        wait_until(lambda: cli.json("status", "zoe")["last_credited_day"] == days_ago(1), "every owed day is paid")
        repeated = cli.json("activate", "zoe", *WEB)
        end = cli.json("deactivate", "zoe")
        ended = worker.stop()
    rows = cli.json("rewards", "zoe")
    left = cli.json("pool", "show")["SOL"]

    expected = compounding("12", "0.008", 4)
    assert [row["day"] for row in rows] == [days_ago(days) for days in (4, 3, 2, 1)]
    assert [(Decimal(row["average"]), Decimal(row["reward"])) for row in rows] == expected
    assert Decimal(left) == 1 - sum(reward for _, reward in expected)
    assert repeated == receipt
    assert (end["last_accrual_day"], end["owed_days"]) == (days_ago(1), 0)
    assert cli.json("audit")["clean"] is True
    assert (ended.code, ended.out) == (0, "")
    assert "Traceback" not in ended.err
    assert place.variables["SOFT_STAKING_DATABASE_URL"].partition("://")[0] in ended.err
    assert not (place.data_dir / "ledger.db").exists()
