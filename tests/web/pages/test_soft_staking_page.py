"""The Soft Staking page without a browser: the state, the reward history and its CSV, and stopping."""

import csv
import io
from collections.abc import AsyncGenerator
from pathlib import Path

import pytest
from visitor import a_site, a_visitor, page_of, tags_of
from world import World, a_world_after, at, day, program_with

from commands import rewards
from contract.acts import Act
from contract.requests import ActRequest, EndRequest
from ledger.acts import hold, release
from ledger.corrections import reverse
from ledger.enrolments import end_enrolment
from ledger.programs import switch_assets
from ledger.reading.statement_text import ENTRY_COLUMNS, STATEMENT_COLUMNS
from staking.days import ONE_DAY
from web.pages import view

NOW = at("2026-10-05 10:00")


async def _thirty_days(world: World) -> None:
    await world.move("ann", "12", "SOL", at("2026-09-01"))
    await world.move("ann", "10", "ADA", at("2026-09-01"))
    await world.enrol("ann", at("2026-09-01 10:00"))
    await world.snapshot("ann", day("2026-09-01"))
    for number in range(30):
        await world.pay("ann", day("2026-09-02") + number * ONE_DAY)


@pytest.fixture
async def month(tmp_path: Path) -> AsyncGenerator[World]:
    """Thirty credited days of ann, each with a line of SOL that earned and one of ADA below the minimum."""
    async with a_world_after(tmp_path, _thirty_days) as world:
        yield world


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


async def test_the_reward_of_the_day_in_progress_is_estimated(example: World) -> None:
    """The holding is 10.50068… SOL until 12:00, and then 4 less. With half the day gone, the average is 8.50…."""
    await example.move("ann", "-4", "SOL", at("2026-10-05 12:00"))
    await example.move("ann", "0.25", "BNB", at("2026-10-05 12:00"))
    estimates = (await page_of(example, "ann", "/soft-staking", "2026-10-05 13:00")).section("Estimated reward")
    assert "For 5 Oct 2026, if your holdings stay as they are." in estimates
    assert "S SOL 0.00018631 0.0279" in estimates
    assert "B BNB below minimum" in estimates
    assert "In all 0.0279" in estimates
    assert "USDT 250" not in estimates
    credited = await example.pay("ann", day("2026-10-05"))
    assert credited.kind == "credited"
    assert "0.00018631" in (await page_of(example, "ann", "/soft-staking", "2026-10-06 09:00")).lines()[1]


async def test_on_day_1_the_estimate_is_of_day_2(world: World) -> None:
    await world.move("ann", "20000", "SOL", at("2026-10-01"))
    await world.enrol("ann", at("2026-10-05 09:30"))
    estimates = (await page_of(world, "ann", "/soft-staking")).section("Estimated reward")
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
    await world.snapshot("ann", day("2026-10-01"))
    await switch_assets(
        world.ledger,
        ["SUI"],
        paused=True,
        operator="tests",
        reason="a test",
        first_day=day("2026-10-02"),
        now=at("2026-10-01 12:00"),
    )
    await world.pay("ann", day("2026-10-02"))
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
    taken = await reverse(
        example.ledger,
        entry,
        reason="case 4711",
        tell="Paid by mistake.",
        operator="zoe",
        now=at("2026-10-05 09:00"),
    )
    page = await page_of(example, "ann", "/soft-staking")
    reversed_line = page.lines()[1]
    assert "Reversed" in reversed_line
    assert f"by entry {taken.entry.entry_id} of the ledger, and is in no total any more" in reversed_line
    assert "What we have to say about it: “Paid by mistake.”" in reversed_line
    assert "case 4711" not in page.html
    assert "zoe" not in page.html
    assert "<s>0.00023014</s>" in page.html
    assert "S SOL 0.00045205" in page.section("Rewards so far")
    assert "3 Oct 2026 none 0.0000" in page.section("Daily rewards")


async def test_of_a_hold_and_of_an_end_the_user_reads_the_text_for_the_user_and_nothing_else(world: World) -> None:
    act = Act(operator="zoe", reason="case 4711", tell="We are checking your <balances>.")
    await world.move("ann", "12", "SOL", at("2026-10-01"))
    await world.enrol("ann", at("2026-10-01 10:00"))
    await hold(world.ledger, ActRequest(user_id="ann", act_id="1", act=act, now=at("2026-10-02")))
    held = await page_of(world, "ann", "/soft-staking")
    assert "A message for you: “We are checking your &lt;balances&gt;.”" in held.html

    released = Act(operator="zoe", reason="case 4712")
    await release(world.ledger, ActRequest(user_id="ann", act_id="2", act=released, now=at("2026-10-02")))
    end = EndRequest(
        user_id="ann",
        enrolment_id="enrolment of ann",
        ended_at=at("2026-10-02 12:00"),
        reason="case 4713",
        operator="zoe",
        tell="The offer ended for your account.",
    )
    await end_enrolment(world.ledger, end)
    ended = await page_of(world, "ann", "/soft-staking")
    assert "A message for you: “The offer ended for your account.”" in ended.html
    assert "checking your" not in ended.html
    for page in (held, ended):
        assert "case 47" not in page.html
        assert "zoe" not in page.html


async def test_a_late_line_says_so(world: World) -> None:
    await world.move("ann", "12", "SOL", at("2026-10-01"))
    await world.enrol("ann", at("2026-10-01 10:00"))
    await world.snapshot("ann", day("2026-10-01"))
    snapshot = await world.snapshot("ann", day("2026-10-02"))
    await world.credit("ann", await world.compute(snapshot), now=at("2026-10-03 09:00"))
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


async def test_for_a_page_number_that_does_not_exist_the_first_or_the_last_page_is_shown(month: World) -> None:
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


async def test_a_file_of_a_filter_that_means_nothing_is_refused(month: World) -> None:
    misspelt = {"form=2026-09-20": "There is no filter form; there are asset, outcome, from, to and page."}
    async with a_visitor(await a_site(month, NOW), "ann") as ann:
        for query, sentence in (FILTERS_THAT_MEAN_NOTHING | misspelt).items():
            page = await ann.get(f"/soft-staking/rewards.csv?{query}")
            assert (page.status, page.title) == (422, "We cannot make this file")
            assert sentence in page.text


async def test_the_entries_are_those_that_the_command_line_prints(
    month: World, capsys: pytest.CaptureFixture[str]
) -> None:
    page = await page_of(month, "ann", "/soft-staking/reward-entries.csv")
    assert 'filename="soft-staking-reward-entries.csv"' in page.response.headers["content-disposition"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SOFT_STAKING_DATABASE_URL", month.ledger.where)
        entries = await rewards._entries("ann", None, None)
    rewards._print_entries("ann", entries, as_json=False, as_csv=True)
    assert page.html == capsys.readouterr().out
    assert {row["reverses"] for row in csv.DictReader(io.StringIO(page.html))} == {""}


async def test_entries_are_filtered_by_the_day_of_recording_alone(month: World) -> None:
    async with a_visitor(await a_site(month, NOW), "ann") as ann:
        none = await ann.get("/soft-staking/reward-entries.csv?from=2100-01-01")
        assert none.html == ",".join(ENTRY_COLUMNS) + "\n"
        refused = await ann.get("/soft-staking/reward-entries.csv?asset=SOL")
    assert (refused.status, refused.title) == (422, "We cannot make this file")
    assert "There is no filter asset; there are from and to." in refused.text


async def test_the_csv_of_a_user_without_rewards_is_its_header(world: World) -> None:
    page = await page_of(world, "zoe", "/soft-staking/rewards.csv")
    assert page.html == ",".join(STATEMENT_COLUMNS) + "\n"


# Stopping.


async def test_stopping_asks_first_and_says_what_happens_to_today(example: World) -> None:
    page = await page_of(example, "ann", "/soft-staking/stop")
    assert page.title == "Stop Soft Staking?"
    assert "Today, 5 Oct 2026 (UTC), earns nothing" in page.text
    assert "nothing is owed at the moment" in page.text
    assert "immediately, for all assets. Your balances do not change." in page.text


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
    assert "Next reward 6 Oct 2026, 00:00 – 08:00 UTC for 5 Oct 2026; due now" in status
    assert "Estimated reward" not in page.text
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
