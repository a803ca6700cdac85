"""PUT /v1/sources/{name}, GET /v1/sources: up to which instant sources have sent everything."""

from typing import Any

import httpx
import pytest
from web_api import NOW, Web, make_token

from ledger.service_tokens import Scope


@pytest.fixture
async def wallet(web: Web) -> dict[str, str]:
    return await make_token(web.world, Scope.MOVE)


async def put(web: Web, headers: dict[str, str], name: str, body: Any) -> httpx.Response:
    async with web.from_address() as client:
        return await client.put(f"/v1/sources/{name}", json=body, headers=headers)


async def test_a_source_reports_an_instant_which_only_rises(web: Web, wallet: dict[str, str]) -> None:
    first = await put(web, wallet, "wallet", {"complete_through": "2026-10-02T02:00:00+02:00"})
    again = await put(web, wallet, "wallet", {"complete_through": "2026-10-01T00:00:00Z"})

    assert (first.status_code, again.status_code) == (200, 200)
    assert (
        first.json()
        == again.json()
        == {
            "name": "wallet",
            "complete_through": "2026-10-02T00:00:00Z",
            "told_at": "2026-10-05T12:00:00Z",
            "registered_at": "2026-10-05T12:00:00Z",
            "released_through": None,
        }
    )
    assert (await web.get("/v1/sources", wallet)).json() == {"sources": [first.json()]}


async def test_sources_are_listed_for_tokens_that_may_move_or_read(web: Web) -> None:
    for scope, status in ((Scope.READ, 200), (Scope.MOVE, 200), (Scope.ACTIVATE, 403)):
        response = await web.get("/v1/sources", await make_token(web.world, scope))
        assert response.status_code == status
    assert response.json()["detail"] == "this token does not have the scope move or read"


@pytest.mark.parametrize(
    ("name", "body", "status"),
    [
        ("wallet", {"complete_through": "2026-10-02T00:00:00"}, 422),
        ("wallet", {"complete_through": 1790000000}, 422),
        ("wallet", {"complete_through": None}, 422),
        ("wallet", {}, 422),
        ("wallet", {"complete_through": "2026-10-02T00:00:00Z", "more": 1}, 422),
        ("wal%20let", {"complete_through": "2026-10-02T00:00:00Z"}, 422),
        ("x" * 65, {"complete_through": "2026-10-02T00:00:00Z"}, 422),
        ("wallet", {"complete_through": "2026-10-05T12:00:06Z"}, 409),
        ("wallet", {"complete_through": "0001-01-01T00:00:00+14:00"}, 422),
    ],
)
async def test_a_report_without_an_instant_registers_nothing(
    web: Web, wallet: dict[str, str], name: str, body: Any, status: int
) -> None:
    assert web.clock() == NOW
    assert (await put(web, wallet, name, body)).status_code == status
    assert (await web.get("/v1/sources", wallet)).json() == {"sources": []}


async def test_only_a_token_that_may_move_can_report(web: Web) -> None:
    reader = await make_token(web.world, Scope.READ)

    assert (await put(web, reader, "wallet", {"complete_through": "2026-10-02T00:00:00Z"})).status_code == 403
