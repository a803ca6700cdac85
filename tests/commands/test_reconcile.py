"""reconcile and export: the balances of two systems are held against each other, and users who differ are held."""

from datetime import timedelta

from commandline import CommandLine, assert_refused, utc_today
from world import EXPORT_HEADER, ROOT

TODAY = str(utc_today())
LINES = ("ann,2026-01-01 10:00:00,Spot,Deposit,SOL,12,", "ann,2026-01-02 00:00:00,Spot,Deposit,ADA,5,")
WHY = ("--reason", "case 4711", "--operator", "zoe")


def filled(shell: CommandLine, *lines: str) -> CommandLine:
    """With these movements."""
    file = shell.write("in.csv", "\n".join([EXPORT_HEADER, *lines, ""]))
    assert shell.run("import", file).code == 0
    return shell


def balances(shell: CommandLine, *lines: str) -> str:
    return shell.write("balances.csv", "\n".join(["user,asset,balance", *lines, ""]))


def test_what_is_exported_is_what_the_ledger_has_at_the_boundary_and_does_not_differ(alone: CommandLine) -> None:
    filled(alone, *LINES, 'zoe,2026-01-01 10:00:00,Spot,Deposit,"A,B",1.5,')

    exported = alone.run("export", "balances", "--at", "2026-01-02")
    compared = alone.run("reconcile", alone.write("out.csv", exported.out), "--at", "2026-01-02")

    assert exported.out == 'user,asset,balance\nann,SOL,12.00000000\nzoe,"A,B",1.50000000\n'
    assert (compared.code, compared.err) == (0, "")
    assert compared.out.endswith("just before 2026-01-02 00:00:00 UTC: no differences.\n")
    assert alone.json("export", "balances", "--at", "2026-01-03")[0] == {
        "user": "ann",
        "asset": "ADA",
        "balance": "5.00000000",
    }
    assert alone.json("export", "balances", "--at", "2026-01-01") == []


def test_each_difference_is_a_line_with_both_numbers_and_exit_code_1(alone: CommandLine) -> None:
    file = balances(filled(alone, *LINES), "ann,SOL,11.5", "bob,SOL,1")

    told = alone.run("reconcile", file, "--at", TODAY)
    machine = alone.run("reconcile", file, "--at", TODAY, "--json")

    assert (told.code, told.err, machine.code, machine.err) == (1, "", 1, "")
    assert told.out.splitlines()[:3] == [
        "ann ADA: the ledger has 5.00000000, the file nothing (-5.00000000)",
        "ann SOL: the ledger has 12.00000000, the file 11.50000000 (-0.50000000)",
        "bob SOL: the ledger has nothing, the file 1.00000000 (+1.00000000)",
    ]
    assert "2 balances of balances.csv and 2 of the ledger" in told.out
    sol = {"ledger": "12.00000000", "file": "12.50000000", "difference": "0.50000000"}
    assert machine.json["totals"][1] == {"asset": "SOL", **sol, "differing": 2}
    assert [(each["user"], each["asset"], each["missing_in"]) for each in machine.json["differences"]] == [
        ("ann", "ADA", "file"),
        ("ann", "SOL", None),
        ("bob", "SOL", "ledger"),
    ]
    assert (machine.json["at"][:10], machine.json["differing"], machine.json["hold"]) == (TODAY, 3, None)


def test_sources_that_may_still_send_something_are_told(alone: CommandLine) -> None:
    file = balances(filled(alone, *LINES), "ann,SOL,12", "ann,ADA,5")
    alone.json("sources", "complete", "wallet", "2026-01-02T00:00:00Z")

    told = alone.run("reconcile", file, "--at", TODAY)

    assert (told.code, told.err.partition(", so")[0]) == (
        0,
        "the source wallet is complete only through 2026-01-02 00:00:00 UTC",
    )
    assert alone.json("reconcile", file, "--at", TODAY)["late_sources"] == ["wallet"]


def test_a_file_that_cannot_be_compared_and_a_boundary_to_come_are_refused(alone: CommandLine) -> None:
    alone.json("program", "apply", str(ROOT / "program.toml"))
    file = balances(alone, "ann,SOL,1", "ann,sol,1")

    answer = alone.run("reconcile", file, "--at", TODAY)

    assert (answer.code, answer.out, answer.sentences[-1]) == (1, "", "nothing was compared")
    assert answer.sentences[0].startswith("balances.csv, line 3: there is no asset sol")
    tomorrow = str(utc_today() + timedelta(days=1))
    for command in (("reconcile", file), ("export", "balances")):
        assert_refused(alone.run(*command, "--at", tomorrow), 2, "has not begun")
        assert_refused(alone.run(*command, "--at", "soon"), 2, "is not a day such as")


def test_only_what_would_hold_somebody_says_why(alone: CommandLine) -> None:
    file = balances(alone)

    above = alone.run("reconcile", file, "--at", TODAY, "--hold-above", "0.5")
    below = alone.run("reconcile", file, "--at", TODAY, "--hold-above", "-1", *WHY)
    nobody = alone.run("reconcile", file, "--at", TODAY, *WHY)

    assert_refused(above, 2, "--reason is missing")
    assert_refused(below, 2, "is below zero")
    assert_refused(nobody, 2, "go with --hold-above")


def test_users_who_differ_by_more_are_named_and_with_yes_they_are_held(cli: CommandLine, user: str) -> None:
    """The installation has users of other tests, of whom the file knows nothing."""
    filled(cli, *(f"{user}{more},2026-01-01 10:00:00,Spot,Deposit,SOL,12," for more in ("", "-less", "-held")))
    cli.json("hold", f"{user}-held", "--reason", "before")
    exported = cli.run("export", "balances", "--at", TODAY).out
    file = cli.write(
        "balances.csv",
        exported.replace(f"{user},SOL,12.00000000", f"{user},SOL,11.49999999")
        .replace(f"{user}-less,SOL,12.00000000", f"{user}-less,SOL,12.5")
        .replace(f"{user}-held,SOL,12.00000000", f"{user}-held,SOL,1")
        + f"{user}-unknown,SOL,7\n",
    )
    command = ("reconcile", file, "--at", TODAY, "--hold-above", "0.5", *WHY)

    first = cli.run(*command)
    assert first.code == 1
    assert first.out.splitlines()[-2:] == [
        user,
        "would hold 1 user for a difference above 0.50000000; nothing was done. With --yes they are held.",
    ], first.err
    assert cli.json("acts", user) == []
    held = cli.run(*command, "--yes", "--json")

    assert (held.code, held.json["hold"]["held"], held.json["hold"]["failed"]) == (1, 1, {})
    (act,) = cli.json("acts", user)
    assert (act["act"], act["operator"], act["reason"]) == ("hold", "zoe", "case 4711")
    assert cli.run(*command, "--yes").out.splitlines()[-1] == "held 0 users for a difference above 0.50000000."
    assert [act["reason"] for act in cli.json("acts", f"{user}-held")] == ["before"]
