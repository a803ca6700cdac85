"""program show, pause, resume and diff, on a ledger alone."""

from datetime import timedelta

import pytest
from commandline import CommandLine, utc_today
from world import ROOT

PROGRAM_FILE = str(ROOT / "program.toml")
SHIPPED = (ROOT / "program.toml").read_text()
TOMORROW, NEXT_WEEK, IN_TWO_WEEKS = (str(utc_today() + timedelta(days=days)) for days in (1, 7, 14))
WHY = ("--reason", "an upgrade of the network")
YESTERDAY = str(utc_today() - timedelta(days=1))
RATE_AND_DAY = [
    {"key": "assets.SOL.apr", "before": "0.008", "after": "0.009"},
    {"key": "effective_from", "before": "2025-06-18", "after": NEXT_WEEK},
]


@pytest.fixture
def shell(alone: CommandLine) -> CommandLine:
    """A shell with the shipped program in force, and another SOL APR from next week on."""
    assert alone.run("program", "apply", PROGRAM_FILE).code == 0
    alone.write("later.toml", SHIPPED.replace("2025-06-18", NEXT_WEEK).replace('"0.008"', '"0.009"'))
    assert alone.run("program", "apply", "later.toml").code == 0
    return alone


def test_a_pause_is_shown_on_every_day_until_it_is_resumed(shell: CommandLine) -> None:
    paused = shell.run("program", "pause", "SOL", "BNB", *WHY)
    resumed = shell.json("program", "resume", "SOL", "--from", IN_TWO_WEEKS, *WHY)

    assert (paused.code, paused.err) == (0, "")
    assert paused.out.splitlines() == [
        f"SOL and BNB are paused from {TOMORROW} on.",
        f"program version 3 is in force from {TOMORROW}.",
        f"program version 4 is in force from {NEXT_WEEK}.",
    ]
    assert resumed == {
        "changed": True,
        "assets": ["SOL"],
        "paused": False,
        "from": IN_TWO_WEEKS,
        "versions": [{"version": 5, "effective_from": IN_TWO_WEEKS}],
    }
    shown = {
        on: shell.json("program", "show", "--on", on) for on in (YESTERDAY, TOMORROW, NEXT_WEEK, IN_TWO_WEEKS)
    }
    assert [
        (version["version"], version["assets"]["SOL"]["paused"], version["assets"]["SOL"]["apr"])
        for version in shown.values()
    ] == [(1, False, "0.008"), (3, True, "0.008"), (4, True, "0.009"), (5, False, "0.009")]
    assert [[later["version"] for later in version["later"]] for version in shown.values()] == [
        *([3, 4, 5], [4, 5], [5], [])
    ]


@pytest.mark.parametrize(
    ("on", "first_line"),
    [
        ((), "program version 1, in force from 2025-06-18 to {today}"),
        (("--on", "2025-06-18"), "program version 1, in force from 2025-06-18 to {today}"),
        (("--on", "2100-01-01"), "program version 4, in force from {next_week} on"),
    ],
)
def test_the_terms_of_a_day_say_which_version_and_until_when(
    shell: CommandLine, on: tuple[str, ...], first_line: str
) -> None:
    assert shell.run("program", "pause", "SOL", *WHY).code == 0
    shown = shell.run("program", "show", *on)
    assert (shown.code, shown.err) == (0, "")
    lines = shown.out.splitlines()
    assert lines[0] == first_line.format(today=utc_today(), next_week=NEXT_WEEK)
    assert [line.split()[1:] for line in lines if line.startswith("paused:")] == (
        [["none"], ["SOL"], ["SOL"]] if not on else [["SOL" if "2100" in on[1] else "none"]]
    )


def test_pausing_what_is_paused_changes_nothing_and_says_so(shell: CommandLine) -> None:
    assert shell.run("program", "pause", "SOL", "--from", IN_TWO_WEEKS, *WHY).code == 0

    again = shell.run("program", "pause", "SOL", "--from", IN_TWO_WEEKS, *WHY)
    not_paused = shell.run("program", "resume", "BNB", *WHY)

    assert (again.code, again.out) == (0, f"nothing changed: SOL is paused from {IN_TWO_WEEKS} on already.\n")
    assert (not_paused.code, not_paused.out) == (
        0,
        f"nothing changed: BNB is not paused from {TOMORROW} on already.\n",
    )
    assert shell.json("program", "pause", "SOL", "--from", IN_TWO_WEEKS, *WHY)["changed"] is False


def test_a_program_that_lifts_a_pause_says_so(shell: CommandLine) -> None:
    assert shell.run("program", "pause", "SOL", "BNB", *WHY).code == 0
    applied = shell.run("program", "apply", "later.toml")
    assert (applied.code, applied.out.splitlines()[1]) == (0, "It resumes what was paused until then: BNB, SOL.")


def test_changes_of_the_terms_are_acts_with_operator_and_reason(shell: CommandLine) -> None:
    for _ in range(2):
        shell.json("program", "pause", "SOL", "BNB", "--operator", "zoe", *WHY)
    shell.json("program", "resume", "SOL", "--operator", "max", "--from", IN_TWO_WEEKS, *WHY)

    applied, later, *switched = shell.json("acts")
    assert [(act["act"], act["subject"], act["reason"]) for act in (applied, later)] == [
        ("program_apply", "program version 1", None),
        ("program_apply", "program version 2", None),
    ]
    assert [(act["act"], act["user"], act["subject"], act["operator"], act["reason"]) for act in switched] == [
        ("program_pause", None, f"SOL, BNB from {TOMORROW}, program version 3, 4", "zoe", WHY[1]),
        ("program_resume", None, f"SOL from {IN_TWO_WEEKS}, program version 5", "max", WHY[1]),
    ]


@pytest.mark.parametrize(
    ("arguments", "code", "sentence"),
    [
        (
            ("pause", "XRP", *WHY),
            1,
            f"XRP is not an asset of the program in force on {TOMORROW}, which has ADA, ALGO, AXS",
        ),
        (
            ("pause", "SOL", "--from", YESTERDAY, *WHY),
            1,
            f"{YESTERDAY} has begun, and the terms of a day that has begun",
        ),
        (("resume", "SOL", "--from", "soon", *WHY), 2, "'soon' is not a day such as 2026-10-01"),
        (("pause", "SOL"), 2, "Missing option '--reason'"),
        (("pause", *WHY), 2, "Missing argument 'ASSET'"),
        (("show", "--on", "2020-01-01"), 1, "no program is in force on 2020-01-01"),
        (("show", "--on", "2026-02-30"), 2, "'2026-02-30' is not a day such as 2026-10-01"),
        (("diff", "7"), 1, "there is no program version 7; 2 were applied so far"),
        (("diff", "2020-01-01", "1"), 1, "no program is in force on 2020-01-01"),
        (("diff", "2026-02-30"), 2, "'2026-02-30' is not a day such as 2026-10-01"),
        (("diff", "none.toml"), 1, "the program file none.toml cannot be read: No such file or directory"),
    ],
)
def test_a_change_that_is_not_possible_is_refused_in_one_sentence(
    shell: CommandLine, arguments: tuple[str, ...], code: int, sentence: str
) -> None:
    answer = shell.run("program", *arguments)
    assert (answer.code, answer.out, len(answer.sentences)) == (code, "", 1)
    assert sentence in answer.err


@pytest.mark.parametrize("command", [("pause", "SOL", *WHY), ("resume", "SOL", *WHY), ("diff",)])
def test_without_a_program_there_is_a_sentence(alone: CommandLine, command: tuple[str, ...]) -> None:
    answer = alone.run("program", *command)
    assert (answer.code, answer.out, len(answer.sentences)) == (1, "", 1)
    assert answer.err.startswith("no program is in force on ")


@pytest.mark.parametrize(
    "sides",
    [
        pytest.param((), id="today and the last to come"),
        pytest.param(("2",), id="today and a version"),
        pytest.param((NEXT_WEEK,), id="today and a day"),
        pytest.param(("later.toml",), id="today and a file"),
        pytest.param(("1", "2"), id="two versions"),
        pytest.param((TOMORROW, "2100-01-01"), id="two days"),
        pytest.param(("2025-06-18", "later.toml"), id="a day and a file"),
        pytest.param((PROGRAM_FILE, "2"), id="a file and a version"),
    ],
)
def test_programs_are_compared_however_they_are_named(shell: CommandLine, sides: tuple[str, ...]) -> None:
    assert shell.json("program", "diff", *sides) == RATE_AND_DAY


def test_files_are_compared_without_a_ledger(nowhere: CommandLine) -> None:
    answer = nowhere.run("program", "diff", PROGRAM_FILE, str(ROOT / "examples" / "program.toml"))
    assert (answer.code, answer.err) == (0, "")
    assert answer.out.splitlines()[1:] == [
        "assets.AXS.paused false -> true",
        "assets.DUST added: minimum 0.00000001, cap 1, apr 0.001, reference_price 0.01, paused false",
    ]
    assert [*nowhere.folder.iterdir()] == []


def test_people_see_what_is_added_changed_and_removed(shell: CommandLine) -> None:
    program = SHIPPED.replace('"US"', '"BY"').replace('risk_warning = "2026-01-01"', 'imprint = "4"')
    shell.write("other.toml", program.replace('apr = "0.0015"', 'apr = "0.0020"'))
    assert shell.run("program", "diff", "other.toml").out.splitlines() == [
        "version 1 -> other.toml",
        "assets.BNB.apr 0.0015 -> 0.0020",
        "documents.imprint added: 4",
        "documents.risk_warning removed: 2026-01-01",
        "restricted_regions.BY added",
        "restricted_regions.US removed",
    ]


def test_no_difference_is_an_answer_too(shell: CommandLine) -> None:
    answer = shell.run("program", "diff", PROGRAM_FILE)
    assert (answer.code, answer.out) == (0, f"no difference: version 1 and {PROGRAM_FILE} say the same.\n")
    assert shell.json("program", "diff", "1", "2025-12-31") == []
