"""If a workflow and a ledger contradict each other, commands say so and do not mix what they say."""

from pathlib import Path

import pytest
from commandline import CommandLine, Installation, assert_refused, utc_today
from polling import wait_until
from world import EXPORT_HEADER, ROOT, World, at

from commands import agreement
from commands.agreement import disagreement
from contract.live_status import LiveStatus
from ledger.database.engine import open_ledger
from settings import sqlite_url
from staking.days import ONE_DAY

WEB = ("--region", "FR", "--channel", "web", "--accept-terms")


@pytest.fixture
def elsewhere(alone: CommandLine, installation: Installation) -> CommandLine:
    """A shell with access to the running installation, but with an empty ledger of its own."""
    alone.environment["TEMPORAL_ADDRESS"] = installation.address
    return alone


def says_another_ledger(sentence: str, elsewhere: CommandLine) -> bool:
    where = f"sqlite:///{elsewhere.folder}/data/ledger.db"
    return f"the worker may use another ledger than {where}" in sentence


def deposit(cli: CommandLine, user: str, asset: str = "SOL", amount: str = "12") -> None:
    day = utc_today() - 5 * ONE_DAY
    line = f"{user},{day} 10:00:00,Spot,Deposit,{asset},{amount},"
    assert cli.run("import", cli.write("in.csv", f"{EXPORT_HEADER}\n{line}\n")).code == 0


def activate_back_dated(cli: CommandLine, user: str) -> dict[str, str]:
    day = utc_today() - 4 * ONE_DAY
    return cli.json(
        *("activate", user, *WEB, "--activated-at", f"{day}T12:00"), "--operator", "ann", "--reason", "moved"
    )


def test_the_status_of_a_user_whom_the_ledger_does_not_know_is_a_contradiction(
    cli: CommandLine, elsewhere: CommandLine, user: str
) -> None:
    deposit(cli, user)
    receipt = cli.json("activate", user, *WEB)

    answer = elsewhere.run("status", user, "--json")

    status = answer.json
    assert answer.code == 1
    assert (status["state"], status["enrolled"], status["next_boundary"]) == ("unknown", False, None)
    [sentence] = answer.sentences
    assert f"the workflow of {user} is at enrolment {receipt['enrolment_id']}" in sentence
    assert says_another_ledger(sentence, elsewhere)


def test_an_activation_whose_terms_the_worker_does_not_know_says_why(
    cli: CommandLine, elsewhere: CommandLine, user: str
) -> None:
    deposit(cli, user)

    answer = elsewhere.run("activate", user, *WEB)

    assert (answer.code, answer.out) == (1, "")
    *refused, last = answer.sentences
    assert all(sentence.startswith("refused, document_not_accepted:") for sentence in refused)
    assert says_another_ledger(last, elsewhere)


def test_an_activation_that_was_recorded_in_another_ledger_says_so(
    cli: CommandLine, elsewhere: CommandLine, user: str
) -> None:
    deposit(cli, user)
    assert elsewhere.run("program", "apply", str(ROOT / "program.toml")).code == 0

    answer = elsewhere.run("activate", user, *WEB, "--json")

    assert (answer.code, answer.json["accepted"]) == (1, True)
    [sentence] = answer.sentences
    assert says_another_ledger(sentence, elsewhere)
    assert cli.json("status", user)["enrolment_id"] == answer.json["enrolment_id"]


def test_a_retry_is_recorded_in_no_other_ledger(cli: CommandLine, elsewhere: CommandLine, user: str) -> None:
    deposit(cli, user, "AXS", "5000")
    activate_back_dated(cli, user)
    wait_until(lambda: cli.json("status", user)["state"] == "waiting for pool AXS", "the pool is asked")

    answer = elsewhere.run("retry", user)

    assert_refused(answer, 1, f"{user} is not retried: ")
    assert says_another_ledger(answer.err, elsewhere)
    assert elsewhere.json("acts") == []


async def unfinished_here(ledger_of: Path, user: str) -> None:
    async with open_ledger(sqlite_url(ledger_of)) as ledger:
        world = World(ledger)
        day = utc_today() - 3 * ONE_DAY
        await world.move(user, "12", "SOL", at(day.isoformat()))
        await world.enrol(user, at(f"{day} 10:00"))


async def test_a_resumption_with_workers_of_another_ledger_says_so(elsewhere: CommandLine, user: str) -> None:
    assert elsewhere.run("program", "apply", str(ROOT / "program.toml")).code == 0
    await unfinished_here(elsewhere.folder / "data" / "ledger.db", user)

    answer = elsewhere.run("resume", "--reason", "a test")

    assert (answer.code, answer.out) == (1, "")
    [sentence] = answer.sentences
    assert f"1 user resumed, but the workflow of {user} has " in sentence
    assert says_another_ledger(sentence, elsewhere)


ENROLLED, ENDED, UNKNOWN = "open", "ended", "unknown"


@pytest.mark.parametrize(
    ("here", "there", "contradicts"),
    [
        (None, None, False),
        (ENROLLED, ENROLLED, False),
        (ENDED, None, False),
        (ENROLLED, None, True),
        (ENDED, ENDED, True),
        (None, UNKNOWN, True),
        (ENROLLED, UNKNOWN, True),
    ],
)
async def test_ledger_and_workflow_agree_or_not(
    world: World,
    monkeypatch: pytest.MonkeyPatch,
    here: str | None,
    there: str | None,
    contradicts: bool,
) -> None:
    monkeypatch.setattr(agreement, "_LOOK_AGAIN_S", 0)
    enrolment_id = None
    if here:
        await world.move("ann", "12", "SOL", at("2026-10-01"))
        await world.enrol("ann", at("2026-10-01 10:00"), enrolment_id="e")
        enrolment_id = "e"
    if here == ENDED:
        await world.end("ann", at("2026-10-01 11:00"), enrolment_id="e")
    theirs = {None: None, UNKNOWN: "another"}.get(there, enrolment_id)
    live = LiveStatus(state="sleeping", enrolment_id=theirs, day_in_progress=None, next_boundary=None)

    async def look_again() -> LiveStatus:
        return live

    said = await disagreement(world.ledger, "ann", live, look_again)

    assert (said is not None) is contradicts
    assert said is None or world.ledger.where in said


async def test_a_step_that_is_under_way_is_no_contradiction(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """A step is in the ledger a moment before its workflow knows."""
    monkeypatch.setattr(agreement, "_LOOK_AGAIN_S", 0)
    await world.move("ann", "12", "SOL", at("2026-10-01"))
    await world.enrol("ann", at("2026-10-01 10:00"), enrolment_id="e")
    before = LiveStatus(state="sleeping", enrolment_id=None, day_in_progress=None, next_boundary=None)

    async def look_again() -> LiveStatus:
        return before.model_copy(update={"enrolment_id": "e"})

    assert await disagreement(world.ledger, "ann", before, look_again) is None
