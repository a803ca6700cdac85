"""What the pages say at every stage. While rewards are delayed, one sentence comes first, and nothing contradicts
it."""

import re
from collections.abc import AsyncGenerator
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from stages import NOW, STAGES, every_stage
from visitor import Page, Visitor, a_site, a_visitor, page_of
from world import World, a_world_after, at, day

from ledger.reading.standing import standing_of
from web.pages.samples import stage_text
from web.pages.wording import MONTHS

SPOT, STAKING, ACTIVATE = "/", "/soft-staking", "/soft-staking/activate"
STARTED, STOP = "/soft-staking/started", "/soft-staking/stop"
PAGES = (SPOT, STAKING, ACTIVATE, STARTED, STOP)
EVERY_DAY_EARNS, DAY_3 = "Every day earns.", "The first one arrives on Day 3."
WINDOW_OF_TODAY = "Next reward 6 Oct 2026, 00:00 – 08:00 UTC for 5 Oct 2026"


def delayed(since: str) -> str:
    return (
        f"Rewards since {since} are delayed; all of them will come, in the same amounts as if they were in time."
    )


CAUGHT_UP = "Rewards since 21 Sep 2026 are still to come; they are credited one day after the other."


@pytest.fixture
async def stages(tmp_path: Path) -> AsyncGenerator[World]:
    async with a_world_after(tmp_path, every_stage) as world:
        yield world


SAYS: dict[str, dict[str, tuple[str, ...]]] = {
    "nothing-held": {SPOT: ("No asset earns yet", "You hold none of the assets that earn")},
    "below-minimum": {SPOT: ("No asset earns yet", "You hold 0.5 SOL; Soft Staking starts at 1 SOL.")},
    "grey": {
        SPOT: ("Soft Staking · off", "Earn a reward every day on what you hold"),
        ACTIVATE: ("paid the next morning", "its reward arrives the day after, between 00:00 and 08:00 UTC."),
    },
    "day-1": {
        SPOT: ("Soft Staking · on",),
        STAKING: (
            "On Today is Day 1, which earns nothing yet.",
            "Next reward 7 Oct 2026, 00:00 – 08:00 UTC for 6 Oct 2026",
            f"None yet. {DAY_3}",
        ),
        STARTED: (
            "Day 3 First reward 7 Oct 2026, 00:00 – 08:00 UTC What Day 2 earns arrives in your spot account.",
        ),
        STOP: ("it is your first day, which earns nothing in any case",),
    },
    "day-2": {
        STAKING: (EVERY_DAY_EARNS, WINDOW_OF_TODAY, f"None yet. {DAY_3}"),
        STARTED: ("Day 3 First reward 6 Oct 2026, 00:00 – 08:00 UTC",),
    },
    "earning": {STAKING: (EVERY_DAY_EARNS, WINDOW_OF_TODAY), STOP: ("nothing is owed at the moment",)},
    "holds-too-little": {
        SPOT: ("Soft Staking is on, but no asset earns now",),
        STAKING: (
            "On With your holdings as they are, today earns nothing.",
            "Next reward none with your holdings as they are",
            "SOL below minimum",
        ),
    },
    "day-1-without-holdings": {
        STAKING: (
            "On Today is Day 1, which earns nothing yet.",
            "Next reward none with your holdings as they are",
            "You hold nothing that earns.",
            "None yet. Reward history",
        )
    },
    "delayed": {
        SPOT: (delayed("3 Oct 2026"), "Soft Staking · on"),
        STAKING: (
            delayed("3 Oct 2026"),
            "On Days go on counting.",
            "Still to come 2 days from 3 Oct 2026 to 4 Oct 2026, in this order",
            "For 5 Oct 2026, if your holdings stay as they are. Rewards that are still to come may add to it.",
        ),
        STOP: (delayed("3 Oct 2026"), "2 earlier days are still owed to you and will be paid"),
    },
    "never-credited": {STAKING: (delayed("2 Oct 2026"), "None yet. Reward history", "Nothing was credited yet.")},
    "held": {STAKING: (delayed("4 Oct 2026"), "On Days go on counting.", "Still to come 1 day 4 Oct 2026")},
    "held-and-nothing-due": {STAKING: (EVERY_DAY_EARNS, WINDOW_OF_TODAY)},
    "ended": {
        SPOT: ("Soft Staking · off", "Earn a reward every day on what you hold"),
        STAKING: ("Off Stopped; no day earns since.", "Next reward none Rewards so far", "Start again"),
    },
    "ended-and-owed": {
        SPOT: (delayed("3 Oct 2026"), "Soft Staking · off"),
        STAKING: (
            delayed("3 Oct 2026"),
            "Off Stopped; no day earns since.",
            "Stopped 5 Oct 2026, 02:00 UTC Still to come 2 days from 3 Oct 2026 to 4 Oct 2026",
        ),
        ACTIVATE: (
            delayed("3 Oct 2026"),
            "and is paid in the same asset.",
            "its reward follows those that are delayed.",
        ),
    },
    "ended-and-started-again": {
        STAKING: (
            delayed("3 Oct 2026"),
            "On Today is Day 1, which earns nothing yet.",
            "Still to come 2 days from 3 Oct 2026 to 4 Oct 2026",
            "Day 3 First reward What Day 2 earns follows the rewards that are delayed.",
        ),
        STARTED: (delayed("3 Oct 2026"), "What Day 2 earns follows the rewards that are delayed."),
    },
    "ended-by-region": {
        STAKING: (
            "Off Ended, since Soft Staking is not offered in region FR; no day earns from then on.",
            "Stopped 4 Oct 2026, 00:00 UTC Next reward none",
        )
    },
    "restricted": {
        SPOT: ("Soft Staking · off",),
        STAKING: (
            "Off Ended, since Soft Staking is not offered in region NO; no day earns from then on. Status",
            "Stopped 5 Oct 2026, 00:00 UTC Next reward none Rewards so far",
        ),
    },
    "restricted-and-owed": {
        STAKING: (
            delayed("2 Oct 2026"),
            "Off Ended, since Soft Staking is not offered in region NO",
            "Still to come 3 days from 2 Oct 2026 to 4 Oct 2026",
        )
    },
    "dated-back": {
        SPOT: (CAUGHT_UP,),
        STAKING: (
            CAUGHT_UP,
            "On Days go on counting.",
            "Still to come 14 days from 21 Sep 2026 to 4 Oct 2026, in this order",
        ),
        STOP: (CAUGHT_UP, "14 earlier days are still owed to you and will be paid"),
    },
}


def test_every_stage_has_an_expectation() -> None:
    assert tuple(SAYS) == STAGES


@pytest.mark.parametrize("stage", STAGES)
async def test_what_the_pages_say_at_a_stage(stages: World, stage: str) -> None:
    for path, sentences in SAYS[stage].items():
        page = await page_of(stages, stage, path, f"{NOW:%Y-%m-%d %H:%M}")
        assert page.status == 200, path
        for sentence in sentences:
            assert sentence in page.text


ENDED_LONG_AGO_OR_NEVER_ON = {"nothing-held", "below-minimum", "grey", "ended", "ended-by-region"}
INSTANTS = [
    "2026-10-05 10:00",
    "2026-10-05 23:59:59",
    "2026-10-06 00:00",
    "2026-10-06 08:00",
    "2026-10-06 08:00:01",
    "2026-10-07 00:00",
    "2026-10-19 10:00",
]


@pytest.mark.parametrize("now", INSTANTS)
async def test_at_no_instant_do_the_pages_contradict_themselves(stages: World, now: str) -> None:
    """Since 10:00 of 5 October nothing has been done for anybody: the worker is away."""
    site = await a_site(stages, at(now))
    for stage in sorted({*STAGES} - ENDED_LONG_AGO_OR_NEVER_ON):
        async with a_visitor(site, stage) as visitor:
            await nothing_contradicts(visitor, f"{stage} at {now}", at(now))


async def nothing_contradicts(visitor: Visitor, when: str, now: datetime) -> None:
    pages = {path: await visitor.get(path) for path in PAGES}
    shown = {path: page for path, page in pages.items() if page.status == 200}
    first_sentences = {path: notice_of(page) for path, page in shown.items()}
    assert len(set(first_sentences.values())) == 1, (when, first_sentences)
    for path, page in shown.items():
        for last in ends_of_what_is_next(page.text):
            assert last >= now, (when, path, page.text)
        if notice_of(page) is None:
            continue
        assert page.text.startswith("Rewards since "), (when, path)
        for contradiction in ("Next reward", EVERY_DAY_EARNS, DAY_3, "late", "owed at the moment"):
            assert contradiction not in page.text, (when, path, contradiction)
    staking = shown.get(STAKING)
    if staking is not None:
        assert len(ends_of_what_is_next(staking.section("Status"))) <= 2, when
        assert staking.text.count("Next reward") + staking.text.count("Still to come") == 1, when


def notice_of(page: Page) -> str | None:
    found = re.search(r'<p class="callout notice">(.*?)</p>', page.html)
    return found and found[1]


_INSTANT = rf"\d+ (?:{'|'.join(MONTHS)}) \d{{4}}, \d\d:\d\d"
_NEXT = re.compile(
    rf"(?:Next \w+|First reward|Snapshots begin) (?P<first>{_INSTANT})(?: – (?P<until>\d\d:\d\d))? UTC"
)


def ends_of_what_is_next(text: str) -> list[datetime]:
    """The instants until which the next reward, and the announced first days, are still to come."""
    ends: list[datetime] = []
    for found in _NEXT.finditer(text):
        first = found["first"] if not found["until"] else f"{found['first'][:-5]}{found['until']}"
        if not found[0].startswith("Snapshots"):  # Day 2 may be today.
            ends.append(at(datetime.strptime(f"{first} +0000", "%d %b %Y, %H:%M %z").strftime("%Y-%m-%d %H:%M")))
    return ends


@pytest.mark.parametrize(
    ("stage", "now", "notice"),
    [
        ("earning", "2026-10-06 08:00", None),
        ("earning", "2026-10-06 08:00:01", delayed("5 Oct 2026")),
        ("held", "2026-10-05 00:00", delayed("4 Oct 2026")),
        ("held-and-nothing-due", "2026-10-05 23:59:59", None),
        ("held-and-nothing-due", "2026-10-06 00:00", delayed("5 Oct 2026")),
        ("dated-back", "2026-10-06 08:00", CAUGHT_UP),
        ("dated-back", "2026-10-06 08:00:01", delayed("21 Sep 2026")),
        ("restricted", "2026-10-19 10:00", None),
        ("ended", "2026-10-19 10:00", None),
    ],
)
async def test_since_when_rewards_are_called_delayed(
    stages: World, stage: str, now: str, notice: str | None
) -> None:
    assert notice_of(await page_of(stages, stage, STAKING, now)) == notice


async def test_a_reward_that_is_due_is_the_next_one_until_its_time_is_over(stages: World) -> None:
    page = await page_of(stages, "earning", STAKING, "2026-10-06 00:00")
    assert f"{WINDOW_OF_TODAY}; due now" in page.section("Status")
    assert "For 6 Oct 2026, if your holdings stay as they are." in page.section("Estimated reward")


async def test_a_user_who_read_about_the_first_days_is_led_on_after_they_are_over(stages: World) -> None:
    for now, leads_to in {"2026-10-06 23:59:59": None, "2026-10-07 00:00": STAKING}.items():
        assert (await page_of(stages, "day-1", STARTED, now)).leads_to == leads_to


async def test_the_sentence_is_gone_once_all_days_are_credited(stages: World) -> None:
    for number in (3, 4):
        await stages.pay("delayed", day(f"2026-10-0{number}"))
    page = await page_of(stages, "delayed", STAKING, f"{NOW + timedelta(minutes=1):%Y-%m-%d %H:%M}")
    assert notice_of(page) is None
    assert EVERY_DAY_EARNS in page.text


@pytest.mark.parametrize(
    ("stage", "words"),
    [
        ("day-1", "Active since today"),
        ("day-2", "Active; the first reward is on its way"),
        ("delayed", "Active; rewards since 3 Oct 2026 are delayed"),
        ("ended-and-owed", "Stopped; rewards since 3 Oct 2026 are delayed"),
        ("restricted", "Stopped"),
    ],
)
async def test_where_a_sample_user_is_says_nothing_else(stages: World, stage: str, words: str) -> None:
    assert stage_text(await standing_of(stages.ledger, stage, now=NOW), NOW) == words
