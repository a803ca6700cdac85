"""The program file: what it says, and that every problem is named with its key."""

import re
from datetime import date
from fractions import Fraction
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from staking.program import (
    AssetTerms,
    Difference,
    Program,
    ProgramError,
    app_version_at_least,
    differences,
    parse_program,
)

SHIPPED = (Path(__file__).parents[2] / "program.toml").read_text()

SMALL = """\
effective_from = 2026-01-01
minimum_app_version = "3.1.0"
restricted_regions = ["US", "UA-43"]
[documents]
terms_of_use = "2026-01-01"
[assets.SOL]
minimum = "1"
cap = "10000"
apr = "0.008"
reference_price = "150"
"""


def small(*changes: tuple[str, str]) -> str:
    """The small program with parts of its text replaced."""
    text = SMALL
    for old, new in changes:
        assert text.count(old) == 1, f"{old!r} must be there to be replaced"
        text = text.replace(old, new)
    return text


def problems(toml: str) -> list[str]:
    with pytest.raises(ProgramError) as refusal:
        parse_program(toml)
    assert str(refusal.value) == "; ".join(refusal.value.problems)
    return refusal.value.problems


def test_the_shipped_program_has_exactly_the_terms_of_the_offer():
    assets = parse_program(SHIPPED).assets
    assert {code: (terms.minimum, terms.apr, terms.cap) for code, terms in assets.items()} == {
        "BNB": ("0.5", "0.0015", "1000"),
        "SOL": ("1", "0.008", "10000"),
        "ADA": ("150", "0.005", "800000"),
        "SUI": ("100", "0.01", "50000"),
        "TON": ("100", "0.006", "250000"),
        "NEAR": ("100", "0.006", "50000"),
        "POL": ("500", "0.005", "500000"),
        "ALGO": ("1000", "0.005", "1000000"),
        "S": ("200", "0.005", "500000"),
        "AXS": ("100", "0.005", "50000"),
    }
    assert not any(terms.paused for terms in assets.values())
    assert all(terms.reference_price_units > 0 for terms in assets.values())


def test_the_shipped_program_has_the_dates_regions_and_documents_of_the_offer():
    program = parse_program(SHIPPED)
    assert program.effective_from == date(2025, 6, 18)
    assert program.minimum_app_version == "3.1.0"
    assert set(program.restricted_regions) == {
        *("US", "PR", "GU", "VI", "AS", "MP", "UM"),
        *("CU", "IR", "KP", "SY"),
        *("UA-43", "UA-40", "UA-14", "UA-09"),
    }
    assert program.documents == dict.fromkeys(["terms_of_use", "soft_staking_terms", "risk_warning"], "2026-01-01")


def test_numbers_stay_as_written_and_are_exact():
    terms = parse_program(small(('"0.008"', '"0.0080"'), ('minimum = "1"', 'minimum = "1.50"'))).assets["SOL"]
    assert (terms.minimum, terms.apr) == ("1.50", "0.0080")
    assert (terms.minimum_units, terms.cap_units, terms.reference_price_units) == (
        150_000_000,
        10_000 * 10**8,
        150 * 10**8,
    )
    numerator, denominator = terms.apr_ratio
    assert numerator * 1000 == 8 * denominator


def test_a_program_kept_as_json_comes_back_equal_also_after_it_was_used():
    program = parse_program(SHIPPED)
    assert program.assets["SOL"].minimum_units == 10**8
    assert Program.model_validate_json(program.model_dump_json()) == program == parse_program(SHIPPED)


def test_an_asset_is_paused_only_where_the_file_says_so():
    assert not parse_program(SMALL).assets["SOL"].paused
    assert parse_program(SMALL + "paused = true\n").assets["SOL"].paused


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(('minimum = "1"', 'minimum = "0"'), id="no minimum"),
        pytest.param(('minimum = "1"', 'minimum = "10000"'), id="the cap is the minimum"),
        pytest.param(('"0.008"', '"0"'), id="an APR of 0"),
        pytest.param(('"0.008"', '"1"'), id="an APR of 1"),
        pytest.param(('"0.008"', '"1E-18"'), id="18 decimals"),
        pytest.param(('"10000"', '"90000000000"'), id="a cap of 90 billion"),
        pytest.param(('["US", "UA-43"]', "[]"), id="no restricted region"),
        pytest.param(("= 2026-01-01", '= "2026-01-01"'), id="a date in quotes"),
        pytest.param(("[assets.SOL]", f"[assets.{'A1b2C3d4' * 4}]"), id="an asset code of 32"),
    ],
)
def test_the_limits_themselves_are_allowed(change: tuple[str, str]):
    parse_program(small(change))


AS_STRING = 'write the number as a string, "{}", so that it is not rounded'
NO_RATE = "is not between 0 and 1 (1 is 100 % a year)"
NO_REGION = "is not an ISO 3166-1 or 3166-2 code such as FR or UA-43"
NO_VERSION = "is not an app version such as 3.1.0"
NO_SPACE = "a number is written without white space, unlike"
DATE_ONLY = "write a date without a time, such as 2026-01-31"
ASSET_CODE = "is not an asset code: 1 to 32 printable characters without blanks"
DOCUMENT_NAME = "a document name is 1 to 64 lower-case letters, digits and _, a letter first"

# Mistakes in a file: the part of the file, what stands there instead, and the sentence that the engineer reads.
FAULTS = {
    "a negative minimum": ('minimum = "1"', 'minimum = "-1"', "assets.SOL.minimum: -1 is negative"),
    "a negative cap": ('"10000"', '"-5"', "assets.SOL.cap: -5 is negative"),
    "a negative price": ('"150"', '"-150"', "assets.SOL.reference_price: -150 is negative"),
    "a cap below the minimum": ('"10000"', '"0.99999999"', "assets.SOL.cap: 0.99999999 is below the minimum, 1"),
    "an amount of 9 decimals": (
        '"10000"',
        '"10000.000000001"',
        "assets.SOL.cap: '10000.000000001' has more than 8 decimals",
    ),
    "a cap above 90 billion": ('"10000"', '"1E+999999"', "assets.SOL.cap: '1E+999999' is more than 90 billion"),
    "an amount NaN": ('minimum = "1"', 'minimum = "NaN"', "assets.SOL.minimum: 'NaN' is not a finite number"),
    "an amount that is no number": ('"150"', '"a lot"', f"assets.SOL.reference_price: {NO_SPACE} 'a lot'"),
    "an empty amount": ('"150"', '""', "assets.SOL.reference_price: '' is not a number"),
    "a bare float amount": ('minimum = "1"', "minimum = 0.1", f"assets.SOL.minimum: {AS_STRING.format('0.1')}"),
    "a bare int amount": ('"10000"', "10000", f"assets.SOL.cap: {AS_STRING.format('10000')}"),
    "a bare float APR": ('"0.008"', "0.008", f"assets.SOL.apr: {AS_STRING.format('0.008')}"),
    "a bare int APR": ('"0.008"', "1", f"assets.SOL.apr: {AS_STRING.format('1')}"),
    "a bare NaN": ('"0.008"', "nan", f"assets.SOL.apr: {AS_STRING.format('nan')}"),
    "a bare float price": ('"150"', "150.5", f"assets.SOL.reference_price: {AS_STRING.format('150.5')}"),
    "a bare app version": ('"3.1.0"', "3.1", f"minimum_app_version: {AS_STRING.format('3.1')}"),
    "a truth value for an amount": ('"10000"', "true", "assets.SOL.cap: Input should be a valid string"),
    "an APR above 1": ('"0.008"', '"1.000000000000000001"', f"assets.SOL.apr: 1.000000000000000001 {NO_RATE}"),
    "an APR in percent": ('"0.008"', '"8"', f"assets.SOL.apr: 8 {NO_RATE}"),
    "a negative APR": ('"0.008"', '"-0.008"', f"assets.SOL.apr: -0.008 {NO_RATE}"),
    "an APR NaN": ('"0.008"', '"NaN"', "assets.SOL.apr: 'NaN' is not a finite number"),
    "an APR Infinity": ('"0.008"', '"Infinity"', "assets.SOL.apr: 'Infinity' is not a finite number"),
    "an APR sNaN": ('"0.008"', '"sNaN"', "assets.SOL.apr: 'sNaN' is not a finite number"),
    "an APR with a percent sign": ('"0.008"', '"0.8%"', "assets.SOL.apr: '0.8%' is not a number"),
    "an APR with an underscore": ('"0.008"', '"0.0_08"', "assets.SOL.apr: '0.0_08' is not a number"),
    "an APR in full-width digits": ('"0.008"', '"０.008"', "assets.SOL.apr: '０.008' is not a number"),
    "an APR with a space": ('"0.008"', '" 0.008"', f"assets.SOL.apr: {NO_SPACE} ' 0.008'"),
    "an APR of 19 decimals": ('"0.008"', '"1E-19"', "assets.SOL.apr: 1E-19 has more than 18 decimals"),
    "an APR with a vast exponent": (
        '"0.008"',
        '"1E-999999"',
        "assets.SOL.apr: 1E-999999 has more than 18 decimals",
    ),
    "an unknown key": ("[documents]", 'colour = "grey"\n[documents]', "colour: unknown key"),
    "an unknown key in an asset": (
        "[assets.SOL]",
        '[assets.SOL]\nmaximum = "2"',
        "assets.SOL.maximum: unknown key",
    ),
    "a missing key": ('minimum_app_version = "3.1.0"\n', "", "minimum_app_version: missing"),
    "a missing key in an asset": ('apr = "0.008"\n', "", "assets.SOL.apr: missing"),
    "a lower-case region": ('"US"', '"us"', f"restricted_regions.0: 'us' {NO_REGION}"),
    "a region of three letters": ('"UA-43"', '"USA"', f"restricted_regions.1: 'USA' {NO_REGION}"),
    "a region with a long part": ('"UA-43"', '"UA-4300"', f"restricted_regions.1: 'UA-4300' {NO_REGION}"),
    "a region with a line end": ('"US"', r'"US\n"', rf"restricted_regions.0: 'US\n' {NO_REGION}"),
    "a region that is a number": ('"US"', "840", "restricted_regions.0: Input should be a valid string"),
    "an app version with a letter": ('"3.1.0"', '"v3.1"', f"minimum_app_version: 'v3.1' {NO_VERSION}"),
    "an app version in full-width digits": ('"3.1.0"', '"３.1"', f"minimum_app_version: '３.1' {NO_VERSION}"),
    "an empty app version": ('"3.1.0"', '""', f"minimum_app_version: '' {NO_VERSION}"),
    "a time with the date": ("= 2026-01-01", "= 2026-01-01T00:00:00", f"effective_from: {DATE_ONLY}"),
    "an instant for the date": ("= 2026-01-01", "= 2026-01-01T00:00:00Z", f"effective_from: {DATE_ONLY}"),
    "a time with the date in quotes": ("= 2026-01-01", '= "2026-01-01T00:00:00"', f"effective_from: {DATE_ONLY}"),
    "a number for the date": ("= 2026-01-01", "= 20260101", f"effective_from: {DATE_ONLY}"),
    "a number for the date in quotes": ("= 2026-01-01", '= "20260101"', f"effective_from: {DATE_ONLY}"),
    "a document of no version": (
        '"2026-01-01"',
        '""',
        "documents.terms_of_use: String should have at least 1 character",
    ),
    "a document with a bare date": (
        '"2026-01-01"',
        "2026-01-01",
        "documents.terms_of_use: Input should be a valid string",
    ),
    "a document with a capital": ("terms_of_use", "Terms", f"documents.Terms: {DOCUMENT_NAME}"),
    "an asset code with a space": ("[assets.SOL]", '[assets."S L"]', f"assets.S L: 'S L' {ASSET_CODE}"),
    "an asset code of 33": (
        "[assets.SOL]",
        f"[assets.{'A' * 33}]",
        f"assets.{'A' * 33}: '{'A' * 32}…' {ASSET_CODE}",
    ),
    "an asset code with something unseen": (
        "[assets.SOL]",
        '[assets."SO\u200bL"]',
        f"assets.SO\u200bL: 'SO\\u200bL' {ASSET_CODE}",
    ),
    "paused in quotes": (
        "[assets.SOL]",
        '[assets.SOL]\npaused = "false"',
        "assets.SOL.paused: Input should be a valid boolean",
    ),
}


@pytest.mark.parametrize(("old", "new", "problem"), FAULTS.values(), ids=FAULTS.keys())
def test_a_problem_is_reported_with_its_key(old: str, new: str, problem: str):
    assert problems(small((old, new))) == [problem]


def test_every_problem_of_a_file_is_reported():
    text = small(
        ("= 2026-01-01", "= 2026-01-01T00:00:00"),
        ('"US", "UA-43"', '"us", "UA-43", "USA"'),
        ("terms_of_use", "Terms"),
        ('"10000"', '"0.5"'),
        ('"0.008"', "0.008"),
        ('"150"', '"-1"'),
        ("[assets.SOL]", '[assets."B B"]\n[assets."C C"]\nmaximum = "1"\n[assets.SOL]'),
    )
    keys = [problem.partition(": ")[0] for problem in problems("colour = 1\n" + text)]
    assert sorted(keys) == sorted(
        [
            "effective_from",
            "restricted_regions.0",
            "restricted_regions.2",
            "documents.Terms",
            "assets.B B",
            *(f"assets.B B.{key}" for key in ("minimum", "cap", "apr", "reference_price")),
            "assets.C C",
            *(f"assets.C C.{key}" for key in ("minimum", "cap", "apr", "reference_price", "maximum")),
            "assets.SOL.cap",
            "assets.SOL.apr",
            "assets.SOL.reference_price",
            "colour",
        ]
    )


def test_an_empty_file_is_refused_with_everything_that_it_lacks():
    assert problems("") == [
        f"{key}: missing"
        for key in ("effective_from", "minimum_app_version", "restricted_regions", "documents", "assets")
    ]


def test_a_program_without_assets_is_refused():
    (problem,) = problems(SMALL[: SMALL.index("[assets.SOL]")] + "[assets]\n")
    assert problem.startswith("assets: ")
    assert "at least 1 item" in problem


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        pytest.param(SMALL + "[assets.SOL]\n", r"Cannot declare \('assets', 'SOL'\) twice", id="an asset twice"),
        pytest.param(small(("= 2026-01-01", "= 2026-02-30")), "Invalid date", id="a day that no month has"),
        pytest.param("{}", "Invalid statement", id="JSON"),
        pytest.param("\x00\x01\x7fELF\x02", "Invalid statement", id="binary"),
        pytest.param(SMALL + "#\x00", "Found invalid character", id="a zero byte in a comment"),
        pytest.param(small(("US", "\udc80")), "surrogates not allowed", id="bytes that were no text"),
        pytest.param(small(("SOL", '"\udc80"')), "surrogates not allowed", id="bytes that were no text, in a key"),
        pytest.param(small(('"150"', "1" * 5000)), "5000 digits", id="a number of 5000 digits"),
        pytest.param("a = " + "[" * 100_000, "nested too deeply", id="deep nesting"),
    ],
)
def test_what_is_not_toml_is_refused_as_such(text: str, complaint: str):
    (problem,) = problems(text)
    assert re.match(f"not valid TOML: .*{complaint}", problem)


@pytest.mark.parametrize("text", ["x" * 10_000_000, SMALL + "#" * 10_000_000, "a." * 5_000_000 + "a = 1"])
def test_a_vast_file_is_refused_unread(text: str):
    (problem,) = problems(text)
    assert problem == f"a program file has at most 262144 characters, this one has {len(text)}"


def test_a_problem_is_reported_in_few_words_however_long_the_key_is():
    assert all(len(problem) < 200 for problem in problems("k" * 100_000 + " = 1\n" + SMALL))


@given(st.text(max_size=200))
def test_any_text_is_refused_with_problems(text: str):
    assert problems(text)


@given(st.text(max_size=40), st.sampled_from(["minimum", "cap", "apr", "reference_price"]))
def test_any_text_for_a_number_is_read_or_refused_with_its_key(text: str, key: str):
    terms = {"minimum": "0", "cap": "90000000000", "apr": "0", "reference_price": "0", key: text}
    content = parse_program(SMALL).model_dump() | {"assets": {"SOL": terms}}
    try:
        program = Program.model_validate(content)
    except ValidationError as refusal:
        assert {fault["loc"][:3] for fault in refusal.errors()} == {("assets", "SOL", key)}  # noqa: PT017
    else:
        assert Fraction(text) >= 0
        assert getattr(program.assets["SOL"], key) == text


@pytest.mark.parametrize(
    ("region", "restricted"),
    [
        pytest.param("US", True, id="a restricted country"),
        pytest.param("US-CA", True, id="its subdivision"),
        pytest.param("UA-43", True, id="a restricted subdivision"),
        pytest.param("UA", False, id="its country"),
        pytest.param("UA-30", False, id="its sister"),
        pytest.param("UA-4", False, id="a code that begins alike"),
        pytest.param("FR", False, id="another country"),
        pytest.param("FR-US", False, id="another country's subdivision of that name"),
    ],
)
def test_a_restricted_country_covers_its_subdivisions_and_not_the_reverse(region: str, restricted: bool):
    assert parse_program(SMALL).restricts(region) is restricted


@pytest.mark.parametrize(
    ("version", "minimum", "enough"),
    [
        ("3.1.0", "3.1", True),
        ("3.1", "3.1.0", True),
        ("3", "3.0.0.0", True),
        ("3.1.0", "3.1.0", True),
        ("3.1.1", "3.1.0", True),
        ("3.10.0", "3.9", True),
        ("3.9", "3.10.0", False),
        ("2.99", "3.1.0", False),
        ("2.99.99.99", "3", False),
        ("3.0.9", "3.1.0", False),
        ("3.01", "3.1", True),
        ("10", "9.9", True),
        ("0", "0.0.1", False),
    ],
)
def test_app_versions_are_compared_by_number(version: str, minimum: str, enough: bool):
    assert app_version_at_least(version, minimum) is enough


BNB = """\
[assets.BNB]
minimum = "0.5"
cap = "1000"
apr = "0.0015"
reference_price = "650"
"""
BNB_TERMS = {"minimum": "0.5", "cap": "1000", "apr": "0.0015", "reference_price": "650", "paused": False}


@pytest.mark.parametrize(
    ("other", "expected"),
    [
        pytest.param(SMALL, [], id="nothing"),
        pytest.param(small(("0.008", "0.01")), [("assets.SOL.apr", "0.008", "0.01")], id="a rate"),
        pytest.param(small(("0.008", "0.0080")), [("assets.SOL.apr", "0.008", "0.0080")], id="how it is written"),
        pytest.param(SMALL + "paused = true\n", [("assets.SOL.paused", False, True)], id="a pause"),
        pytest.param(SMALL + "paused = false\n", [], id="no pause"),
        pytest.param(SMALL + BNB, [("assets.BNB", None, BNB_TERMS)], id="an asset"),
        pytest.param(
            small(("2026-01-01\nmin", "2026-02-01\nmin")),
            [("effective_from", "2026-01-01", "2026-02-01")],
            id="the first day",
        ),
        pytest.param(small(("3.1.0", "3.2.0")), [("minimum_app_version", "3.1.0", "3.2.0")], id="an app version"),
        pytest.param(
            small(('"US", "UA-43"', '"US", "BY"')),
            [("restricted_regions.BY", None, "BY"), ("restricted_regions.UA-43", "UA-43", None)],
            id="regions",
        ),
        pytest.param(small(('"US", "UA-43"', '"UA-43", "US"')), [], id="the order of regions"),
        pytest.param(
            small(('terms_of_use = "2026-01-01"', 'terms_of_use = "2"\nrisk_warning = "1"')),
            [("documents.risk_warning", None, "1"), ("documents.terms_of_use", "2026-01-01", "2")],
            id="documents",
        ),
    ],
)
def test_programs_differ_in_exactly_these_keys(other: str, expected: list[tuple[str, object, object]]):
    before, after = parse_program(SMALL), parse_program(other)
    found = differences(before, after)
    assert [(each.key, each.before, each.after) for each in found] == expected
    assert differences(after, before) == [Difference(each.key, each.after, each.before) for each in found]


def test_only_the_named_assets_are_paused_and_one_that_is_not_there_stays_out():
    program = parse_program(SMALL + BNB)
    paused = program.with_paused(["SOL", "DOGE"], paused=True)
    assert {asset: terms.paused for asset, terms in paused.assets.items()} == {"SOL": True, "BNB": False}
    assert [each.key for each in differences(program, paused)] == ["assets.SOL.paused"]
    assert paused.with_paused(["SOL"], paused=False) == program


@pytest.mark.parametrize(
    ("amount", "price", "value"),
    [(22191, "150", 3328650), (1, "0.5", 0), (3, "0.5", 1), (1, "0", 0), (10**18, "90000000000", 9 * 10**28)],
)
def test_a_reference_value_is_exact_and_rounded_down(amount: int, price: str, value: int):
    terms = AssetTerms(minimum="1", cap="1", apr="0", reference_price=price)
    assert terms.reference_value(amount) == value
