"""The endpoints that existing clients use: their answers, and their errors when something is missing."""

import asyncio
import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from web_api import NOW, Program, Web, a_web, make_program, milliseconds
from world import World, at, day, program_with

from ledger.api_keys import revoke_key
from ledger.corrections import reverse
from web.access.key_encryption import EncryptionKeyUnusable

NOW_MS = milliseconds(NOW)
DAYS = (day("2026-10-02"), day("2026-10-03"))


@pytest.fixture
async def web(world: World, tmp_path: Path) -> Web:
    return await a_web(world, tmp_path)


async def enrol_ann(world: World, **tokens: str) -> None:
    """Credits two days to ann, who held these amounts from the day before Day 1 on."""
    for asset, amount in tokens.items():
        await world.move("ann", amount, asset, at("2026-09-30"))
    await world.enrol("ann", at("2026-10-01 10:00"))
    await world.snapshot("ann", day("2026-10-01"))
    for accrual_day in DAYS:
        await world.pay("ann", accrual_day)


@pytest.fixture
async def ann(web: Web) -> Program:
    """A program of ann's, who holds 12 SOL and has two credited days."""
    await enrol_ann(web.world, SOL="12")
    return await make_program(web.world, web.settings)


def row_of(answer: Any, asset: str) -> dict[str, Any]:
    (row,) = [row for row in answer["rows"] if row["asset"] == asset]
    return row


# The list.


async def test_the_list_answers_as_documented(web: Web, ann: Program) -> None:
    answer = await web.ask(ann, "/list")

    assert answer["status"] is True
    assert answer["totalRewardsUsdt"] == "0.078903"
    assert answer["total"] == 10
    assert [row["asset"] for row in answer["rows"]] == sorted(row["asset"] for row in answer["rows"])
    assert row_of(answer, "SOL") == {
        "asset": "SOL",
        "minAmount": "1",
        "maxCap": "10000",
        "apr": "0.008",
        "stakedAmount": "12.00052602",
        "totalProfit": "0.00052602",
    }
    assert row_of(answer, "BNB") == {
        "asset": "BNB",
        "minAmount": "0.5",
        "maxCap": "1000",
        "apr": "0.0015",
        "stakedAmount": "0",
        "totalProfit": "0",
    }


@pytest.mark.parametrize(
    ("held", "enrolled", "staked"),
    [
        ("0.99999999", True, "0"),
        ("1", True, "1"),
        ("1.50", True, "1.5"),
        ("20000", True, "10000"),
        ("12", False, "0"),
    ],
)
async def test_the_staked_amount_is_what_can_earn(web: Web, held: str, enrolled: bool, staked: str) -> None:
    await web.world.move("ann", held, "SOL", at("2026-10-05 10:00"))
    await web.world.move("ann", "1", "BNB", at("2026-10-05 10:00"))
    if enrolled:
        await web.world.enrol("ann", at("2026-10-05 11:00"))
    program = await make_program(web.world, web.settings)

    answer = await web.ask(program, "/list")

    assert answer["status"] is enrolled
    assert row_of(answer, "SOL")["stakedAmount"] == staked


async def test_someone_who_was_never_heard_of_sees_the_offer(web: Web) -> None:
    program = await make_program(web.world, web.settings, "nobody")

    answer = await web.ask(program, "/list")

    assert (answer["status"], answer["totalRewardsUsdt"], answer["total"]) == (False, "0", 10)
    assert {(row["stakedAmount"], row["totalProfit"]) for row in answer["rows"]} == {("0", "0")}


async def test_a_reward_that_was_reversed_is_no_profit(web: Web, ann: Program) -> None:
    _, second = await web.world.statement("ann")
    assert second.entry_id is not None
    await reverse(web.world.ledger, second.entry_id, reason="wrong", operator="tests", now=NOW)

    answer = await web.ask(ann, "/list")

    assert row_of(answer, "SOL")["totalProfit"] == "0.00026301"
    assert answer["totalRewardsUsdt"] == "0.0394515"


async def test_an_asset_that_left_the_program_is_not_offered_and_still_counts(web: Web, ann: Program) -> None:
    content = program_with("2026-10-05").model_dump()
    del content["assets"]["SOL"]
    await web.world.apply(type(program_with()).model_validate(content), now=at("2026-10-04"))

    answer = await web.ask(ann, "/list")

    assert "SOL" not in [row["asset"] for row in answer["rows"]]
    assert answer["totalRewardsUsdt"] == "0.078903"
    history = await web.ask(ann, "/history/rewardsRecord", {"asset": "SOL"})
    assert history["total"] == 2


@pytest.mark.parametrize(
    ("parameters", "assets"),
    [
        ({"size": 3}, ["ADA", "ALGO", "AXS"]),
        ({"size": 3, "current": 2}, ["BNB", "NEAR", "POL"]),
        ({"size": 3, "current": 4}, ["TON"]),
        ({"size": 100, "current": 2}, []),
        ({"current": 99999999999999999999}, []),
        ({}, ["ADA", "ALGO", "AXS", "BNB", "NEAR", "POL", "S", "SOL", "SUI", "TON"]),
    ],
)
async def test_the_list_comes_in_pages(
    web: Web, ann: Program, parameters: dict[str, int], assets: list[str]
) -> None:
    answer = await web.ask(ann, "/list", parameters)

    assert ([row["asset"] for row in answer["rows"]], answer["total"]) == (assets, 10)


async def test_one_asset_can_be_asked_for(web: Web, ann: Program) -> None:
    answer = await web.ask(ann, "/list", {"asset": "SOL"})

    assert ([row["asset"] for row in answer["rows"]], answer["total"]) == (["SOL"], 1)
    assert answer["totalRewardsUsdt"] == "0.078903"


async def test_a_program_sees_its_own_user_only(web: Web, ann: Program) -> None:
    bob = await make_program(web.world, web.settings, "bob")

    assert (await web.ask(bob, "/list"))["status"] is False
    assert (await web.ask(bob, "/history/rewardsRecord"))["total"] == 0
    assert (await web.signed(bob, "/list", {"user": "ann"})).json()["code"] == -1104


# The history.


async def test_the_history_answers_as_documented_the_newest_first(web: Web, ann: Program) -> None:
    answer = await web.ask(ann, "/history/rewardsRecord")

    assert answer == {
        "rows": [
            {
                "asset": "SOL",
                "rewards": "0.00026301",
                "rewardAsset": "SOL",
                "avgAmount": "12.00026301",
                "time": milliseconds(at("2026-10-04 00:01")),
            },
            {
                "asset": "SOL",
                "rewards": "0.00026301",
                "rewardAsset": "SOL",
                "avgAmount": "12",
                "time": milliseconds(at("2026-10-03 00:01")),
            },
        ],
        "total": 2,
    }


async def test_a_day_that_earned_nothing_is_not_in_the_history(web: Web) -> None:
    await enrol_ann(web.world, SOL="12", BNB="0.1", SUI="100")
    program = await make_program(web.world, web.settings)

    answer = await web.ask(program, "/history/rewardsRecord")

    assert [row["asset"] for row in answer["rows"]] == ["SOL", "SUI", "SOL", "SUI"]
    of_sui = await web.ask(program, "/history/rewardsRecord", {"asset": "SUI"})
    assert [row["asset"] for row in of_sui["rows"]] == ["SUI", "SUI"]


@pytest.mark.parametrize(
    ("parameters", "rows"), [({"size": 1}, 1), ({"size": 1, "current": 2}, 1), ({"size": 1, "current": 3}, 0)]
)
async def test_the_history_comes_in_pages(web: Web, ann: Program, parameters: dict[str, int], rows: int) -> None:
    answer = await web.ask(ann, "/history/rewardsRecord", parameters)

    assert (len(answer["rows"]), answer["total"]) == (rows, 2)


FIRST, SECOND = milliseconds(at("2026-10-03 00:01")), milliseconds(at("2026-10-04 00:01"))
THIRTY_DAYS = 30 * 86_400_000


@pytest.mark.parametrize(
    ("parameters", "total"),
    [
        ({"startTime": FIRST, "endTime": SECOND}, 2),
        ({"startTime": FIRST + 1}, 1),
        ({"startTime": (FIRST + 1) * 1000}, 1),
        ({"endTime": SECOND - 1}, 1),
        ({"startTime": FIRST - THIRTY_DAYS}, 1),
        ({"startTime": FIRST - THIRTY_DAYS - 1}, 0),
        ({"endTime": SECOND + THIRTY_DAYS}, 1),
        ({"endTime": SECOND + THIRTY_DAYS + 1}, 0),
        ({"startTime": SECOND - 92 * 86_400_000, "endTime": SECOND}, 2),
        ({"startTime": 0, "endTime": 0}, 0),
        ({"startTime": 99999999999999999999}, 0),
    ],
)
async def test_the_history_is_of_the_time_asked_for(
    web: Web, ann: Program, parameters: dict[str, int], total: int
) -> None:
    assert (await web.ask(ann, "/history/rewardsRecord", parameters))["total"] == total


@pytest.mark.parametrize(("later", "total"), [(timedelta(days=28), 2), (timedelta(days=29), 1)])
async def test_without_a_time_the_history_is_of_the_last_thirty_days(
    web: Web, ann: Program, later: timedelta, total: int
) -> None:
    web.clock.instant = NOW + later - timedelta(hours=12)

    assert (await web.ask(ann, "/history/rewardsRecord"))["total"] == total


# When something is missing.


async def test_a_malformed_encryption_key_is_named_at_the_start(world: World, tmp_path: Path) -> None:
    with pytest.raises(EncryptionKeyUnusable, match="SOFT_STAKING_KEY_ENCRYPTION_KEY"):
        await a_web(world, tmp_path, key_encryption_key="none")


async def test_without_its_encryption_key_the_service_asks_clients_to_wait_and_shows_no_secret(
    web: Web, ann: Program, tmp_path: Path
) -> None:
    (tmp_path / "key-encryption.key").unlink()

    response = await web.signed(ann, "/list")

    assert (response.status_code, response.json()["code"], response.headers["Retry-After"]) == (503, -1001, "1")
    assert str(tmp_path) not in response.text


async def test_without_the_ledger_clients_are_asked_to_come_again(web: Web, ann: Program, tmp_path: Path) -> None:
    await web.world.sql("ALTER TABLE accounts RENAME TO accounts_elsewhere")

    response = await web.signed(ann, "/list")

    assert (response.status_code, response.json()["code"]) == (503, -1001)
    assert "accounts" not in response.text


@pytest.mark.on_both_databases
async def test_the_list_is_written_as_json_is_written(web: Web, ann: Program) -> None:
    nobody = await make_program(web.world, web.settings, "nobody")
    for program in (ann, nobody):
        answer = await web.signed(program, "/list")
        assert answer.text == json.dumps(answer.json(), ensure_ascii=False, separators=(",", ":"))
        assert list(answer.json()) == ["status", "totalRewardsUsdt", "rows", "total"]
        fields = ["asset", "minAmount", "maxCap", "apr", "stakedAmount", "totalProfit"]
        assert [list(row) for row in answer.json()["rows"]] == [fields] * 10
        assert answer.headers["content-type"] == "application/json"
        assert answer.headers["content-length"] == str(len(answer.content))


@pytest.mark.on_both_databases
async def test_programs_that_ask_at_the_same_time_each_get_their_own_answer(web: Web, ann: Program) -> None:
    await web.world.move("bob", "3", "SOL", at("2026-10-01"))
    await web.world.enrol("bob", at("2026-10-01 10:00"))
    bob, nobody = [await make_program(web.world, web.settings, user) for user in ("bob", "nobody")]
    revoked = await make_program(web.world, web.settings, "bob")
    await revoke_key(web.world.ledger, revoked.api_key, operator="tests", now=NOW)

    asked = [ann, bob, nobody, revoked] * 5
    answers = await asyncio.gather(*(web.signed(program, "/list") for program in asked))

    told = [
        (row_of(answer.json(), "SOL")["stakedAmount"], answer.json()["status"])
        if answer.status_code == 200
        else answer.json()["code"]
        for answer in answers
    ]
    assert told == [("12.00052602", True), ("3", True), ("0", False), -2015] * 5
