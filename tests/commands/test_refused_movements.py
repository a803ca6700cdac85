"""movements refused, retry, dismiss: movements that feeds sent and that could not be posted."""

import asyncio

import pytest
from commandline import CommandLine
from feeding import feed, sent
from world import World, at

from ledger.database.engine import open_ledger
from ledger.feed.messages import Message, said_in
from ledger.feed.refused_messages import keep_refused_messages


@pytest.fixture
def fed(alone: CommandLine) -> CommandLine:
    """A ledger in which two movements of ann wait, and a movement with characters that a terminal would obey."""

    async def refuse() -> None:
        async with open_ledger(f"sqlite:///{alone.folder}/data/ledger.db") as ledger:
            movements = [
                sent("-3", key="m-1"),
                sent("-4", key="m-2"),
                sent("\x1b[31m\ud800", key="odd", group="g"),
            ]
            await feed(World(ledger), *movements, now=at("2026-10-05 12:00"))

    asyncio.run(refuse())
    return alone


def test_refused_movements_are_printed_with_their_reasons(fed: CommandLine) -> None:
    first, *_, odd = fed.json("movements", "refused")
    shown = fed.run("movements", "refused", "--limit", "2")

    assert first == {
        "id": "m-1",
        "user": "ann",
        "asset": "SOL",
        "amount": "-3",
        "at": "2026-10-01T10:00:00Z",
        "group": None,
        "reason": {
            "code": "insufficient_balance",
            "sentence": "user ann's SOL balance is 0.00000000, which does not allow -3.00000000",
        },
        "first_refused_at": first["first_refused_at"],
        "last_refused_at": first["first_refused_at"],
        "times": 1,
    }
    assert (odd["group"], odd["reason"]["code"]) == ("g", "amount_malformed")
    assert "m-2" in shown.out
    assert "m-1" not in shown.out
    assert "\x1b" not in shown.out


def test_a_retry_posts_what_fits_and_fails_while_anything_is_refused_again(fed: CommandLine) -> None:
    assert fed.run("deposit", "ann", "SOL", "5", "--key", "d").code == 0

    answer = fed.run("movements", "retry", "m-1", "m-2")

    assert (answer.code, answer.out) == (1, "1 posted, 1 refused again\n")
    assert "m-2: user ann's SOL balance is 2.00000000, which does not allow -4.00000000" in answer.err
    assert fed.run("deposit", "ann", "SOL", "2", "--key", "e").code == 0
    (posted,) = fed.json("movements", "retry", "m-2")
    assert (posted["id"], posted["status"], posted["reason"]) == ("m-2", "posted", None)
    assert fed.run("movements", "retry", "--all").code == 1
    assert [one["id"] for one in fed.json("movements", "refused")] == ["odd"]
    assert fed.json("audit")["refused_movements"] == 1
    assert "Movements of feeds that could not be posted, and wait: 1." in fed.run("audit").out


@pytest.mark.parametrize("arguments", [(), ("m-1", "--all")])
def test_a_retry_says_which_ones_it_means(fed: CommandLine, arguments: tuple[str, ...]) -> None:
    assert fed.run("movements", "retry", *arguments).code == 2


def test_a_movement_that_will_never_be_posted_is_dismissed_with_a_reason(fed: CommandLine) -> None:
    (dismissed,) = fed.json("movements", "dismiss", "odd", "--reason", "sent by a test system")

    assert dismissed["id"] == "odd"
    assert fed.run("movements", "dismiss", "odd", "--reason", "again").code == 1
    assert fed.json("acts")[-1]["reason"] == "sent by a test system"
    assert fed.run("movements", "dismiss", "m-1", "m-2", "--reason", "these too").code == 0
    assert fed.run("movements", "refused").out == "no movement is refused\n"


def test_messages_of_kafka_that_say_no_movement_are_listed_and_dismissed_by_their_place(
    alone: CommandLine,
) -> None:
    async def refuse() -> None:
        async with open_ledger(f"sqlite:///{alone.folder}/data/ledger.db") as ledger, ledger.write() as connection:
            messages = [Message(3, offset, offset, said_in(b"\x1b[31m{", at("2026-10-05"))) for offset in (7, 8)]
            await keep_refused_messages(connection, "wallet", messages, now=at("2026-10-05"))

    asyncio.run(refuse())

    shown = alone.run("movements", "refused").out
    assert "wallet/3/7" in shown
    assert "\x1b" not in shown
    first, second = alone.json("movements", "refused")
    assert (first["topic"], first["partition"], first["offset"], first["size_bytes"]) == ("wallet", 3, 7, 6)
    assert (second["content"], second["reason"]["code"]) == ("\\x1b[31m{", "message_not_json")
    dismiss = ("movements", "dismiss", "--reason", "written again")
    for place in ("wallet/3/9", "wallet", "wallet/x/7", "//"):
        answer = alone.run(*dismiss, "--message", "wallet/3/7", "--message", place)
        assert (answer.code, f"no message '{place}' is among what was refused" in answer.err) == (1, True)
    assert alone.run(*dismiss).code == alone.run(*dismiss, "m-1", "--message", "wallet/3/7").code == 2
    assert alone.run(*dismiss, "--message", "wallet/3/7").out == "1 dismissed\n"
    assert [one["offset"] for one in alone.json("movements", "refused")] == [8]
    (act,) = alone.json("acts")
    assert (act["act"], act["reason"], act["subject"]) == (
        "movement_dismiss",
        "written again",
        "message wallet/3/7: \\x1b[31m{",
    )
    assert alone.json("audit")["refused_movements"] == 1
