"""A person's mistake is answered with a sentence that says what to do, and leaves nothing half-done."""

import sqlite3
from contextlib import closing

import pytest
from commandline import CommandLine, assert_refused
from world import EXPORT_HEADER, ROOT

ACTIVATE = ("activate", "zoe", "--region", "FR", "--channel", "web", "--accept-terms")
BACK_DATED = (*ACTIVATE, "--operator", "ann", "--reason", "moved", "--activated-at")
PROGRAM = (ROOT / "program.toml").read_text()
LONG = "x" * 10_000

WRONG_USAGE = {
    "no such command": (("activat",), "No such command 'activat'"),
    "no user": (("status",), "Missing argument 'USER'"),
    "no region": (("activate", "zoe", "--channel", "web"), "Missing option '--region'"),
    "unknown option": (("audit", "--yaml"), "No such option: --yaml"),
    "one word too many": (("pool", "show", "SOL"), "unexpected extra argument"),
    "user with a space": (("status", "a b"), "'a b' is not a user id"),
    "user with a slash": (("deactivate", "a/b"), "'a/b' is not a user id"),
    "user that is a path": (("rewards", "../zoe"), "'../zoe' is not a user id"),
    "user with a line end": (("retry", "zoe\n"), "is not a user id"),
    "empty user": (("activate", "", *ACTIVATE[2:]), "'' is not a user id"),
    "endless user": (("status", LONG), "is not a user id"),
    "user in other letters": (("status", "zoé"), "'zoé' is not a user id"),
    "unknown channel": ((*ACTIVATE[:4], "--channel", "api"), "'api' is not one of 'web', 'app'"),
    "no region code": ((*ACTIVATE, "--region", "France"), "is not an ISO 3166-1 or 3166-2 code such as FR"),
    "empty region": ((*ACTIVATE, "--region", ""), "is not an ISO 3166-1 or 3166-2 code such as FR"),
    "no app version": ((*ACTIVATE, "--app-version", "new"), "'new' is not an app version such as 3.1.0"),
    "timeout of nothing": ((*ACTIVATE, "--timeout", "0"), "greater than or equal to 0.1"),
    "negative timeout": (("status", "zoe", "--timeout", "-1"), "greater than or equal to 0.1"),
    "timeout that is no number": (("retry", "zoe", "--timeout", "nan"), "less than or equal to 3600"),
    "timeout without end": (("deactivate", "zoe", "--timeout", "inf"), "less than or equal to 3600"),
    "timeout in words": ((*ACTIVATE, "--timeout", "soon"), "valid number"),
    "no instant": ((*BACK_DATED, "yesterday"), "'yesterday' is not an ISO 8601 instant such as"),
    "endless instant": ((*BACK_DATED, LONG), "is not an ISO 8601 instant such as"),
    "instant before the calendar": ((*BACK_DATED, "0001-01-01T00:00+05:00"), "is not an ISO 8601 instant"),
    "instant after the calendar": ((*BACK_DATED, "9999-12-31T23:59:59-05:00"), "is not an ISO 8601 instant"),
    "back-dating by nobody": (
        (*ACTIVATE, "--activated-at", "2026-01-01", "--reason", "moved"),
        "--activated-at needs --operator and --reason",
    ),
    "back-dating for no reason": (
        (*ACTIVATE, "--activated-at", "2026-01-01", "--operator", "ann", "--reason", ""),
        "--activated-at needs --operator and --reason",
    ),
    "operator without back-dating": ((*ACTIVATE, "--operator", "ann"), "go with --activated-at"),
    "endless operator": ((*BACK_DATED, "2026-01-01", "--operator", LONG), "at most 500 characters"),
    "two formats": (("rewards", "zoe", "--json", "--csv"), "choose --json or --csv, not both"),
    "from after to": (
        ("rewards", "zoe", "--from", "2026-01-02", "--to", "2026-01-01"),
        "--from 2026-01-02 is after --to 2026-01-01",
    ),
    "no day": (("rewards", "zoe", "--from", "monday"), "'monday' is not a day such as 2026-10-01"),
    "day of no calendar": (("rewards", "zoe", "--to", "2026-02-30"), "'2026-02-30' is not a day"),
    "no time zone": (("import", "x.csv", "--timezone", "Mars/Base"), "'Mars/Base' is not a time zone known here"),
    "amount in words": (("pool", "fund", "SOL", "many"), "'many' is not a number"),
    "no amount": (("pool", "fund", "SOL", ""), "'' is not a number"),
    "decimal comma": (("pool", "fund", "SOL", "1,5"), "'1,5' is not a number"),
    "negative amount": (("pool", "fund", "SOL", "-1"), "-1 is not above zero"),
    "amount of nothing": (("pool", "fund", "SOL", "0.00000000"), "0.00000000 is not above zero"),
    "NaN": (("pool", "fund", "SOL", "NaN"), "'NaN' is not a finite number"),
    "infinite amount": (("pool", "fund", "SOL", "Infinity"), "'Infinity' is not a finite number"),
    "nine decimals": (("pool", "fund", "SOL", "0.123456789"), "has more than 8 decimals"),
    "astronomic amount": (("pool", "fund", "SOL", "1E+999999"), "is more than 90 billion"),
    "more than a pool holds": (("pool", "fund", "SOL", "90000000000.00000001"), "is more than 90 billion"),
    "endless amount": (("pool", "fund", "SOL", "1" * 10_000), "at most 64 characters"),
    "empty key": (("pool", "fund", "SOL", "1", "--key", ""), "a key has 1 to 200 characters"),
    "endless key": (("pool", "fund", "SOL", "1", "--key", LONG), "a key has 1 to 200 characters"),
}


@pytest.mark.parametrize("case", WRONG_USAGE)
def test_wrong_usage_is_one_sentence_and_exit_code_2(nowhere: CommandLine, case: str) -> None:
    arguments, sentence = WRONG_USAGE[case]
    assert_refused(nowhere.run(*arguments), 2, sentence)
    assert [*nowhere.folder.iterdir()] == []


BAD_EXPORTS: dict[str, tuple[bytes, list[str]]] = {
    "empty": (b"", ["the file is empty; its first line should be User_ID,UTC_Time,"]),
    "unknown header": (b"User,Time,Amount\n1,2,3\n", ["the first line is 'User,Time,Amount'; it should be"]),
    "semicolons": (EXPORT_HEADER.replace(",", ";").encode(), ["it should be User_ID,UTC_Time,Account"]),
    "a binary": (bytes(range(256)), ["the file is not text"]),
    "UTF-16": (EXPORT_HEADER.encode("utf-16"), ["the file is UTF-16 text; save it as CSV in UTF-8"]),
    "Latin-1": (f"{EXPORT_HEADER}\n1,2026-10-01 10:00:00,Spot,Dépôt,SOL,1,\n".encode("latin-1"), ["not UTF-8"]),
    "many faults": (
        b"\xef\xbb\xbf"
        + "\r\n".join(
            [
                EXPORT_HEADER,
                '1,2025-01-01 10:00:00,Spot,Deposit,SOL,1,"good"',
                "1,2025-13-01 10:00:00,Spot,Deposit,SOL,1,",
                "1,noon,Spot,Deposit,SOL,1,",
                "1,2999-01-01 10:00:00,Spot,Deposit,SOL,1,",
                "1,2025-01-01 10:00:00,Spot,Deposit,SOL,many,",
                "1,2025-01-01 10:00:00,Spot,Deposit,SOL,NaN,",
                "1,2025-01-01 10:00:00,Spot,Deposit,SOL,0.123456789,",
                "1,2025-01-01 10:00:00,Spot,Deposit,SOL,90000000000.00000001,",
                "a b,2025-01-01 10:00:00,Spot,Deposit,SOL,1,",
                f"{LONG},2025-01-01 10:00:00,Spot,Deposit,SOL,1,",
                "1,2025-01-01 10:00:00,Spot,Deposit,S L,1,",
                "1,2025-01-01 10:00:00,Spot,Deposit,SOL",
                "2,2025-01-01 10:00:00,Spot,Withdraw,SOL,-1,",
                '1,2025-01-01 10:00:00,Spot,Deposit,SOL,1,"never closed',
            ]
        ).encode(),
        [
            "line 3: 2025-13-01 10:00:00 is not a date and time of the calendar",
            "line 4: 'noon' is not a time such as",
            "line 5: 2999-01-01 10:00:00 lies in the future",
            "line 6: 'many' is not a number",
            "line 7: 'NaN' is not a finite number",
            "line 8: '0.123456789' has more than 8 decimals",
            "line 9: '90000000000.00000001' is more than 90 billion",
            "line 10: 'a b' is not a user id",
            "line 11: ",
            "line 12: 'S L' is not an asset code",
            "line 13: a line has 7 fields, this one has 5",
            "line 14: user 2's SOL balance would be -1.00000000 after 2025-01-01 10:00:00 UTC",
            "line 15: a quote is opened and never closed",
            "nothing was imported: mend the 13 bad lines first",
        ],
    ),
}


@pytest.mark.parametrize("case", BAD_EXPORTS)
def test_a_bad_export_is_refused_whole_with_every_fault(alone: CommandLine, case: str) -> None:
    content, sentences = BAD_EXPORTS[case]
    name = alone.write("export.csv", content)
    assert alone.run("program", "apply", str(ROOT / "program.toml")).code == 0

    assert_refused(alone.run("import", name), 1, *sentences)
    assert alone.json("audit")["entries"] == 0


@pytest.mark.parametrize("case", [case for case in BAD_EXPORTS if case != "many faults"])
def test_an_export_that_cannot_be_read_is_refused_by_the_demonstration_too(alone: CommandLine, case: str) -> None:
    content, sentences = BAD_EXPORTS[case]
    assert_refused(alone.run("demo", "--movements", alone.write("export.csv", content)), 1, *sentences)


def test_the_faults_of_an_export_are_one_json_value_for_machines(alone: CommandLine) -> None:
    content, _ = BAD_EXPORTS["many faults"]
    assert alone.run("program", "apply", str(ROOT / "program.toml")).code == 0
    name = alone.write("export.csv", content)

    text = alone.run("import", name)
    answer = alone.run("import", name, "--json")

    assert (answer.code, answer.err, answer.json["imported"]) == (1, "", 0)
    faults = [f"line {fault['number']}: {fault['problem']}" for fault in answer.json["bad"]]
    assert faults == text.sentences[:-1]


@pytest.mark.parametrize(("name", "sentence"), [("missing.csv", "there is no file"), (".", "is a directory")])
@pytest.mark.parametrize("command", [("import",), ("demo", "--movements")])
def test_an_export_that_is_no_file_is_refused(
    alone: CommandLine, command: tuple[str, ...], name: str, sentence: str
) -> None:
    assert_refused(alone.run(*command, name), 1, sentence)


SOL = '[assets.SOL]\nminimum = "1"\ncap = "10000"\napr = "0.008"\n'


def with_sol(text: str) -> bytes:
    assert SOL in PROGRAM
    return PROGRAM.replace(SOL, f"[assets.SOL]\n{text}\n").encode()


BAD_PROGRAMS: dict[str, tuple[bytes, list[str]]] = {
    "negative minimum": (
        with_sol('minimum = "-1"\ncap = "1"\napr = "0.1"'),
        ["assets.SOL.minimum: -1 is negative"],
    ),
    "cap below the minimum": (
        with_sol('minimum = "2"\ncap = "1"\napr = "0.1"'),
        ["assets.SOL.cap: 1 is below the minimum, 2"],
    ),
    "APR above 1": (
        with_sol('minimum = "1"\ncap = "2"\napr = "1.1"'),
        ["assets.SOL.apr: 1.1 is not between 0 and 1"],
    ),
    "bare float": (
        with_sol('minimum = "1"\ncap = "2"\napr = 0.1'),
        ['assets.SOL.apr: write the number as a string, "0.1"'],
    ),
    "unknown key": (
        with_sol('minimum = "1"\ncap = "2"\napr = "0.1"\nlock = true'),
        ["assets.SOL.lock: unknown key"],
    ),
    "duplicate asset": ((PROGRAM + '\n[assets.SOL]\nminimum = "1"\n').encode(), ["Cannot declare"]),
    "all at once": (
        with_sol('minimum = "-1"\ncap = "1E-9"\napr = 7'),
        [
            "assets.SOL.minimum: -1 is negative",
            "assets.SOL.cap: '1E-9' has more than 8 decimals",
            'assets.SOL.apr: write the number as a string, "7"',
        ],
    ),
    "not UTF-8": ("# é\n".encode("latin-1") + PROGRAM.encode(), ["is not UTF-8 text"]),
    "not TOML": (b"a = = 1", ["not valid TOML"]),
    "a binary": (bytes(range(128)), ["not valid TOML"]),
    "empty": (
        b"",
        [
            *("effective_from: missing", "minimum_app_version: missing", "restricted_regions: missing"),
            *("documents: missing", "assets: missing"),
        ],
    ),
}


@pytest.mark.parametrize("case", BAD_PROGRAMS)
def test_every_fault_of_a_program_file_is_reported_with_its_key(nowhere: CommandLine, case: str) -> None:
    content, sentences = BAD_PROGRAMS[case]
    name = nowhere.write("terms.toml", content)

    for command in (("program", "check"), ("program", "apply", "--new"), ("demo", "--program")):
        answer = nowhere.run(*command, name)
        assert_refused(answer, 1, *sentences)
        assert all("terms.toml" in sentence for sentence in answer.sentences)
    assert [path.name for path in nowhere.folder.iterdir()] == [name]


@pytest.mark.parametrize(
    ("name", "sentence"), [("missing.toml", "No such file or directory"), (".", "Is a directory")]
)
def test_a_program_that_is_no_file_is_refused(alone: CommandLine, name: str, sentence: str) -> None:
    assert_refused(alone.run("program", "check", name), 1, sentence)


CONNECTIONS: dict[str, tuple[dict[str, str], str]] = {
    "no port": ({"TEMPORAL_ADDRESS": "garbage"}, "'garbage' is no address of a Temporal server"),
    "a web address": ({"TEMPORAL_ADDRESS": "http://127.0.0.1:7233"}, "to HOST:PORT such as 127.0.0.1:7233"),
    "no such port": ({"TEMPORAL_ADDRESS": "127.0.0.1:99999"}, "set TEMPORAL_ADDRESS"),
    "words": ({"TEMPORAL_ADDRESS": "my server:7233"}, "set TEMPORAL_ADDRESS"),
    "broken temporal.toml": ({"TEMPORAL_CONFIG_FILE": "broken.toml"}, "TOML parse error"),
    "temporal.toml is a folder": ({"TEMPORAL_CONFIG_FILE": "."}, "configuration cannot be used"),
    "no such profile": ({"TEMPORAL_PROFILE": "prod"}, "Profile 'prod' not found"),
    "no such certificate": ({"TEMPORAL_TLS_CLIENT_CERT_PATH": "missing.pem"}, "missing.pem"),
}


@pytest.mark.parametrize("case", CONNECTIONS)
def test_a_connection_that_cannot_be_meant_is_one_sentence(alone: CommandLine, case: str) -> None:
    variables, sentence = CONNECTIONS[case]
    alone.write("broken.toml", "[profile.default\naddress=")
    assert_refused(alone.run(*ACTIVATE, **variables), 1, sentence)


@pytest.mark.parametrize("command", ["activate", "deactivate", "status", "retry"])
def test_a_missing_namespace_is_not_a_missing_user(cli: CommandLine, command: str) -> None:
    arguments = ACTIVATE if command == "activate" else (command, "zoe")
    answer = cli.run(*arguments, TEMPORAL_NAMESPACE="nowhere")
    assert answer.code == 1
    [sentence] = answer.sentences
    assert "namespace 'nowhere'" in sentence
    assert "TEMPORAL_NAMESPACE" in sentence


LEDGERS: dict[str, tuple[str, str]] = {
    "garbage": ("garbage", "'garbage' is not a database URL such as sqlite:///ledger.db"),
    "nothing but a scheme": ("sqlite://", "names no file"),
    "another database": ("mysql://localhost/ledger", "mysql"),
    "not a database": ("sqlite:///text.db", "file is not a database"),
    "a folder": ("sqlite:///.", "is a folder"),
    "under a file": ("sqlite:///text.db/ledger.db", "there is no ledger at"),
    "in /proc": ("sqlite:////proc/ledger.db", "there is no ledger at"),
}


@pytest.mark.parametrize("case", LEDGERS)
def test_a_ledger_that_cannot_be_used_is_one_sentence(alone: CommandLine, case: str) -> None:
    url, sentence = LEDGERS[case]
    alone.write("text.db", "this is text " * 1000)
    for command in (("audit",), ("rewards", "zoe"), ("pool", "fund", "SOL", "1"), ("status", "zoe")):
        assert_refused(alone.run(*command, SOFT_STAKING_DATABASE_URL=url), 1, sentence)


def test_a_data_folder_that_cannot_be_made_is_one_sentence(alone: CommandLine) -> None:
    alone.write("file", "")
    assert_refused(alone.run("db", "upgrade", SOFT_STAKING_DATA_DIR="file/data"), 1, "file/data cannot be made")


def test_a_ledger_that_may_only_be_read_answers_questions_and_refuses_the_rest(alone: CommandLine) -> None:
    assert alone.run("program", "apply", str(ROOT / "program.toml")).code == 0
    # In a container the tests run as root, to whom a file's mode forbids nothing.
    ledger = alone.folder / "data" / "ledger.db"
    alone.environment["SOFT_STAKING_DATABASE_URL"] = f"sqlite:///file:{ledger}?mode=ro&uri=true"

    assert alone.json("pool", "show")["SOL"] == "0.00000000"
    answer = alone.run("pool", "fund", "SOL", "1")
    assert (answer.code, answer.out) == (1, "")
    [sentence] = answer.sentences
    assert "readonly database" in sentence
    with closing(sqlite3.connect(ledger)) as connection:
        assert connection.execute("SELECT count(*) FROM entries").fetchone() == (0,)


REFUSED_BY_THE_SERVICE: dict[str, tuple[tuple[str, ...], str]] = {
    "back-dating into the future": ((*BACK_DATED, "2999-01-01"), "is in the future"),
    "back-dating before the program": ((*BACK_DATED, "2020-01-01"), "before the first program version"),
    "back-dating to year 1": ((*BACK_DATED, "0001-01-01T05:00+05:00"), "before the first program version"),
    "no reason to stop": (("deactivate", "zoe", "--reason", ""), "a reason has 1 to 500 characters"),
    "an endless reason to stop": (("deactivate", "zoe", "--reason", LONG), "a reason has 1 to 500 characters"),
    "unknown asset": (("pool", "fund", "DOGE", "1"), "DOGE is not an asset of the program, which has ADA"),
    "asset in small letters": (
        ("pool", "fund", "sol", "1"),
        "the program has SOL, and asset codes are distinguished by case",
    ),
}


@pytest.mark.parametrize("case", REFUSED_BY_THE_SERVICE)
def test_what_the_service_refuses_is_one_sentence_and_exit_code_1(cli: CommandLine, case: str) -> None:
    arguments, sentence = REFUSED_BY_THE_SERVICE[case]
    assert_refused(cli.run(*arguments), 1, sentence)


def test_a_ledger_without_a_program_says_how_to_apply_one(alone: CommandLine) -> None:
    for command in (("program", "show"), ("pool", "fund", "SOL", "1")):
        assert_refused(alone.run(*command), 1, "starter.py program apply program.toml")
