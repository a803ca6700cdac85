"""Operators find users, hold and release them, end the enrolments of a region, and start workflows again."""

import subprocess
import sys
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from commandline import (
    CommandLine,
    Installation,
    Worker,
    assert_refused,
    free_ports,
    stopped,
    utc_today,
)
from polling import wait_until
from world import EXPORT_HEADER

WHY = ("--reason", "a check", "--operator", "ann")


def days_ago(days: int) -> str:
    return str(utc_today() - timedelta(days=days))


def enrolled(
    cli: CommandLine, *users: str, region: str = "FR", days: int = 4, tokens: str = "12", asset: str = "SOL"
) -> None:
    """Enrols a user some days ago."""
    deposited(cli, *users, days=days, tokens=tokens, asset=asset)
    activated(cli, *users, region=region, days=days)


def deposited(cli: CommandLine, *users: str, days: int = 4, tokens: str = "12", asset: str = "SOL") -> None:
    lines = [f"{user},{days_ago(days + 1)} 10:00:00,Spot,Deposit,{asset},{tokens}," for user in users]
    answer = cli.run("import", cli.write("in.csv", "\n".join([EXPORT_HEADER, *lines, ""])))
    assert answer.code == 0, answer


def activated(cli: CommandLine, *users: str, region: str = "FR", days: int = 4) -> None:
    for user in users:
        since = ("--activated-at", f"{days_ago(days)}T12:00", "--operator", "ann", "--reason", "moved")
        answer = cli.run("activate", user, "--region", region, "--channel", "web", "--accept-terms", *since)
        assert answer.code == 0, answer


def acts_since(cli: CommandLine, user: str) -> list[dict[str, Any]]:
    """What operators did to a user after the back-dated activation, which is the first act."""
    first, *others = cli.json("acts", user)
    assert (first["act"], first["operator"], first["reason"]) == ("activate", "ann", "moved")
    return others


def state_is(cli: CommandLine, user: str, state: str) -> dict[str, Any]:
    return wait_until(lambda: (s := cli.json("status", user))["state"] == state and s, f"{user} is {state}")


def is_listed(cli: CommandLine, user: str, *options: str) -> dict[str, Any]:
    def look() -> dict[str, Any] | None:
        return next((each for each in cli.json("list", *options)["users"] if each["user"] == user), None)

    return wait_until(look, f"{user} is listed with {options}")


def terminate(installation: Installation, user: str) -> None:
    temporal = str(Path(sys.executable).parent / "temporal")
    where = ["--address", installation.address]
    subprocess.run(
        [temporal, "workflow", "terminate", "-w", f"soft-staking/{user}", *where], check=True, capture_output=True
    )


@pytest.fixture
def paid_in_sui(cli: CommandLine) -> None:
    cli.json("pool", "fund", "SUI", "10")


@pytest.mark.usefixtures("paid_in_sui")
def test_an_enrolled_user_is_listed_by_state_and_region(cli: CommandLine, user: str) -> None:
    enrolled(cli, user, region="IS", tokens="200", asset="SUI")
    found = is_listed(cli, user, "--state", "earning", "--region", "is")
    text = cli.run("list", "--region", "IS")

    assert found == {
        "user": user,
        "state": "earning",
        "region": "IS",
        "is_held": False,
        "end_reason": None,
        "workflow": "running",
    }
    assert (text.code, text.err) == (0, "")
    assert f"{user} " in text.out
    cut = cli.run("list", "--limit", "1")
    assert len(cut.out.splitlines()) == 2


def test_where_nobody_and_nothing_is_found_there_is_a_sentence_and_no_empty_table(
    cli: CommandLine, user: str
) -> None:
    deposited(cli, user)
    assert cli.run("list", "--region", "AQ").out == "no user's workflow shows that.\n"
    assert cli.run("acts", user).out == f"no act of an operator concerned {user}.\n"


def test_if_there_are_more_than_are_listed_a_sentence_says_so(cli: CommandLine, user: str) -> None:
    enrolled(cli, user, f"{user}-b", region="MT", days=0 + 1)
    for each in (user, f"{user}-b"):
        is_listed(cli, each, "--region", "MT")
    cut = cli.run("list", "--region", "MT", "--limit", "1")
    assert cut.code == 0
    assert cut.sentences == ["there are more than 1; --limit prints more of them"]
    answer = cli.json("list", "--region", "MT", "--limit", "1")
    assert (len(answer["users"]), answer["more"]) == (1, True)


def test_users_who_are_owed_days_are_listed_with_since_when_until_they_are_paid(
    cli: CommandLine, user: str
) -> None:
    enrolled(cli, user, region="LI", tokens="2000", asset="ALGO")
    owed = cli.json("owed", "--region", "LI")
    text = cli.run("owed", "--region", "LI")

    [found] = owed["owed"]
    assert (owed["users"], owed["days"]) == (1, 3)
    assert (found["user"], found["region"], found["days"]) == (user, "LI", 3)
    assert (found["first"], found["last"], found["late_days"]) == (days_ago(3), days_ago(1), 0)
    assert "3 owed days of 1 user." in text.out
    # Back-dated days were over before the enrolment was recorded, and so are never late.
    assert cli.json("owed", "--region", "LI", "--late")["owed"] == []
    assert cli.run("owed", "--region", "LI", "--late").out == "no owed day is late.\n"

    cli.json("pool", "fund", "ALGO", "10")
    cli.run("retry", user)
    wait_until(lambda: cli.json("owed", "--region", "LI")["owed"] == [], "all is paid")
    assert cli.run("owed", "--region", "LI").out == "no day is owed.\n"


@pytest.mark.usefixtures("paid_in_sui")
def test_a_held_user_stands_still_until_released(cli: CommandLine, user: str) -> None:
    deposited(cli, user, tokens="200", asset="SUI")
    hold = cli.json("hold", user, *WHY)
    again = cli.run("hold", user, "--reason", "another", "--operator", "ben")
    activated(cli, user)
    status = state_is(cli, user, "held")
    text = cli.run("status", user).out
    is_listed(cli, user, "--held")
    released = cli.run("release", user, "--reason", "all is well", "--operator", "ben")
    paid = state_is(cli, user, "sleeping")

    assert hold["user"] == user
    assert (hold["hold"]["operator"], hold["hold"]["reason"]) == ("ann", "a check")
    assert again.out.startswith(f"{user} is held by ann since ")
    assert status["hold"] == hold["hold"]
    assert status["owed_days"] == [days_ago(3), days_ago(2), days_ago(1)]
    assert "by ann since" in text
    assert f"starter.py release {user} --reason …" in text
    assert released.out.startswith(f"{user} is released; it was held by ann since ")
    assert (paid["hold"], paid["owed_days"], paid["last_credited_day"]) == (None, [], days_ago(1))
    assert cli.json("release", user, *WHY) == {"user": user, "released": False, "hold": None}
    assert [(act["act"], act["operator"], act["reason"]) for act in cli.json("acts", user)] == [
        ("hold", "ann", "a check"),
        ("activate", "ann", "moved"),
        ("release", "ben", "all is well"),
    ]


def test_a_region_is_held_and_released_and_a_repeat_does_only_what_is_missing(cli: CommandLine, user: str) -> None:
    users = [user, f"{user}-b", f"{user}-c"]
    enrolled(cli, *users[:2], region="UA-30")
    first = cli.json("hold", users[0], "--reason", "fraud", "--operator", "zoe")
    would = cli.json("hold", "--region", "UA", *WHY, "--dry-run")
    done = cli.json("hold", "--region", "UA", *WHY)
    enrolled(cli, users[2], region="UA")
    rest = cli.json("hold", "--region", "ua", *WHY)
    none_left = cli.run("hold", "--region", "UA", *WHY)
    released = cli.run("release", "--region", "UA", "--reason", "over")

    who = {"region": "UA", "operator": "ann", "reason": "a check"}
    assert would == who | {"dry_run": True, "users": 1, "would": [users[1]]}
    assert done == who | {"dry_run": False, "users": 1, "done": 1, "not_asked": 0, "failed": []}
    assert (rest["users"], rest["done"]) == (1, 1)
    assert (none_left.code, none_left.out) == (0, "UA: 0 users held.\n")
    assert (released.code, released.out) == (0, "UA: 3 users released.\n")
    assert [(act["act"], act["reason"]) for act in acts_since(cli, users[0])] == [
        ("hold", "fraud"),
        ("release", "over"),
    ]
    assert first["hold"]["reason"] == "fraud"
    assert [cli.json("status", each)["hold"] for each in users] == [None, None, None]


def test_a_regions_enrolments_end_and_a_repeat_finds_none(cli: CommandLine, user: str) -> None:
    users = [user, f"{user}-b"]
    enrolled(cli, *users, region="CY", days=1)
    would = cli.run("deactivate", "--region", "CY", "--reason", "we leave", "--operator", "zoe", "--dry-run")
    assert [cli.json("status", each)["enrolled"] for each in users] == [True, True]
    done = cli.run("deactivate", "--region", "CY", "--reason", "we leave", "--operator", "zoe")
    again = cli.json("deactivate", "--region", "CY", "--reason", "we leave", "--operator", "zoe")

    assert would.out == f"{users[0]}\n{users[1]}\nCY: would deactivate 2 users; nothing was done.\n"
    assert (done.code, done.out, done.err) == (0, "CY: 2 users deactivated.\n", "")
    assert (again["users"], again["failed"]) == (0, [])
    for each in users:
        status = cli.json("status", each)
        assert (status["enrolled"], status["end_reason"]) == (False, "we leave")
        assert [(act["act"], act["operator"]) for act in acts_since(cli, each)] == [("deactivate", "zoe")]
    is_listed(cli, user, "--state", "ended", "--end-reason", "we", "--region", "CY")


def test_an_end_that_a_user_asked_for_is_no_act_and_one_by_an_operator_is(cli: CommandLine, user: str) -> None:
    enrolled(cli, user, f"{user}-b", days=1)
    assert cli.json("deactivate", user)["reason"] == "asked by the user"
    assert cli.json("deactivate", f"{user}-b", *WHY)["reason"] == "a check"
    assert acts_since(cli, user) == []
    [act] = acts_since(cli, f"{user}-b")
    assert (act["act"], act["operator"], act["reason"]) == ("deactivate", "ann", "a check")


def test_a_retry_is_recorded_where_something_waited_for_it(cli: CommandLine, user: str) -> None:
    deposited(cli, user, tokens="1000", asset="S")
    assert cli.json("retry", user, *WHY)["retried"] is False
    activated(cli, user)
    state_is(cli, user, "waiting for pool S")
    assert cli.json("retry", user, *WHY)["retried"] is True
    assert [(act["act"], act["reason"]) for act in acts_since(cli, user)] == [("retry", "a check")]


def test_all_who_wait_for_a_pool_are_named_and_retried_together(cli: CommandLine, user: str) -> None:
    users = [user, f"{user}-b"]
    enrolled(cli, *users, tokens="100", asset="NEAR", days=3)
    for each in users:
        state_is(cli, each, "waiting for pool NEAR")
    waiting = wait_until(
        lambda: (w := cli.json("retry", "--waiting-for", "NEAR", "--dry-run"))["would"] == users and w, "both wait"
    )
    shown = cli.json("pool", "show")
    text = cli.run("pool", "show")
    said = cli.run("pool", "fund", "NEAR", "0.00000001").out.splitlines()
    # A workflow that asks the pool by itself just then is not retried.
    wait_until(lambda: cli.json("retry", "--waiting-for", "NEAR", *WHY)["retried"] == 2, "both are asked")
    cli.json("pool", "fund", "NEAR", "1")

    def are_paid() -> bool:
        # This is repeated, since a workflow that was refused just before the funding waits for minutes.
        cli.json("retry", "--waiting-for", "NEAR", *WHY)
        return all(cli.json("status", each)["state"] == "sleeping" for each in users)

    wait_until(are_paid, "both are paid")
    nobody = cli.run("retry", "--waiting-for", "NEAR")

    assert (waiting["users"], waiting["retried"], waiting["dry_run"]) == (2, 0, True)
    a_day = "0.00164383"
    [pool] = [pool for pool in shown["pools"] if pool["asset"] == "NEAR"]
    assert shown["NEAR"] == "0.00000000"
    assert pool == {
        "asset": "NEAR",
        "balance": "0.00000000",
        "outflow_yesterday": "0.00000000",
        "days_left": 0.0,
        "waiting_users": 2,
        "missing": str(Decimal(a_day) * 2),
    }
    assert "2 users wait for NEAR, in all their assets; go on with: starter.py pool fund NEAR AMOUNT" in text.out
    assert said == [
        "the NEAR pool now holds 0.00000001.",
        "2 users wait for it and ask again within 10 minutes; to ask now: starter.py retry --waiting-for NEAR",
        f"for the days that wait it still lacks {Decimal(a_day) * 2 - Decimal('0.00000001')}.",
    ]
    assert {act["act"] for each in users for act in cli.json("acts", each)} == {"activate", "retry"}
    assert (nobody.code, nobody.out) == (0, "nobody waits for the NEAR pool.\n")


def test_all_who_are_blocked_or_only_those_with_one_problem_are_retried(cli: CommandLine, user: str) -> None:
    users = [user, f"{user}-b"]
    enrolled(cli, *users, tokens="90000000000", days=3)
    for each in users:
        state_is(cli, each, "blocked")
        is_listed(cli, each, "--state", "blocked")
    would = cli.json("retry", "--blocked", "--message", "SOL balance is 90000000000", "--dry-run")
    no_one = cli.run("retry", "--blocked", "--message", "no such words")
    assert [act["act"] for act in cli.json("acts", user)] == ["activate"]
    cli.json("pool", "fund", "SOL", "1000000000")
    for each in users:
        cli.json("withdraw", each, "SOL", "1000000000", "--key", f"room {each}")
    done = cli.json("retry", "--blocked", *WHY)
    for each in users:
        state_is(cli, each, "sleeping")

    assert would["would"] == users
    assert (no_one.code, no_one.out) == (0, "nobody is blocked with 'no such words'.\n")
    assert (done["retried"], done["failed"]) == (2, [])
    assert [(act["act"], act["operator"]) for act in cli.json("acts", user)][1:] == [("retry", "ann")]


STRANGERS: dict[str, tuple[str, ...]] = {
    "hold": WHY,
    "release": WHY,
    "deactivate": (),
    "retry": (),
    "resume": WHY,
    "resume --dry-run": (),
    "status": (),
}


@pytest.mark.parametrize("command", STRANGERS)
def test_a_user_whom_nobody_knows_is_refused_since_the_id_may_be_mistyped(
    cli: CommandLine, command: str, user: str
) -> None:
    words = command.split()
    answer = cli.run(words[0], user, *words[1:], *STRANGERS[command])
    assert_refused(
        answer, 1, f"neither Temporal nor the ledger sqlite:///{cli.environment['SOFT_STAKING_DATA_DIR']}"
    )
    assert f"knows a user {user}: is the id mistyped?" in answer.err
    with pytest.raises(AssertionError):
        cli.json("acts", user)


@pytest.mark.parametrize(
    "command",
    [
        ("rewards",),
        ("rewards", "--csv"),
        ("rewards", "--json"),
        ("rewards", "--as", "entries"),
        ("acts",),
        ("ledger show",),
    ],
)
def test_a_user_unknown_to_the_ledger_is_refused_by_commands_that_ask_only_the_ledger(
    alone: CommandLine, command: tuple[str, ...]
) -> None:
    answer = alone.run(*command[0].split(), "nobody", *command[1:])
    assert_refused(answer, 1, "knows no user nobody: is the id mistyped?")


def test_if_some_of_those_to_be_resumed_are_unknown_each_is_named_and_nobody_is_resumed(
    cli: CommandLine, user: str
) -> None:
    deposited(cli, user)
    answer = cli.run("resume", f"{user}-x", user, f"{user}-y", *WHY)
    assert_refused(answer, 1, f"a user {user}-x: ", f"a user {user}-y: ")


def test_a_resume_of_a_user_who_has_nothing_to_do_says_so(cli: CommandLine, user: str) -> None:
    deposited(cli, user)
    answer = cli.run("resume", user, *WHY)
    assert (answer.code, answer.err) == (0, "")
    assert answer.out.splitlines() == [
        f"{user}: nothing is to do; its workflow runs, or it is neither enrolled nor owed a day.",
        "0 users resumed.",
    ]


@pytest.mark.usefixtures("paid_in_sui")
def test_a_terminated_workflow_is_found_and_started_again_where_it_was(
    cli: CommandLine, user: str, installation: Installation
) -> None:
    users = [user, f"{user}-held", f"{user}-running", f"{user}-ended"]
    enrolled(cli, *users, tokens="200", asset="SUI")
    for each in users:
        state_is(cli, each, "sleeping")
    before = {each: cli.json("rewards", each) for each in users}
    cli.json("hold", users[1], *WHY)
    cli.json("deactivate", users[3])
    for each in users[:2]:
        terminate(installation, each)
    assert cli.json("status", user)["state"] == "not running"

    would = cli.run("resume", *users, "--dry-run")
    assert cli.json("status", user)["state"] == "not running"
    everyone = cli.json("resume", "--dry-run")
    answer = cli.json("resume", *users, *WHY)
    again = cli.json("resume", *users, *WHY)

    nothing = "nothing is to do; its workflow runs, or it is neither enrolled nor owed a day."
    assert (would.code, would.out.splitlines()) == (
        0,
        [
            f"{users[2]}: {nothing}",
            f"{users[3]}: {nothing}",
            *users[:2],
            "would resume 2 users; nothing was done.",
        ],
    )
    assert set(users[:2]) <= set(everyone["would"])
    assert not {users[2], users[3]} & set(everyone["would"])
    assert (answer["resumed"], answer["failed"], again["resumed"]) == (2, [], 0)
    assert state_is(cli, user, "sleeping")["last_credited_day"] == days_ago(1)
    assert state_is(cli, users[1], "held")["hold"]["operator"] == "ann"
    assert {each: cli.json("rewards", each) for each in users} == before
    assert [act["act"] for act in acts_since(cli, users[0])] == ["resume"]
    assert cli.json("audit")["clean"] is True


def test_failures_are_listed_by_user_with_exit_1(cli: CommandLine, user: str, installation: Installation) -> None:
    users = [user, f"{user}-b"]
    enrolled(cli, *users, region="EE", days=1)
    namespace = f"idle-{free_ports(1)[0]}"
    installation.create_namespace(namespace)
    here = {"TEMPORAL_NAMESPACE": namespace}

    text = cli.run("hold", "--region", "EE", *WHY, "--timeout", "0.5", **here)
    machines = cli.run("hold", "--region", "EE", *WHY, "--timeout", "0.5", "--json", **here)

    assert (text.code, text.out) == (1, "EE: 0 users held.\n")
    assert [sentence.partition(": ")[0] for sentence in text.sentences] == users
    assert all("no worker is polling" in sentence for sentence in text.sentences)
    assert machines.code == 1
    assert [failed["user"] for failed in machines.json["failed"]] == users


def test_a_server_is_set_up_once_and_a_worker_says_what_it_misses(
    cli: CommandLine, user: str, installation: Installation
) -> None:
    assert cli.json("setup")["added"] == []
    namespace = f"bare-{free_ports(1)[0]}"
    installation.create_namespace(namespace)
    cli.environment["TEMPORAL_NAMESPACE"] = namespace

    missing = cli.run("list", "--held")
    with stopped(Worker(cli.folder, installation.variables | {"TEMPORAL_NAMESPACE": namespace})) as worker:
        worker.wait_until_it_polls()
        enrolled(cli, user, days=1)
        bare = worker.said
    added = cli.json("setup")
    text = cli.run("setup")
    with stopped(Worker(cli.folder, installation.variables | {"TEMPORAL_NAMESPACE": namespace})) as worker:
        worker.wait_until_it_polls()
        prepared = worker.said
        refreshed = cli.run("setup", "--running")
        is_listed(cli, user, "--state", "earning", "--region", "FR")

    assert missing.code == 1
    assert "run `starter.py setup`" in missing.err
    assert "the server does not know the search attributes" in bare
    assert "the server does not know the search attributes" not in prepared
    assert (added["namespace"], added["known"]) == (namespace, [])
    assert len(added["added"]) == 4
    assert text.out.startswith(f"{namespace} knows SoftStakingState, ")
    assert refreshed.code == 0
    assert refreshed.out.endswith("1 user with a running workflow can be found now.\n")
    assert cli.json("list", "--held") == {"users": [], "more": False}


USAGE: dict[str, tuple[str, ...]] = {
    "neither user nor region": ("hold", *WHY),
    "both": ("hold", "ann", "--region", "FR", *WHY),
    "no reason": ("hold", "ann"),
    "an empty reason": ("hold", "ann", "--reason", ""),
    "a malformed region": ("release", "--region", "Atlantis", *WHY),
    "a dry run of one user": ("release", "ann", "--dry-run", *WHY),
    "a bulk end without a reason": ("deactivate", "--region", "FR"),
    "an end of nobody": ("deactivate",),
    "a resume without a reason": ("resume",),
    "a retry of nobody": ("retry",),
    "a retry of a user and of many": ("retry", "ann", "--waiting-for", "SOL"),
    "a retry of two kinds": ("retry", "--blocked", "--waiting-for", "SOL"),
    "words of those who wait": ("retry", "--waiting-for", "SOL", "--message", "x"),
    "a dry run of one retry": ("retry", "ann", "--dry-run"),
    "a resume of no user": ("resume", "a/b", *WHY),
    "an unknown state": ("list", "--state", "asleep"),
    "a limit of none": ("owed", "--limit", "0"),
}


@pytest.mark.parametrize("case", USAGE)
def test_wrong_usage_is_said_in_a_sentence(alone: CommandLine, case: str) -> None:
    answer = alone.run(*USAGE[case])
    assert (answer.code, answer.out) == (2, "")
    assert len(answer.sentences) == 1


HIDDEN_BY_ENCRYPTION: dict[str, tuple[tuple[str, ...], str]] = {
    "a region": (("--region", "FR"), "starter.py owed --region FR"),
    "an operator's words": (("--end-reason", "ticket"), "starter.py acts"),
}


@pytest.mark.parametrize("case", HIDDEN_BY_ENCRYPTION)
def test_what_encryption_hides_from_the_list_is_not_answered_with_nobody(alone: CommandLine, case: str) -> None:
    options, instead = HIDDEN_BY_ENCRYPTION[case]
    answer = alone.run("list", *options, SOFT_STAKING_PAYLOAD_KEYS=f"2026:{'A' * 43}=")
    assert (answer.code, answer.out) == (1, "")
    assert len(answer.sentences) == 1
    assert instead in answer.err


@pytest.mark.parametrize("beginning", ["deactivated", "region_", "region_restricted"])
def test_the_kind_of_an_end_can_be_asked_for_with_encryption_too(alone: CommandLine, beginning: str) -> None:
    answer = alone.run("list", "--end-reason", beginning, SOFT_STAKING_PAYLOAD_KEYS=f"2026:{'A' * 43}=")
    assert "no Temporal server answers" in answer.err


OPERATORS = ("list", "owed", "hold", "release", "retry", "resume", "acts", "deactivate", "setup", "history")


@pytest.mark.parametrize("command", OPERATORS)
def test_the_help_of_an_operators_command_shows_how_it_is_called(alone: CommandLine, command: str) -> None:
    assert f"Example: python starter.py {command}" in alone.run(command, "--help").out


@pytest.mark.parametrize(
    "arguments",
    [("hold", "ann", *WHY), ("release", "ann", *WHY), ("resume", *WHY), ("list",), ("setup",)],
    ids=lambda arguments: arguments[0],
)
def test_without_a_server_nothing_is_done_and_it_is_said(alone: CommandLine, arguments: tuple[str, ...]) -> None:
    answer = alone.run(*arguments)
    assert (answer.code, answer.out) == (1, "")
    assert "no Temporal server answers" in answer.err
