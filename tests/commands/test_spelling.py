"""An asset typed in another case than the program's is a mistake, wherever it is typed."""

import json
import shlex
import subprocess
import sys

import pytest
from commandline import STARTER, CommandLine, assert_refused
from world import EXPORT_HEADER, ROOT

REASON = ("--reason", "a test", "--operator", "zoe")
COMMANDS = [
    ("deposit", "ann", "sol", "5", "--key", "d"),
    ("withdraw", "ann", "sol", "5", "--key", "w"),
    ("trade", "ann", "USDT", "1", "sol", "1", "--key", "t"),
    ("trade", "ann", "sol", "1", "USDT", "1", "--key", "t"),
    ("ledger", "adjust", "ann", "Sol", "1", *REASON),
    ("ledger", "show", "ann", "sol"),
    ("pool", "fund", "sol", "5"),
    ("ledger", "show", "--pool", "sol"),
    ("program", "pause", "sol", *REASON),
    ("program", "resume", "sol", *REASON),
]


@pytest.fixture
def shell(alone: CommandLine) -> CommandLine:
    """A shell whose ledger has the shipped program, and ann with USDT."""
    alone.json("program", "apply", str(ROOT / "program.toml"))
    alone.json("deposit", "ann", "USDT", "100", "--key", "first")
    return alone


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_an_asset_in_another_case_is_refused_with_the_right_one(
    shell: CommandLine, command: tuple[str, ...]
) -> None:
    before = shell.json("ledger", "show", "ann")
    assert_refused(shell.run(*command), 1, "the program has SOL, and asset codes are distinguished by case")
    assert shell.json("ledger", "show", "ann") == before


def test_a_file_with_an_asset_in_another_case_is_refused_by_line(shell: CommandLine) -> None:
    rows = ["ann,2026-10-01 10:00:00,Spot,Deposit,SOL,1,", "ann,2026-10-02 10:00:00,Spot,Withdraw,sol,-1,"]
    file = shell.write("in.csv", "\n".join([EXPORT_HEADER, *rows]))
    assert_refused(
        shell.run("import", file), 1, "line 3: there is no asset sol: the program has SOL", "nothing was imported"
    )


def test_an_asset_of_a_program_to_come_is_known_in_its_case(shell: CommandLine) -> None:
    shipped = (ROOT / "program.toml").read_text().replace("2025-06-18", "2100-01-01")
    file = shell.write("later.toml", shipped.replace("[assets.AXS]", "[assets.XRP]"))
    shell.json("program", "apply", file, "--unfunded")
    assert_refused(shell.run("deposit", "ann", "xrp", "5", "--key", "d"), 1, "the program has XRP")


@pytest.mark.parametrize(
    ("extra", "code", "expected"),
    [
        ("", 1, "assets.sol: differs only in case from SOL, which earlier versions have"),
        ("[assets.SOL]\n", 1, "assets.SOL: differs only in case from sol"),
    ],
)
def test_a_program_has_an_asset_in_one_case_only(shell: CommandLine, extra: str, code: int, expected: str) -> None:
    shipped = (ROOT / "program.toml").read_text().replace("2025-06-18", "2100-01-01")
    terms = 'minimum = "1"\ncap = "2"\napr = "0.1"\nreference_price = "1"\n'
    lower = shipped.replace("[assets.SOL]", "[assets.sol]")
    answer = shell.run("program", "apply", shell.write("later.toml", lower + (extra and extra + terms)))
    assert (answer.code, answer.out) == (code, "")
    assert expected in answer.err


@pytest.mark.parametrize("asset", ["SOLL", "usdc", "Sol2"])
def test_any_other_asset_may_be_moved_whether_the_program_has_it_or_not(shell: CommandLine, asset: str) -> None:
    assert shell.json("deposit", "ann", asset, "5", "--key", "d")["balances"] == {asset: "5.00000000"}


def test_what_is_held_under_another_case_already_can_be_taken_out(alone: CommandLine) -> None:
    alone.json("deposit", "ann", "sol", "5", "--key", "before there was a program")
    alone.json("program", "apply", str(ROOT / "program.toml"))
    assert alone.json("withdraw", "ann", "sol", "5", "--key", "w")["balances"] == {"sol": "0.00000000"}
    assert alone.json("deposit", "ann", "SOL", "5", "--key", "d")["balances"] == {"SOL": "5.00000000"}


ODD = ["币安人生", "O'Brien:x%", "-X"]


@pytest.mark.parametrize("asset", ODD)
def test_the_command_that_a_sentence_advises_works_whatever_the_asset_is_called(
    alone: CommandLine, asset: str
) -> None:
    terms = 'minimum = "1"\ncap = "2"\napr = "0.1"\nreference_price = "1"\n'
    program = (ROOT / "program.toml").read_text() + f'[assets."{asset}"]\n{terms}'
    alone.json("program", "apply", alone.write("odd.toml", program), "--unfunded")
    told = alone.run("ledger", "show", "--pool", asset).out
    arguments = shlex.split(told.partition("fund it with: starter.py ")[2])
    assert alone.run(*arguments[:2], "--json", *arguments[2:]).json["asset"] == asset


@pytest.mark.parametrize("encoding", ["ascii", "utf-8"])
def test_a_code_that_a_terminal_cannot_show_is_shown_by_its_numbers(alone: CommandLine, encoding: str) -> None:
    alone.json("deposit", "ann", "币🍕", "5", "--key", "d")

    def said(*arguments: str) -> str:
        command = [sys.executable, STARTER, "ledger", "show", "ann", *arguments]
        environment = alone.environment | {"PYTHONIOENCODING": encoding}
        return subprocess.run(
            command, cwd=alone.folder, env=environment, capture_output=True, check=True
        ).stdout.decode(encoding)

    assert ("币🍕" if encoding == "utf-8" else r"\u5e01\U0001f355") in said()
    assert json.loads(said("--json"))["entries"][0]["changes"] == {"币🍕": "5.00000000"}
