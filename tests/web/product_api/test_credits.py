"""GET /v1/credits: what was paid for a day, of all users."""

from pathlib import Path

import pytest
from web_api import Web, a_web, make_token
from world import World

from ledger.service_tokens import Scope

PATH = "/v1/credits?day=2026-10-02"


@pytest.fixture
async def web(example: World, tmp_path: Path) -> Web:
    return await a_web(example, tmp_path)


async def test_a_credit_has_its_entry_and_a_line_for_each_asset(web: Web) -> None:
    response = await web.get(PATH, await make_token(web.world, Scope.READ))

    (sol,) = [line for line in await web.world.statement("ann") if str(line.day) == "2026-10-02"]
    terms = {"minimum": sol.minimum, "cap": sol.cap, "apr": sol.apr}
    assert response.status_code == 200
    answer = response.json()
    (credit,) = answer["credits"]
    assert (answer["day"], answer["next_after"]) == ("2026-10-02", None)
    assert {name: credit[name] for name in ("user", "entry_id", "credited_at", "late", "reversed_by")} == {
        "user": "ann",
        "entry_id": sol.entry_id,
        "credited_at": "2026-10-03T00:01:00Z",
        "late": False,
        "reversed_by": None,
    }
    earned = {"average": "10.12500000", "reward": "0.00022191", "outcome": "earned"}
    assert credit["lines"] == [{"asset": "SOL", **terms, **earned}]


@pytest.mark.parametrize(
    ("query", "status"),
    [
        ("", 422),
        ("?day=yesterday", 422),
        ("?day=2026-10-02&limit=0", 422),
        ("?day=2026-10-02&limit=1001", 422),
        ("?day=2026-10-02&after=a%20b", 422),
        ("?day=2026-10-02&page=2", 422),
        ("?day=2026-10-02&after=", 200),
        ("?day=9999-12-31&after=ann&limit=1", 200),
    ],
)
async def test_only_what_it_can_read_is_answered(web: Web, query: str, status: int) -> None:
    response = await web.get(f"/v1/credits{query}", await make_token(web.world, Scope.READ))

    assert response.status_code == status, response.text
    assert status != 200 or response.json()["next_after"] is None


async def test_credits_are_told_to_readers_alone(web: Web) -> None:
    assert (await web.get(PATH, await make_token(web.world, Scope.MOVE))).status_code == 403
