"""Rule 7: every reason to refuse an activation."""

from datetime import date
from typing import Any

import pytest

from staking.eligibility import refusal_reasons
from staking.models import Activation
from staking.money import parse_amount
from staking.program import AssetTerms, Program

PROGRAM = Program(
    effective_from=date(2026, 1, 1),
    minimum_app_version="3.1.0",
    restricted_regions=["US", "UA-43"],
    documents={"terms_of_use": "2026-01-01", "soft_staking_terms": "2026-02-01", "risk_warning": "3"},
    assets={
        "SOL": AssetTerms(minimum="1", cap="10000", apr="0.008", reference_price="150"),
        "ADA": AssetTerms(minimum="150", cap="800000", apr="0.005", reference_price="0.6"),
    },
)
HELD = {"SOL": parse_amount("1")}


def activation(**changes: Any) -> Activation:
    """An activation that meets every condition, except for the changes."""
    return Activation(**{"region": "FR", "channel": "web", "documents": PROGRAM.documents, **changes})


def codes(an_activation: Activation, holdings: dict[str, int] = HELD, program: Program = PROGRAM) -> list[str]:
    return [reason.code for reason in refusal_reasons(an_activation, holdings, program)]


def only_sentence(an_activation: Activation, holdings: dict[str, int] = HELD) -> str:
    (reason,) = refusal_reasons(an_activation, holdings, PROGRAM)
    return reason.sentence


def test_an_account_that_meets_every_condition_is_not_refused():
    assert codes(activation()) == []
    assert codes(activation(channel="app", app_version="3.1.0")) == []


@pytest.mark.parametrize(
    ("region", "refused"),
    [
        ("FR", False),
        ("US", True),
        ("US-CA", True),
        ("us", True),
        ("us-ca", True),
        ("UA", False),
        ("UA-43", True),
        ("UA-30", False),
        ("UM", False),
    ],
)
def test_a_restricted_region_is_refused_with_its_subdivisions_and_no_other(region: str, refused: bool):
    assert codes(activation(region=region)) == (["region_restricted"] if refused else [])


@pytest.mark.parametrize(
    ("channel", "version", "refused"),
    [
        ("app", "3.0.9", True),
        ("app", "2.99", True),
        ("app", None, True),
        ("app", "3.1.0", False),
        ("app", "3.1", False),
        ("app", "3.10.0", False),
        ("app", "4", False),
        ("web", None, False),
        ("web", "1.0", False),
    ],
)
def test_only_the_app_must_be_recent(channel: str, version: str | None, refused: bool):
    assert codes(activation(channel=channel, app_version=version)) == (["app_version_too_old"] if refused else [])


@pytest.mark.parametrize("name", ["terms_of_use", "soft_staking_terms", "risk_warning"])
@pytest.mark.parametrize("version", [None, "2025-12-31", ""])
def test_each_document_must_be_accepted_in_the_version_in_force(name: str, version: str | None):
    documents = {other: shown for other, shown in PROGRAM.documents.items() if other != name}
    if version is not None:
        documents[name] = version
    assert codes(activation(documents=documents)) == [f"document_not_accepted:{name}"]


def test_a_document_that_the_program_does_not_ask_for_is_no_obstacle():
    assert codes(activation(documents={**PROGRAM.documents, "newsletter": "1"})) == []


@pytest.mark.parametrize(
    ("holdings", "refused"),
    [
        ({}, True),
        ({"SOL": "0.99999999"}, True),
        ({"SOL": "0.99999999", "ADA": "149.99999999"}, True),
        ({"BTC": "1000"}, True),
        ({"SOL": "1"}, False),
        ({"SOL": "0.5", "ADA": "150"}, False),
        ({"SOL": "90000000000"}, False),
    ],
)
def test_at_least_one_program_asset_must_be_held_at_its_minimum(holdings: dict[str, str], refused: bool):
    held = {asset: parse_amount(amount) for asset, amount in holdings.items()}
    assert codes(activation(), held) == (["no_qualifying_asset"] if refused else [])


def test_an_empty_account_does_not_qualify_where_the_minimum_is_zero():
    free = AssetTerms(minimum="0", cap="1", apr="0.01", reference_price="1")
    no_minimum = PROGRAM.model_copy(update={"assets": {"SOL": free}})
    assert codes(activation(), {"SOL": 0}, no_minimum) == ["no_qualifying_asset"]
    assert codes(activation(), {"SOL": 1}, no_minimum) == []


def test_a_refusal_lists_every_reason():
    everything_wrong = activation(region="US", channel="app", app_version="3.0.9", documents={})
    assert codes(everything_wrong, {}) == [
        "region_restricted",
        "app_version_too_old",
        "document_not_accepted:terms_of_use",
        "document_not_accepted:soft_staking_terms",
        "document_not_accepted:risk_warning",
        "no_qualifying_asset",
    ]


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"region": "US-CA"}, "Soft Staking is not offered in region US-CA."),
        (
            {"channel": "app", "app_version": "3.0.9"},
            "The app must be version 3.1.0 or later; this is 3.0.9.",
        ),
        ({"channel": "app"}, "The app must be version 3.1.0 or later; the version was not given."),
        (
            {"documents": {**PROGRAM.documents, "soft_staking_terms": "2026-01-01"}},
            "The soft staking terms must be accepted in the version in force, 2026-02-01.",
        ),
    ],
)
def test_a_reason_is_a_sentence_that_says_what_is_needed(changes: dict[str, Any], sentence: str):
    assert only_sentence(activation(**changes)) == sentence


def test_a_reason_says_that_no_asset_reaches_its_minimum():
    assert only_sentence(activation(), {}) == "No program asset is held at or above its minimum."
