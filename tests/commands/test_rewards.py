import csv
import io
from datetime import timedelta
from decimal import ROUND_DOWN, Decimal
from typing import Any

import pytest
from commandline import CommandLine, eventually, utc_today
from world import EXPORT_HEADER

PLACES = Decimal("0.00000001")
COLUMNS = [
    *("user", "day", "asset", "opening", "closing", "average", "minimum", "cap", "apr", "reward", "outcome"),
    *("late", "credited_at", "entry_id"),
]


def days_ago(days: int) -> str:
    return str(utc_today() - timedelta(days=days))


def paid_user(cli: CommandLine, user: str) -> list[dict[str, Any]]:
    """A user with four accrual days: SOL all the time, BNB above its minimum on the last two only."""
    lines = [
        f"{user},{days_ago(6)} 10:00:00,Spot,Deposit,SOL,12,",
        f"{user},{days_ago(4)} 06:00:00,Spot,Withdraw,SOL,-3,",
        f"{user},{days_ago(4)} 18:00:00,Spot,Deposit,SOL,1.5,",
        f"{user},{days_ago(4)} 00:00:00,Spot,Deposit,BNB,0.49999999,",
        f"{user},{days_ago(2)} 00:00:00,Spot,Deposit,BNB,2000,",
    ]
    assert cli.run("import", cli.write("in.csv", "\n".join([EXPORT_HEADER, *lines]))).code == 0
    for asset in ("SOL", "BNB"):
        cli.json("pool", "fund", asset, "10", "--key", f"{user} {asset}")
    back_dating = ("--activated-at", f"{days_ago(5)}T12:00", "--operator", "ann", "--reason", "moved")
    activated = cli.run("activate", user, "--region", "FR", "--channel", "web", "--accept-terms", *back_dating)
    assert activated.code == 0, activated
    eventually(lambda: cli.json("status", user)["last_credited_day"] == days_ago(1), "every owed day is paid")
    return cli.json("rewards", user)


def recomputed(row: dict[str, Any]) -> tuple[Decimal, str]:
    average, cap = Decimal(row["average"]), Decimal(row["cap"])
    if average < Decimal(row["minimum"]):
        return Decimal(0), "below_minimum"
    reward = (min(average, cap) * Decimal(row["apr"]) / 365).quantize(PLACES, ROUND_DOWN)
    return reward, "capped" if average > cap else "earned"


def test_every_reward_can_be_recomputed_from_its_own_line(cli: CommandLine, user: str) -> None:
    rows = paid_user(cli, user)

    assert [(row["day"], row["asset"]) for row in rows] == [
        (days_ago(days), asset) for days in (4, 3, 2, 1) for asset in ("BNB", "SOL")
    ]
    assert all(list(row) == COLUMNS for row in rows)
    assert {row["outcome"] for row in rows} == {"earned", "capped", "below_minimum"}
    for row in rows:
        assert (Decimal(row["reward"]), row["outcome"]) == recomputed(row)
    worked = next(row for row in rows if (row["day"], row["asset"]) == (days_ago(4), "SOL"))
    assert (worked["average"], worked["reward"]) == ("10.12500000", "0.00022191")
    following = next(row for row in rows if (row["day"], row["asset"]) == (days_ago(3), "SOL"))
    assert (following["average"], following["reward"]) == ("10.50022191", "0.00023014")
    assert cli.json("audit")["clean"] is True

    # The same lines in every form, and of the days that were asked for.
    table = cli.run("rewards", user)
    assert (table.code, table.err) == (0, "")
    assert all(row["average"] in table.out and row["reward"] in table.out for row in rows)
    assert list(csv.DictReader(io.StringIO(cli.run("rewards", user, "--csv").out))) == [
        {name: csv_text(value) for name, value in row.items()} for row in rows
    ]
    assert cli.json("rewards", user, "--from", days_ago(3), "--to", days_ago(2)) == rows[2:6]
    assert cli.json("rewards", user, "--from", days_ago(1)) == rows[6:]
    assert cli.json("rewards", user, "--to", days_ago(5)) == []


def csv_text(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return "" if value is None else str(value)


@pytest.mark.parametrize(
    ("arguments", "out"),
    [((), "{user} has no rewards yet.\n"), (("--json",), "[]\n"), (("--csv",), ",".join(COLUMNS) + "\n")],
)
def test_a_stranger_has_no_rewards(alone: CommandLine, user: str, arguments: tuple[str, ...], out: str) -> None:
    answer = alone.run("rewards", user, *arguments)
    assert (answer.code, answer.out, answer.err) == (0, out.replace("{user}", user), "")


def test_movements_in_closed_days_are_counted_and_change_no_reward(cli: CommandLine, user: str) -> None:
    rows = paid_user(cli, user)
    late = f"{user},{days_ago(3)} 10:00:00,Spot,Deposit,SOL,1,forgotten"

    report = cli.json("import", cli.write("late.csv", f"{EXPORT_HEADER}\n{late}\n"))
    again = cli.run("import", "late.csv")

    assert (report["imported"], report["in_closed_days"]) == (1, 1)
    assert cli.json("rewards", user) == rows
    assert again.out.splitlines()[0] == "late.csv: imported 0 movements of 1 users."
    assert "  1 lines imported before and skipped" in again.out.splitlines()
