"""GET /v1/reconciliation/{day}: two systems compare their balances without sending them."""

import asyncio
import runpy
from decimal import Decimal
from pathlib import Path

import pytest
from documentation import HTTP_API, fenced
from web_api import Web, a_web, make_token
from world import World, at

from ledger.feed.sources import tell_complete
from ledger.service_tokens import Scope

PATH = "/v1/reconciliation/2026-10-02"


@pytest.fixture
async def web(world: World, tmp_path: Path) -> Web:
    for user, tokens, asset in (("1001", "12", "SOL"), ("1001", "525", "USDT"), ("1002", "0.5", "SOL")):
        await world.move(user, tokens, asset, at("2026-10-01 06:00"))
    await world.move("1001", "3", "SOL", at("2026-10-02"))
    return await a_web(world, tmp_path)


def documented_digest(folder: Path, balances: list[tuple[str, str, Decimal]]) -> str:
    """By the lines that the page of the API shows."""
    (example,) = fenced(HTTP_API, "python")
    script = folder / "digest.py"
    script.write_text(example)
    return runpy.run_path(str(script))["digest"](balances)


async def test_totals_and_digest_are_those_that_the_page_computes(web: Web, tmp_path: Path) -> None:
    response = await web.get(PATH, await make_token(web.world, Scope.READ))

    balances = [("1002", "SOL", Decimal("0.5")), ("1001", "USDT", Decimal(525)), ("1001", "SOL", Decimal(12))]
    assert response.status_code == 200
    assert response.json() == {
        "day": "2026-10-02",
        "boundary": "2026-10-02T00:00:00Z",
        "totals": [
            {"asset": "SOL", "balance": "12.50000000", "users": 2},
            {"asset": "USDT", "balance": "525.00000000", "users": 1},
        ],
        "digest": documented_digest(tmp_path, [*balances, ("1003", "SOL", Decimal(0))]),
        "late_sources": [],
    }
    assert response.json()["digest"] in HTTP_API.read_text(encoding="utf-8")


async def test_a_source_that_may_still_send_something_is_named(web: Web) -> None:
    for name, instant in (("behind", "2026-10-01 23:59"), ("complete", "2026-10-02")):
        await tell_complete(web.world.ledger, name, at(instant), now=at("2026-10-05"))

    answer = (await web.get(PATH, await make_token(web.world, Scope.READ))).json()

    assert answer["late_sources"] == ["behind"]


async def test_several_who_ask_at_once_get_the_same_answer(web: Web) -> None:
    token = await make_token(web.world, Scope.READ)

    answers = await asyncio.gather(*(web.get(PATH, token) for _ in range(5)))

    assert {answer.text for answer in answers} == {answers[0].text}
    assert answers[0].status_code == 200


@pytest.mark.parametrize(
    ("day", "status"),
    [("2026-10-06", 409), ("2026-10-05", 200), ("2026-13-01", 422), ("0", 422), ("0001-01-01", 200)],
)
async def test_only_a_day_that_has_begun_has_a_boundary(web: Web, day: str, status: int) -> None:
    response = await web.get(f"/v1/reconciliation/{day}", await make_token(web.world, Scope.READ))

    assert response.status_code == status, response.text


async def test_balances_are_told_to_readers_alone(web: Web) -> None:
    assert (await web.get(PATH, await make_token(web.world, Scope.MOVE))).status_code == 403
