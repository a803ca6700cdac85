"""Rewards of many users for people: a calendar of outcomes, and totals per asset."""

from collections import defaultdict
from collections.abc import Sequence
from datetime import date
from decimal import Decimal

from rich.text import Text

from commands.output import Cell, Column, print_prose, print_table
from ledger.reading.statements import StatementLine
from staking.days import ONE_DAY
from staking.money import UNITS_PER_TOKEN, format_amount
from staking.program import Program
from staking.rewards import Outcome

_MARKS = {
    Outcome.EARNED: ("●", "green", "earned"),
    Outcome.CAPPED: ("▲", "yellow", "capped"),
    Outcome.BELOW_MINIMUM: ("·", "dim", "below minimum"),
    Outcome.ROUNDED_TO_ZERO: ("○", "cyan", "rounded to zero"),
    Outcome.PAUSED: ("‖", "magenta", "paused"),
}
_REVERSED = ("↺", "red", "reversed")
_CALENDAR_DAYS_MAX = 31


def print_calendar(lines: Sequence[StatementLine], *, last_day: date) -> None:
    """A row for each user and asset: the outcome of each day, the average of the last day, and the sum of the
    rewards."""
    by_account: defaultdict[tuple[str, str], list[StatementLine]] = defaultdict(list)
    for line in lines:
        by_account[line.user_id, line.asset].append(line)
    if not by_account:
        print("No day was owed, so nothing was paid.")
        return
    first_day = max(min(line.day for line in lines), last_day - (_CALENDAR_DAYS_MAX - 1) * ONE_DAY)
    days = [first_day + number * ONE_DAY for number in range((last_day - first_day).days + 1)]
    rows: list[list[Cell]] = []
    previous_user = ""
    for (user_id, asset), account in sorted(by_account.items()):
        latest = account[-1]
        rows.append(
            [
                user_id if user_id != previous_user else "",
                asset,
                _strip(account, days),
                format_amount(latest.average),
                str(sum(line.kept > 0 for line in account)),
                format_amount(sum(line.kept for line in account)),
            ]
        )
        previous_user = user_id
    print_table(
        [
            Column("user"),
            Column("asset"),
            Column(f"{first_day} … {last_day}", spare=1),
            Column("last average", is_number=True, spare=3),
            Column("days paid", is_number=True, spare=2),
            Column("rewards", is_number=True),
        ],
        rows,
        title="Rewards",
    )
    reversals = [_REVERSED] if any(line.reversed_by for line in lines) else []
    marks = [*_MARKS.values(), *reversals]
    print_prose(Text("   ").join(Text.assemble((mark, style), " ", name) for mark, style, name in marks))
    print()


def _strip(account: Sequence[StatementLine], days: Sequence[date]) -> Text:
    marks_by_day = {line.day: _REVERSED if line.reversed_by else _MARKS[line.outcome] for line in account}
    return Text.assemble(*(marks_by_day.get(day, (" ", "dim", ""))[:2] for day in days))


def print_totals(lines: Sequence[StatementLine], program: Program) -> None:
    """What was paid in each asset and not reversed, and its value at the program's reference prices."""
    by_asset: defaultdict[str, list[StatementLine]] = defaultdict(list)
    for line in lines:
        by_asset[line.asset].append(line)
    rows: list[list[str]] = []
    value_usdt = Decimal(0)
    for asset, account in sorted(by_asset.items()):
        total = sum(line.kept for line in account)
        value = Decimal(total) / UNITS_PER_TOKEN * Decimal(program.assets[asset].reference_price)
        value_usdt += value
        users = len({line.user_id for line in account if line.kept})
        rows.append(
            [
                asset,
                str(users),
                str(sum(line.kept > 0 for line in account)),
                format_amount(total),
                f"{value:.2f}",
            ]
        )
    rows.append(["", "", str(sum(line.kept > 0 for line in lines)), "", f"{value_usdt:.2f}"])
    print_table(
        [
            Column("asset"),
            Column("users paid", is_number=True, spare=2),
            Column("rewards paid", is_number=True, spare=1),
            Column("total", is_number=True),
            Column("value USDT", is_number=True),
        ],
        rows,
        title="Totals",
    )
    print()
