"""Requests that the OpenAPI allows, and many that it does not, get an answer as it says, and never meet a
defect."""

import re
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlencode

import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)
from web_api import LiveWeb, Program, a_live_web, make_token, milliseconds

from ledger.api_keys import KeyKind
from ledger.database.engine import utc_now
from ledger.service_tokens import Scope
from web.product_api.events import WAIT_S_MAX

CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]
FEW = settings(
    max_examples=15,
    derandomize=True,
    database=None,
    deadline=None,
    phases=[Phase.generate],
    suppress_health_check=list(HealthCheck),
)
OPERATIONS = [
    ("GET", "/v1/accounts/{user}/soft-staking/status"),
    ("GET", "/v1/accounts/{user}/soft-staking/tag"),
    ("GET", "/v1/accounts/{user}/soft-staking/rewards"),
    ("POST", "/v1/accounts/{user}/soft-staking/activate"),
    ("POST", "/v1/accounts/{user}/soft-staking/deactivate"),
    ("POST", "/v1/movements"),
    ("PUT", "/v1/sources/{name}"),
    ("GET", "/v1/events"),
    ("GET", "/v1/reconciliation/{day}"),
    ("GET", "/v1/credits"),
    ("GET", "/v1/accounts/{user}/soft-staking/eligibility"),
    ("GET", "/v1/accounts/{user}/soft-staking/estimate"),
    ("GET", "/sapi/v1/soft-staking/list"),
    ("GET", "/sapi/v1/soft-staking/set"),
    ("GET", "/sapi/v1/soft-staking/history/rewardsRecord"),
    ("GET", "/api/v3/time"),
]
WITHOUT_PARAMETERS = [
    ("GET", "/sapi/v1/system/status"),
    ("GET", "/api/v3/ping"),
    ("GET", "/v1/sources"),
    ("GET", "/v1/program"),
]
"""Operations in which there is nothing to vary."""

SIGNED = [path for _, path in OPERATIONS if path.startswith("/sapi/v1/soft-staking/")]


@pytest.fixture(scope="module")
def web(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveWeb]:
    with a_live_web(tmp_path_factory.mktemp("live"), weight_per_minute=10**9, calls_per_minute=10**9) as live:
        yield live


@pytest.fixture(scope="module")
def schema(web: LiveWeb) -> Any:
    return schemathesis.openapi.from_url(f"{web.address}/openapi.json")


@pytest.fixture(scope="module")
def program(web: LiveWeb) -> Program:
    return web.program(web.holder("fuzzed"), KeyKind.HMAC)


@pytest.fixture(scope="module")
def token(web: LiveWeb) -> dict[str, str]:
    return web.do(make_token(web.world, *Scope))


def test_every_operation_that_takes_anything_is_fuzzed(schema: Any) -> None:
    known = [result.ok() for result in schema.get_all_operations()]

    assert {
        (operation.method.upper(), operation.path)
        for operation in known
        if re.match("/(v1|s?api)/", operation.path)
    } == {*OPERATIONS, *WITHOUT_PARAMETERS}


@pytest.mark.parametrize("mode", list(schemathesis.GenerationMode), ids=lambda mode: mode.value)
@pytest.mark.parametrize(("method", "path"), OPERATIONS)
def test_whatever_is_sent_is_answered_as_the_openapi_says(
    web: LiveWeb,
    schema: Any,
    program: Program,
    token: dict[str, str],
    method: str,
    path: str,
    mode: schemathesis.GenerationMode,
) -> None:
    operation = schema[path][method]
    session = requests.Session()

    @FEW
    @given(case=operation.as_strategy(generation_mode=mode))
    def send(case: schemathesis.Case) -> None:
        headers = token if path.startswith("/v1") else program.headers
        if case.query.get("wait") in range(1, 1 + WAIT_S_MAX):
            case.query["wait"] = 0  # nobody has to wait for what will not happen
        case.call_and_validate(headers=headers, session=session, checks=CHECKS)

    with session:
        send()


@pytest.mark.parametrize("path", SIGNED)
def test_whatever_is_signed_is_answered_as_the_openapi_says(
    web: LiveWeb, schema: Any, program: Program, path: str
) -> None:
    operation = schema[path]["GET"]
    session = requests.Session()

    @FEW
    @given(case=operation.as_strategy())
    def send(case: schemathesis.Case) -> None:
        sent = {name: value for name, value in case.query.items() if name not in ("timestamp", "signature")}
        query = program.query(urlencode({**sent, "timestamp": milliseconds(utc_now())}))
        response = session.get(f"{web.address}{path}?{query}", headers=program.headers)
        case.validate_response(response, checks=CHECKS)
        assert response.status_code in (200, 400)

    with session:
        send()
