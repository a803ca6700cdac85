"""history: a user's diary."""

from datetime import timedelta

from commandline import CommandLine, utc_today
from polling import wait_until
from world import EXPORT_HEADER

WEB = ("--region", "FR", "--channel", "web", "--accept-terms")


def days_ago(days: int) -> str:
    return str(utc_today() - timedelta(days=days))


def test_the_history_of_a_user_is_printed_day_by_day(cli: CommandLine, user: str) -> None:
    line = f"{user},{days_ago(5)} 10:00:00,Spot,Deposit,ALGO,0.5,"
    more = f"{user},{days_ago(5)} 10:00:00,Spot,Deposit,SOL,12,"
    assert cli.run("import", cli.write("deposit.csv", f"{EXPORT_HEADER}\n{line}\n{more}\n")).code == 0
    dated_back = ("--activated-at", f"{days_ago(2)}T12:00:00Z", "--operator", "anna", "--reason", "moved")
    assert cli.run("activate", user, *WEB, *dated_back).code == 0
    told = wait_until(lambda: _waits_for_the_pool(cli, user), "the pool is waited for")

    assert [(note["day"], note["kind"]) for note in told["notes"]] == [
        (days_ago(2), "activated"),
        (days_ago(2), "opened"),
    ]
    assert told["notes"][0]["facts"]["region"] == "FR"
    assert told["notes"][1]["facts"]["holdings"] == {"ALGO": "0.50000000", "SOL": "12.00000000"}

    lines = cli.run("history", user).out.splitlines()
    assert lines[0].startswith(f"Soft Staking of {user}: 1 run since ")
    assert lines[2].startswith(f"{days_ago(2)}  activated 12:00:00 · region FR · web · dated back ")
    assert lines[3] == f"{'':12}Day 2 opens with 0.50000000 ALGO, 12.00000000 SOL"
    assert lines[4].startswith("now         waits for pool SOL since ")


def _waits_for_the_pool(cli: CommandLine, user: str) -> dict[str, list[dict[str, object]]] | None:
    told = cli.json("history", user)
    return told if told["now"] and told["now"][0].startswith("waits for pool SOL") else None


def test_for_a_user_without_a_workflow_there_is_one_sentence(cli: CommandLine, user: str) -> None:
    answer = cli.run("history", user)
    assert (answer.code, answer.out) == (1, "")
    [sentence] = answer.sentences
    assert sentence.startswith(f"the Temporal server has no workflow of user {user}: there never was one")


def test_without_a_server_the_command_says_so(alone: CommandLine) -> None:
    answer = alone.run("history", "ann", "--timeout", "2")
    assert (answer.code, answer.out) == (1, "")
    assert "no Temporal server answers" in answer.err
