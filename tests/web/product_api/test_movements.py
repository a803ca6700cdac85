"""POST /v1/movements: the movements that an exchange's systems send, and the answer to each."""

import gzip
import json
import sqlite3
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from typing import Any

import databases
import httpx
import pytest
from web_api import NOW, Web, a_web, make_token
from world import World, units

from ledger.database.engine import open_ledger
from ledger.database.patience import Patience
from ledger.service_tokens import Scope
from web.product_api.movements import BODY_BYTES_MAX

PATH = "/v1/movements"


def movement(key: str, amount: str = "12", **more: str) -> dict[str, str]:
    plain = {"id": key, "user": "ann", "asset": "SOL", "amount": amount, "at": "2026-10-01T06:00:00.000001Z"}
    return {**plain, **more}


@pytest.fixture
async def wallet(web: Web) -> dict[str, str]:
    return await make_token(web.world, Scope.MOVE)


async def post(web: Web, headers: dict[str, str], *movements: dict[str, str]) -> httpx.Response:
    return await web.post(PATH, {"movements": [*movements]}, headers)


async def post_bytes(web: Web, headers: dict[str, str], body: bytes, **more: str) -> httpx.Response:
    async with web.from_address() as client:
        return await client.post(
            PATH, content=body, headers={"Content-Type": "application/json", **headers, **more}
        )


def problem_of(response: httpx.Response) -> tuple[int, str]:
    assert response.headers["content-type"] == "application/problem+json"
    return response.status_code, response.json()["type"]


@pytest.mark.on_both_databases
async def test_every_movement_is_answered_in_order_and_a_refused_one_with_its_reason(
    web: Web, wallet: dict[str, str]
) -> None:
    first = await post(web, wallet, movement("m-1"), movement("m-2", "-13"), movement("m-3", "-3.5", group="t"))
    again = await post(web, wallet, movement("m-1"))

    assert (first.status_code, first.json()) == (
        200,
        {
            "results": [
                {"id": "m-1", "status": "posted", "counts_from": "2026-10-01T06:00:00.000001Z", "reason": None},
                {
                    "id": "m-2",
                    "status": "refused",
                    "counts_from": None,
                    "reason": {
                        "code": "insufficient_balance",
                        "sentence": "user ann's SOL balance is 12.00000000, which does not allow -13.00000000",
                    },
                },
                {"id": "m-3", "status": "posted", "counts_from": "2026-10-01T06:00:00.000001Z", "reason": None},
            ]
        },
    )
    assert again.json()["results"] == [
        {"id": "m-1", "status": "repeated", "counts_from": "2026-10-01T06:00:00.000001Z", "reason": None}
    ]
    assert await web.world.balances("ann") == {"SOL": units("8.5")}


async def test_a_body_may_be_packed_in_one_member_or_several(web: Web, wallet: dict[str, str]) -> None:
    text = json.dumps({"movements": [movement("m-1"), movement("m-2")]}).encode()

    whole = await post_bytes(web, wallet, gzip.compress(text), **{"Content-Encoding": "gzip"})
    parts = gzip.compress(text[:50]) + gzip.compress(text[50:])
    in_parts = await post_bytes(web, wallet, parts, **{"Content-Encoding": "GZip"})

    assert [result["status"] for result in whole.json()["results"]] == ["posted", "posted"]
    assert [result["status"] for result in in_parts.json()["results"]] == ["repeated", "repeated"]


@pytest.mark.parametrize(
    ("body", "encoding", "status"),
    [
        (b"not gzip", "gzip", 400),
        (gzip.compress(b'{"movements": []}')[:-4], "gzip", 400),
        (gzip.compress(b'{"movements": []}') + b"more", "gzip", 400),
        (gzip.compress(b" " * (BODY_BYTES_MAX + 1)), "gzip", 413),
        (gzip.compress(b" " * BODY_BYTES_MAX) + gzip.compress(b" "), "gzip", 413),
        (b" " * (BODY_BYTES_MAX + 1), "identity", 413),
        (b"{}", "br", 415),
        (b"", "gzip", 422),
    ],
    ids=["no gzip", "cut", "more after it", "bomb", "bomb in parts", "long", "other packing", "nothing"],
)
async def test_a_body_that_cannot_be_read_is_refused_whole(
    web: Web, wallet: dict[str, str], body: bytes, encoding: str, status: int
) -> None:
    response = await post_bytes(web, wallet, body, **{"Content-Encoding": encoding})

    assert problem_of(response)[0] == status
    assert response.json()["detail"]


@pytest.mark.parametrize(
    ("content", "field"),
    [
        ("[]", "body"),
        ("{}", "movements"),
        ('{"movements": {}}', "movements"),
        ('{"movements": []}', "movements"),
        (json.dumps({"movements": [movement(f"m-{n}") for n in range(1001)]}), "movements"),
        (json.dumps({"movements": [movement("m")], "more": 1}), "more"),
        (json.dumps({"movements": [movement("m", colour="red")]}), "movements.0.colour"),
        (json.dumps({"movements": [{**movement("m"), "amount": 12}]}), "movements.0.amount"),
        (json.dumps({"movements": [movement("m"), {"id": "x"}]}), "movements.1.user"),
        (json.dumps({"movements": [movement("")]}), "movements.0.id"),
        (json.dumps({"movements": [movement("m" * 129)]}), "movements.0.id"),
        (json.dumps({"movements": [movement("m\0")]}), "movements.0.id"),
        (json.dumps({"movements": [movement("\ud800")]}), "movements.0.id"),
        (json.dumps({"movements": [movement("m", group="")]}), "movements.0.group"),
        ("{", "body"),
        ("[" * 100_000, None),
        ('{"movements": NaN}', "movements"),
    ],
)
async def test_a_request_of_another_structure_is_refused_whole_and_each_fault_named(
    web: Web, wallet: dict[str, str], content: str, field: str | None
) -> None:
    response = await post_bytes(web, wallet, content.encode())

    if field is None:
        assert problem_of(response)[0] == 400
    else:
        assert problem_of(response) == (422, "/problems/invalid-request")
        assert field in [fault["field"] for fault in response.json()["errors"]]
    assert await web.world.sql("SELECT count(*) FROM refused_movements") == [(0,)]


async def test_a_thousand_movements_are_one_request(web: Web, wallet: dict[str, str]) -> None:
    response = await post(web, wallet, *(movement(f"m-{number:04}", "0.5") for number in range(1000)))

    results = response.json()["results"]
    assert [result["id"] for result in results] == [f"m-{number:04}" for number in range(1000)]
    assert await web.world.balances("ann") == {"SOL": units("500")}


async def test_only_a_token_that_may_move_moves_anything(web: Web) -> None:
    reader = await make_token(web.world, Scope.READ, Scope.ACTIVATE)

    assert problem_of(await post(web, reader, movement("m"))) == (403, "/problems/insufficient-scope")
    assert problem_of(await post(web, {}, movement("m"))) == (401, "/problems/unauthorized")
    assert await web.world.balances("ann") == {}


async def test_no_parameter_is_taken(web: Web, wallet: dict[str, str]) -> None:
    response = await web.post(f"{PATH}?dry_run=1", {"movements": [movement("m")]}, wallet)

    assert problem_of(response) == (422, "/problems/invalid-request")


async def test_a_movement_of_the_future_is_refused_by_the_servers_clock(web: Web, wallet: dict[str, str]) -> None:
    ahead = (NOW + timedelta(seconds=5)).isoformat()
    too_far = (NOW + timedelta(seconds=5, microseconds=1)).isoformat()

    results = (await post(web, wallet, movement("a", at=ahead), movement("b", at=too_far))).json()["results"]

    assert [result["status"] for result in results] == ["posted", "refused"]
    assert results[1]["reason"]["code"] == "in_the_future"


async def test_a_sender_who_lost_the_answer_gets_it_again(web: Web, wallet: dict[str, str]) -> None:
    """The server is gone between the commit and the answer."""
    body = json.dumps({"movements": [movement("m")]}).encode()
    headers = {**wallet, "content-type": "application/json", "content-length": str(len(body))}

    class GoneError(Exception):
        pass

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": body, "more_body": False}

    async def send(_: object) -> None:
        raise GoneError

    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": "POST",
        "path": PATH,
        "raw_path": PATH.encode(),
        "query_string": b"",
        "headers": [(name.lower().encode(), value.encode()) for name, value in headers.items()],
        "client": ("203.0.113.1", 1),
        "server": ("soft-staking", 80),
        "scheme": "http",
        "root_path": "",
    }
    with pytest.raises(GoneError):
        await web.app(scope, receive, send)
    assert await web.world.balances("ann") == {"SOL": units("12")}

    results = (await post(web, wallet, movement("m"))).json()["results"]

    assert results == [
        {"id": "m", "status": "repeated", "counts_from": "2026-10-01T06:00:00.000001Z", "reason": None}
    ]


async def test_a_ledger_that_does_not_answer_leaves_it_open_what_was_recorded(
    world: World, tmp_path: Path
) -> None:
    wallet = await make_token(world, Scope.MOVE)
    async with open_ledger(databases.url_in(tmp_path), patience=Patience(turn_s=0.05)) as ledger:
        web = await a_web(World(ledger), tmp_path)
        with closing(sqlite3.connect(tmp_path / "ledger.db", isolation_level=None)) as another:
            another.execute("BEGIN IMMEDIATE")
            response = await post(web, wallet, movement("m"))

        assert problem_of(response) == (503, "/problems/no-answer")
        assert response.headers["Retry-After"] == "5"
        assert (await post(web, wallet, movement("m"))).json()["results"][0]["status"] == "posted"
