"""The filter of a reward history, as it stands in a URL."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date

from ledger.reading.statements import StatementLine
from staking.program import check_asset_code
from staking.rewards import Outcome

_PAGE_DIGITS_MAX = 6
_NAMES = ("asset", "outcome", "from", "to", "page")


@dataclass(frozen=True)
class Wanted:
    """Which lines of the history are wanted, and which parameters were not understood."""

    asset: str | None = None
    outcome: Outcome | None = None
    first: date | None = None
    last: date | None = None
    page: int = 1
    problems: tuple[str, ...] = ()

    @property
    def is_everything(self) -> bool:
        return not (self.asset or self.outcome or self.first or self.last)

    def includes(self, line: StatementLine) -> bool:
        """Whether a line of the wanted days is of the wanted asset and outcome."""
        return self.asset in (None, line.asset) and self.outcome in (None, line.outcome)

    def parameters(self) -> dict[str, str]:
        """The filter as the parameters of a URL, without the page."""
        chosen = {"asset": self.asset, "outcome": self.outcome, "from": self.first, "to": self.last}
        return {name: str(value) for name, value in chosen.items() if value is not None}


def wanted_lines(parameters: Mapping[str, str]) -> Wanted:
    """The filter of a history's URL. Parameters that cannot be understood are named and left out."""
    problems: list[str] = []

    def parsed_day(name: str) -> date | None:
        text = parameters.get(name, "").strip()
        try:
            return date.fromisoformat(text) if text else None
        except ValueError:
            problems.append(f"{text[:40]} is not a day such as 2026-10-01.")
            return None

    first, last = parsed_day("from"), parsed_day("to")
    if first and last and first > last:
        problems.append(f"The first day, {first}, is after the last one, {last}.")
    asset = parameters.get("asset", "").strip() or None
    if asset is not None:
        try:
            asset = check_asset_code(asset)
        except ValueError:
            problems.append("That is not an asset.")
            asset = None
    outcome = parameters.get("outcome", "").strip()
    if outcome and outcome not in set(Outcome):
        problems.append("That is not an outcome.")
        outcome = ""
    return Wanted(
        asset=asset,
        outcome=Outcome(outcome) if outcome else None,
        first=first,
        last=last,
        page=_page_number(parameters.get("page", "1")),
        problems=tuple(problems),
    )


def unknown_filters(parameters: Mapping[str, str], names: Sequence[str] = _NAMES) -> list[str]:
    """A sentence for each parameter that the filter does not have, which a program may have misspelt."""
    there = f"{', '.join(names[:-1])} and {names[-1]}"
    unknown = [name for name in parameters if name not in names]
    return [f"There is no filter {name[:40]}; there are {there}." for name in unknown]


def _page_number(text: str) -> int:
    """The page's number from 1 on; 1 for a text that is not a number."""
    is_number = text.isascii() and text.isdecimal() and len(text) <= _PAGE_DIGITS_MAX
    return max(int(text), 1) if is_number else 1
