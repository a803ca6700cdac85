"""Rule 8: the one asset that has the tag."""

from collections.abc import Mapping

from staking.program import AssetTerms, Program


def qualifies(holding: int, terms: AssetTerms) -> bool:
    """Rules 7 and 8: is a holding, in units, at or above the asset's minimum, and not empty?"""
    return holding >= max(terms.minimum_units, 1)


def tagged_asset(holdings: Mapping[str, int], program: Program) -> str | None:
    """Rule 8: among the program assets that are held at or above their minimum, the one with the highest value;
    None if there is none.

    Holdings are in units. Among equal values the first by asset code has the tag.
    """
    values = {
        asset: holdings[asset] * terms.reference_price_units
        for asset, terms in program.assets.items()
        if asset in holdings and qualifies(holdings[asset], terms)
    }
    return min(values, key=lambda asset: (-values[asset], asset), default=None)
