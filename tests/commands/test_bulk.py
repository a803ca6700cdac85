"""One request for each of many users: what happens if one fails, if all fail, or if the command is interrupted."""

import asyncio

import pytest

from commands.bulk import AT_ONCE, FAILURES_IN_A_ROW_MAX, Results, for_each
from contract.errors import NoAnswer, RequestRefused

USERS = [f"user-{number:04}" for number in range(450)]


async def test_each_is_asked_once_and_so_many_at_the_same_time(capsys: pytest.CaptureFixture[str]) -> None:
    asked: list[str] = []
    under_way, most = 0, 0

    async def ask(user: str) -> None:
        nonlocal under_way, most
        asked.append(user)
        under_way += 1
        most = max(most, under_way)
        await asyncio.sleep(0)
        under_way -= 1

    assert await for_each("FR: hold", USERS, ask) == Results(users=450, done=450)
    assert sorted(asked) == USERS
    assert most == AT_ONCE
    assert capsys.readouterr().err.splitlines() == [f"FR: hold: {n} of 450" for n in (100, 200, 300, 400)]


async def test_the_failure_of_some_does_not_stop_the_others() -> None:
    async def ask(user: str) -> None:
        if user.endswith("7"):
            raise RequestRefused("Refused", f"{user} is refused")

    outcome = await for_each("hold", USERS, ask)
    assert (outcome.done, len(outcome.failed), outcome.not_asked) == (405, 45, 0)
    assert outcome.failed["user-0007"] == "user-0007 is refused"


async def test_a_request_that_fails_for_all_is_given_up() -> None:
    async def ask(user: str) -> None:
        await asyncio.sleep(0)
        raise NoAnswer("no worker")

    outcome = await for_each("hold", USERS, ask)
    assert outcome.done == 0
    assert FAILURES_IN_A_ROW_MAX <= len(outcome.failed) < FAILURES_IN_A_ROW_MAX + AT_ONCE
    assert outcome.not_asked == 450 - len(outcome.failed)


async def test_an_interrupted_command_says_how_far_it_came(capsys: pytest.CaptureFixture[str]) -> None:
    reached = asyncio.Event()

    async def ask(user: str) -> None:
        if user == USERS[50]:
            reached.set()
        if user >= USERS[50]:
            await asyncio.Event().wait()

    asking = asyncio.ensure_future(for_each("hold", USERS, ask))
    await reached.wait()
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking
    assert capsys.readouterr().err.splitlines() == [
        "hold: 50 of 450 are done; the same command again does the rest"
    ]
