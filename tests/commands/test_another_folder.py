"""In a folder or at a URL without a ledger, no command says that all is well, and none makes a ledger."""

from pathlib import Path
from typing import Any

import pytest
import typer.main
from commandline import (
    CommandLine,
    Installation,
    Worker,
    assert_refused,
    free_ports,
)
from world import EXPORT_HEADER, ROOT

import starter

FILE_OF_OUR_OWN = str(ROOT / "program.toml")
WEB = ("--region", "FR", "--channel", "web", "--accept-terms")
WHY = ("--operator", "ann", "--reason", "a test")
REFUSES: dict[str, tuple[str, ...]] = {
    "activate": ("ann", *WEB),
    "status": ("ann",),
    "rewards": ("ann",),
    "import": ("export.csv",),
    "imports list": (),
    "imports show": ("1",),
    "imports undo": ("1", *WHY),
    "deposit": ("ann", "SOL", "1", "--key", "k"),
    "withdraw": ("ann", "SOL", "1", "--key", "k"),
    "trade": ("ann", "SOL", "1", "USDT", "1", "--key", "k"),
    "movements refused": (),
    "movements retry": ("--all",),
    "movements dismiss": ("m-1", *WHY),
    "feed": ("--topic", "t", "--group", "g", "--brokers", "127.0.0.1:1"),
    "sources list": (),
    "sources complete": ("wallet", "2026-10-02T00:00:00Z"),
    "sources release": ("wallet", *WHY),
    "sources remove": ("wallet", *WHY),
    "events follow": (),
    "events prune": (),
    "webhooks add": ("https://192.0.2.1/x",),
    "webhooks list": (),
    "webhooks remove": ("w",),
    "webhooks test": ("w",),
    "webhooks replay": ("w", "--after", "0", *WHY),
    "program show": (),
    "program apply": (FILE_OF_OUR_OWN,),
    "program pause": ("SOL", *WHY),
    "program resume": ("SOL", *WHY),
    "program diff": ("1", "2"),
    "pool fund": ("SOL", "1"),
    "pool show": (),
    "ledger show": ("ann",),
    "ledger reverse": ("ann", "1", *WHY),
    "ledger adjust": ("ann", "SOL", "1", *WHY),
    "reconcile": ("balances.csv", "--at", "2026-10-02"),
    "export balances": ("--at", "2026-10-02"),
    "keys create": ("ann",),
    "keys list": (),
    "keys revoke": ("key",),
    "tokens create": ("page", "--scope", "read"),
    "tokens list": (),
    "tokens revoke": ("1",),
    "owed": (),
    "resume": WHY,
    "acts": (),
    "audit": (),
    "serve": (),
}
ALSO_REFUSED = {
    "hold": ("--region", "UA", *WHY),
    "release": ("--region", "UA", *WHY),
    "deactivate": ("--region", "UA", *WHY),
    "audit": ("--json",),
    "owed": ("--json",),
    "rewards": ("ann", "--csv"),
    "codec": ("--require-token",),
}
NO_LEDGER_IN_IT = {
    "deactivate": "of one user: asks that user's workflow alone",
    "hold": "of one user: asks that user's workflow alone",
    "release": "of one user: asks that user's workflow alone",
    "retry": "asks the user's workflow first",
    "history": "tells what Temporal knows",
    "list": "tells what Temporal knows",
    "setup": "tells Temporal alone",
    "events schema": "prints",
    "program check": "looks at a file",
    "codec": "on loopback it looks at no token",
    "payload-keys new": "prints",
    "payload-keys list": "prints",
    "demo": "makes a ledger of its own and throws it away",
    "db check": "is there to tell",
    "db upgrade": "is there to make one",
}


def all_commands(group: Any, *names: str) -> list[str]:
    if not isinstance(group, typer.main.TyperGroup):
        return [" ".join(names)]
    return [line for name, command in group.commands.items() for line in all_commands(command, *names, name)]


def test_every_command_is_known_here() -> None:
    assert {*all_commands(typer.main.get_command(starter.app))} == REFUSES.keys() | NO_LEDGER_IN_IT.keys()


@pytest.mark.parametrize(
    ("command", "arguments"), [*REFUSES.items(), *ALSO_REFUSED.items()], ids=lambda part: str(part)[:30]
)
def test_a_command_refuses_where_there_is_no_ledger_and_makes_nothing(
    nowhere: CommandLine, installation: Installation, command: str, arguments: tuple[str, ...]
) -> None:
    """Another installation runs meanwhile, but in another folder."""
    nowhere.write("export.csv", f"{EXPORT_HEADER}\nann,2026-01-01 10:00:00,Spot,Deposit,SOL,12,\n")
    nowhere.environment["TEMPORAL_ADDRESS"] = installation.address
    nowhere.environment["SOFT_STAKING_PAYLOAD_KEYS"] = "" if command != "codec" else f"a:{'A' * 43}="

    answer = nowhere.run(*command.split(), *arguments)

    assert_refused(answer, 1, f"there is no ledger at sqlite:///{nowhere.folder}/.soft-staking/ledger.db: ")
    assert [path.name for path in nowhere.folder.iterdir()] == ["export.csv"]


def test_a_mistyped_url_makes_neither_folder_nor_file(nowhere: CommandLine) -> None:
    answer = nowhere.run("owed", SOFT_STAKING_DATABASE_URL="sqlite:///nosuch/x.db")

    assert_refused(answer, 1, f"there is no ledger at sqlite:///{nowhere.folder}/nosuch/x.db: ")
    assert [*nowhere.folder.iterdir()] == []


def test_looking_for_the_version_of_a_ledger_that_is_not_there_makes_none(nowhere: CommandLine) -> None:
    answer = nowhere.run("db", "check")

    assert (answer.code, answer.err) == (1, "")
    assert answer.out.startswith("there is no ledger at ")
    assert [*nowhere.folder.iterdir()] == []


def test_a_worker_without_dev_refuses_too(installation: Installation, tmp_path: Path) -> None:
    ended = Worker(tmp_path, {"TEMPORAL_ADDRESS": installation.address}, "--program", FILE_OF_OUR_OWN).ended()

    assert_refused(ended, 1, f"there is no ledger at sqlite:///{tmp_path}/.soft-staking/ledger.db: ")
    assert not (tmp_path / ".soft-staking").exists()


@pytest.mark.parametrize("command", [("import", "export.csv"), ("program", "apply", FILE_OF_OUR_OWN)])
def test_new_makes_the_ledger_once_and_says_so(nowhere: CommandLine, command: tuple[str, ...]) -> None:
    nowhere.write("export.csv", f"{EXPORT_HEADER}\nann,2026-01-01 10:00:00,Spot,Deposit,SOL,12,\n")
    where = f"sqlite:///{nowhere.folder}/.soft-staking/ledger.db"

    made = nowhere.run(*command, "--new", "--json")
    again = nowhere.run(*command, "--new", "--json")

    assert (made.code, made.sentences[0], made.written_to) == (0, f"made the ledger {where}", where)
    assert made.json != again.json
    assert (again.code, [sentence for sentence in again.sentences if "made the ledger" in sentence]) == (0, [])
    assert nowhere.json("audit")["clean"] is True


def test_a_dry_run_makes_no_ledger(nowhere: CommandLine) -> None:
    assert_refused(nowhere.run("import", "export.csv", "--new", "--dry-run"), 2, "choose one of them")
    assert [*nowhere.folder.iterdir()] == []


def test_a_command_that_writes_says_into_which_ledger_and_one_that_only_reads_does_not(alone: CommandLine) -> None:
    alone.write("export.csv", f"{EXPORT_HEADER}\nann,2026-01-01 10:00:00,Spot,Deposit,SOL,12,\n")
    wrote = [
        alone.run(*command)
        for command in (
            ("program", "apply", FILE_OF_OUR_OWN),
            ("import", "export.csv"),
            ("deposit", "ann", "SOL", "1", "--key", "k"),
            ("pool", "fund", "SOL", "1", "--json"),
            ("keys", "create", "ann", "--read-only"),
            ("tokens", "create", "page", "--scope", "read"),
        )
    ]
    looked = [alone.run(*command) for command in (("audit",), ("import", "export.csv", "--dry-run"))]
    refused = alone.run("withdraw", "ann", "SOL", "99", "--key", "w")

    where = f"sqlite:///{alone.folder}/data/ledger.db"
    assert [(answer.code, answer.written_to) for answer in wrote] == [(0, where)] * len(wrote)
    assert [(answer.code, answer.written_to) for answer in looked] == [(0, None)] * len(looked)
    assert (refused.code, refused.written_to) == (1, None)


def test_a_server_whose_data_folder_is_missing_makes_none(
    nowhere: CommandLine, installation: Installation
) -> None:
    """The server needs a data folder only for the secret of its sessions, which may be set."""
    variables = {"TEMPORAL_ADDRESS": installation.address}
    variables["SOFT_STAKING_DATABASE_URL"] = f"sqlite:///{installation.data_dir}/ledger.db"

    answer = nowhere.run("serve", "--port", str(free_ports(1)[0]), **variables)

    assert_refused(answer, 1, "SOFT_STAKING_SESSION_SECRET")
    assert [*nowhere.folder.iterdir()] == []


def test_a_key_that_encrypts_secrets_is_made_in_no_new_folder(nowhere: CommandLine, alone: CommandLine) -> None:
    url = f"sqlite:///{alone.folder}/data/ledger.db"

    answer = nowhere.run(
        *("keys", "create", "ann"), SOFT_STAKING_DATABASE_URL=url, SOFT_STAKING_DATA_DIR="elsewhere"
    )

    assert_refused(answer, 1, "SOFT_STAKING_KEY_ENCRYPTION_KEY")
    assert not (nowhere.folder / "elsewhere").exists()
