import re
import signal
from datetime import datetime, timedelta

import pytest
from commandline import CommandLine, Installation, Worker, free_ports, stopped, utc_today
from polling import wait_until
from world import EXPORT_HEADER

WEB = ("--region", "FR", "--channel", "web", "--accept-terms")
REWARD_WINDOW = timedelta(hours=8)


def days_ago(days: int) -> str:
    return str(utc_today() - timedelta(days=days))


def deposit(cli: CommandLine, user: str, tokens: str = "12", asset: str = "SOL", *, days: int = 5) -> None:
    line = f"{user},{days_ago(days)} 10:00:00,Spot,Deposit,{asset},{tokens},"
    answer = cli.run("import", cli.write("deposit.csv", f"{EXPORT_HEADER}\n{line}\n"))
    assert answer.code == 0, answer


def enrolled_earlier(cli: CommandLine, user: str, *, days: int) -> None:
    answer = cli.run(
        "activate",
        user,
        *WEB,
        "--activated-at",
        f"{days_ago(days)}T12:00:00Z",
        "--operator",
        "ann",
        "--reason",
        "moved",
    )
    assert answer.code == 0, answer


def status_when(cli: CommandLine, user: str, state: str) -> dict[str, object]:
    return wait_until(lambda: (s := cli.json("status", user))["state"] == state and s, f"{user} is {state}")


def test_an_activation_answers_the_receipt_and_a_repeat_the_same_again(cli: CommandLine, user: str) -> None:
    deposit(cli, user)

    receipt = cli.json("activate", user, *WEB)
    text = cli.run("activate", user, *WEB)

    assert list(receipt) == [
        "accepted",
        "enrolment_id",
        "activated_at",
        "first_snapshot_at",
        "first_reward_from",
        "first_reward_until",
    ]
    assert receipt["accepted"] is True
    activated_at = datetime.fromisoformat(receipt["activated_at"])
    day_2 = activated_at.replace(hour=0, minute=0, second=0, microsecond=0) + timedelta(days=1)
    day_3 = day_2 + timedelta(days=1)
    assert datetime.fromisoformat(receipt["first_snapshot_at"]) == day_2
    assert datetime.fromisoformat(receipt["first_reward_from"]) == day_3
    assert datetime.fromisoformat(receipt["first_reward_until"]) == day_3 + REWARD_WINDOW
    assert cli.json("activate", user, *WEB) == receipt
    assert (text.code, text.err) == (0, "")
    for fact in (
        user,
        receipt["enrolment_id"],
        f"{activated_at:%Y-%m-%d %H:%M:%S} UTC",
        f"{day_2:%Y-%m-%d} 00:00:00 UTC",
        f"{day_3:%Y-%m-%d} 00:00:00 UTC",
        f"{day_3:%Y-%m-%d} 08:00:00 UTC",
    ):
        assert fact in text.out


REFUSALS = {
    "region": (("--region", "us", "--channel", "web", "--accept-terms"), ["region_restricted"]),
    "subdivision": (("--region", "US-NY", "--channel", "web", "--accept-terms"), ["region_restricted"]),
    "old app": (
        ("--region", "FR", "--channel", "app", "--app-version", "3.0.9", "--accept-terms"),
        ["app_version_too_old"],
    ),
    "no app version": (("--region", "FR", "--channel", "app", "--accept-terms"), ["app_version_too_old"]),
    "terms not accepted": (
        ("--region", "FR", "--channel", "web"),
        [f"document_not_accepted:{name}" for name in ("terms_of_use", "soft_staking_terms", "risk_warning")],
    ),
}


@pytest.mark.parametrize("case", REFUSALS)
def test_a_refusal_names_its_reasons_and_exits_1(cli: CommandLine, user: str, case: str) -> None:
    arguments, codes = REFUSALS[case]
    deposit(cli, user)

    answer = cli.run("activate", user, *arguments, "--json")
    text = cli.run("activate", user, *arguments)

    assert (answer.code, answer.err) == (1, "")
    assert answer.json["accepted"] is False
    assert [reason["code"] for reason in answer.json["reasons"]] == codes
    assert (text.code, text.out) == (1, "")
    assert text.sentences == [f"refused, {r['code']}: {r['sentence']}" for r in answer.json["reasons"]]
    assert cli.json("status", user)["enrolled"] is False


def test_a_refusal_lists_all_reasons_together(cli: CommandLine, user: str) -> None:
    answer = cli.run("activate", user, "--region", "KP", "--channel", "app", "--app-version", "2", "--json")

    assert answer.code == 1
    assert [reason["code"] for reason in answer.json["reasons"]] == [
        "region_restricted",
        "app_version_too_old",
        "document_not_accepted:terms_of_use",
        "document_not_accepted:soft_staking_terms",
        "document_not_accepted:risk_warning",
        "no_qualifying_asset",
    ]


def test_the_app_in_version_3_1_0_is_new_enough(cli: CommandLine, user: str) -> None:
    deposit(cli, user)
    answer = cli.run(
        "activate", user, "--region", "FR", "--channel", "app", "--app-version", "3.1.0", "--accept-terms"
    )
    assert answer.code == 0, answer


def test_a_deactivation_answers_the_end_and_a_repeat_the_same_again(cli: CommandLine, user: str) -> None:
    deposit(cli, user)
    cli.json("activate", user, *WEB)

    end = cli.json("deactivate", user, "--reason", "wants to stop")
    text = cli.run("deactivate", user)

    assert (end["reason"], end["last_accrual_day"], end["owed_days"]) == ("wants to stop", None, 0)
    assert cli.json("deactivate", user, "--reason", "another") == end
    ended_at = datetime.fromisoformat(end["ended_at"])
    assert text.out == f"{user} ended at {ended_at:%Y-%m-%d %H:%M:%S} UTC; no day has earned.\n"


def test_deactivating_someone_who_was_never_enrolled_is_refused(cli: CommandLine, user: str) -> None:
    cli.json("deposit", user, "DOGE", "1", "--key", f"known {user}")
    answer = cli.run("deactivate", user)
    assert (answer.code, answer.out, answer.sentences) == (1, "", [f"user {user} is not enrolled"])


def test_the_status_of_a_user_who_never_activated_is_not_enrolled(cli: CommandLine, user: str) -> None:
    cli.json("deposit", user, "DOGE", "1", "--key", f"known {user}")
    status = cli.json("status", user)
    assert (status["enrolled"], status["state"], status["tag"], status["holdings"]) == (
        False,
        "not enrolled",
        None,
        {"DOGE": "1.00000000"},
    )


def test_the_status_follows_a_user_from_grey_tag_to_the_end(cli: CommandLine, user: str) -> None:
    deposit(cli, user)
    before = cli.json("status", user)
    receipt = cli.json("activate", user, *WEB)
    during = status_when(cli, user, "sleeping")
    text = cli.run("status", user)
    end = cli.json("deactivate", user)
    after = status_when(cli, user, "ended")

    assert before["tag"] == {"asset": "SOL", "colour": "grey"}
    assert during["tag"] == {"asset": "SOL", "colour": "yellow"}
    assert during["holdings"] == {"SOL": "12.00000000"}
    assert during["enrolment_id"] == receipt["enrolment_id"]
    assert during["next_boundary"] == receipt["first_snapshot_at"]
    assert (during["owed_days"], during["last_credited_day"]) == ([], None)
    assert re.search(r"^state: +sleeping$", text.out, re.MULTILINE)
    assert re.search(r"^tag: +SOL \(yellow\)$", text.out, re.MULTILINE)
    assert (after["enrolled"], after["ended_at"]) == (False, end["ended_at"])


def test_an_empty_pool_holds_days_back_until_it_is_funded(cli: CommandLine, user: str) -> None:
    deposit(cli, user, "5000", "POL")
    enrolled_earlier(cli, user, days=4)

    waiting = status_when(cli, user, "waiting for pool POL")
    early = cli.json("retry", user)
    cli.json("pool", "fund", "POL", "10")
    wait_until(lambda: cli.run("retry", user).code == 0, "the retry is taken")
    paid = status_when(cli, user, "sleeping")

    assert waiting["owed_days"] == [days_ago(3), days_ago(2), days_ago(1)]
    assert waiting["day_in_progress"] == days_ago(3)
    assert early == {"user": user, "retried": True}
    assert (paid["owed_days"], paid["last_credited_day"]) == ([], days_ago(1))
    assert list(paid["totals"]) == ["POL"]


def test_a_retry_where_nothing_waits_says_so(cli: CommandLine, user: str) -> None:
    cli.json("deposit", user, "DOGE", "1", "--key", f"known {user}")
    answer = cli.run("retry", user)
    assert (answer.code, answer.out) == (0, f"{user}: nothing is blocked or waiting.\n")


def test_without_a_server_status_prints_what_the_ledger_knows_and_exits_1(alone: CommandLine, user: str) -> None:
    answer = alone.run("status", user, "--json")

    assert answer.code == 1
    assert (answer.json["user"], answer.json["state"]) == (user, "unknown")
    [sentence] = answer.sentences
    assert "no Temporal server answers at 127.0.0.1:1" in sentence
    assert "python worker.py --dev" in sentence


@pytest.mark.parametrize("command", ["activate", "deactivate", "retry"])
def test_without_a_server_a_request_says_that_nothing_was_sent(
    alone: CommandLine, user: str, command: str
) -> None:
    answer = alone.run(command, user, *(WEB if command == "activate" else ()))

    assert (answer.code, answer.out) == (1, "")
    [sentence] = answer.sentences
    assert "nothing was sent" in sentence
    assert "python worker.py --dev" in sentence


def test_an_activation_without_a_worker_says_what_is_recorded_and_is_carried_out_once_one_comes(
    cli: CommandLine, user: str, installation: Installation
) -> None:
    deposit(cli, user)
    namespace = f"workerless-{free_ports(1)[0]}"
    installation.create_namespace(namespace)
    cli.environment["TEMPORAL_NAMESPACE"] = namespace

    asked = cli.run("activate", user, *WEB, "--timeout", "1")
    unknown = cli.run("status", user, "--timeout", "1", "--json")
    with stopped(Worker(cli.folder, installation.variables | {"TEMPORAL_NAMESPACE": namespace})) as worker:
        worker.wait_until_it_polls()
        receipt = cli.json("activate", user, *WEB)
        status = cli.json("status", user)

    assert (asked.code, asked.out) == (1, "")
    [sentence] = asked.sentences
    assert "no answer within 1 s" in sentence
    assert "start one with: python worker.py" in sentence
    assert f"Temporal has recorded the workflow soft-staking/{user}" in sentence
    assert "repeating it is safe" in sentence
    assert (unknown.code, unknown.json["state"]) == (1, "unknown")
    assert "start one with: python worker.py" in unknown.err
    assert (status["enrolled"], status["enrolment_id"]) == (True, receipt["enrolment_id"])


def test_after_the_kill_of_the_only_worker_commands_say_when_it_last_asked_for_work(
    cli: CommandLine, user: str, installation: Installation
) -> None:
    deposit(cli, user)
    namespace = f"killed-{free_ports(1)[0]}"
    installation.create_namespace(namespace)
    cli.environment["TEMPORAL_NAMESPACE"] = namespace
    with stopped(Worker(cli.folder, installation.variables | {"TEMPORAL_NAMESPACE": namespace})) as worker:
        worker.wait_until_it_polls()
        cli.json("activate", user, *WEB)
        worker.stop(signal.SIGKILL)

    asked = {name: cli.run(name, user, "--timeout", "1") for name in ("status", "deactivate")}

    gone = rf"the last worker asked for work \d+ (s|min) ago \({worker.process.pid}@[^)]+\)"
    for answer in asked.values():
        assert answer.code == 1
        assert re.search(gone, answer.err)
        assert "start one with: python worker.py" in answer.err
        assert "ledger" not in answer.err
    assert "the deactivation may be carried out or not, and repeating it is safe" in asked["deactivate"].err
