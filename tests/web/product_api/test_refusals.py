"""What is no request, and what cannot be answered now: told as problem details, and nothing is changed."""

import json
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import httpx
import pytest
from product_service import PROBLEM, SHOWN, of, problem_in
from servers import full_server
from web_api import SAPI, Web, a_web, make_program, make_token
from world import World, at

from ledger.service_tokens import Scope
from temporal.client import SoftStakingClient


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
