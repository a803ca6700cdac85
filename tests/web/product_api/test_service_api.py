"""The API for product services: its answers, who may ask, and its errors as problem details."""

import hmac
import json
from collections.abc import AsyncIterator, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import httpx
import pytest
from servers import full_server
from web_api import NOW, SAPI, LiveWeb, Web, a_live_web, a_web, make_program, make_token
from world import SHIPPED_PROGRAM, World, at, day

from contract.answers import ENDED_BY_OPERATOR
from contract.requests import EndRequest
from ledger.corrections import reverse
from ledger.database.engine import utc_now
from ledger.enrolments import end_enrolment
from ledger.service_tokens import Scope, all_tokens, revoke_token
from staking.days import ONE_DAY, day_of, end_of
from temporal.client import SoftStakingClient
from web.access.tokens import new_token

PROBLEM = {"type", "title", "status", "detail", "instance"}
SHOWN = {"region": "FR", "channel": "web", "documents": SHIPPED_PROGRAM.documents}


def of(user: str, what: str) -> str:
    return f"/v1/accounts/{user}/soft-staking/{what}"


def problem_in(response: httpx.Response, status: int, kind: str | None, *more: str) -> Any:
    """The whole problem that the answer must be."""
    assert response.headers["content-type"] == "application/problem+json", response.text
    problem = response.json()
    assert problem.keys() == PROBLEM | set(more)
    assert (response.status_code, problem["status"]) == (status, status)
    assert problem["type"] == (f"/problems/{kind}" if kind else "about:blank")
    assert unquote(problem["instance"]) == response.request.url.path
    assert problem["instance"].isprintable()
    return problem


@pytest.fixture
async def web(world: World, tmp_path: Path) -> Web:
    return await a_web(world, tmp_path)


@pytest.fixture
async def reader(web: Web) -> dict[str, str]:
    return await make_token(web.world, Scope.READ)


@pytest.fixture
async def ann(web: Web) -> str:
    """The user ann, who holds 12 SOL and has two credited days."""
    await web.world.move("ann", "12", "SOL", at("2026-09-30"))
    await web.world.enrol("ann", at("2026-10-01 10:00"))
    await web.world.snapshot("ann", day("2026-10-01"))
    for accrual_day in (day("2026-10-02"), day("2026-10-03")):
        await web.world.pay("ann", accrual_day)
    return "ann"


# What services can read.


async def test_the_tag_is_grey_before_activation_and_yellow_after(web: Web, reader: dict[str, str]) -> None:
    await web.world.move("ann", "12", "SOL", at("2026-10-05 10:00"))
    assert (await web.get(of("ann", "tag"), reader)).json() == {
        "user": "ann",
        "tag": {"asset": "SOL", "colour": "grey"},
    }
    await web.world.enrol("ann", at("2026-10-05 11:00"))
    assert (await web.get(of("ann", "tag"), reader)).json()["tag"] == {"asset": "SOL", "colour": "yellow"}


async def test_without_a_qualifying_asset_there_is_no_tag(web: Web, reader: dict[str, str]) -> None:
    await web.world.move("ann", "0.4", "SOL", at("2026-10-05 10:00"))

    assert (await web.get(of("ann", "tag"), reader)).json() == {"user": "ann", "tag": None}


async def test_rewards_have_everything_that_recomputes_them(web: Web, reader: dict[str, str], ann: str) -> None:
    answer = (await web.get(of(ann, "rewards"), reader)).json()

    assert (answer["user"], answer["next_from"], len(answer["rewards"])) == ("ann", None, 2)
    assert answer["rewards"][0] == {
        "day": "2026-10-02",
        "asset": "SOL",
        "opening": "12.00000000",
        "closing": "12.00000000",
        "average": "12.00000000",
        "minimum": "1",
        "cap": "10000",
        "apr": "0.008",
        "reward": "0.00026301",
        "outcome": "earned",
        "credited_at": "2026-10-03T00:01:00Z",
        "late": False,
        "reference_value_usdt": "0.03945150",
        "entry_id": answer["rewards"][0]["entry_id"],
        "reversed_by": None,
    }


async def test_a_reward_that_was_reversed_says_so(web: Web, reader: dict[str, str], ann: str) -> None:
    first, _ = await web.world.statement(ann)
    assert first.entry_id is not None
    reversal = await reverse(web.world.ledger, first.entry_id, reason="wrong", operator="tests", now=NOW)

    answer = (await web.get(of(ann, "rewards"), reader)).json()

    assert [line["reversed_by"] for line in answer["rewards"]] == [reversal.entry.entry_id, None]


@pytest.mark.parametrize(
    ("query", "days", "next_from"),
    [
        ("", ["2026-10-02", "2026-10-03"], None),
        ("?from=2026-10-03", ["2026-10-03"], None),
        ("?to=2026-10-02", ["2026-10-02"], None),
        ("?from=2026-10-04", [], None),
        ("?to=2026-10-01", [], None),
        ("?days=1", ["2026-10-02"], "2026-10-03"),
        ("?days=1&from=2026-10-03", ["2026-10-03"], None),
        ("?days=1&to=2026-10-02", ["2026-10-02"], None),
        ("?from=0001-01-01&to=9999-12-31&days=366", ["2026-10-02", "2026-10-03"], None),
    ],
)
async def test_rewards_come_in_pages_of_days(
    web: Web, reader: dict[str, str], ann: str, query: str, days: list[str], next_from: str | None
) -> None:
    answer = (await web.get(f"{of(ann, 'rewards')}{query}", reader)).json()

    assert ([line["day"] for line in answer["rewards"]], answer["next_from"]) == (days, next_from)


# Errors.


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("from=0", "query.from"),
        ("from=2026-13-01", "query.from"),
        ("to=today", "query.to"),
        ("days=0", "query.days"),
        ("days=367", "query.days"),
        ("from=2026-10-03&to=2026-10-02", "query.from"),
        ("form=2026-10-03", "query.form"),
        ("From=2026-10-03", "query.From"),
        ("from=2026-10-03&from=2026-10-03", "query.from"),
        ("utm_source=mail", "query.utm_source"),
        ("=1", "query."),
    ],
)
async def test_a_parameter_that_cannot_be_read_is_named(
    web: Web, reader: dict[str, str], query: str, field: str
) -> None:
    response = await web.get(f"{of('ann', 'rewards')}?{query}", reader)

    problem = problem_in(response, 422, "invalid-request", "errors")
    assert [fault["field"] for fault in problem["errors"]] == [field]


async def test_a_parameter_that_nobody_reads_is_refused_by_its_name_and_the_known_ones_are_listed(
    web: Web, reader: dict[str, str]
) -> None:
    misspelt = await web.get(f"{of('ann', 'rewards')}?form=2026-10-03&to=2026-10-04&until=x", reader)
    of_none = await web.get(f"{of('ann', 'tag')}?asset=SOL", reader)

    assert problem_in(misspelt, 422, "invalid-request", "errors")["errors"] == [
        {"field": "query.form", "message": "there is no parameter 'form' here; there are from, to and days"},
        {"field": "query.until", "message": "there is no parameter 'until' here; there are from, to and days"},
    ]
    assert problem_in(of_none, 422, "invalid-request", "errors")["errors"] == [
        {"field": "query.asset", "message": "there is no parameter 'asset' here; it takes none"}
    ]


async def test_a_caller_without_a_token_learns_nothing_about_parameters(web: Web) -> None:
    problem_in(await web.get(f"{of('ann', 'rewards')}?form=1"), 401, "unauthorized")


@pytest.mark.parametrize("what", ["activate", "deactivate"])
async def test_nothing_is_changed_where_a_parameter_is_unknown(web: Web, what: str) -> None:
    service = await make_token(web.world, *Scope)

    response = await web.post(f"{of('ann', what)}?dry_run=true", SHOWN if what == "activate" else {}, service)

    assert problem_in(response, 422, "invalid-request", "errors")["errors"][0]["field"] == "query.dry_run"


@pytest.mark.parametrize("user", ["a%20b", "a" * 65, "%D0%B0nn", "ann%0A", "%00"])
async def test_a_malformed_user_id_is_refused(web: Web, reader: dict[str, str], user: str) -> None:
    problem = problem_in(await web.get(of(user, "tag"), reader), 422, "invalid-request", "errors")

    assert problem["errors"][0]["field"] == "path.user"


@pytest.mark.parametrize(
    "body",
    [
        {},
        {**SHOWN, "activated_at": "2026-01-01T00:00:00Z"},
        {**SHOWN, "back_dating": {"activated_at": "2026-01-01T00:00:00Z", "operator": "o", "reason": "r"}},
        {**SHOWN, "region": "France"},
        {**SHOWN, "region": "\ud800"},
        {**SHOWN, "channel": "post"},
        {**SHOWN, "app_version": "three"},
        {**SHOWN, "documents": {"terms_of_use": 1}},
        {**SHOWN, "documents": {str(number): "1" for number in range(33)}},
        {**SHOWN, "\ud800": 1},
        [],
        None,
    ],
)
async def test_an_activation_that_cannot_be_read_is_refused_and_back_dating_with_it(
    web: Web, body: object
) -> None:
    service = await make_token(web.world, Scope.ACTIVATE)

    async with web.from_address() as client:
        response = await client.post(
            of("ann", "activate"),
            content=json.dumps(body).encode(),
            headers={**service, "Content-Type": "application/json"},
        )

    assert response.status_code == 422
    assert response.json()["type"] == "/problems/invalid-request"


@pytest.mark.parametrize("reason", ["", " ", "a" * 501, "a\0b", 7])
async def test_a_reason_that_is_no_text_is_refused(web: Web, reason: object) -> None:
    service = await make_token(web.world, Scope.DEACTIVATE)

    response = await web.post(of("ann", "deactivate"), {"reason": reason}, service)

    problem_in(response, 422, "invalid-request", "errors")


async def pieces() -> AsyncIterator[bytes]:
    """A body without a known length."""
    yield b"{"


async def test_malformed_json_and_a_body_without_end_are_problems_too(web: Web) -> None:
    service = await make_token(web.world, Scope.ACTIVATE)
    headers = {**service, "Content-Type": "application/json"}
    async with web.from_address() as client:
        broken = await client.post(of("ann", "activate"), content=b"{", headers=headers)
        no_text = await client.post(of("ann", "activate"), content=b"\xff", headers=headers)
        long = await client.post(of("ann", "activate"), content=b" " * 100_000, headers=headers)
        endless = await client.post(of("ann", "activate"), content=pieces(), headers=headers)

    problem_in(broken, 422, "invalid-request", "errors")
    assert broken.json()["detail"].startswith("body: not JSON: ")
    assert no_text.status_code in (400, 422)
    assert no_text.json().keys() >= PROBLEM
    problem_in(long, 413, None)
    problem_in(endless, 411, None)


@pytest.mark.parametrize(
    ("method", "path", "status", "title"),
    [
        ("GET", "/v1", 404, "Not Found"),
        ("GET", "/v1/accounts", 404, "Not Found"),
        ("GET", of("a/b", "tag"), 404, "Not Found"),
        ("GET", f"{of('ann', 'tag')}/", 404, "Not Found"),
        ("POST", of("ann", "tag"), 405, "Method Not Allowed"),
        ("GET", of("ann", "activate"), 405, "Method Not Allowed"),
    ],
)
async def test_an_unknown_path_or_method_is_a_problem(
    web: Web, method: str, path: str, status: int, title: str
) -> None:
    async with web.from_address() as client:
        response = await client.request(method, path)

    assert problem_in(response, status, None)["title"] == title


async def test_the_workflow_is_asked_only_for_a_user_for_whom_something_is_to_be_done(
    web: Web, reader: dict[str, str], ann: str
) -> None:
    await web.world.pay(ann, day("2026-10-04"))
    await web.world.move("new", "12", "SOL", at("2026-10-05 10:00"))
    await web.world.enrol("new", at("2026-10-05 11:00"))

    await web.world.move("since-yesterday", "12", "SOL", at("2026-10-04 10:00"))
    await web.world.enrol("since-yesterday", at("2026-10-04 11:00"))
    users = (ann, "new", "nobody", "since-yesterday")

    statuses = [(await web.get(of(user, "status"), reader)).json() for user in users]

    assert [(status["state_text"], status["day_in_progress"], status["next_boundary"]) for status in statuses] == [
        ("sleeping", "2026-10-05", "2026-10-06T00:00:00Z"),
        ("sleeping", "2026-10-05", "2026-10-06T00:00:00Z"),
        ("not enrolled", None, None),
        ("unknown", None, None),
    ]


@pytest.mark.parametrize("what", ["status", "tag"])
async def test_a_body_that_nobody_reads_may_not_be_long_either(
    web: Web, reader: dict[str, str], ann: str, what: str
) -> None:
    async with web.from_address() as client:
        response = await client.request("GET", of(ann, what), content=b"x" * 70_000, headers=reader)

    problem_in(response, 413, None)


async def test_without_the_ledger_services_are_asked_to_come_again(
    web: Web, reader: dict[str, str], ann: str
) -> None:
    await web.world.sql("ALTER TABLE accounts RENAME TO accounts_elsewhere")

    response = await web.get(of(ann, "tag"), reader)

    assert "nothing was recorded" in problem_in(response, 503, "unavailable")["detail"]
    assert response.headers["Retry-After"] == "5"


async def test_without_a_worker_nothing_is_confirmed_and_both_apis_say_so(world: World, tmp_path: Path) -> None:
    service = await make_token(world, *Scope)
    async with full_server() as temporal:
        web = await a_web(world, tmp_path, client=SoftStakingClient(temporal, timeout=timedelta(seconds=1)))
        program = await make_program(world, web.settings)
        response = await web.post(of("ann", "activate"), SHOWN, service)
        recorded = await web.get(of("ann", "status"), service)
        await world.move("ann", "12", "SOL", at("2026-10-01"))
        await world.enrol("ann", at("2026-10-03 10:00"))
        owed = await web.get(of("ann", "status"), service)
        switched = await web.signed(program, "/set", {"softStaking": "FALSE"})

    problem = problem_in(response, 503, "no-answer")
    assert "the activation may be carried out or not, and repeating it is safe" in problem["detail"]
    assert response.headers["Retry-After"] == "5"
    assert (recorded.status_code, recorded.json()["state_text"]) == (200, "not enrolled")
    assert (owed.status_code, owed.json()["state"]["code"]) == (200, "unknown")
    assert owed.json()["owed_days"] == ["2026-10-04"]
    assert (switched.status_code, switched.json()["code"]) == (503, -1007)
    assert switched.headers["Retry-After"] == "1"


# Who may ask.


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


async def test_a_defect_is_answered_in_the_form_of_its_api_and_says_nothing_about_the_inside(
    web: Web, reader: dict[str, str]
) -> None:
    web.clock.instant = None  # pyright: ignore[reportAttributeAccessIssue]  # what no clock answers
    transport = httpx.ASGITransport(web.app, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://soft-staking") as client:
        problem = await client.get(of("ann", "tag"), headers=reader)
        error = await client.get(f"{SAPI}/list")

    assert "None" not in problem_in(problem, 500, None)["detail"]
    expected = {"code": -1000, "msg": "An unknown error occurred while processing the request."}
    assert (error.status_code, error.json()) == (500, expected)


# Activation, on a real server.


@pytest.fixture(scope="module")
def live(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveWeb]:
    with a_live_web(tmp_path_factory.mktemp("live")) as live:
        yield live


@pytest.fixture(scope="module")
def service(live: LiveWeb) -> Iterator[httpx.Client]:
    """A product service with every scope."""
    headers = live.do(make_token(live.world, *Scope))
    with httpx.Client(base_url=live.address, headers=headers, timeout=180) as client:
        yield client


def test_an_account_starts_looks_and_stops_and_repeats_answer_the_same(
    live: LiveWeb, service: httpx.Client
) -> None:
    user = live.holder("starts")

    before = service.get(of(user, "status")).json()
    receipts = [service.post(of(user, "activate"), json=SHOWN) for _ in range(2)]
    during = service.get(of(user, "status")).json()
    told_by_the_workflow = live.do(live.client.status(user))
    ends = [service.post(of(user, "deactivate"), json={"reason": "moved away"}) for _ in range(2)]
    after = service.get(of(user, "status")).json()

    assert (before["enrolled"], before["tag"]["colour"]) == (False, "grey")
    assert (before["state"], before["state_text"]) == ({"code": "not_enrolled", "parameters": {}}, "not enrolled")
    assert [receipt.status_code for receipt in receipts] == [200, 200]
    receipt = receipts[0].json()
    assert receipts[1].json() == receipt
    day_2 = end_of(day_of(utc_now()))
    assert receipt["first_snapshot_at"] == day_2.strftime("%Y-%m-%dT00:00:00Z")
    assert receipt["first_reward_until"] == (day_2 + ONE_DAY).strftime("%Y-%m-%dT08:00:00Z")
    assert (during["enrolled"], during["state"]["code"], during["tag"]["colour"]) == (True, "sleeping", "yellow")
    assert (during["enrolment_id"], during["holdings"]) == (receipt["enrolment_id"], {"SOL": "12.00000000"})
    assert told_by_the_workflow is not None
    live_part = told_by_the_workflow.model_dump(mode="json", exclude={"hold"})
    assert {name: during[name] for name in live_part} == live_part | {"state": during["state"]}
    assert during["state_text"] == live_part["state"]
    assert [end.status_code for end in ends] == [200, 200]
    assert ends[0].json() == ends[1].json()
    assert (ends[0].json()["reason"], ends[0].json()["owed_days"]) == ("moved away", 0)
    assert (after["enrolled"], after["end_reason"]) == (False, "moved away")


def test_of_an_end_by_an_operator_a_service_gets_the_text_for_the_user_and_not_the_reason(
    live: LiveWeb, service: httpx.Client
) -> None:
    user = live.holder("ended-by-an-operator")
    receipt = service.post(of(user, "activate"), json=SHOWN).json()
    end = EndRequest(
        user_id=user,
        enrolment_id=receipt["enrolment_id"],
        ended_at=utc_now(),
        reason="case 4711",
        operator="zoe",
        tell="The offer ended for your account.",
        generation=1,
    )
    live.do(end_enrolment(live.world.ledger, end))

    repeated = service.post(of(user, "deactivate"))
    status = service.get(of(user, "status"))

    assert (repeated.json()["reason"], repeated.json()["message"]) == (ENDED_BY_OPERATOR, end.tell)
    assert (status.json()["end_reason"], status.json()["message"]) == (ENDED_BY_OPERATOR, end.tell)
    for answer in (repeated, status):
        assert "case 4711" not in answer.text
        assert "zoe" not in answer.text


def test_a_refusal_lists_every_reason(live: LiveWeb, service: httpx.Client) -> None:
    user = live.holder("refused", "0.4")
    asked = {"region": "US", "channel": "app", "app_version": "3.0.9", "documents": {"terms_of_use": "2026-01-01"}}

    response = service.post(of(user, "activate"), json=asked)

    problem = problem_in(response, 409, "not-eligible", "reasons")
    assert [reason["code"] for reason in problem["reasons"]] == [
        "region_restricted",
        "app_version_too_old",
        "document_not_accepted:soft_staking_terms",
        "document_not_accepted:risk_warning",
        "no_qualifying_asset",
    ]
    assert all(reason["sentence"] in problem["detail"] for reason in problem["reasons"])


def test_a_malformed_region_is_an_invalid_request(live: LiveWeb, service: httpx.Client) -> None:
    response = service.post(of(live.holder("region"), "activate"), json={**SHOWN, "region": "Atlantis"})

    assert "region" in problem_in(response, 422, "invalid-request")["detail"]


@pytest.mark.parametrize("body", [b"", b"null", b"{}", b'{"reason": "moved away"}'])
def test_a_body_of_a_deactivation_may_be_left_out_in_every_way_that_clients_do(
    live: LiveWeb, service: httpx.Client, body: bytes
) -> None:
    user = live.holder(f"leaves-{len(body)}")
    service.post(of(user, "activate"), json=SHOWN)

    # A client that was generated from the OpenAPI sends a content type even without a body.
    end = service.post(of(user, "deactivate"), content=body, headers={"Content-Type": "application/json"})

    assert end.status_code == 200, end.text
    assert end.json()["reason"] == ("moved away" if b"moved" in body else "asked by the user")


def test_stopping_who_never_started_is_refused(live: LiveWeb, service: httpx.Client) -> None:
    response = service.post(of(live.holder("never-started"), "deactivate"))

    problem_in(response, 409, "not-enrolled")


# The OpenAPI.


async def test_the_openapi_has_every_endpoint_with_examples(web: Web) -> None:
    document = (await web.get("/openapi.json")).json()

    assert sorted(document["paths"]) == [
        "/api/v3/ping",
        "/api/v3/time",
        f"{SAPI}/history/rewardsRecord",
        f"{SAPI}/list",
        f"{SAPI}/set",
        "/sapi/v1/system/status",
        *(of("{user}", what) for what in ("activate", "deactivate", "eligibility", "estimate")),
        *(of("{user}", what) for what in ("rewards", "status", "tag")),
        "/v1/credits",
        "/v1/events",
        "/v1/movements",
        "/v1/program",
        "/v1/reconciliation/{day}",
        "/v1/sources",
        "/v1/sources/{name}",
    ]
    schemas = document["components"]["schemas"]
    for name in (
        "AccountStatus",
        "RewardsPage",
        "TagAnswer",
        "MovementsAnswer",
        "SourceAnswer",
        "ReconciliationAnswer",
        "CreditsAnswer",
        "EventsAnswer",
        "ProgramAnswer",
        "EligibilityAnswer",
        "EstimateAnswer",
        "ProblemDetails",
        "ProductList",
        "RewardsHistory",
    ):
        assert schemas[name]["examples"], name
    activate = document["paths"][of("{user}", "activate")]["post"]
    assert activate["requestBody"]["content"]["application/json"]["examples"]
    assert activate["responses"].keys() == {"200", *map(str, (400, 401, 403, 409, 411, 413, 422, 429, 503))}
    assert activate["responses"]["409"]["content"].keys() == {"application/problem+json"}
    assert set(document["components"]["securitySchemes"]) == {"HTTPBearer", "APIKeyHeader"}


async def test_the_openapi_is_one_that_generators_make_clients_of(web: Web) -> None:
    document = (await web.get("/openapi.json")).json()
    operations = [operation for path in document["paths"].values() for operation in path.values()]

    assert [server["url"] for server in document["servers"]] == ["/", "http://127.0.0.1:8080"]
    assert sorted(operation["operationId"] for operation in operations) == [
        "activateAccount",
        "deactivateAccount",
        "getAccountEligibility",
        "getAccountEstimate",
        "getAccountRewards",
        "getAccountStatus",
        "getAccountTag",
        "getCredits",
        "getEvents",
        "getProgram",
        "getReconciliation",
        "getServerTime",
        "getSoftStakingProductList",
        "getSoftStakingRewardsHistory",
        "getSources",
        "getSystemStatus",
        "ping",
        "postMovements",
        "putSource",
        "setSoftStaking",
    ]
    for operation in operations:
        assert operation["summary"], operation["operationId"]
        assert operation["description"], operation["operationId"]
        assert all(parameter["description"] for parameter in operation.get("parameters", []))
        for media_type in operation.get("requestBody", {"content": {}})["content"].values():
            # A generated client cannot send a body that may be null by default.
            assert media_type["schema"]["$ref"], operation["operationId"]
    assert "requestBody" in document["paths"][of("{user}", "deactivate")]["post"]
    assert not document["paths"][of("{user}", "deactivate")]["post"]["requestBody"].get("required", False)
