"""The account holder's pages as they are served, without a browser and without a script."""

from datetime import timedelta
from pathlib import Path

import pytest
from visitor import Page, Visitor, a_site, a_visitor, page_of, tags_of
from world import SHIPPED_PROGRAM, World, activation, at, program_with, tamper, units

from staking.days import ONE_DAY

NOW = at("2026-10-05 10:00")


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


async def test_an_active_user_without_a_tag_reads_that_nothing_earns_now(example: World) -> None:
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


async def test_an_unknown_time_zone_is_not_kept_and_not_believed(world: World) -> None:
    async with a_visitor(await a_site(world, NOW), "ann") as ann:
        for zone in ("../../etc/passwd", "/etc/localtime", "Mars/Base", "", "localtime", "Europe"):
            await ann.press("/time-zone", "/time-zone", zone=zone)
            assert "time_zone" not in ann.cookies
            assert (await ann.get("/time-zone", Cookie=f"time_zone={zone}")).status == 200


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
        pages.append(await page_of(example, "ann", "/soft-staking/started", now="2026-10-01 11:00"))
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
        pages.append(await page_of(example, "ann", "/soft-staking/started", now="2026-10-01 11:00"))
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
