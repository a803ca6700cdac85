"""The program's assets in the form that existing clients read."""

import json
from collections.abc import Mapping
from decimal import Decimal

from ledger.reading.earnings import Position
from staking.money import format_amount
from staking.program import AssetTerms
from staking.tag import qualifies


class Offer:
    """The assets of a program version. The text that is the same for every account is made once."""

    def __init__(self, assets: Mapping[str, AssetTerms]) -> None:
        self.assets = assets
        self.listed = sorted(assets)
        self._beginnings = {asset: _beginning(asset, terms) for asset, terms in assets.items()}
        self._of_nobody = {asset: _ended(beginning, 0, 0) for asset, beginning in self._beginnings.items()}

    def row(self, asset: str, account: Position) -> str:
        """An asset's row for an account, as JSON."""
        holding, profit = account.holdings.get(asset, 0), account.totals.get(asset, 0)
        if not holding and not profit:
            return self._of_nobody[asset]
        terms = self.assets[asset]
        earns = account.is_enrolled and qualifies(holding, terms)
        return _ended(self._beginnings[asset], min(holding, terms.cap_units) if earns else 0, profit)


def plain(units: int) -> str:
    """An amount without trailing zeros."""
    return format_amount(units).rstrip("0").rstrip(".")


NOTHING_OFFERED = Offer({})


def _beginning(asset: str, terms: AssetTerms) -> str:
    fields = {
        "asset": asset,
        "minAmount": plain(terms.minimum_units),
        "maxCap": plain(terms.cap_units),
        "apr": f"{Decimal(terms.apr).normalize():f}",
    }
    return json.dumps(fields, ensure_ascii=False, separators=(",", ":"))[:-1]


def _ended(beginning: str, staked: int, profit: int) -> str:
    return f'{beginning},"stakedAmount":"{plain(staked)}","totalProfit":"{plain(profit)}"}}'
