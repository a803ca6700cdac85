"""The account holder's pages as they are served: what each says, without a browser and without a script."""

import csv
import io
from collections.abc import AsyncGenerator
from datetime import timedelta
from pathlib import Path

import pytest
from visitor import Page, Visitor, a_site, a_visitor, tags_of
from world import SHIPPED_PROGRAM, World, a_world_after, activation, at, day, program_with, tamper, units

from commands import rewards
from ledger.corrections import reverse
from ledger.programs import switch_assets
from ledger.statement_text import STATEMENT_COLUMNS
from staking.days import ONE_DAY
from web import view

NOW = at("2026-10-05 10:00")


async def _worked_example(world: World) -> None:
    await world.move("ann", "12", "SOL", at("2026-10-01 10:00"))
    await world.move("ann", "250", "USDT", at("2026-10-01 10:00"))
    await world.enrol("ann", at("2026-10-01 10:00"))
    await world.close("ann", day("2026-10-01"))
    await world.move("ann", "-3", "SOL", at("2026-10-02 06:00"))
    await world.move("ann", "1.5", "SOL", at("2026-10-02 18:00"))
    for number in (2, 3, 4):
        await world.close_and_credit("ann", day(f"2026-10-0{number}"))


async def _thirty_days(world: World) -> None:
    await world.move("ann", "12", "SOL", at("2026-09-01"))
    await world.move("ann", "10", "ADA", at("2026-09-01"))
    await world.enrol("ann", at("2026-09-01 10:00"))
    await world.close("ann", day("2026-09-01"))
    for number in range(30):
        await world.close_and_credit("ann", day("2026-09-02") + number * ONE_DAY)


@pytest.fixture
async def example(tmp_path: Path) -> AsyncGenerator[World]:
    """Ann, of the worked example: active since 1 October, three days credited by the 5th."""
    async with a_world_after(tmp_path, _worked_example) as world:
        yield world


@pytest.fixture
async def month(tmp_path: Path) -> AsyncGenerator[World]:
    """Thirty credited days of ann, each with a line of SOL that earned and one of ADA below the minimum."""
    async with a_world_after(tmp_path, _thirty_days) as world:
        yield world


async def page_of(world: World, user: str, path: str, now: str = "2026-10-05 10:00") -> Page:
    async with a_visitor(await a_site(world, at(now)), user) as visitor:
        return await visitor.get(path)


# Spot assets.


async def test_the_spot_account_shows_holdings_and_values_the_dearest_first(world: World) -> None:
    for asset, tokens in {"SOL": "12", "BNB": "2.14", "BTC": "0.05", "USDT": "1840.25"}.items():
        await world.move("ann", tokens, asset, at("2026-10-01"))
    page = await page_of(world, "ann", "/")
    assert page.title == "Spot assets"
    assert "Total value 5,031.25 USDT" in page.text
    for row in (
        "USDT 1,840.25",
        "SOL",
        "12 1,800.00 USDT 1,800.00",
        "2.14 1,391.00 USDT 1,391.00",
        "0.05 no price",
    ):
        assert row in page.text
    assert page.text.index("SOL") < page.text.index("BNB") < page.text.index("BTC")


@pytest.mark.parametrize(("enrolled", "colour", "leads_to"), [(False, "grey", "/activate"), (True, "yellow", "")])
async def test_the_tag_stands_beside_the_one_asset_of_rule_8(
    world: World, enrolled: bool, colour: str, leads_to: str
) -> None:
    await world.move("ann", "12", "SOL", at("2026-10-01"))
    await world.move("ann", "2.14", "BNB", at("2026-10-01"))
    if enrolled:
        await world.enrol("ann", at("2026-10-05 09:00"))
    page = await page_of(world, "ann", "/")
    tags = [
        attributes
        for tag, attributes in tags_of(page.html)
        if tag == "a" and (attributes.get("class") or "").startswith("tag")
    ]
    assert [(tag["class"], tag["href"]) for tag in tags] == [(f"tag {colour}", f"/soft-staking{leads_to}")]
    assert f"S SOL Soft Staking · {'on' if enrolled else 'off'}" in page.text


async def test_without_a_tag_a_sentence_says_why(world: World) -> None:
    await world.move("ann", "0.4", "SOL", at("2026-10-01"))
    page = await page_of(world, "ann", "/")
    assert 'class="tag' not in page.html
    assert "You hold 0.4 SOL; Soft Staking starts at 1 SOL." in page.text
    assert "No asset earns yet" in page.text


async def test_an_active_user_without_a_tag_is_told_that_nothing_earns_now(example: World) -> None:
    await example.move("ann", "-10", "SOL", at("2026-10-05 01:00"))
    page = await page_of(example, "ann", "/")
    assert "Soft Staking is on, but no asset earns now" in page.text
    assert "Soft Staking starts at 1 SOL." in page.text


async def test_before_any_program_the_pages_say_that_nothing_is_offered(world: World) -> None:
    await world.move("ann", "12", "SOL", at("2025-01-01"))
    spot = await page_of(world, "ann", "/", now="2025-01-02")
    activate = await page_of(world, "ann", "/soft-staking/activate", now="2025-01-02")
    assert "Soft Staking is not offered at the moment." in spot.text
    assert activate.title == "Not offered at the moment"
    async with a_visitor(await a_site(world, at("2025-01-02")), "ann") as ann:
        token = (await ann.get("/time-zone")).form("/time-zone")
        assert (await ann.post("/soft-staking/activate", token)).status == 409


# Activation.


async def test_the_activation_page_says_what_it_is_in_three_lines(world: World) -> None:
    page = await page_of(world, "ann", "/soft-staking/activate")
    for line in ("Nothing moves.", "Every day counts.", "One switch."):
        assert line in page.text


async def test_the_activation_page_lists_every_asset_with_minimum_cap_and_apr(world: World) -> None:
    page = await page_of(world, "ann", "/soft-staking/activate")
    for row in ("BNB 0.5 1,000 0.15 %", "SOL 1 10,000 0.8 %", "ALGO 1,000 1,000,000 0.5 %"):
        assert row in page.text
    assert all(f" {asset} " in page.text for asset in SHIPPED_PROGRAM.assets)


async def test_each_document_is_named_with_its_version_to_be_read_and_to_be_accepted(world: World) -> None:
    async with a_visitor(await a_site(world, NOW), "ann") as ann:
        page = await ann.get("/soft-staking/activate")
        boxes = [attributes for tag, attributes in tags_of(page.html) if attributes.get("type") == "checkbox"]
        texts = [await ann.get(f"/documents/{name}") for name in SHIPPED_PROGRAM.documents]
    assert {box["name"]: box["value"] for box in boxes} == {
        f"document.{name}": version for name, version in SHIPPED_PROGRAM.documents.items()
    }
    assert not any("checked" in box for box in boxes)
    for title, text in zip(("Terms of Use", "Soft Staking Terms", "Risk Warning"), texts, strict=True):
        assert f"I have read and accept the {title} version 2026-01-01" in page.text
        assert text.title == title
        assert "Version 2026-01-01" in text.text
        assert len(text.text) > 300


async def test_a_version_whose_text_is_not_here_says_so(world: World) -> None:
    content = program_with("2026-10-05").model_dump(mode="json")
    content["documents"] = {"risk_warning": "../2027", "cookie_policy": "1"}
    await world.apply(type(SHIPPED_PROGRAM).model_validate(content))
    async with a_visitor(await a_site(world, NOW), "ann") as ann:
        for name in content["documents"]:
            assert "The text of this version is not published here" in (await ann.get(f"/documents/{name}")).text
        assert (await ann.get("/documents/terms_of_use")).status == 404


async def test_an_active_user_is_led_to_the_soft_staking_page_and_a_new_one_to_the_activation(
    example: World,
) -> None:
    async with (
        a_visitor(await a_site(example, NOW), "ann") as ann,
        a_visitor(await a_site(example, NOW), "zoe") as zoe,
    ):
        assert (await ann.get("/soft-staking/activate")).leads_to == "/soft-staking"
        assert (await zoe.get("/soft-staking")).leads_to == "/soft-staking/activate"
        assert (await zoe.get("/soft-staking/started")).leads_to == "/soft-staking"
        assert (await zoe.get("/soft-staking/stop")).leads_to == "/soft-staking"


async def test_without_a_region_from_the_exchange_nothing_is_started(world: World) -> None:
    await world.move("ann", "12", "SOL", at("2026-10-01"))
    for region in (None, "France", "F", "", "F R"):
        async with a_visitor(await a_site(world, NOW), "ann", region=region) as ann:
            page = await ann.press("/soft-staking/activate", "/soft-staking/activate")
        assert page.status == 409
        assert "We do not know in which country or region you live." in page.text


async def test_day_1_2_and_3_are_shown_with_their_instants(world: World) -> None:
    await world.move("ann", "12", "SOL", at("2026-10-01"))
    await world.enrol("ann", at("2026-10-05 09:30"))
    for path in ("/soft-staking/started", "/soft-staking"):
        page = await page_of(world, "ann", path)
        for words in (
            "Day 1 Activation 5 Oct 2026, 09:30 UTC",
            "Day 2 Snapshots begin 6 Oct 2026, 00:00 UTC",
            "Day 3 First reward 7 Oct 2026, 00:00 – 08:00 UTC",
        ):
            assert words in page.text


async def test_instants_are_shown_in_the_readers_zone_too(world: World) -> None:
    await world.move("ann", "12", "SOL", at("2026-10-01"))
    await world.enrol("ann", at("2026-10-05 09:30"))
    async with a_visitor(await a_site(world, NOW), "ann") as ann:
        assert (await ann.press("/time-zone", "/time-zone", zone="America/New_York")).leads_to == "/time-zone"
        page = await ann.get("/soft-staking/started")
        assert "5 Oct 2026, 09:30 UTC 5 Oct 2026, 05:30 America/New_York" in page.text
        assert "7 Oct 2026, 00:00 – 08:00 UTC 6 Oct 2026, 20:00 – 7 Oct 2026, 04:00 America/New_York" in page.text
        assert "UTC and America/New_York" in page.html
        await ann.press("/time-zone", "/time-zone", zone="UTC")
        assert "New_York" not in (await ann.get("/soft-staking/started")).text


async def test_a_zone_that_is_none_is_not_kept_and_not_believed(world: World) -> None:
    async with a_visitor(await a_site(world, NOW), "ann") as ann:
        for zone in ("../../etc/passwd", "/etc/localtime", "Mars/Base", "", "localtime", "Europe"):
            await ann.press("/time-zone", "/time-zone", zone=zone)
            assert "time_zone" not in ann.cookies
            assert (await ann.get("/time-zone", Cookie=f"time_zone={zone}")).status == 200


# The Soft Staking page.


async def test_the_page_says_how_it_stands(example: World) -> None:
    status = (await page_of(example, "ann", "/soft-staking")).section("Status")
    for words in (
        "Active since 1 Oct 2026, 10:00 UTC",
        "Next snapshot 6 Oct 2026, 00:00 UTC",
        "Next reward 6 Oct 2026, 00:00 – 08:00 UTC for 5 Oct 2026",
        "Rewards so far 0.10 USDT",
    ):
        assert words in status


async def test_day_1_is_said_to_earn_nothing(world: World) -> None:
    await world.move("ann", "12", "SOL", at("2026-10-01"))
    await world.enrol("ann", at("2026-10-05 09:30"))
    page = await page_of(world, "ann", "/soft-staking")
    assert "Today is Day 1, which earns nothing yet." in page.text
    assert "Next reward 7 Oct 2026, 00:00 – 08:00 UTC for 6 Oct 2026" in page.section("Status")
    assert "None yet. The first one arrives on Day 3." in page.section("Rewards so far")
    assert "Nothing was credited yet." in page.section("Reward history")


@pytest.mark.parametrize(
    ("now", "words"),
    [
        ("2026-10-06 03:00", "Next reward 6 Oct 2026, 00:00 – 08:00 UTC for 5 Oct 2026; it is being credited now"),
        (
            "2026-10-06 08:01",
            "Next reward 6 Oct 2026, 00:00 – 08:00 UTC for 5 Oct 2026; it is late, and will not be lost",
        ),
        ("2026-10-06 03:00", "1 day is over and not yet credited; it will be paid in order."),
        ("2026-10-08 03:00", "3 days are over and not yet credited; they will be paid in order."),
    ],
)
async def test_an_owed_day_is_the_next_reward(example: World, now: str, words: str) -> None:
    assert words in (await page_of(example, "ann", "/soft-staking", now)).section("Status")


async def test_the_next_reward_is_estimated_for_the_day_in_progress(example: World) -> None:
    """10.50068…SOL until 12:00, then 4 less: with half the day gone that is an average of 8.50…"""
    await example.move("ann", "-4", "SOL", at("2026-10-05 12:00"))
    await example.move("ann", "0.25", "BNB", at("2026-10-05 12:00"))
    estimates = (await page_of(example, "ann", "/soft-staking", "2026-10-05 13:00")).section(
        "Estimated next reward"
    )
    assert "For 5 Oct 2026, if your holdings stay as they are." in estimates
    assert "S SOL 0.00018631 0.0279" in estimates
    assert "B BNB below minimum" in estimates
    assert "In all 0.0279" in estimates
    assert "USDT 250" not in estimates
    credited = await example.close_and_credit("ann", day("2026-10-05"))
    assert credited.kind == "credited"
    assert "0.00018631" in (await page_of(example, "ann", "/soft-staking", "2026-10-06 09:00")).lines()[1]


async def test_on_day_1_the_estimate_is_of_day_2(world: World) -> None:
    await world.move("ann", "20000", "SOL", at("2026-10-01"))
    await world.enrol("ann", at("2026-10-05 09:30"))
    estimates = (await page_of(world, "ann", "/soft-staking")).section("Estimated next reward")
    assert "For 6 Oct 2026" in estimates
    assert "0.21917808 capped 32.8767" in estimates


async def test_totals_are_shown_per_asset_and_in_usdt(example: World) -> None:
    totals = (await page_of(example, "ann", "/soft-staking")).section("Rewards so far")
    assert "S SOL 0.00068219 0.1023" in totals
    assert "In all 0.1023" in totals


async def test_the_chart_has_a_table_for_those_who_cannot_see_it(example: World) -> None:
    page = await page_of(example, "ann", "/soft-staking")
    tags = tags_of(page.html)
    (chart,) = [attributes for tag, attributes in tags if tag == "svg"]
    assert (chart["role"], chart["aria-labelledby"]) == ("img", "chart-title chart-text")
    assert len([1 for tag, attributes in tags if attributes.get("class") == "bar"]) == 3
    assert "3 days from 2 Oct 2026 to 4 Oct 2026; the most on 4 Oct 2026" in page.html
    table = page.section("Daily rewards")
    assert "4 Oct 2026 0.00023014 SOL 0.0345" in table
    assert "2 Oct 2026 0.00022191 SOL 0.0332" in table


async def test_the_history_is_newest_first_and_each_line_says_how_it_was_computed(example: World) -> None:
    page = await page_of(example, "ann", "/soft-staking")
    lines = page.lines()
    assert [line.split(" S SOL")[0] for line in lines] == ["4 Oct 2026", "3 Oct 2026", "2 Oct 2026"]
    assert lines[2] == (
        "2 Oct 2026 S SOL average 10.125 reward 0.00022191 Earned: how was this computed? "
        "How was this computed? Opening 12.00000000 Closing 10.50000000 Average 10.12500000 Minimum 1 Cap 10,000 "
        "APR 0.8 % min(10.125, 10,000) × 0.008 ÷ 365 = 0.000221917808… "
        "Rounded down to 8 decimals: 0.00022191 SOL. Credited 3 Oct 2026, 00:01 UTC"
    ).replace(": how", " : how")
    assert "3 lines. Open a line to see how it was computed." in page.text


async def test_zero_days_say_why(world: World) -> None:
    await world.apply(program_with("2026-10-01", BNB={"apr": "0.000000001", "minimum": "0.00000001"}))
    for asset, tokens in {"SOL": "12000", "ADA": "149", "SUI": "100", "BNB": "0.001"}.items():
        await world.move("ann", tokens, asset, at("2026-10-01"))
    await world.enrol("ann", at("2026-10-01 10:00"))
    await world.close("ann", day("2026-10-01"))
    await switch_assets(
        world.ledger, ["SUI"], paused=True, first_day=day("2026-10-02"), now=at("2026-10-01 12:00")
    )
    await world.close_and_credit("ann", day("2026-10-02"))
    ada, bnb, sol, sui = (await page_of(world, "ann", "/soft-staking", "2026-10-03 10:00")).lines()
    assert "Below minimum" in ada
    assert "The average, 149, is below the minimum, 150" in ada
    assert "Rounded to zero" in bnb
    assert "less than 0.00000001" in bnb
    assert "Capped" in sol
    assert "so the cap earned" in sol
    assert "Paused" in sui
    assert "The program paused SUI on this day" in sui


async def test_a_reversed_line_says_so_and_counts_no_more(example: World) -> None:
    (entry,) = {line.entry_id for line in await example.statement("ann") if line.day == day("2026-10-03")}
    assert entry
    taken = await reverse(example.ledger, entry, reason="an error", operator="ann", now=at("2026-10-05 09:00"))
    page = await page_of(example, "ann", "/soft-staking")
    reversed_line = page.lines()[1]
    assert "Taken back" in reversed_line
    assert f"by entry {taken.entry.entry_id} of the ledger, and is in no total any more" in reversed_line
    assert "The reason that was given: “an error”." in reversed_line
    assert "<s>0.00023014</s>" in page.html
    assert "S SOL 0.00045205" in page.section("Rewards so far")
    assert "3 Oct 2026 none 0.0000" in page.section("Daily rewards")


async def test_a_late_line_says_so(world: World) -> None:
    await world.move("ann", "12", "SOL", at("2026-10-01"))
    await world.enrol("ann", at("2026-10-01 10:00"))
    await world.close("ann", day("2026-10-01"))
    snapshot = await world.close("ann", day("2026-10-02"))
    await world.credit("ann", await world.rewards(snapshot), now=at("2026-10-03 09:00"))
    (line,) = (await page_of(world, "ann", "/soft-staking")).lines()
    assert "Earned, late" in line
    assert "credited late, after 08:00 UTC of the next day. The sum is the same" in line


# Filter and paging.


@pytest.mark.parametrize(
    ("query", "count", "first"),
    [
        ("", 60, "1 Oct 2026 A ADA"),
        ("?asset=SOL", 30, "1 Oct 2026 S SOL"),
        ("?outcome=below_minimum", 30, "1 Oct 2026 A ADA"),
        ("?from=2026-09-20&to=2026-09-21", 4, "21 Sep 2026 A ADA"),
        ("?asset=SOL&outcome=earned&to=2026-09-02", 1, "2 Sep 2026 S SOL"),
        ("?asset=SOL&outcome=capped", 0, None),
        ("?asset=DOGE", 0, None),
    ],
)
async def test_the_history_is_filtered(month: World, query: str, count: int, first: str | None) -> None:
    page = await page_of(month, "ann", f"/soft-staking{query}")
    lines = page.lines()
    assert len(lines) == min(count, view.LINES_PER_PAGE)
    if first:
        assert lines[0].startswith(first)
        assert f"{count} line{'s' if count > 1 else ''}" in page.text
    else:
        assert "No line is like that." in page.text


async def test_the_filter_shows_what_was_chosen(month: World) -> None:
    page = await page_of(month, "ann", "/soft-staking?asset=SOL&outcome=earned&from=2026-09-20")
    assert "<option selected>SOL</option>" in page.html
    assert '<option value="earned" selected>' in page.html
    assert 'name="from" value="2026-09-20"' in page.html


async def test_every_line_is_on_one_page_and_pages_lead_to_each_other_with_the_filter(month: World) -> None:
    async with a_visitor(await a_site(month, NOW), "ann") as ann:
        path: str | None = "/soft-staking?asset=SOL"
        seen: list[str] = []
        while path:
            page = await ann.get(path)
            seen += [line.split(" S ")[0] for line in page.lines()]
            older = [attributes["href"] for _, attributes in tags_of(page.html) if attributes.get("rel") == "next"]
            path = older[0] if older else None
        assert len(seen) == len(set(seen)) == 30
        assert page.html.count('rel="prev"') == 1
        assert "asset=SOL&amp;page=1#history" in page.html


async def test_a_page_that_is_none_is_the_first_or_the_last(month: World) -> None:
    async with a_visitor(await a_site(month, NOW), "ann") as ann:
        for page in ("0", "-1", "x", "99", "9" * 400, "²", "1.5", ""):
            shown = await ann.get(f"/soft-staking?page={page}")
            assert (shown.status, len(shown.lines())) == (200, 20), page


FILTERS_THAT_MEAN_NOTHING = {
    "from=yesterday": "yesterday is not a day such as 2026-10-01.",
    "to=2026-02-30": "2026-02-30 is not a day",
    "from=2026-09-20&to=2026-09-10": "The first day, 2026-09-20, is after the last one, 2026-09-10.",
    "outcome=lost": "That is not an outcome.",
    "asset=S%20L": "That is not an asset.",
    "from=9999-12-31&to=0001-01-01": "is after",
}


async def test_a_filter_that_means_nothing_is_named(month: World) -> None:
    async with a_visitor(await a_site(month, NOW), "ann") as ann:
        for query, sentence in FILTERS_THAT_MEAN_NOTHING.items():
            page = await ann.get(f"/soft-staking?{query}")
            assert page.status == 200
            assert sentence in page.section("Reward history")


# CSV.


async def test_the_csv_is_the_one_that_the_command_line_prints(
    month: World, capsys: pytest.CaptureFixture[str]
) -> None:
    csv_page = await page_of(month, "ann", "/soft-staking/rewards.csv")
    assert csv_page.response.headers["content-type"] == "text/csv; charset=utf-8"
    assert 'filename="soft-staking-rewards.csv"' in csv_page.response.headers["content-disposition"]
    url = month.ledger.where
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SOFT_STAKING_DATABASE_URL", url)
        await rewards._print_csv("ann", None, None)
    assert csv_page.html == capsys.readouterr().out
    rows = list(csv.DictReader(io.StringIO(csv_page.html)))
    assert tuple(rows[0]) == STATEMENT_COLUMNS
    assert len(rows) == 60


async def test_the_csv_holds_what_the_filter_shows(month: World) -> None:
    async with a_visitor(await a_site(month, NOW), "ann") as ann:
        page = await ann.get("/soft-staking?asset=SOL&from=2026-09-20&to=2026-09-22&outcome=earned")
        (link,) = [
            a["href"] for _, a in tags_of(page.html) if (a.get("href") or "").startswith("/soft-staking/rewards")
        ]
        rows = list(csv.DictReader(io.StringIO((await ann.get(str(link))).html)))
    assert [(row["day"], row["asset"]) for row in rows] == [
        (f"2026-09-{number}", "SOL") for number in (20, 21, 22)
    ]


async def test_the_csv_of_a_user_without_rewards_is_its_header(world: World) -> None:
    page = await page_of(world, "zoe", "/soft-staking/rewards.csv")
    assert page.html == ",".join(STATEMENT_COLUMNS) + "\n"


# Stopping.


async def test_stopping_asks_first_and_says_what_happens_to_today(example: World) -> None:
    page = await page_of(example, "ann", "/soft-staking/stop")
    assert page.title == "Stop Soft Staking?"
    assert "Today, 5 Oct 2026 (UTC), earns nothing" in page.text
    assert "nothing is owed at the moment" in page.text
    assert "at once, for all assets. Your balances do not change." in page.text


@pytest.mark.parametrize(
    ("now", "words"),
    [
        ("2026-10-06 03:00", "1 earlier day is still owed to you"),
        ("2026-10-07 03:00", "2 earlier days are still owed to you and will be paid"),
        ("2026-10-01 11:00", "it is your first day, which earns nothing in any case"),
    ],
)
async def test_stopping_says_what_is_still_owed(example: World, now: str, words: str) -> None:
    assert words in (await page_of(example, "ann", "/soft-staking/stop", now)).text


async def test_after_the_end_the_page_says_so_and_still_shows_what_is_owed(example: World) -> None:
    await example.end("ann", at("2026-10-06 02:00"))
    page = await page_of(example, "ann", "/soft-staking", "2026-10-06 03:00")
    assert "Off Stopped; no day earns since." in page.text
    status = page.section("Status")
    assert "Was active since 1 Oct 2026, 10:00 UTC" in status
    assert "Stopped 6 Oct 2026, 02:00 UTC" in status
    assert "for 5 Oct 2026; it is being credited now" in status
    assert "Estimated next reward" not in page.text
    assert '<a class="button" href="/soft-staking/activate">Start again</a>' in page.html
    assert len(page.lines()) == 3


@pytest.mark.parametrize(
    ("reason", "words"),
    [
        ("asked by the user", "Off Stopped; no day earns since."),
        ("case 4711", "Off Stopped; no day earns since."),
        (
            "region_restricted:CU",
            "Off Ended, since Soft Staking is not offered in region CU; no day earns from then on.",
        ),
    ],
)
async def test_the_page_says_what_ended_it(world: World, reason: str, words: str) -> None:
    await world.move("ann", "12", "SOL", at("2026-10-01"))
    await world.enrol("ann", at("2026-10-05 09:30"))
    await world.end("ann", at("2026-10-05 09:40"), reason=reason)
    page = await page_of(world, "ann", "/soft-staking")
    assert words in page.text
    assert page.section("Rewards so far").endswith("None yet.")


# When something is wrong.


async def test_a_page_that_does_not_exist_is_a_page(world: World) -> None:
    page = await page_of(world, "ann", "/nowhere")
    assert (page.status, page.title) == (404, "There is no such page")


@pytest.mark.parametrize("path", ["/v1/nothing", "/sapi/v1/nothing"])
async def test_programs_are_not_answered_with_pages(world: World, path: str) -> None:
    async with a_visitor(await a_site(world, NOW), "ann") as ann:
        answer = (await ann.get(path)).response
    assert answer.status_code in (401, 404)
    assert answer.headers["content-type"].endswith("json")


async def test_a_ledger_that_is_away_is_a_sentence_and_no_trace(example: World, tmp_path: Path) -> None:
    site = await a_site(example, NOW)
    tamper(tmp_path, "ALTER TABLE days RENAME TO days_elsewhere")
    async with a_visitor(site, "ann") as ann:
        page = await ann.get("/soft-staking")
    assert (page.status, page.title) == (503, "We cannot look this up just now")
    assert "days_elsewhere" not in page.html
    assert "Traceback" not in page.html


async def test_a_defect_is_a_sentence_and_no_trace(world: World) -> None:
    site = await a_site(world, NOW, session_secret="", data_dir="/proc/none")
    async with a_visitor(site, "ann") as ann:
        page = await ann.get("/")
    assert (page.status, page.title) == (500, "Something went wrong on our side")
    assert "/proc" not in page.html


# Without a script, and from nowhere else.


async def every_page(visitor: Visitor) -> list[Page]:
    paths = (
        "/",
        "/soft-staking",
        "/soft-staking/stop",
        "/soft-staking/started",
        "/documents/risk_warning",
        "/time-zone",
    )
    return [await visitor.get(path) for path in (*paths, "/nowhere")]


async def test_no_page_holds_script_or_style_of_its_own_or_names_another_host(example: World) -> None:
    async with (
        a_visitor(await a_site(example, NOW), "ann") as ann,
        a_visitor(await a_site(example, NOW), "zoe") as zoe,
    ):
        pages = [*await every_page(ann), await zoe.get("/soft-staking/activate")]
        for file in ("pages.css", "pages.js", "icon.svg"):
            text = (await ann.get(f"/static/{file}")).html.replace("http://www.w3.org/2000/svg", "")
            assert "://" not in text
            assert "@import" not in text
            assert "url(" not in text
    for page in pages:
        assert "://" not in page.html
        for tag, attributes in tags_of(page.html):
            assert not [name for name in attributes if name.startswith("on") or name == "style"]
            assert tag != "style"
            assert tag != "script" or attributes == {"src": "/static/pages.js", "defer": None}
            for name in ("src", "href", "action"):
                assert (attributes.get(name) or "/").startswith(("/", "#"))
                assert not (attributes.get(name) or "").startswith("//")


async def test_every_field_has_a_label_and_every_page_one_heading_and_a_title(example: World) -> None:
    async with (
        a_visitor(await a_site(example, NOW), "ann") as ann,
        a_visitor(await a_site(example, NOW), "zoe") as zoe,
    ):
        pages = [*await every_page(ann), await zoe.get("/soft-staking/activate")]
    for page in pages:
        tags = tags_of(page.html)
        assert page.title
        assert "<title>" in page.html
        labelled = {attributes["for"] for tag, attributes in tags if tag == "label"}
        for tag, attributes in tags:
            if tag == "select" or (tag == "input" and attributes.get("type") != "hidden"):
                assert attributes["id"] in labelled
        ids = [attributes["id"] for _, attributes in tags if "id" in attributes]
        assert len(ids) == len(set(ids))


def test_the_program_of_these_tests_is_the_one_that_is_shipped() -> None:
    assert activation().documents == SHIPPED_PROGRAM.documents
    assert SHIPPED_PROGRAM.assets["SOL"].reference_price_units == units("150")
    assert timedelta(days=1) == ONE_DAY
