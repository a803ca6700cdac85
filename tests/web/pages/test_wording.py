"""Amounts and reasons as people read them, digit by digit."""

from dataclasses import replace
from datetime import date, datetime, timedelta
from decimal import ROUND_DOWN, Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from world import SHIPPED_PROGRAM, at, day, program_with, units

from ledger.reading.statements import StatementLine
from staking.models import RefusalReason
from staking.money import MAX_ACCOUNT_UNITS, format_amount
from staking.program import AssetTerms
from staking.rewards import FORMULAS, Outcome, daily_reward
from web.pages import wording
from web.pages.chart import DAYS_MAX, DayValue, by_day, draw
from web.pages.rendering import templates


@pytest.mark.parametrize(
    ("tokens", "short", "exact"),
    [
        ("0", "0", "0.00000000"),
        ("0.4", "0.4", "0.40000000"),
        ("12", "12", "12.00000000"),
        ("1E-8", "0.00000001", "0.00000001"),
        ("4385.14655", "4,385.14655", "4,385.14655000"),
        ("90000000000", "90,000,000,000", "90,000,000,000.00000000"),
    ],
)
def test_an_amount_is_written_from_its_digits(tokens: str, short: str, exact: str) -> None:
    assert (wording.amount_text(units(tokens)), wording.exact_amount_text(units(tokens))) == (short, exact)


@given(st.integers(0, MAX_ACCOUNT_UNITS))
def test_no_digit_of_an_amount_is_lost_or_added(amount: int) -> None:
    for text in (wording.amount_text(amount), wording.exact_amount_text(amount)):
        assert Decimal(text.replace(",", "")) == Decimal(format_amount(amount))


@pytest.mark.parametrize(
    ("filter_", "number", "html"),
    [
        ("amount", units("4385.1465"), "4,385.1465"),
        ("amount", units("90000000000"), "90,<wbr>000,<wbr>000,<wbr>000"),
        ("exact_amount", units("80000000000.12345678"), "80,<wbr>000,<wbr>000,<wbr>000<wbr>.12345678"),
        ("percent", "0.008", "0.8\N{NO-BREAK SPACE}%"),
        ("percent", "0.123456789012345678", "12<wbr>.34567890<wbr>12345678\N{NO-BREAK SPACE}%"),
    ],
)
def test_on_a_page_only_a_long_number_goes_on_in_the_next_line_and_no_group_is_parted(
    filter_: str, number: object, html: str
) -> None:
    assert templates().filters[filter_](number) == html


@pytest.mark.parametrize(
    ("tokens", "coarse", "fine"),
    [
        ("0", "0.00", "0.0000"),
        ("1234.5678", "1,234.56", "1,234.5678"),
        ("0.99999999", "0.99", "0.9999"),
        ("0.00999999", "0.00999999", "0.0099"),
        ("0.0000999", "0.0000999", "0.0000999"),
    ],
)
def test_a_value_is_rounded_down_and_never_to_nothing(tokens: str, coarse: str, fine: str) -> None:
    assert (wording.usdt_text(units(tokens)), wording.fine_usdt_text(units(tokens))) == (coarse, fine)


@pytest.mark.parametrize(
    ("apr", "text"),
    [("0.008", "0.8 %"), ("0.0015", "0.15 %"), ("1", "100 %"), ("0", "0 %"), ("0.10", "10 %"), ("1E-3", "0.1 %")],
)
def test_an_apr_is_a_percentage(apr: str, text: str) -> None:
    assert wording.percent_text(apr) == text


@pytest.mark.parametrize(("number", "text"), [("0.5", "0.5"), ("1000000", "1,000,000"), ("1E+3", "1,000")])
def test_a_term_is_grouped(number: str, text: str) -> None:
    assert wording.terms_text(number) == text


def test_two_instants_name_their_day_once() -> None:
    assert wording.span_text(at("2026-10-03"), at("2026-10-03 08:00")) == "3 Oct 2026, 00:00 – 08:00"
    assert (
        wording.span_text(at("2026-10-03 20:00"), at("2026-10-04 04:00"))
        == "3 Oct 2026, 20:00 – 4 Oct 2026, 04:00"
    )


def test_a_document_is_called_by_its_title() -> None:
    assert [wording.document_title(name) for name in SHIPPED_PROGRAM.documents] == [
        "Terms of Use",
        "Soft Staking Terms",
        "Risk Warning",
    ]


# Why there is no tag.


def held(**tokens: str) -> dict[str, int]:
    return {asset: units(amount) for asset, amount in tokens.items()}


def test_no_tag_says_what_is_held_and_where_it_starts() -> None:
    assert wording.why_no_tag(held(SOL="0.4"), SHIPPED_PROGRAM) == [
        "You hold 0.4 SOL; Soft Staking starts at 1 SOL."
    ]


def test_no_tag_names_the_nearest_assets_first_and_three_at_most() -> None:
    sentences = wording.why_no_tag(held(BNB="0.1", SOL="0.9", ADA="75", SUI="1", USDT="100"), SHIPPED_PROGRAM)
    assert [sentence.split()[3] for sentence in sentences] == ["SOL;", "ADA;", "BNB;"]


@pytest.mark.parametrize("holdings", [held(), held(USDT="100"), held(SOL="0")])
def test_no_tag_without_any_asset_of_the_program_names_them_all(holdings: dict[str, int]) -> None:
    (sentence,) = wording.why_no_tag(holdings, SHIPPED_PROGRAM)
    assert sentence.startswith("You hold none of the assets that earn: BNB from 0.5, SOL from 1, ")
    assert all(asset in sentence for asset in SHIPPED_PROGRAM.assets)


def test_with_a_tag_there_is_no_reason_against_it() -> None:
    assert wording.why_no_tag(held(SOL="1", BNB="0.1"), SHIPPED_PROGRAM) == []
    assert wording.why_no_tag(held(SOL="0.1"), program_with(SOL={"minimum": "0"})) == []


# What to do about a refusal.


@pytest.mark.parametrize(
    ("code", "advice"),
    [
        ("region_restricted", "update your address"),
        ("app_version_too_old", "Update the app"),
        ("document_not_accepted:risk_warning", "Read the Risk Warning below and tick the box beside it."),
        ("no_qualifying_asset", "You hold 0.4 SOL; Soft Staking starts at 1 SOL. Buy or deposit what is missing"),
        ("region_unknown", "Please try again later."),
    ],
)
def test_every_reason_of_a_refusal_says_what_to_do(code: str, advice: str) -> None:
    reason = RefusalReason(code=code, sentence="The risk warning must be accepted in the version in force, 2.")
    assert advice in wording.what_to_do(reason, held(SOL="0.4"), SHIPPED_PROGRAM)


def test_a_document_that_was_not_accepted_is_called_by_its_title() -> None:
    sentence = "The risk warning must be accepted in the version in force, 2."
    reason = RefusalReason(code="document_not_accepted:risk_warning", sentence=sentence)
    assert wording.reason_sentence(reason) == "The Risk Warning must be accepted in the version in force, 2."


# How a line was computed.


def line(
    average: str,
    outcome: Outcome,
    reward: str,
    *,
    credited_at: str = "2026-10-03 00:01",
    late: bool = False,
    reversed_by: int | None = None,
    reversal_tell: str | None = None,
) -> StatementLine:
    return StatementLine(
        user_id="ann",
        day=day("2026-10-02"),
        asset="SOL",
        opening=units("12"),
        closing=units("10.5"),
        average=units(average),
        minimum="1",
        cap="10000",
        apr="0.008",
        reward=units(reward),
        outcome=outcome,
        formula=1,
        credited_at=at(credited_at),
        late=late,
        reference_value=0,
        entry_id=7,
        reversed_by=reversed_by,
        reversal_tell=reversal_tell,
    )


def test_every_formula_can_be_written_out() -> None:
    assert wording.SUM_TEXTS.keys() == FORMULAS.keys()


@pytest.mark.parametrize(
    ("computed", "sentences"),
    [
        (
            line("10.125", Outcome.EARNED, "0.00022191"),
            [
                "min(10.125, 10,000) × 0.008 ÷ 365 = 0.000221917808…",
                "Rounded down to 8 decimals: 0.00022191 SOL.",
            ],
        ),
        (
            line("12000", Outcome.CAPPED, "0.21917808"),
            [
                "The average, 12,000, is above the cap, 10,000, so the cap earned.",
                "min(12,000, 10,000) × 0.008 ÷ 365 = 0.219178082191…",
                "Rounded down to 8 decimals: 0.21917808 SOL.",
            ],
        ),
        (
            line("0.99999999", Outcome.BELOW_MINIMUM, "0"),
            ["The average, 0.99999999, is below the minimum, 1, so the day earned nothing."],
        ),
        (
            line("0.0001", Outcome.ROUNDED_TO_ZERO, "0"),
            [
                "min(0.0001, 10,000) × 0.008 ÷ 365 = 0.000000002191…",
                "That is less than 0.00000001, the smallest amount there is, so it comes to zero.",
            ],
        ),
        (
            line("12", Outcome.PAUSED, "0"),
            ["The program paused SOL on this day, so it earned nothing."],
        ),
    ],
    ids=lambda value: value.outcome if isinstance(value, StatementLine) else "",
)
def test_every_outcome_spells_its_sum_or_its_reason_out(computed: StatementLine, sentences: list[str]) -> None:
    assert wording.calculation(computed) == sentences


@pytest.mark.parametrize(
    ("credited_at", "how_late"),
    [
        ("2026-10-03 08:00:00.000001", "credited late, less than a minute after 08:00 UTC of the next day"),
        ("2026-10-03 08:01", "credited late, after 08:00 UTC of the next day"),
    ],
)
def test_a_late_line_does_not_contradict_the_minute_beside_it(credited_at: str, how_late: str) -> None:
    sentences = wording.calculation(
        line("10.125", Outcome.EARNED, "0.00022191", credited_at=credited_at, late=True)
    )
    assert how_late in sentences[-1]


def test_a_late_and_a_reversed_line_say_so() -> None:
    reversed_line = line(
        "10.125",
        Outcome.EARNED,
        "0.00022191",
        credited_at="2026-10-03 09:00",
        late=True,
        reversed_by=9,
        reversal_tell="paid twice by mistake",
    )
    sentences = wording.calculation(reversed_line)
    assert "credited late, after 08:00 UTC" in sentences[-2]
    assert sentences[-1] == (
        "It was reversed later, by entry 9 of the ledger, and is in no total any more. "
        "What we have to say about it: “paid twice by mistake”"
    )
    assert wording.calculation(replace(reversed_line, reversal_tell=None))[-1] == (
        "It was reversed later, by entry 9 of the ledger, and is in no total any more."
    )


@given(
    average=st.integers(0, MAX_ACCOUNT_UNITS),
    apr=st.decimals(0, 1, places=6).map(str),
    cap=st.integers(1, 10**10).map(str),
)
def test_the_sum_that_is_spelled_out_comes_to_the_reward(average: int, apr: str, cap: str) -> None:
    terms = AssetTerms(minimum="0", cap=cap, apr=apr, reference_price="1")
    written = wording.sum_text(average, terms).rpartition("= ")[2].rstrip("…").replace(",", "")
    exactly = min(Decimal(average).scaleb(-8), Decimal(cap)) * Decimal(apr) / 365
    assert Decimal(written) == exactly.quantize(Decimal("1E-12"), ROUND_DOWN)
    assert Decimal(written).quantize(Decimal("1E-8"), ROUND_DOWN) == Decimal(
        format_amount(daily_reward(average, terms, 1))
    )


# The chart.


def days_from(first: date, *values: str) -> dict[date, int]:
    return {first + timedelta(days=number): units(value) for number, value in enumerate(values)}


def test_a_chart_has_a_bar_for_every_day_also_for_one_without_rewards() -> None:
    values = by_day(days_from(day("2026-10-02"), "1", "2") | days_from(day("2026-10-06"), "4"))
    assert [value.value for value in values] == [units("1"), units("2"), 0, 0, units("4")]
    drawing = draw(values)
    assert drawing
    heights = [Decimal(bar.height) for bar in drawing.bars]
    assert heights[0] * 4 == heights[1] * 2 == heights[4]
    assert heights[2] == heights[3] == 0
    assert drawing.bars[4].title == "6 Oct 2026: 4.0000 USDT"
    assert drawing.summary == "5 days from 2 Oct 2026 to 6 Oct 2026; the most on 6 Oct 2026 with 4.0000 USDT."


def test_a_chart_shows_the_last_thirty_days() -> None:
    values = by_day(days_from(day("2026-01-01"), *["1"] * 100))
    assert len(values) == DAYS_MAX == 30
    assert values[-1].day == day("2026-04-10")


def test_there_is_no_chart_of_nothing() -> None:
    assert draw(by_day({})) is None


@given(st.lists(st.integers(0, MAX_ACCOUNT_UNITS), min_size=1, max_size=30))
def test_a_chart_stays_within_its_frame(values: list[int]) -> None:
    drawing = draw(
        [DayValue(day("2026-10-01") + timedelta(days=number), value) for number, value in enumerate(values)]
    )
    assert drawing
    for bar, value in zip(drawing.bars, values, strict=True):
        x, y, width, height = (Decimal(text) for text in (bar.x, bar.y, bar.width, bar.height))
        assert x >= 0
        assert x + width <= 720
        assert y >= 28
        assert y + height == 194
        assert (height > 0) == (value > 0)


def test_an_instant_is_written_alike_in_every_locale() -> None:
    assert wording.instant_text(datetime(2026, 3, 9, 4, 5, 59)) == "9 Mar 2026, 04:05"  # noqa: DTZ001
