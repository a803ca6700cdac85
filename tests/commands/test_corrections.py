"""ledger show, reverse, adjust: an operator reads the journal and corrects it."""

import getpass
import re

import pytest
from commandline import CommandLine, an_empty_ledger, assert_refused
from world import ROOT

LOST = ("ledger", "adjust", "ann", "SOL", "-0.5", "--reason", "a fee")


@pytest.fixture
def ann(alone: CommandLine) -> CommandLine:
    """A shell whose ledger has one entry: ann's deposit of 12 SOL."""
    alone.json("deposit", "ann", "SOL", "12", "--key", "deposit 1", "--at", "2026-10-01T10:00:00Z")
    return alone


def test_a_reversal_answers_its_entry_and_what_it_reverses(ann: CommandLine) -> None:
    answer = ann.json("ledger", "reverse", "ann", "1", "--reason", "the wrong user", "--operator", "zoe")

    assert (answer["entry_id"], answer["kind"], answer["reverses"], answer["user"]) == (2, "reversal", 1, "ann")
    assert (answer["changes"], answer["balances"]) == ({"SOL": "-12.00000000"}, {"SOL": "0.00000000"})
    assert (answer["reason"], answer["operator"], answer["recorded_already"]) == ("the wrong user", "zoe", False)
    assert ann.json("audit")["clean"] is True


def test_a_second_reversal_names_the_first_and_its_reason(ann: CommandLine) -> None:
    first = ann.json("ledger", "reverse", "ann", "1", "--reason", "the wrong user", "--operator", "zoe")

    again = ann.json("ledger", "reverse", "ann", "1", "--reason", "another", "--operator", "max")
    text = ann.run("ledger", "reverse", "ann", "1", "--reason", "another")

    assert again == first | {"recorded_already": True}
    assert (text.code, text.err) == (0, "")
    assert text.out.startswith("entry 1 is reversed already, by entry 2.\n")
    assert "reason: the wrong user, by zoe" in text.out
    assert "another" not in text.out


def test_an_adjustment_may_be_negative_and_its_repeat_says_how_to_adjust_once_more(ann: CommandLine) -> None:
    first = ann.json(*LOST)
    again = ann.run(*LOST)
    more = ann.json(*LOST, "--key", "ticket 12")

    assert (first["kind"], first["changes"]) == ("adjustment", {"SOL": "-0.50000000"})
    assert first["balances"] == {"SOL": "11.50000000"}
    assert again.code == 0
    assert "recorded already" in again.out
    assert "give another --reason or a --key" in again.out
    assert (more["recorded_already"], more["balances"]) == (False, {"SOL": "11.00000000"})


def test_a_user_whom_nobody_knows_is_not_adjusted_since_the_id_may_be_mistyped(ann: CommandLine) -> None:
    answer = ann.run("ledger", "adjust", "anne", "SOL", "0.5", "--reason", "a fee")
    assert_refused(answer, 1, "knows no user anne: is the id mistyped?")
    assert ann.json("audit")["clean"] is True


def test_the_operator_of_a_correction_is_the_login_name_unless_another_is_named(ann: CommandLine) -> None:
    assert ann.json(*LOST)["operator"] == getpass.getuser()
    assert ann.json(*LOST, "--operator", "zoe")["operator"] == "zoe"


def test_a_dry_run_shows_what_would_be_reversed_and_the_balances_after_it(ann: CommandLine) -> None:
    asked = ("ledger", "reverse", "ann", "1", "--reason", "the wrong user", "--dry-run")
    text, answer = ann.run(*asked), ann.json(*asked)

    assert text.out.splitlines() == [
        "would reverse entry 1: -12.00000000 SOL for user ann; nothing was done.",
        "balance then: 0.00000000 SOL",
    ]
    assert (answer["dry_run"], answer["entry_id"], answer["reverses"]) == (True, None, 1)
    assert (answer["changes"], answer["balances"]) == ({"SOL": "-12.00000000"}, {"SOL": "0.00000000"})
    assert ann.json("ledger", "show", "ann")["count"] == 1
    assert ann.json("acts") == []

    ann.json("ledger", "reverse", "ann", "1", "--reason", "the wrong user")
    assert "is reversed already, by entry 2" in ann.run(*asked).out


def test_a_correction_is_an_act_with_the_text_for_the_user(ann: CommandLine) -> None:
    told = ("--tell", "We reversed what was paid twice.", "--operator", "zoe")
    ann.json("ledger", "reverse", "ann", "1", "--reason", "case 1", *told)
    for _ in range(2):
        ann.json("ledger", "adjust", "ann", "SOL", "2", "--reason", "case 2", "--operator", "zoe")
    assert [
        (act["act"], act["user"], act["subject"], act["operator"], act["reason"], act["tell"])
        for act in ann.json("acts", "ann")
    ] == [
        ("reverse", "ann", "entry 1", "zoe", "case 1", "We reversed what was paid twice."),
        ("adjust", "ann", "entry 3", "zoe", "case 2", None),
    ]
    assert "the user reads: We reversed what was paid twice." in ann.run("ledger", "show", "ann").out


def test_a_pools_funding_is_found_with_who_and_why_and_can_be_reversed(alone: CommandLine) -> None:
    alone.json("program", "apply", str(ROOT / "program.toml"))
    alone.json("pool", "fund", "SOL", "5", "--operator", "zoe", "--reason", "November")
    alone.json("pool", "fund", "SOL", "7", "--operator", "max")

    entries = alone.json("ledger", "show", "--pool", "SOL")["entries"]
    assert [(entry["entry_id"], entry["operator"], entry["reason"]) for entry in entries] == [
        (1, "zoe", "November"),
        (2, "max", None),
    ]
    alone.json("ledger", "reverse", "--pool", "SOL", str(entries[1]["entry_id"]), "--reason", "twice")

    text = alone.run("ledger", "show", "--pool", "SOL", "--without-rewards").out
    assert text.startswith("Entries, but for rewards, of the SOL pool: all of 3, the newest last\n")
    assert "reason: November, by zoe" in text
    assert "no reason given, by max" in text
    assert text.endswith("balance now: 5.00000000 SOL\n")
    assert alone.json("audit")["clean"] is True


def test_the_funding_of_a_pool_is_not_an_entry_of_a_user(alone: CommandLine) -> None:
    alone.json("program", "apply", str(ROOT / "program.toml"))
    alone.json("pool", "fund", "SOL", "5")
    for owner in (["ann"], ["--pool", "SUI"]):
        refused = alone.run("ledger", "reverse", *owner, "1", "--reason", "a")
        assert refused.code == 1
        assert "it is of the SOL pool (pool_funding, 5.00000000 SOL)" in refused.err
    assert alone.json("pool", "show")["SOL"] == "5.00000000"


def test_a_pool_funding_is_reversed_too(alone: CommandLine) -> None:
    alone.json("program", "apply", str(ROOT / "program.toml"))
    alone.json("pool", "fund", "SOL", "5")

    answer = alone.run("ledger", "reverse", "--pool", "SOL", "1", "--reason", "too early")

    assert "entry 2, reversal: -5.00000000 SOL for the reward pool" in answer.out
    assert alone.json("pool", "show")["SOL"] == "0.00000000"


def test_a_journal_shows_entries_with_holdings_reasons_and_reversals(ann: CommandLine) -> None:
    ann.json("trade", "ann", "SOL", "2", "SUI", "80", "--key", "t", "--at", "2026-10-02T10:00:00Z")
    ann.json("withdraw", "ann", "SOL", "1", "--key", "w", "--at", "2026-10-01T11:00:00Z")
    ann.json("ledger", "reverse", "ann", "2", "--reason", "not [red]meant[/red]\nat all", "--operator", "zoe")

    text = ann.run("ledger", "show", "ann")
    latest = ann.json("ledger", "show", "ann", "SUI", "--last", "1")

    assert (text.code, text.err) == (0, "")
    instant = r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d(?:\.\d+)? UTC"
    first, *lines = [" ".join(line.split()) for line in text.out.splitlines()]
    assert first == "Entries of ann: all of 4, the newest last"
    assert lines[0] == "entry counts from kind change asset holding recorded remarks"
    assert [re.sub(instant, "…", line) for line in lines[1:]] == [
        "1 … deposit +12.00000000 SOL 12.00000000 …",
        "2 … trade -2.00000000 SOL 10.00000000 … reversed by entry 4",
        "2 … trade +80.00000000 SUI 80.00000000 …",
        "3 … withdrawal -1.00000000 SOL 9.00000000 … occurred …",
        "4 … reversal +2.00000000 SOL 11.00000000 … reverses entry 2; reason: not [red]meant[/red] at all, by zoe",
        "4 … reversal -80.00000000 SUI 0.00000000 …",
    ]
    counts_from = [re.findall(instant, line)[0] for line in lines[1:5]]
    assert counts_from == ["2026-10-01 10:00:00 UTC"] + ["2026-10-02 10:00:00 UTC"] * 3
    assert "occurred 2026-10-01 11:00:00 UTC" in lines[4]
    assert (latest["count"], len(latest["entries"])) == (2, 1)
    (entry,) = latest["entries"]
    assert (entry["entry_id"], entry["changes"], entry["holdings"]) == (
        4,
        {"SUI": "-80.00000000"},
        {"SUI": "0.00000000"},
    )
    assert ann.run("ledger", "show", "ann", "--last", "1").out.startswith("Entries of ann: the latest 1 of 4")


def test_a_user_without_entries_in_an_asset_has_none(ann: CommandLine) -> None:
    doge = ann.run("ledger", "show", "ann", "DOGE")
    assert (doge.code, doge.out) == (0, "there are no entries of ann in DOGE.\n")
    assert ann.json("ledger", "show", "ann", "DOGE") == {
        "user": "ann",
        "asset": "DOGE",
        "count": 0,
        "entries": [],
    }


REFUSED: dict[str, tuple[tuple[str, ...], int, str]] = {
    "an unknown entry": (("reverse", "ann", "99", "--reason", "a"), 1, "there is no entry 99"),
    "what was spent": (
        ("reverse", "ann", "1", "--reason", "a"),
        1,
        "SOL balance is 11.00000000, which does not allow -12",
    ),
    "a reversal": (
        ("reverse", "ann", "4", "--reason", "a"),
        1,
        "entry 4 reverses entry 3 and cannot be reversed itself",
    ),
    "below zero": (("adjust", "ann", "SOL", "-13", "--reason", "a"), 1, "does not allow -13.00000000"),
    "another key's content": (
        ("adjust", "ann", "SOL", "1", "--reason", "a", "--key", "deposit 1"),
        1,
        "was recorded as a deposit of 12.00000000 SOL",
    ),
    "no reason": (("reverse", "ann", "1"), 2, "Missing option '--reason'"),
    "an empty reason": (("reverse", "ann", "1", "--reason", ""), 2, "the reason has 1 to 500 characters"),
    "an endless reason": (("reverse", "ann", "1", "--reason", "x" * 501), 2, "the reason has 1 to 500 characters"),
    "a reason of escapes": (("reverse", "ann", "1", "--reason", "\x1b[2J"), 2, "characters that are no text"),
    "an empty operator": (
        ("reverse", "ann", "1", "--reason", "a", "--operator", ""),
        2,
        "the operator has 1 to 500",
    ),
    "no entry id": (("reverse", "ann", "one", "--reason", "a"), 2, "'one' is not an entry id"),
    "entry zero": (("reverse", "ann", "0", "--reason", "a"), 2, "'0' is not an entry id"),
    "an entry id past 64 bits": (("reverse", "ann", str(2**63), "--reason", "a"), 2, "is not an entry id"),
    "an entry of nobody in particular": (
        ("reverse", "1", "--reason", "a"),
        2,
        "ledger reverse USER 1; or the pool",
    ),
    "an entry of two owners": (("reverse", "ann", "1", "--pool", "SOL", "--reason", "a"), 2, "not both"),
    "another user's entry": (
        ("reverse", "bob", "1", "--reason", "a"),
        1,
        "entry 1 is not of user bob, and nothing was reversed: it is of user ann (deposit, 12.00000000 SOL)",
    ),
    "a user's entry for a pool's": (
        ("reverse", "--pool", "SOL", "1", "--reason", "a"),
        1,
        "entry 1 is not of the SOL pool, and nothing was reversed: it is of user ann",
    ),
    "what was spent, tried": (
        ("reverse", "ann", "1", "--reason", "a", "--dry-run"),
        1,
        "SOL balance is 11.00000000, which does not allow -12",
    ),
    "nothing to tell the user": (
        ("reverse", "ann", "1", "--reason", "a", "--tell", ""),
        2,
        "the text for the user has 1 to 500",
    ),
    "nobody's journal": (("show",), 2, "a USER or a --pool is missing"),
    "a user's and a pool's journal": (("show", "ann", "--pool", "SOL"), 2, "not both"),
    "a user's journal without rewards": (("show", "ann", "--without-rewards"), 2, "goes with --pool"),
    "an adjustment by nothing": (("adjust", "ann", "SOL", "-0", "--reason", "a"), 2, "-0 changes nothing"),
    "nine decimals": (("adjust", "ann", "SOL", "-1e-9", "--reason", "a"), 2, "more than 8 decimals"),
    "an empty key": (("adjust", "ann", "SOL", "1", "--reason", "a", "--key", ""), 2, "a key has 1 to 200"),
    "an unknown option": (("adjust", "ann", "SOL", "1", "--raeson", "a"), 2, "--reason"),
    "no asset code": (("show", "ann", "S L"), 2, "1 to 32 printable characters"),
    "none of the latest": (("show", "ann", "--last", "0"), 2, "greater than or equal to 1"),
}


@pytest.fixture(scope="module")
def corrected(tmp_path_factory: pytest.TempPathFactory) -> CommandLine:
    """A shell whose ledger has ann's deposit, two withdrawals, and the reversal of the second one. It is only for
    requests that are refused, since all such tests share it."""
    shell = an_empty_ledger(tmp_path_factory.mktemp("corrected"))
    shell.json("deposit", "ann", "SOL", "12", "--key", "deposit 1")
    for key in ("w1", "w2"):
        shell.json("withdraw", "ann", "SOL", "1", "--key", key)
    shell.json("ledger", "reverse", "ann", "3", "--reason", "a")
    return shell


@pytest.mark.parametrize("case", REFUSED)
def test_a_refusal_is_one_sentence_and_changes_nothing(corrected: CommandLine, case: str) -> None:
    arguments, code, sentence = REFUSED[case]
    assert_refused(corrected.run("ledger", *arguments), code, sentence)
    assert corrected.json("ledger", "show", "ann")["count"] == 4
