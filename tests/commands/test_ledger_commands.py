"""import, program and pool: commands that need the ledger alone."""

import sqlite3
import zipfile
from contextlib import closing
from datetime import timedelta

import pytest
from commandline import CommandLine, utc_today
from world import ROOT

PROGRAM_FILE = str(ROOT / "program.toml")
UNDERSCORES = "User_ID,UTC_Time,Account,Operation,Coin,Change,Remark"
SPACES = "User ID,Time,Account,Operation,Coin,Change,Remark"


@pytest.mark.parametrize("header", [UNDERSCORES, SPACES])
@pytest.mark.parametrize("time", ["2026-01-02 10:00:00", "26-01-02 10:00:00"])
def test_both_forms_of_the_export_are_read(alone: CommandLine, header: str, time: str) -> None:
    content = f'﻿{header}\r\n1001,{time},Spot,Deposit,SOL,12.00000000,""\r\n'

    report = alone.json(
        "import", alone.write("export.csv", content), *(["--timezone", "UTC"] if header == SPACES else [])
    )

    assert report == {
        "dry_run": False,
        "imported": 1,
        "already_imported": 0,
        "in_closed_days": 0,
        "skipped_not_spot": 0,
        "skipped_zero": 0,
        "skipped_assets": {},
        "users": 1,
        "import_number": 1,
        "left_out": [],
        "skipped_accounts": {},
        "files": ["export.csv"],
        "zones": ["UTC"],
    }
    assert movements(alone) == [("2026-01-02 10:00:00", "SOL", 12 * 10**8)]


def movements(cli: CommandLine) -> list[tuple[str, str, int]]:
    with closing(sqlite3.connect(cli.folder / "data" / "ledger.db")) as connection:
        return connection.execute(
            "SELECT datetime(effective_at / 1000000, 'unixepoch'), asset, amount"
            " FROM postings JOIN accounts USING (account_id) WHERE kind = 'spot'"
        ).fetchall()


@pytest.mark.parametrize(
    ("zone", "expected"),
    [
        ("Europe/Paris", "2026-07-01 22:30:00"),
        ("+02:00", "2026-07-01 22:30:00"),
        ("-03:30", "2026-07-02 04:00:00"),
    ],
)
def test_times_are_read_in_the_zone_that_is_named(alone: CommandLine, zone: str, expected: str) -> None:
    name = alone.write("export.csv", f"{SPACES}\n1,2026-07-02 00:30:00,Spot,Deposit,SOL,1,\n")
    assert alone.run("import", name, "--timezone", zone).code == 0
    assert movements(alone) == [(expected, "SOL", 10**8)]


ONE_LINE = f"{SPACES}\n1,2026-07-02 00:30:00,Spot,Deposit,SOL,1,\n"


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("history (UTC+9).csv", "2026-07-01 15:30:00"),
        ("history(UTC--6).csv", "2026-07-02 06:30:00"),
        ("history (UTC+05:30).csv", "2026-07-01 19:00:00"),
    ],
)
def test_the_time_zone_is_read_from_the_name_of_a_file(alone: CommandLine, name: str, expected: str) -> None:
    alone.json("import", alone.write(name, ONE_LINE))
    assert movements(alone) == [(expected, "SOL", 10**8)]
    assert alone.json("imports", "list")[0]["zone"].startswith("UTC")


def test_a_time_zone_that_is_not_known_must_be_given(alone: CommandLine) -> None:
    name = alone.write("export.csv", ONE_LINE)
    refused = alone.run("import", name)
    assert (refused.code, refused.out) == (1, "")
    assert "say --timezone UTC+9" in refused.err
    assert alone.run("import", name, "--timezone", "UTC+9").code == 0
    assert movements(alone) == [("2026-07-01 15:30:00", "SOL", 10**8)]


@pytest.mark.parametrize(
    ("header", "name", "said", "sentence"),
    [
        (
            SPACES,
            "history (UTC+9).csv",
            "+8",
            "the file's name says that its times are UTC+09:00, and --timezone says UTC+08:00",
        ),
        (
            UNDERSCORES,
            "history.csv",
            "Europe/Paris",
            "UTC_Time says that its times are UTC, and --timezone says Europe/Paris",
        ),
        (
            UNDERSCORES,
            "history (UTC-3).csv",
            "UTC",
            "UTC_Time says that its times are UTC, and the file's name says UTC-03:00",
        ),
        (SPACES, "history (UTC+99).csv", "UTC", "'UTC+99' is not a time zone known here"),
    ],
)
def test_zones_that_contradict_each_other_are_refused(
    alone: CommandLine, header: str, name: str, said: str, sentence: str
) -> None:
    content = f"{header}\n1,2026-07-02 00:30:00,Spot,Deposit,SOL,1,\n"
    refused = alone.run("import", alone.write(name, content), "--timezone", said)
    assert (refused.code, sentence in refused.err) == (1, True), refused.err


def test_a_zip_is_imported_as_it_was_downloaded(alone: CommandLine) -> None:
    """The files of a ZIP are one export. Equal lines at the instants where two files meet are further
    movements."""
    first = [f"1,2026-07-01 0{hour}:00:00,Spot,Deposit,SOL,1," for hour in (1, 2, 2)]
    second = [f"1,2026-07-01 0{hour}:00:00,Spot,Deposit,SOL,1," for hour in (2, 3)]
    with zipfile.ZipFile(alone.folder / "history (UTC+9).zip", "w") as archive:
        archive.writestr("part-00000.csv", "\n".join([SPACES, *first]))
        archive.writestr("part-00001.csv", "\n".join([SPACES, *second]))
        archive.writestr("__MACOSX/._part-00000.csv", b"\0")

    report = alone.json("import", "history (UTC+9).zip")

    assert (report["imported"], report["zones"]) == (5, ["UTC+09:00"])
    assert report["files"] == [f"history (UTC+9).zip/part-0000{part}.csv" for part in (0, 1)]
    assert alone.json("imports", "show", "1")["files"] == report["files"]
    assert ("2026-06-30 18:00:00", "SOL", 10**8) in movements(alone)
    assert alone.json("import", "history (UTC+9).zip")["imported"] == 0


def test_a_fault_in_a_zip_is_reported_with_its_file(alone: CommandLine) -> None:
    with zipfile.ZipFile(alone.folder / "history.zip", "w") as archive:
        archive.writestr("1.csv", ONE_LINE)
        archive.writestr("2.csv", ONE_LINE.replace(",1,\n", ",many,\n"))
    refused = alone.run("import", "history.zip", "--timezone", "UTC")
    assert (refused.code, refused.out) == (1, "")
    assert refused.sentences[0] == "history.zip/2.csv, line 2: 'many' is not a number"


def test_an_account_that_nobody_knows_is_asked_for(alone: CommandLine) -> None:
    accounts = ["Spot", "现货", "Funding", "Main", "Fiat and Spot", "Main"]
    lines = [f"1,2026-07-01 0{hour}:00:00,{account},Deposit,SOL,1," for hour, account in enumerate(accounts)]
    name = alone.write("export.csv", "\n".join([UNDERSCORES, *lines]))

    refused = alone.run("import", name, "--partial")
    assert (refused.code, refused.out) == (1, "")
    assert "'Main' (2 lines, the first is line 5), 'Fiat and Spot' (1 lines, the first is line 6)" in refused.err
    assert movements(alone) == []

    said = ("--spot-account", "main", "--skip-account", "Fiat and Spot")
    report = alone.json("import", name, *said)
    assert (report["imported"], report["skipped_accounts"]) == (4, {"Fiat and Spot": 1, "Funding": 1})
    told = alone.run("import", name, *said).out
    assert "1 lines skipped, of account Fiat and Spot" in told
    assert "1 lines skipped, of account Funding" in told


def test_a_history_that_does_not_begin_at_its_beginning_is_given_what_it_began_with(alone: CommandLine) -> None:
    name = alone.write("export.csv", f"{UNDERSCORES}\n1,2026-07-01 10:00:00,Spot,Sell,SOL,-2,\n")
    refused = alone.run("import", name)
    assert (refused.code, "say with --opening FILE what it began with, here at least 2.0" in refused.err) == (
        1,
        True,
    )

    faulty = alone.run("import", name, "--opening", alone.write("faulty.csv", "user,asset,amount\n1,SOL,two\n"))
    assert [sentence.partition(":")[0] for sentence in faulty.sentences[:2]] == [
        "export.csv, line 2",
        "faulty.csv, line 2",
    ]
    assert faulty.sentences[1].endswith("'two' is not a number")

    opening = ("--opening", alone.write("opening.csv", "User,Asset,Amount,At\n1,SOL,5,2026-06-30T12:00:00Z\n"))
    report = alone.json("import", name, *opening)
    assert (report["imported"], report["files"]) == (2, ["export.csv", "opening.csv"])
    assert sorted(movements(alone)) == [
        ("2026-06-30 12:00:00", "SOL", 5 * 10**8),
        ("2026-07-01 10:00:00", "SOL", -2 * 10**8),
    ]
    assert alone.json("import", name, *opening)["imported"] == 0
    assert alone.json("imports", "undo", "1", "--reason", "a test")["taken_back"] == 2


def test_users_who_are_left_out_are_named_and_the_others_imported(alone: CommandLine) -> None:
    lines = [
        f"{user},2026-07-01 00:00:00,Spot,Deposit,SOL,{amount},"
        for user, amount in zip("123", ("1", "?", "-1"), strict=True)
    ]
    name = alone.write("export.csv", "\n".join([UNDERSCORES, *lines]))
    assert alone.run("import", name).code == 1
    assert movements(alone) == []

    answer = alone.run("import", name, "--partial")

    assert (answer.code, answer.out.splitlines()[0]) == (1, "export.csv: imported 1 movements of 1 users.")
    assert [sentence.partition(":")[0] for sentence in answer.sentences] == ["line 3", "line 4", "left out whole"]
    assert answer.sentences[-1] == "left out whole: 2 users (2, 3)"
    assert len(movements(alone)) == 1
    again = alone.run("import", name, "--partial", "--json")
    assert (again.code, again.err, again.json["already_imported"], len(again.json["left_out"])) == (1, "", 1, 2)

    nobodys = alone.run("import", alone.write("cut.csv", "\n".join([UNDERSCORES, *lines, "4,20"])), "--partial")
    assert (nobodys.code, nobodys.out) == (1, "")
    assert "nobody knows whose 1 line of these would be" in nobodys.sentences[-1]


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (("--skip-account", "SPOT"), "SPOT is the account that is imported"),
        (("--spot-account", "Main", "--skip-account", "main"), "either --spot-account or --skip-account"),
    ],
)
def test_accounts_that_are_said_to_be_both_are_refused(
    alone: CommandLine, options: tuple[str, ...], sentence: str
) -> None:
    refused = alone.run("import", alone.write("export.csv", ONE_LINE), *options)
    assert (refused.code, sentence in refused.err) == (2, True), refused.err


def test_a_dry_run_says_what_would_be_imported_and_writes_nothing(alone: CommandLine) -> None:
    name = alone.write("export.csv", f"{UNDERSCORES}\n1,2026-07-02 00:30:00,Spot,Deposit,SOL,1,\n")

    answer = alone.run("import", name, "--dry-run")

    assert (answer.code, answer.out) == (
        0,
        "export.csv: would import 1 movements of 1 users.\n  times read in UTC\n",
    )
    assert alone.json("import", name, "--dry-run")["imported"] == 1
    assert alone.json("audit")["entries"] == 0


def test_overlapping_exports_are_imported_one_after_the_other(alone: CommandLine) -> None:
    lines = [f"1,2026-07-0{day} 00:30:00,Spot,Deposit,SOL,1," for day in (1, 1, 2, 3)]
    skipped = ["1,2026-07-01 00:30:00,Funding,Deposit,SOL,1,", "1,2026-07-01 00:30:00,Spot,Fee,SOL,0.00,"]
    alone.write("first.csv", "\n".join([UNDERSCORES, *lines[:3], *skipped]))
    alone.write("second.csv", "\n".join([UNDERSCORES, *reversed(lines)]))

    first = alone.json("import", "first.csv")
    second = alone.json("import", "second.csv")

    assert (first["imported"], first["skipped_not_spot"], first["skipped_zero"]) == (3, 1, 1)
    assert (second["imported"], second["already_imported"]) == (1, 3)
    assert len(movements(alone)) == 4


def test_two_simultaneous_imports_of_one_file_import_each_line_once(alone: CommandLine) -> None:
    lines = [f"{line % 7},2026-07-01 00:00:{line % 60:02d},Spot,Deposit,SOL,1,{line}" for line in range(500)]
    alone.write("export.csv", "\n".join([UNDERSCORES, *lines]))
    answers = alone.run_at_once(*[("import", "export.csv")] * 2)

    assert [answer.code for answer in answers] == [0, 0], answers
    assert sorted(answer.out.splitlines()[0] for answer in answers) == [
        "export.csv: imported 0 movements of 7 users.",
        "export.csv: imported 500 movements of 7 users.",
    ]
    assert len(movements(alone)) == 500
    assert alone.json("audit")["clean"] is True


def test_a_program_is_checked_applied_and_shown(alone: CommandLine) -> None:
    checked = alone.json("program", "check", PROGRAM_FILE)
    applied = alone.json("program", "apply", PROGRAM_FILE)
    again = alone.json("program", "apply", PROGRAM_FILE)
    shown = alone.json("program", "show")
    text = alone.run("program", "show")

    assert (checked["valid"], checked["effective_from"]) == (True, "2025-06-18")
    assert (applied["changed"], applied["version"]) == (True, 1)
    assert again == applied | {"changed": False}
    assert shown["assets"]["SOL"]["apr"] == "0.008"
    assert shown["later"] == []
    assert (text.code, text.err) == (0, "")
    assert all(word in text.out for word in ("program version 1", "2025-06-18", "0.008", "10000", "UA-43"))


def test_a_later_program_is_announced_and_one_for_today_is_refused(alone: CommandLine) -> None:
    alone.json("program", "apply", PROGRAM_FILE)
    content = (ROOT / "program.toml").read_text()
    next_week = utc_today() + timedelta(days=7)
    alone.write("later.toml", content.replace("2025-06-18", str(next_week)).replace('"0.008"', '"0.009"'))
    alone.write("today.toml", content.replace("2025-06-18", str(utc_today())))

    later = alone.run("program", "apply", "later.toml")
    today = alone.run("program", "apply", "today.toml")
    shown = alone.json("program", "show")

    assert (later.code, later.out) == (0, f"program version 2 is in force from {next_week}.\n")
    assert (today.code, today.out) == (1, "")
    assert "the terms of a day that has begun never change" in today.err
    assert shown["assets"]["SOL"]["apr"] == "0.008"
    assert [version["assets"]["SOL"]["apr"] for version in shown["later"]] == ["0.009"]


def test_a_pool_is_funded_once_for_each_key(alone: CommandLine) -> None:
    alone.json("program", "apply", PROGRAM_FILE)

    first = alone.json("pool", "fund", "SOL", "1000.5", "--key", "october")
    assert first == {
        "asset": "SOL",
        "funded": "1000.50000000",
        "balance": "1000.50000000",
        "waiting_users": 0,
        "missing": "0.00000000",
    }
    assert alone.json("pool", "fund", "SOL", "1000.5", "--key", "october") == first
    assert alone.json("pool", "fund", "SOL", "1", "--key", "november")["balance"] == "1001.50000000"
    assert alone.run("pool", "fund", "BNB", "1e-8").out == "the BNB pool now holds 0.00000001.\n"
    shown = alone.json("pool", "show")
    assert (shown["BNB"], shown["SOL"]) == ("0.00000001", "1001.50000000")

    other = alone.run("pool", "fund", "SOL", "7", "--key", "october")
    assert (other.code, other.out) == (1, "")
    assert "1000.5" in other.err
    assert alone.json("pool", "show")["SOL"] == "1001.50000000"
