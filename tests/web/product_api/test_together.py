"""Requests that come together are read together. Each gets its own answer, and a bad one fails alone."""

import asyncio
from pathlib import Path

import pytest
from web_api import NOW, Program, Web, a_web, make_program, make_token
from world import World, at

from contract.acts import Act
from contract.requests import ActRequest
from ledger.acts import hold
from ledger.api_keys import revoke_key
from ledger.service_tokens import Scope, all_tokens, revoke_token

pytestmark = pytest.mark.on_both_databases

USERS = {f"user-{number}": f"{number}.5" for number in range(1, 9)}
"""The users, and how much SOL each holds."""


@pytest.fixture
async def web(world: World, tmp_path: Path) -> Web:
    """All but the last user are enrolled since noon; nothing is owed to anybody."""
    for user, tokens in USERS.items():
        await world.move(user, tokens, "SOL", at("2026-10-05 09:00"))
    for user in [*USERS][:-1]:
        await world.enrol(user, at("2026-10-05 10:00"))
    return await a_web(world, tmp_path)


async def listed(web: Web, programs: list[Program]) -> list[object]:
    """For each program the staked SOL, or the error's code."""
    answers = await asyncio.gather(*(web.signed(program, "/list") for program in programs))
    return [
        answer.json()["code"]
        if answer.status_code != 200
        else next(row for row in answer.json()["rows"] if row["asset"] == "SOL")["stakedAmount"]
        for answer in answers
    ]


def status_of(user: str) -> str:
    return f"/v1/accounts/{user}/soft-staking/status"


async def test_every_program_gets_its_own_users_list_and_a_bad_request_fails_alone(web: Web) -> None:
    programs = [await make_program(web.world, web.settings, user) for user in USERS]
    forged = Program(programs[0].api_key, programs[1].secret, programs[1].sign)
    unknown = Program("k" * 64, programs[0].secret, programs[0].sign)
    expected = ["1.5", "2.5", "3.5", "4.5", "5.5", "6.5", "7.5", "0"]
    for _ in range(2):  # The keys are not known at first.
        told = await listed(web, [*programs, forged, unknown])
        assert told == [*expected, -1022, -2015]


async def test_a_key_that_is_revoked_between_two_rounds_is_refused_amid_others(web: Web) -> None:
    programs = [await make_program(web.world, web.settings, user) for user in [*USERS][:4]]
    assert await listed(web, programs) == ["1.5", "2.5", "3.5", "4.5"]
    assert await listed(web, programs) == ["1.5", "2.5", "3.5", "4.5"]

    await revoke_key(web.world.ledger, programs[1].api_key, operator="tests", now=NOW)

    assert await listed(web, programs) == ["1.5", -2015, "3.5", "4.5"]


async def test_every_status_is_that_of_its_user_and_same_as_alone(web: Web) -> None:
    reader = await make_token(web.world, Scope.READ)
    users = [*USERS, "nobody"]
    alone = [(await web.get(status_of(user), reader)).json() for user in users]
    together = await asyncio.gather(*(web.get(status_of(user), reader) for user in users * 2))

    assert [answer.json() for answer in together] == alone * 2
    assert [answer["user"] for answer in alone] == users
    assert [answer["enrolled"] for answer in alone] == [True] * 7 + [False] * 2
    assert [answer["holdings"].get("SOL") for answer in alone] == [f"{n}.50000000" for n in range(1, 9)] + [None]


async def test_a_held_user_is_shown_as_held_among_others_who_are_not(web: Web) -> None:
    reader = await make_token(web.world, Scope.READ)
    before = [(await web.get(status_of(user), reader)).json() for user in USERS]
    act = Act(operator="tests", reason="a check", tell="We look at something.")
    await hold(web.world.ledger, ActRequest(user_id="user-2", act_id="hold", act=act, now=NOW))

    answers = await asyncio.gather(*(web.get(status_of(user), reader) for user in USERS))

    told = [answer.json() for answer in answers]
    assert told[1]["message"] == "We look at something."
    assert told[1]["state"]["code"] == "unknown"  # No workflow answers.
    assert told[:1] + told[2:] == before[:1] + before[2:]


async def test_a_token_that_is_revoked_is_refused_amid_another_that_is_not(web: Web) -> None:
    revoked, reader = [await make_token(web.world, Scope.READ) for _ in range(2)]
    for _ in range(2):
        answers = await asyncio.gather(*(web.get(status_of("user-1"), token) for token in (revoked, reader)))
        assert [answer.status_code for answer in answers] == [200, 200]

    async with web.world.ledger.read() as connection:
        token_ids = [token.token_id for token in await all_tokens(connection)]
    [token_id] = [token_id for token_id in token_ids if token_id in revoked["Authorization"]]
    await revoke_token(web.world.ledger, token_id, operator="tests", now=NOW)

    asked = [revoked, reader, {"Authorization": f"{reader['Authorization'][:-1]}?"}, revoked]
    answers = await asyncio.gather(*(web.get(status_of("user-1"), token) for token in asked))
    assert [answer.status_code for answer in answers] == [401, 200, 401, 401]
