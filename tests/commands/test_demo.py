"""The demonstration is compared with an independent calculation: nothing below uses the product's rules."""

import csv
import io
import os
import signal
import sqlite3
import tomllib
import zipfile
from collections import defaultdict
from collections.abc import Iterable
from contextlib import closing, suppress
from datetime import UTC, date, datetime, timedelta
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from commandline import CommandLine, is_running, servers_under, utc_today
from polling import wait_until
from world import ROOT

from commands.demo import _read

SAMPLE, SAMPLE_PROGRAM = ROOT / "examples" / "transactions.csv", ROOT / "examples" / "program.toml"
ONE_DAY = timedelta(days=1)
SECONDS_A_DAY = 86_400
KEYS = [
    *("user", "day", "asset", "opening", "closing", "average"),
    *("minimum", "cap", "apr", "reward", "outcome", "late"),
]

Movements = dict[str, dict[str, list[tuple[datetime, Fraction]]]]


def midnight(day: date) -> datetime:
    return datetime(day.year, day.month, day.day, tzinfo=UTC)


def floor8(number: Fraction) -> Fraction:
    return Fraction(number.numerator * 10**8 // number.denominator, 10**8)


def text8(number: Fraction) -> str:
    units = number * 10**8
    assert units.denominator == 1
    return f"{units.numerator // 10**8}.{units.numerator % 10**8:08d}"


class Oracle:
    """What the demonstration must print, from the files and a day alone."""

    def __init__(self, movements: Path, program: Path, today: date) -> None:
        self.terms: dict[str, dict[str, Any]] = tomllib.loads(program.read_text())["assets"]
        self.starts = midnight(tomllib.loads(program.read_text())["effective_from"])
        self.yesterday = today - ONE_DAY
        self.movements = self.shifted(movements.read_text("utf-8-sig"))

    def shifted(self, content: str) -> Movements:
        spot = [row for row in list(csv.reader(io.StringIO(content)))[1:] if row and row[2] == "Spot"]
        instants = [
            datetime.fromisoformat(row[1] if row[1][4] == "-" else f"20{row[1]}").replace(tzinfo=UTC)
            for row in spot
        ]
        shift = midnight(self.yesterday) - midnight(max(instants).date())
        movements: Movements = defaultdict(lambda: defaultdict(list))
        for row, instant in zip(spot, instants, strict=True):
            of_user = movements[row[0]]
            if row[4] in self.terms and Fraction(row[5]):
                of_user[row[4]].append((instant + shift, Fraction(row[5])))
        return movements

    def activated_at(self, user: str) -> datetime | None:
        """The first instant at which any program asset is held at its minimum."""
        of_user = self.movements[user]
        instants = {instant for moves in of_user.values() for instant, _ in moves if instant >= self.starts}
        for instant in sorted({self.starts, *instants}):
            for asset, moves in of_user.items():
                held = sum((change for when, change in moves if when <= instant), Fraction(0))
                if 0 < held >= Fraction(self.terms[asset]["minimum"]):
                    return instant
        return None

    @property
    def never_qualify(self) -> list[str]:
        return [user for user in sorted(self.movements) if self.activated_at(user) is None]

    @property
    def rows(self) -> list[dict[str, Any]]:
        return [row for user in sorted(self.movements) for row in self.rows_of(user)]

    def rows_of(self, user: str) -> list[dict[str, Any]]:
        activated_at = self.activated_at(user)
        rows: list[dict[str, Any]] = []
        if activated_at is None:
            return rows
        of_user = {asset: list(moves) for asset, moves in self.movements[user].items()}
        day = activated_at.date() + ONE_DAY
        while day <= self.yesterday:
            for asset in sorted(of_user):
                row = self.row(of_user[asset], day, asset)
                if row:
                    rows.append({"user": user, **row})
                    if Fraction(row["reward"]):
                        of_user[asset].append((midnight(day + ONE_DAY), Fraction(row["reward"])))
            day += ONE_DAY
        return rows

    def row(self, moves: list[tuple[datetime, Fraction]], day: date, asset: str) -> dict[str, Any] | None:
        start, end = midnight(day), midnight(day + ONE_DAY)
        opening = sum((change for when, change in moves if when < start), Fraction(0))
        of_day = [(when, change) for when, change in moves if start <= when < end]
        closing = opening + sum((change for _, change in of_day), Fraction(0))
        if not opening and not closing and not of_day:
            return None
        weighted = opening * SECONDS_A_DAY + sum(
            (change * int((end - when).total_seconds()) for when, change in of_day), Fraction(0)
        )
        average = floor8(weighted / SECONDS_A_DAY)
        terms = self.terms[asset]
        minimum, cap, apr = (Fraction(terms[name]) for name in ("minimum", "cap", "apr"))
        reward = floor8(min(average, cap) * apr / 365)
        if terms.get("paused"):
            outcome, reward = "paused", Fraction(0)
        elif average < minimum:
            outcome, reward = "below_minimum", Fraction(0)
        elif reward == 0:
            outcome = "rounded_to_zero"
        else:
            outcome = "capped" if average > cap else "earned"
        return {
            "day": str(day),
            "asset": asset,
            "opening": text8(opening),
            "closing": text8(closing),
            "average": text8(average),
            "minimum": terms["minimum"],
            "cap": terms["cap"],
            "apr": terms["apr"],
            "reward": text8(reward),
            "outcome": outcome,
            "late": False,
        }


def demonstrate(
    cli: CommandLine, movements: Path, program: Path, *, skipped_assets: Iterable[str] = ()
) -> tuple[list[dict[str, Any]], Oracle]:
    """The rows that demo prints, and the expected rows for the day on which it ran."""
    today = utc_today()
    answer = cli.run("demo", "--movements", str(movements), "--program", str(program), "--json")
    if utc_today() != today:  # Midnight came in between, so it is not known which day the command saw.
        return demonstrate(cli, movements, program, skipped_assets=skipped_assets)
    oracle = Oracle(movements, program, today)
    assert answer.code == 0, answer
    assert answer.sentences == [
        *(
            f"2 lines of {asset} are skipped: it is outside the program and its amounts pass 90 billion"
            for asset in skipped_assets
        ),
        *(f"user {user} never qualifies and is not activated" for user in oracle.never_qualify),
    ]
    rows = answer.json
    assert all(list(row) == KEYS for row in rows)
    return rows, oracle


def test_the_sample_is_paid_as_an_independent_calculation_says(alone: CommandLine) -> None:
    rows, oracle = demonstrate(alone, SAMPLE, SAMPLE_PROGRAM)

    assert rows == oracle.rows
    assert {row["outcome"] for row in rows} == {"earned", "capped", "below_minimum", "rounded_to_zero", "paused"}


def test_every_user_of_the_file_who_is_not_activated_is_named(alone: CommandLine) -> None:
    movements = alone.write(
        "movements.csv",
        "User_ID,UTC_Time,Account,Operation,Coin,Change,Remark\n"
        "good,2026-03-31 09:00:00,Spot,Deposit,SOL,12,\n"
        "nothing,2026-03-31 09:00:00,Spot,Deposit,SOL,0,\n"
        "trillions,2026-03-31 09:00:00,Spot,Deposit,PEPE,1000000000000,\n",
    )

    answer = alone.run("demo", "--movements", movements, "--json")

    named = [sentence for sentence in answer.sentences if "never qualifies" in sentence]
    assert named == [f"user {user} never qualifies and is not activated" for user in ("nothing", "trillions")]


# The days are fixed. The last is 1 April 2026, and the program begins on the fifth day before it.
HOSTILE = """\
User ID,Time,Account,Operation,Coin,Change,Remark
dusty,2026-03-31 09:00:00,Spot,Deposit,SOL,0.99999999,below the minimum for ever
holder,2026-03-20 00:00:00,Spot,Deposit,SOL,12.5,long before the program
holder,26-03-30 00:00:00,Spot,Withdraw,SOL,-2.50000000,"exactly at midnight, with a comma"
holder,2026-03-30 23:59:59,Spot,Deposit,SOL,1E-8,
twice,2026-03-29 10:00:01,Spot,Deposit,BNB,0.25,
twice,2026-03-29 10:00:01,Spot,Deposit,BNB,0.25,
twice,26-03-29 10:00:01,Spot,Deposit,BNB,0.25,
Whale,2026-03-28 11:11:11,Spot,Deposit,SUI,75000,
Whale,2026-03-28 11:11:11,Spot,Airdrop,SHIB,1000000000000.00000000,a trillion outside the program
Whale,2026-03-31 11:11:11,Spot,Withdraw,SHIB,-999999999999,
Whale,2026-03-29 06:07:08,Spot,Deposit,AXS,150,paused
gone,2026-03-28 05:00:00,Spot,Withdraw,TON,-60,
gone,2026-03-27 05:00:00,Spot,Deposit,TON,100,
gone,2026-03-29 12:00:00,Spot,Buy,BNB,5,in and out in one second
gone,2026-03-29 12:00:00,Spot,Sell,BNB,-5,
gone,2026-03-31 12:00:00,Spot,Withdraw,TON,-40,
late-comer,2026-04-01 23:59:59,Spot,Deposit,SOL,5,no accrual day yet
shib.only,2026-03-29 10:00:00,Spot,Deposit,PEPE,5,
too.rich,2026-03-29 10:00:00,Spot,Deposit,DOGE,60000000000,
too.rich,2026-03-29 10:00:01,Spot,Deposit,DOGE,60000000000,
dusty,2026-04-01 23:59:59,Spot,Fee,SOL,0.00000000,the last Spot line
dusty,2026-05-20 00:00:00,Funding,Deposit,SOL,1000,later but not Spot
"""


def hostile_program(folder: Path) -> Path:
    program = folder / "program.toml"
    content = (ROOT / "examples" / "program.toml").read_text()
    program.write_text(
        content.replace("effective_from = 2025-06-18", f"effective_from = {utc_today() - 5 * ONE_DAY}")
    )
    return program


def test_a_hostile_export_is_paid_as_an_independent_calculation_says(alone: CommandLine) -> None:
    header, *lines = HOSTILE.splitlines()
    unordered = [header, *lines[::2], *lines[1::2]]
    movements = alone.folder / "hostile.csv"
    movements.write_bytes(("﻿" + "\r\n".join(unordered)).encode())

    program = hostile_program(alone.folder)
    rows, oracle = demonstrate(alone, movements, program, skipped_assets=["DOGE", "SHIB"])

    assert rows == oracle.rows
    assert oracle.never_qualify == ["dusty", "shib.only", "too.rich"]
    assert {row["user"] for row in rows} == {"Whale", "gone", "holder", "twice"}
    assert {row["outcome"] for row in rows} == {"earned", "capped", "below_minimum", "paused"}


def test_a_quiet_account_is_paid_for_every_day_up_to_yesterday(alone: CommandLine) -> None:
    movements = alone.folder / "quiet.csv"
    movements.write_text(
        "User_ID,UTC_Time,Account,Operation,Coin,Change,Remark\n"
        "1,2026-03-01 10:00:00,Spot,Deposit,SUI,50000,at the cap\n"
        "1,2026-03-08 10:00:00,Spot,Fee,SUI,0,nothing moves for a week\n"
        "1,2026-03-12 10:00:00,Spot,Airdrop,SHIB,1000000000000,nor later\n"
    )

    answer = alone.run("demo", "--movements", str(movements), "--json")

    assert answer.code == 0, answer
    assert len(answer.json) == 11
    assert {row["reward"] for row in answer.json} == {"1.36986301"}


def test_an_export_without_movements_demonstrates_nothing(alone: CommandLine) -> None:
    name = alone.write("empty.csv", "User ID,Time,Account,Operation,Coin,Change,Remark\n")
    assert alone.json("demo", "--movements", name) == []


def test_people_see_rewards_totals_and_the_audit(alone: CommandLine) -> None:
    movements = alone.folder / "one.csv"
    movements.write_text(
        "User_ID,UTC_Time,Account,Operation,Coin,Change,Remark\n"
        "1001,2026-03-01 10:00:00,Spot,Deposit,SOL,10.5,\n"
        "1001,2026-03-02 10:00:00,Spot,Fee,SOL,0,\n"
    )

    answer = alone.run("demo", "--movements", str(movements))

    assert answer.code == 0
    for word in ("1 movements of 1 users", "throws both away", "Next: `make run`"):
        assert word in answer.err
    assert alone.run("demo", "--movements", str(movements), "--json").err == ""
    for word in ("Rewards", "1001", "0.00023013", "Totals", "Audit", "every invariant holds"):
        assert word in answer.out


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_demonstration_that_is_stopped_removes_its_server_and_its_files(
    alone: CommandLine, number: signal.Signals
) -> None:
    temporary = alone.folder / "tmp"
    temporary.mkdir()
    alone.environment["TMPDIR"] = str(temporary)

    with alone.start("demo", "--json") as demo:
        wait_until(lambda: credited_days(temporary) > 20, "the steps of many days are running")
        [server] = servers_under(demo.pid)
        os.killpg(demo.pid, number)
        out, err = demo.communicate()

    assert (demo.returncode, out) == (130, "")
    assert err.splitlines()[-1] == "interrupted"
    assert "Traceback" not in err
    assert not is_running(server)
    assert list(temporary.iterdir()) == []


def credited_days(temporary: Path) -> int:
    for ledger in temporary.glob("soft-staking-demo-*/ledger.db"):
        # The command's folder may already be removed while its tables are still to be printed.
        with suppress(sqlite3.OperationalError), closing(sqlite3.connect(ledger)) as connection:
            return connection.execute("SELECT count(*) FROM days WHERE credited_at IS NOT NULL").fetchone()[0]
    return 0


def test_a_reader_that_goes_away_sees_no_traceback(alone: CommandLine) -> None:
    movements = alone.folder / "one.csv"
    movements.write_text(
        "User_ID,UTC_Time,Account,Operation,Coin,Change,Remark\n1,2026-03-01 10:00:00,Spot,Deposit,SOL,2,\n"
    )
    with alone.start("demo", "--movements", str(movements)) as demo:
        assert demo.stdout is not None
        demo.stdout.close()
        assert demo.stderr is not None
        said = demo.stderr.read()
        [code] = [demo.wait()]

    assert (code, "Traceback" in said, "Next:" in said) == (1, False, False)


def test_a_demonstration_does_not_use_the_environment_of_an_installation(nowhere: CommandLine) -> None:
    name = nowhere.write("empty.csv", "User ID,Time,Account,Operation,Coin,Change,Remark\n")
    nowhere.environment |= {"TEMPORAL_ADDRESS": "garbage", "SOFT_STAKING_DATABASE_URL": "garbage"}

    assert nowhere.json("demo", "--movements", name) == []
    assert not (nowhere.folder / ".soft-staking").exists()


def test_what_nobody_can_be_asked_is_assumed_and_said(tmp_path: Path) -> None:
    """A demonstration has no options for these: unknown times are taken as UTC, and an unknown account as not
    Spot."""
    header = "User ID,Time,Account,Operation,Coin,Change,Remark"
    parts = [["Spot,Deposit,SOL,12,", "Main,Deposit,SOL,5,", "Funding,Deposit,SOL,5,"], ["Spot,Deposit,SOL,12,"]]
    with zipfile.ZipFile(tmp_path / "movements.zip", "w") as archive:
        for number, lines in enumerate(parts):
            rows = [f"1001,2026-10-0{number + 1} 10:00:00,{line}" for line in lines]
            archive.writestr(f"{number}.csv", "\n".join([header, *rows]))

    export, names, remarks = _read(tmp_path / "movements.zip")

    assert [line.change for line in export.lines] == [12 * 10**8] * 2
    assert names == ["movements.zip/0.csv", "movements.zip/1.csv"]
    assert remarks == [
        "the time zone of movements.zip/0.csv is not known; its times are taken as UTC",
        "the time zone of movements.zip/1.csv is not known; its times are taken as UTC",
        "it is not known whether account Main is Spot; it is taken as another one",
    ]
