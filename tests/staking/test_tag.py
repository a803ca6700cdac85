"""Rule 8: which asset bears the tag."""

from datetime import date

import pytest

from staking.money import parse_amount
from staking.program import AssetTerms, Program
from staking.tag import qualifies, tagged_asset


def terms(minimum: str, price: str, paused: bool = False) -> AssetTerms:
    return AssetTerms(minimum=minimum, cap="90000000000", apr="0.01", reference_price=price, paused=paused)


PROGRAM = Program(
    effective_from=date(2026, 1, 1),
    minimum_app_version="3.1.0",
    restricted_regions=[],
    documents={},
    assets={
        "SOL": terms("1", "150"),
        "BNB": terms("0.5", "600"),
        "DOGE": terms("0", "0.00000001"),
        "ADA": terms("150", "0.6"),
    },
)


@pytest.mark.parametrize(
    ("holdings", "tagged"),
    [
        pytest.param({}, None, id="nothing held"),
        pytest.param({"SOL": "0.99999999", "BNB": "0.49999999", "ADA": "149"}, None, id="none at its minimum"),
        pytest.param({"SOL": "0"}, None, id="an empty account"),
        pytest.param({"DOGE": "0"}, None, id="an empty account where there is no minimum"),
        pytest.param({"BTC": "1000"}, None, id="only an asset outside the program"),
        pytest.param({"SOL": "1"}, "SOL", id="exactly the minimum"),
        pytest.param({"DOGE": "0.00000001"}, "DOGE", id="the least where there is no minimum"),
        pytest.param({"SOL": "10", "BNB": "2"}, "SOL", id="1500 against 1200"),
        pytest.param({"SOL": "10", "BNB": "3"}, "BNB", id="1500 against 1800: fewer tokens, more value"),
        pytest.param({"SOL": "1", "BNB": "0.49999999"}, "SOL", id="the more valuable does not qualify"),
        pytest.param({"SOL": "1", "BTC": "1000"}, "SOL", id="an asset outside the program is ignored"),
        pytest.param({"SOL": "4", "BNB": "1"}, "BNB", id="equal values: first by code"),
        pytest.param({"BNB": "1", "SOL": "4"}, "BNB", id="equal values: first by code, however they are listed"),
        pytest.param({"SOL": "4", "BNB": "1", "ADA": "1000"}, "ADA", id="three equal values: first by code"),
        pytest.param({"SOL": "4.00000001", "BNB": "1"}, "SOL", id="worth one unit more"),
        pytest.param({"SOL": "90000000000", "DOGE": "90000000000"}, "SOL", id="the largest amounts"),
    ],
)
def test_the_qualifying_program_asset_of_highest_value_bears_the_tag(holdings: dict[str, str], tagged: str | None):
    assert tagged_asset({asset: parse_amount(amount) for asset, amount in holdings.items()}, PROGRAM) == tagged


@pytest.mark.parametrize(
    ("minimum", "holding", "answer"),
    [
        ("1", "1", True),
        ("1", "0.99999999", False),
        ("1", "90000000000", True),
        ("0", "0", False),
        ("0", "0.00000001", True),
        ("0.00000001", "0.00000001", True),
    ],
)
def test_a_holding_qualifies_at_its_minimum_unless_empty(minimum: str, holding: str, answer: bool):
    assert qualifies(parse_amount(holding), terms(minimum, "1")) is answer
