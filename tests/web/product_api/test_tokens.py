"""Who may ask: the bearers of tokens, each within its scopes and its limit."""

import hmac
from datetime import timedelta
from pathlib import Path

import pytest
from product_service import SHOWN, of, problem_in
from web_api import NOW, Web, a_web, make_token
from world import World, at

from ledger.service_tokens import Scope, all_tokens, revoke_token
from web.access.tokens import new_token


@pytest.mark.parametrize(
    "authorization",
    [
        None,
        "",
        "Bearer",
        "Bearer ",
        "Bearer x",
        "Basic c2VydmljZTpzZWNyZXQ=",
        f"Bearer sst_{'a' * 12}_{'b' * 43}",
        f"Bearer sst_{'a' * 12}_{'b' * 4000}",
        "Bearer sst_' OR 1=1 --_",
    ],
)
async def test_without_a_token_that_is_in_use_nothing_is_answered(
    web: Web, ann: str, authorization: str | None
) -> None:
    headers = {} if authorization is None else {"Authorization": authorization}

    for path in (of(ann, "tag"), of("nobody", "tag"), of("a b", "tag")):
        response = await web.get(path, headers)
        problem = problem_in(response, 401, "unauthorized")
        assert response.headers["WWW-Authenticate"] == "Bearer"
        assert "ann" not in problem["detail"]


async def test_every_endpoint_wants_its_scope(web: Web) -> None:
    wants = {
        Scope.READ: [("GET", "status"), ("GET", "tag"), ("GET", "rewards")],
        Scope.ACTIVATE: [("POST", "activate")],
        Scope.DEACTIVATE: [("POST", "deactivate")],
    }
    for scope, endpoints in wants.items():
        others = await make_token(web.world, *(other for other in Scope if other is not scope))
        for method, what in endpoints:
            async with web.from_address() as client:
                response = await client.request(method, of("ann", what), headers=others, json=SHOWN)
            assert scope in problem_in(response, 403, "insufficient-scope")["detail"]
            assert response.headers["WWW-Authenticate"] == f'Bearer error="insufficient_scope", scope="{scope}"'


async def test_a_revoked_token_is_refused_immediately(web: Web, reader: dict[str, str]) -> None:
    async with web.world.ledger.read() as connection:
        (token,) = await all_tokens(connection)
    assert (await web.get(of("ann", "tag"), reader)).status_code == 200

    await revoke_token(web.world.ledger, token.token_id, operator="tests", now=NOW)

    problem_in(await web.get(of("ann", "tag"), reader), 401, "unauthorized")


async def test_the_ledger_knows_no_token(web: Web, reader: dict[str, str]) -> None:
    secret = reader["Authorization"].rpartition("_")[2]

    assert secret not in str(await web.world.everything())


async def test_tokens_are_compared_in_constant_time_known_or_not(
    web: Web, reader: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    lengths: list[tuple[int, int]] = []
    real = hmac.compare_digest

    def compare(one: bytes, other: bytes) -> bool:
        lengths.append((len(one), len(other)))
        return real(one, other)

    monkeypatch.setattr(hmac, "compare_digest", compare)
    known = reader["Authorization"]
    wrong = [f"{known[:-1]}{'a' if known[-1] != 'a' else 'b'}", f"Bearer {new_token('x', [], now=NOW)[0]}"]

    for authorization in wrong:
        assert (await web.get(of("ann", "tag"), {"Authorization": authorization})).status_code == 401

    assert lengths == [(32, 32)] * 2


async def test_an_unknown_account_cannot_be_distinguished_from_one_that_has_nothing(
    web: Web, reader: dict[str, str]
) -> None:
    await web.world.move("ann", "0.4", "SOL", at("2026-10-05 10:00"))
    await web.world.move("ann", "-0.4", "SOL", at("2026-10-05 11:00"))

    for what in ("tag", "rewards"):
        known, unknown = [(await web.get(of(user, what), reader)).text for user in ("ann", "bob")]
        assert known.replace("ann", "bob") == unknown


async def test_a_token_over_its_limit_must_wait_for_the_next_minute(world: World, tmp_path: Path) -> None:
    web = await a_web(world, tmp_path, calls_per_minute=2)
    reader, other = [await make_token(world, Scope.READ) for _ in range(2)]

    responses = [await web.get(of("ann", "tag"), reader) for _ in range(3)]

    assert [response.status_code for response in responses] == [200, 200, 429]
    problem_in(responses[2], 429, "too-many-calls")
    assert responses[2].headers["Retry-After"] == "60"
    assert (await web.get(of("ann", "tag"), other)).status_code == 200
    web.clock.instant += timedelta(minutes=1)
    assert (await web.get(of("ann", "tag"), reader)).status_code == 200


async def test_a_caller_who_tries_tokens_must_soon_wait_and_holds_up_nobody_else(
    world: World, tmp_path: Path
) -> None:
    web = await a_web(world, tmp_path, calls_per_minute=2)
    reader = await make_token(world, Scope.READ)
    guesses = [f"Bearer {new_token('x', [], now=NOW)[0]}" for _ in range(4)]

    statuses = [(await web.get(of("ann", "tag"), {"Authorization": guess})).status_code for guess in guesses]

    assert statuses == [401, 401, 429, 429]
    assert (await web.get(of("ann", "tag"), reader)).status_code == 200
