"""Terms and pools: a command that applies terms names the pools that they need, before any user waits for one."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta

import pytest
from commandline import CommandLine, assert_refused, utc_today
from world import ROOT, World, at

from ledger.database.engine import open_ledger

WHY = ("--reason", "ticket 4711")
PROGRAM_FILE = str(ROOT / "program.toml")
SHIPPED = (ROOT / "program.toml").read_text()
TOMORROW, NEXT_WEEK = (str(utc_today() + timedelta(days=days)) for days in (1, 7))
DOGE = '\n[assets.DOGE]\nminimum = "10"\ncap = "1000"\napr = "{apr}"\nreference_price = "1"\npaused = {paused}\n'


def later(*, apr: str = "0.01", paused: str = "false", first_day: str = NEXT_WEEK) -> str:
    return SHIPPED.replace("2025-06-18", first_day) + DOGE.format(apr=apr, paused=paused)


def in_ledger(shell: CommandLine, words: Callable[[World], Awaitable[object]]) -> None:
    async def work() -> None:
        async with open_ledger(f"sqlite:///{shell.folder / 'data' / 'ledger.db'}") as ledger:
            await words(World(ledger))

    asyncio.run(work())


async def two_hold_doge(world: World) -> None:
    for user, tokens in (("ann", "10"), ("ben", "10"), ("little", "9.99999999"), ("idle", "10")):
        await world.move(user, tokens, "DOGE", at("2026-01-01"))
        await world.move(user, "12", "SOL", at("2026-01-01"))
        if user != "idle":
            await world.enrol(user, at("2026-01-02"))


@pytest.fixture
def shell(alone: CommandLine) -> CommandLine:
    """The shipped program in force, with an empty pool of each asset; and a file that adds DOGE."""
    assert alone.run("program", "apply", PROGRAM_FILE).code == 0
    alone.write("later.toml", later())
    return alone


def test_the_first_program_is_applied_and_names_the_pools_it_needs(alone: CommandLine) -> None:
    answer = alone.run("program", "apply", PROGRAM_FILE)
    assert (answer.code, answer.out) == (0, "program version 1 is in force from 2025-06-18.\n")
    [warning] = answer.sentences
    assert warning.startswith("nothing is in the pools of ADA, ALGO, AXS, BNB, NEAR, POL, S, SOL, SUI, TON: ")
    assert "starter.py pool fund ADA AMOUNT" in warning


def test_a_program_whose_pools_are_funded_warns_of_nothing(shell: CommandLine) -> None:
    assets = ("ADA", "ALGO", "AXS", "BNB", "NEAR", "POL", "S", "SOL", "SUI", "TON")
    for asset in assets[:-1]:
        shell.json("pool", "fund", asset, "1")
    one = shell.run("program", "apply", PROGRAM_FILE)
    shell.json("pool", "fund", "TON", "1")
    none = shell.run("program", "apply", PROGRAM_FILE)
    assert one.err.startswith("nothing is in the pool of TON: ")
    assert (none.code, none.err) == (0, "")


def test_a_new_asset_with_an_empty_pool_is_refused_and_says_who_would_wait(shell: CommandLine) -> None:
    in_ledger(shell, two_hold_doge)
    refused = shell.run("program", "apply", "later.toml")
    assert_refused(
        refused,
        1,
        f"the DOGE pool is empty, and DOGE earns from {NEXT_WEEK} on: 2 users who hold enough of it would wait "
        "for all their rewards, in every asset; go on with --unfunded, and before that day fund it with: "
        "starter.py pool fund DOGE AMOUNT",
    )
    assert shell.json("program", "show")["later"] == []

    applied = shell.json("program", "apply", "later.toml", "--unfunded")
    assert {"asset": "DOGE", "users": 2} in applied["unfunded"]
    # A program that was applied with --unfunded does not need the option again.
    again = shell.run("program", "apply", "later.toml")
    assert (again.code, again.out) == (0, "nothing changed: this is program version 2 already.\n")
    assert "DOGE (2 users)" in again.err


@pytest.mark.parametrize("terms", [{"apr": "0"}, {"paused": "true"}])
def test_an_asset_that_earns_nothing_needs_no_pool(shell: CommandLine, terms: dict[str, str]) -> None:
    shell.write("later.toml", later(**terms))
    applied = shell.run("program", "apply", "later.toml")
    assert applied.code == 0
    assert "DOGE" not in applied.err


def test_an_asset_that_begins_to_earn_needs_a_pool_however_it_begins(shell: CommandLine) -> None:
    shell.write("paused.toml", later(paused="true", first_day=TOMORROW))
    assert shell.run("program", "apply", "paused.toml").code == 0
    refusal = "the DOGE pool is empty, and DOGE earns from {day} on: all users who hold enough of it would wait"
    way_out = "fund it with: starter.py pool fund DOGE AMOUNT; or go on with --unfunded"

    by_program = shell.run("program", "apply", "later.toml")
    by_resume = shell.run("program", "resume", "DOGE", *WHY, "--from", NEXT_WEEK)
    for answer in (by_program, by_resume):
        assert_refused(answer, 1, refusal.format(day=NEXT_WEEK))
        assert way_out in answer.err

    shell.json("pool", "fund", "DOGE", "5")
    assert shell.run("program", "resume", "DOGE", *WHY, "--from", NEXT_WEEK).code == 0


def test_an_unfunded_asset_is_resumed_if_one_insists(shell: CommandLine) -> None:
    assert shell.run("program", "pause", "SOL", *WHY).code == 0
    # The asset still earns today, so it does not begin to earn.
    assert shell.run("program", "resume", "SOL", *WHY).code == 0
    shell.write("paused.toml", later(paused="true", first_day=TOMORROW))
    assert shell.run("program", "apply", "paused.toml").code == 0
    assert shell.run("program", "resume", "DOGE", *WHY, "--from", NEXT_WEEK, "--unfunded").code == 0


def test_checking_and_comparing_a_program_names_the_empty_pools_where_there_is_a_ledger(
    shell: CommandLine,
) -> None:
    checked = shell.run("program", "check", "later.toml")
    compared = shell.run("program", "diff", "later.toml")
    assert (checked.code, compared.code) == (0, 0)
    assert checked.err.startswith("nothing is in the pools of ADA, ALGO, AXS, BNB, DOGE, ")
    assert compared.err.startswith("nothing is in the pool of DOGE: ")
    assert {"asset": "DOGE", "users": 0} in shell.json("program", "check", "later.toml")["unfunded"]


def test_checking_a_program_where_there_is_no_ledger_makes_none(nowhere: CommandLine) -> None:
    assert nowhere.json("program", "check", PROGRAM_FILE)["unfunded"] == []
    assert not list(nowhere.folder.iterdir())


def test_pools_are_shown_of_every_asset_in_force_and_to_come(shell: CommandLine) -> None:
    assert shell.run("program", "apply", "later.toml", "--unfunded").code == 0
    shell.json("pool", "fund", "SOL", "7")
    shown = shell.json("pool", "show")
    pools = {pool["asset"]: pool for pool in shown.pop("pools")}
    assert shown == {asset: "7.00000000" if asset == "SOL" else "0.00000000" for asset in pools}
    assert "DOGE" in pools
    assert (pools["DOGE"]["days_left"], pools["SOL"]["days_left"]) == (0.0, None)
    lines = [line.split() for line in shell.run("pool", "show").out.splitlines()]
    assert ["DOGE", "0.00000000", "0.00000000", "0.0", "0", "0.00000000"] in lines
    assert ["SOL", "7.00000000", "0.00000000", "∞", "0", "0.00000000"] in lines


def test_without_a_program_there_are_no_pools_to_show(alone: CommandLine) -> None:
    assert alone.json("pool", "show") == {"pools": []}
    assert alone.run("pool", "show").out.startswith("there is no program, so there are no pools; apply one with: ")
