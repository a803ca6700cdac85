"""What existing clients use besides the signed endpoints: the clock, the status, and paths that do not exist."""

from pathlib import Path

import httpx
import pytest
from temporalio.client import Client
from web_api import NOW, SAPI, Web, a_web, make_program, milliseconds
from world import World

from temporal.client import SoftStakingClient
from web.app import create_app
from web.health import Health
from web.service import Service

STATUS = "/sapi/v1/system/status"
USED_API, USED_SAPI = "x-mbx-used-weight-1m", "x-sapi-used-ip-weight-1m"


@pytest.fixture
async def web(world: World, tmp_path: Path) -> Web:
    return await a_web(world, tmp_path)


async def test_a_client_finds_the_service_and_its_clock_without_a_key(web: Web) -> None:
    ping, time, status = [await web.get(path) for path in ("/api/v3/ping", "/api/v3/time", STATUS)]

    assert (ping.status_code, ping.json()) == (200, {})
    assert (time.status_code, time.json()) == (200, {"serverTime": milliseconds(NOW)})
    assert (status.status_code, status.json()) == (200, {"status": 0, "msg": "normal"})


@pytest.mark.parametrize("unit", ["MICROSECOND", "microsecond"])
async def test_the_clock_has_the_unit_that_a_client_asks_for(web: Web, unit: str) -> None:
    answer = await web.get("/api/v3/time", {"X-MBX-TIME-UNIT": unit})
    wrong = await web.get("/api/v3/time", {"X-MBX-TIME-UNIT": "SECOND"})

    assert answer.json() == {"serverTime": milliseconds(NOW) * 1000}
    assert (wrong.status_code, wrong.json()["code"]) == (400, -1194)


async def test_a_client_whose_clock_is_wrong_gets_through_with_the_difference(web: Web) -> None:
    program = await make_program(web.world, web.settings)
    own_clock = milliseconds(NOW) - 3_600_000
    difference = (await web.get("/api/v3/time")).json()["serverTime"] - own_clock

    for timestamp, status in ((own_clock, 400), (own_clock + difference, 200)):
        query = program.query(f"timestamp={timestamp}")
        assert (await web.get(f"{SAPI}/list?{query}", program.headers)).status_code == status


@pytest.mark.parametrize("path", ["/api/v3/ping", "/api/v3/time", STATUS])
async def test_an_endpoint_without_parameters_takes_none(web: Web, path: str) -> None:
    answer = await web.get(f"{path}?a=1&b=2")

    assert (answer.status_code, answer.json()) == (
        400,
        {"code": -1101, "msg": "Too many parameters; expected '0' and received '2'."},
    )


async def test_the_status_is_maintenance_while_requests_cannot_be_taken(world: World, tmp_path: Path) -> None:
    nowhere = await Client.connect("127.0.0.1:1", lazy=True)
    web = await a_web(world, tmp_path)
    service = Service(world.ledger, SoftStakingClient(nowhere), web.clock, web.settings)
    away = Web(world, web.settings, web.clock, create_app(service, Health(world.ledger, nowhere)))

    answer = await away.get(STATUS)

    assert (answer.status_code, answer.json()) == (200, {"status": 1, "msg": "system_maintenance"})


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/api", 404),
        ("GET", "/api/", 404),
        ("GET", "/api/v3/ping/", 404),
        ("GET", "/api/v3/exchangeInfo", 404),
        ("GET", "/api/v3/account", 404),
        ("POST", "/api/v3/ping", 405),
        ("OPTIONS", "/api/v3/time", 405),
        ("GET", "/sapi", 404),
        ("GET", "/sapi/v1/account/apiRestrictions", 404),
        ("GET", "/sapi/v1/capital/config/getall", 404),
        ("GET", "/sapi/v2/soft-staking/list", 404),
        ("GET", f"{SAPI}/list/", 404),
        ("POST", f"{SAPI}/list", 405),
        ("POST", STATUS, 405),
        ("DELETE", f"{SAPI}/x%20y", 404),
    ],
)
async def test_an_unknown_path_or_method_is_an_error_in_the_same_form_and_weighs_as_a_call(
    web: Web, method: str, path: str, status: int
) -> None:
    async with web.from_address() as client:
        answer = await client.request(method, path)

    decoded = path.replace("%20", " ")
    assert (answer.status_code, answer.headers["content-type"]) == (status, "application/json")
    assert answer.json() == {"code": -5000, "msg": f"Path {decoded}, Method {method} is invalid"}
    header, weight = (USED_API, "1") if path.startswith("/api") else (USED_SAPI, "1" if path == STATUS else "50")
    assert answer.headers[header] == weight


async def test_both_budgets_are_counted_and_each_has_a_header_of_its_own(world: World, tmp_path: Path) -> None:
    web = await a_web(world, tmp_path, weight_per_minute=51)
    paths = [STATUS, "/sapi/v1/nowhere", "/sapi/v1/nowhere", "/api/v3/ping", "/api/v3/nowhere"]

    answers = [await web.get(path) for path in paths]

    used = [(answer.headers.get(USED_SAPI), answer.headers.get(USED_API)) for answer in answers]
    assert used == [("1", None), ("51", None), ("101", None), (None, "1"), (None, "2")]
    assert [answer.status_code for answer in answers] == [200, 404, 429, 200, 404]
    assert answers[2].json()["code"] == -1003
    assert answers[2].headers["Retry-After"] == "60"


async def test_a_defect_weighs_as_every_call(web: Web, monkeypatch: pytest.MonkeyPatch) -> None:
    program = await make_program(web.world, web.settings)

    def fail(*_: object) -> None:
        raise AssertionError("a defect")

    monkeypatch.setattr("web.exchange_api.routes.position", fail)
    transport = httpx.ASGITransport(web.app, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://soft-staking") as client:
        answer = await client.get(f"{SAPI}/list?{program.asking({})}", headers=program.headers)

    assert (answer.status_code, answer.json()["code"], answer.headers[USED_SAPI]) == (500, -1000, "50")
