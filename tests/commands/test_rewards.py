import csv
import io
import random
import re
from datetime import timedelta
from decimal import ROUND_DOWN, Decimal
from pathlib import Path
from typing import Any

import databases
import pytest
from commandline import CommandLine, utc_today
from polling import wait_until
from world import EXPORT_HEADER, SHIPPED_PROGRAM, World, at, day, program_with

from commands.reward_tables import print_calendar, print_totals
from ledger.corrections import reverse
from ledger.programs import switch_assets
from staking.days import ONE_DAY

PLACES = Decimal("0.00000001")
COLUMNS = [
    *("day", "asset", "opening", "closing", "average", "minimum", "cap", "apr", "reward", "outcome"),
    *("credited_at", "late", "reference_value_usdt", "entry_id", "reversed_by"),
]


def days_ago(days: int) -> str:
    return str(utc_today() - timedelta(days=days))


def paid_user(cli: CommandLine, user: str) -> list[dict[str, Any]]:
    """A user with four accrual days, who holds SOL all the time and BNB above its minimum only on the last two
    days."""
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
    wait_until(lambda: cli.json("status", user)["last_credited_day"] == days_ago(1), "every owed day is paid")
    return cli.json("rewards", user)


def recomputed(row: dict[str, Any]) -> tuple[Decimal, str]:
    """A line's reward and outcome, recomputed from the rest of the line. Whether an asset is paused is only in the
    outcome."""
    average, cap = Decimal(row["average"]), Decimal(row["cap"])
    if row["outcome"] == "paused":
        return Decimal(0), "paused"
    if average < Decimal(row["minimum"]):
        return Decimal(0), "below_minimum"
    reward = (min(average, cap) * Decimal(row["apr"]) / 365).quantize(PLACES, ROUND_DOWN)
    if not reward:
        return reward, "rounded_to_zero"
    return reward, "capped" if average > cap else "earned"


def test_every_reward_can_be_recomputed_from_its_own_line(cli: CommandLine, user: str) -> None:
    rows = paid_user(cli, user)

    assert [(row["day"], row["asset"]) for row in rows] == [
        (days_ago(days), asset) for days in (4, 3, 2, 1) for asset in ("BNB", "SOL")
    ]
    assert all(list(row) == ["user", *COLUMNS] for row in rows)
    assert {row["user"] for row in rows} == {user}
    assert {row["outcome"] for row in rows} == {"earned", "capped", "below_minimum"}
    for row in rows:
        assert (Decimal(row["reward"]), row["outcome"]) == recomputed(row)
    worked = next(row for row in rows if (row["day"], row["asset"]) == (days_ago(4), "SOL"))
    assert (worked["average"], worked["reward"]) == ("10.12500000", "0.00022191")
    following = next(row for row in rows if (row["day"], row["asset"]) == (days_ago(3), "SOL"))
    assert (following["average"], following["reward"]) == ("10.50022191", "0.00023014")
    assert cli.json("audit")["clean"] is True

    # The lines are the same in every form, and are those of the requested days.
    table = cli.run("rewards", user)
    assert (table.code, table.err) == (0, "")
    assert all(row["average"] in table.out and row["reward"] in table.out for row in rows)
    assert list(csv.DictReader(io.StringIO(cli.run("rewards", user, "--csv").out))) == [
        {name: csv_text(row[name]) for name in COLUMNS} | fixed_decimals(row) for row in rows
    ]
    assert cli.json("rewards", user, "--from", days_ago(3), "--to", days_ago(2)) == rows[2:6]
    assert cli.json("rewards", user, "--from", days_ago(1)) == rows[6:]
    assert cli.json("rewards", user, "--to", days_ago(5)) == []


LEAP_DAY = day("2028-02-29")
DUST = {"minimum": "0.00000001", "cap": "1", "apr": "0.001", "reference_price": "0.01"}
CHOSEN_HOLDINGS = [
    {"SOL": "12", "BNB": "2000", "ADA": "149.99999999", "DUST": "0.00000001", "AXS": "100"},
    {"SOL": "10000.00000001", "BNB": "0.49999999", "DUST": "1000"},
    {"SOL": "10000", "ADA": "800001", "AXS": "99"},
]


async def three_days_with_a_leap_day_of(world: World) -> list[str]:
    """Users who are paid for the leap day and its neighbours. On the last day other terms are in force, and AXS is
    paused."""
    now = at("2028-02-01")
    later = {"SOL": {"apr": "0.0123456789", "reference_price": "0.3"}, "DUST": DUST}
    for program in (program_with("2028-02-02", DUST=DUST), program_with(str(LEAP_DAY + ONE_DAY), **later)):
        await world.apply(program, now=now)
    await switch_assets(
        world.ledger,
        ["AXS"],
        paused=True,
        operator="tests",
        reason="a test",
        first_day=LEAP_DAY + ONE_DAY,
        now=now,
    )
    await world.fund("DUST")
    chance = random.Random(2028)
    by_chance = [
        {asset: f"{10 ** chance.uniform(0.1, 6):.8f}" for asset in ("SOL", "BNB", "ADA", "DUST", "AXS")}
        for _ in range(6)
    ]
    users = [f"user-{number}" for number in range(len(CHOSEN_HOLDINGS) + len(by_chance))]
    for user, holdings in zip(users, [*CHOSEN_HOLDINGS, *by_chance], strict=True):
        for asset, held in holdings.items():
            await world.move(user, held, asset, at("2028-02-27 09:00"))
            if holdings in by_chance:
                moment = f"2028-02-{chance.choice((28, 29))} {chance.randrange(24):02}:{chance.randrange(60):02}"
                await world.move(user, f"{-Decimal(held) / 3:.8f}", asset, at(moment))
        await world.enrol(user, at("2028-02-27 10:00"))
        await world.snapshot(user, day("2028-02-27"))
        for accrual_day in (LEAP_DAY - ONE_DAY, LEAP_DAY, LEAP_DAY + ONE_DAY):
            await world.pay(user, accrual_day)
    return users


@pytest.mark.on_both_databases
async def test_the_csv_alone_recomputes_every_reward_of_every_outcome_and_its_value(
    world: World, alone: CommandLine, tmp_path: Path
) -> None:
    users = await three_days_with_a_leap_day_of(world)
    alone.environment["SOFT_STAKING_DATABASE_URL"] = databases.url_in(tmp_path)

    statements = {user: alone.run("rewards", user, "--csv").out for user in users}

    assert {text.splitlines()[0] for text in statements.values()} == {",".join(COLUMNS)}
    assert_every_column_has_one_form("\n".join(statements.values()).splitlines())
    prices = {asset: Decimal(terms.reference_price) for asset, terms in SHIPPED_PROGRAM.assets.items()}
    prices["DUST"] = Decimal("0.01")
    rows = [row for text in statements.values() for row in csv.DictReader(io.StringIO(text))]
    for row in rows:
        later = row["day"] == "2028-03-01" and row["asset"] == "SOL"
        price = Decimal("0.3") if later else prices[row["asset"]]
        reward, outcome = recomputed(row)
        assert (Decimal(row["reward"]), row["outcome"]) == (reward, outcome), row
        assert Decimal(row["reference_value_usdt"]) == (reward * price).quantize(PLACES, ROUND_DOWN), row
        assert (row["late"], row["reversed_by"]) == ("false", "")
    outcomes = {row["outcome"] for row in rows}
    assert outcomes == {"earned", "capped", "below_minimum", "rounded_to_zero", "paused"}
    assert {row["outcome"] for row in rows if row["day"] == str(LEAP_DAY)} == outcomes - {"paused"}


def assert_every_column_has_one_form(lines: list[str]) -> None:
    """A program that guesses a column's type from some of its values would guess the same from any other
    values."""
    forms = [r"-?\d+\.\d{18}", r"-?\d+\.\d{8}", r"\d{4}-\d\d-\d\d", r"\d{4}-\d\d-\d\dT.*Z", r"\d+", r"true|false"]
    rows = [row for row in csv.DictReader(lines) if row["day"] != "day"]
    for name in rows[0]:
        values = {row[name] for row in rows} - {""}
        found = {next((form for form in forms if re.fullmatch(form, value)), "text") for value in values}
        assert len(found) <= 1, (name, found)


async def two_days_of_which_the_first_was_reversed(world: World) -> None:
    await world.move("ann", "12", "SOL", at("2026-10-01 09:00"))
    await world.enrol("ann", at("2026-10-01 10:00"))
    await world.snapshot("ann", day("2026-10-01"))
    for accrual_day in (day("2026-10-02"), day("2026-10-03")):
        await world.pay("ann", accrual_day)
    paid, *_ = await world.statement("ann")
    await world.sql(
        "INSERT INTO entries (entry_id, kind, user_id, effective_at, recorded_at, reverses)"
        " VALUES (1000, 'reversal', 'ann', 0, 0, :paid)",
        paid=paid.entry_id,
    )


@pytest.mark.on_both_databases
async def test_a_reversed_reward_shows_as_reversed_in_every_form(
    world: World, alone: CommandLine, tmp_path: Path
) -> None:
    await two_days_of_which_the_first_was_reversed(world)
    alone.environment["SOFT_STAKING_DATABASE_URL"] = databases.url_in(tmp_path)

    rows = list(csv.DictReader(io.StringIO(alone.run("rewards", "ann", "--csv").out)))
    table = alone.run("rewards", "ann").out

    assert [row["reversed_by"] for row in rows] == ["1000", ""]
    assert rows[0]["reward"] == "0.00026301"
    assert [row["reversed_by"] for row in alone.json("rewards", "ann")] == [1000, None]
    assert ["reversed" in line for line in table.splitlines() if "2026-10-0" in line] == [True, False]


@pytest.mark.on_both_databases
async def test_entries_are_printed_in_the_order_of_recording_and_never_change(
    world: World, alone: CommandLine, tmp_path: Path
) -> None:
    await world.move("ann", "12", "SOL", at("2026-10-01 09:00"))
    await world.move("ann", "0.00000001", "ADA", at("2026-10-01 09:00"))
    await world.enrol("ann", at("2026-10-01 10:00"))
    await world.snapshot("ann", day("2026-10-01"))
    for accrual_day in (day("2026-10-02"), day("2026-10-03")):
        await world.pay("ann", accrual_day)
    await world.move("ann", "-12", "SOL", at("2026-10-04"))
    await world.pay("ann", day("2026-10-04"))
    first, second, zero = [line for line in await world.statement("ann") if line.asset == "SOL"]
    alone.environment["SOFT_STAKING_DATABASE_URL"] = databases.url_in(tmp_path)
    before = alone.run("rewards", "ann", "--as", "entries", "--csv").out

    await reverse(
        world.ledger, first.entry_id or 0, reason="not for the user", operator="zoe", now=at("2026-10-06 10:00")
    )

    assert zero.entry_id is None
    after = alone.run("rewards", "ann", "--as", "entries", "--csv").out
    assert after.startswith(before)
    assert "not for the user" not in after
    rows = alone.json("rewards", "ann", "--as", "entries")
    assert [(row["day"], row["asset"], row["amount"], row["reverses"]) for row in rows] == [
        ("2026-10-02", "SOL", "0.00026301", None),
        ("2026-10-03", "SOL", "0.00026301", None),
        ("2026-10-02", "SOL", "-0.00026301", first.entry_id),
    ]
    assert [row["entry_id"] for row in rows[:2]] == [first.entry_id, second.entry_id]
    assert list(csv.DictReader(io.StringIO(after))) == [
        {name: csv_text(row[name]) for name in list(row)[1:]} for row in rows
    ]
    recorded = [
        row["recorded_at"][:10] for row in rows
    ]  # The reversal is recorded by a clock that stands still in the past.
    assert recorded == ["2026-10-03", "2026-10-04", "2000-01-01"]
    for number, recorded_on in enumerate(recorded):
        span = ("--from", recorded_on, "--to", recorded_on)
        assert alone.json("rewards", "ann", "--as", "entries", *span) == rows[number : number + 1]


async def test_a_calendar_and_totals_leave_out_what_was_reversed(
    world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    await two_days_of_which_the_first_was_reversed(world)
    lines = await world.statement()

    print_calendar(lines, last_day=day("2026-10-03"))
    print_totals(lines, SHIPPED_PROGRAM)

    rows = [line.split() for line in capsys.readouterr().out.splitlines() if "SOL" in line]
    assert rows == [
        ["ann", "SOL", "↺●", "12.00026301", "1", "0.00026301"],
        ["SOL", "1", "1", "0.00026301", "0.04"],
    ]


def fixed_decimals(row: dict[str, Any]) -> dict[str, str]:
    """The terms of a row as CSV has them."""
    return {name: f"{Decimal(row[name]):.8f}" for name in ("minimum", "cap")} | {
        "apr": f"{Decimal(row['apr']):.18f}"
    }


def csv_text(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return "" if value is None else str(value)


@pytest.mark.parametrize(
    ("arguments", "out"),
    [
        ((), "{user} has no rewards yet.\n"),
        (("--json",), "[]\n"),
        (("--csv",), ",".join(COLUMNS) + "\n"),
        (("--csv", "--as", "entries"), "entry_id,recorded_at,day,asset,amount,reverses\n"),
    ],
)
def test_a_user_who_earned_nothing_has_no_rewards(
    alone: CommandLine, user: str, arguments: tuple[str, ...], out: str
) -> None:
    alone.json("deposit", user, "SOL", "1", "--key", "known")
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
