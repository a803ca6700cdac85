"""What a product service reads of an account: the tag, the rewards, the status."""

import pytest
from product_service import of
from web_api import NOW, Web
from world import at, day

from ledger.corrections import reverse


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
