"""Nobody makes the service read a body without a token that may send it."""

from pathlib import Path
from typing import Any

import pytest
from starlette.types import Message
from web_api import Web, a_web, make_token
from world import World

from ledger.service_tokens import Scope


@pytest.fixture
async def web(world: World, tmp_path: Path) -> Web:
    return await a_web(world, tmp_path, calls_per_minute=40)


def with_a_body(web: Web) -> list[tuple[str, str]]:
    """Every method and path of /v1 that takes a body."""
    paths: dict[str, Any] = web.app.openapi()["paths"]
    return [
        (method.upper(), path.replace("{user}", "ann").replace("{name}", "wallet"))
        for path, methods in paths.items()
        for method, operation in methods.items()
        if path.startswith("/v1/") and "requestBody" in operation
    ]


async def answer_before_the_body(web: Web, method: str, path: str, token: dict[str, str]) -> int:
    """The status that is answered to the head of a request alone."""
    headers = {"content-type": "application/json", "content-length": "1000", **token}
    scope = {
        "type": "http",
        "http_version": "1.1",
        "method": method,
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"",
        "headers": [(name.lower().encode(), value.encode()) for name, value in headers.items()],
        "client": ("203.0.113.1", 1234),
        "server": ("soft-staking", 80),
        "scheme": "http",
    }
    statuses: list[int] = []

    async def receive() -> Message:
        raise AssertionError("the body is read")

    async def send(message: Message) -> None:
        statuses.extend([message["status"]] if message["type"] == "http.response.start" else [])

    await web.app(scope, receive, send)
    (status,) = statuses
    return status


async def test_without_a_token_in_use_no_body_of_any_request_is_read(web: Web) -> None:
    asked = with_a_body(web)
    assert ("POST", "/v1/movements") in asked
    assert ("PUT", "/v1/sources/wallet") in asked

    for method, path in asked:
        for token in ({}, {"Authorization": "Bearer sst_unknown"}, {"Authorization": "Basic abc"}):
            assert await answer_before_the_body(web, method, path, token) == 401


async def test_without_the_scope_no_body_of_any_request_is_read(web: Web) -> None:
    token = await make_token(web.world, Scope.READ)

    for method, path in with_a_body(web):
        assert await answer_before_the_body(web, method, path, token) == 403


async def test_over_the_limit_of_a_token_no_body_is_read(web: Web) -> None:
    token = await make_token(web.world, Scope.MOVE)
    for _ in range(40):
        assert (await web.get("/v1/sources", token)).status_code == 200

    assert await answer_before_the_body(web, "POST", "/v1/movements", token) == 429


async def test_a_request_with_a_body_counts_once_for_its_token(web: Web) -> None:
    token = await make_token(web.world, Scope.MOVE)

    answers = [(await web.post("/v1/movements", {"movements": []}, token)).status_code for _ in range(41)]

    assert answers == [422] * 40 + [429]
