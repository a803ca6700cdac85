"""The sample shows what it promises: each outcome and each rule that a ledger can show.

Rewards are left out of the holdings here. If they decide an outcome, the sample's remarks say so.
"""

import csv
import io
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, datetime, time
from functools import cache
from itertools import groupby, pairwise
from pathlib import Path

import pytest

from ledger.imports.history_export import HEADERS, Export, ExportLine, parse_export
from staking.average import DayHolding, day_holding
from staking.days import ONE_DAY, day_of, end_of, first_accrual_day, start_of
from staking.program import Program, parse_program
from staking.rewards import Outcome, outcome_and_reward
from staking.tag import qualifies

pytestmark = pytest.mark.on_both_databases

ROOT = Path(__file__).parents[3]
SAMPLE = ROOT / "examples" / "transactions.csv"
FIRST_DAY, LAST_DAY = date(2026, 10, 1), date(2026, 10, 31)
MIDNIGHT = time(0, 0)


@dataclass(frozen=True)
class Row:
    user_id: str
    day: date
    asset: str
    holding: DayHolding
    outcome: Outcome
    reward: int


@cache
def program() -> Program:
    return parse_program((ROOT / "examples" / "program.toml").read_text())


@cache
def export() -> Export:
    return parse_export(SAMPLE.read_bytes())


def lines_of(user_id: str) -> list[ExportLine]:
    return sorted((line for line in export().lines if line.user_id == user_id), key=lambda line: line.instant)


def users() -> list[str]:
    return sorted({line.user_id for line in export().lines})


def holdings_after_each_instant(user_id: str) -> Iterator[tuple[datetime, dict[str, int]]]:
    held: defaultdict[str, int] = defaultdict(int)
    for instant, movements in groupby(lines_of(user_id), key=lambda line: line.instant):
        for line in movements:
            held[line.asset] += line.change
        yield instant, dict(held)


def activated_at(user_id: str) -> datetime | None:
    """The first instant at which the user qualifies."""
    terms = program().assets
    for instant, held in holdings_after_each_instant(user_id):
        if any(qualifies(units, terms[asset]) for asset, units in held.items() if asset in terms):
            return instant
    return None


@cache
def rows() -> list[Row]:
    return [row for user_id in users() for row in _rows_of(user_id)]


def _rows_of(user_id: str) -> Iterator[Row]:
    start = activated_at(user_id)
    if start is None:
        return
    for asset, terms in program().assets.items():
        lines = [line for line in lines_of(user_id) if line.asset == asset]
        day = first_accrual_day(start)
        opening = sum(line.change for line in lines if line.instant < start_of(day))
        while day <= LAST_DAY:
            movements = [(line.instant, line.change) for line in lines if day_of(line.instant) == day]
            holding = day_holding(day, opening, movements)
            if opening or holding.closing or movements:
                yield Row(user_id, day, asset, holding, *outcome_and_reward(holding.average, terms, 1))
            opening = holding.closing
            day += ONE_DAY


def rows_of(user_id: str, asset: str) -> list[Row]:
    return [row for row in rows() if (row.user_id, row.asset) == (user_id, asset)]


def row_on(user_id: str, asset: str, day: int) -> Row:
    (row,) = [row for row in rows_of(user_id, asset) if row.day == date(2026, 10, day)]
    return row


def test_the_sample_is_a_good_export_of_readable_length() -> None:
    text = SAMPLE.read_text()

    assert export().bad == []
    assert export().too_large == []
    assert text.splitlines()[0] == ",".join(HEADERS[0])
    assert 150 <= len(text.splitlines()) <= 400


def test_the_program_is_the_shipped_one_but_for_a_paused_asset_and_an_invented_one() -> None:
    shipped = parse_program((ROOT / "program.toml").read_text()).model_dump()
    shown = program().model_dump()

    dust = shown["assets"].pop("DUST")
    assert not dust["paused"]
    assert shown["assets"]["AXS"].pop("paused") is True
    assert shipped["assets"]["AXS"].pop("paused") is False
    assert shown == shipped


def test_the_sample_spans_thirty_accrual_days_up_to_its_last_spot_line() -> None:
    assert min(day_of(line.instant) for line in export().lines) == FIRST_DAY
    assert max(day_of(line.instant) for line in export().lines) == LAST_DAY
    assert sorted({row.day for row in rows()}) == [FIRST_DAY + ONE_DAY * n for n in range(1, 31)]


def test_many_users_start_on_different_days_and_one_never_qualifies() -> None:
    starts = {user_id: activated_at(user_id) for user_id in users()}
    days = [day_of(start) for start in starts.values() if start]

    assert len(starts) >= 10
    assert len(set(days)) == len(days) == len(starts) - 1
    assert min(days) == FIRST_DAY
    assert starts["1008"] is None


def test_a_user_who_starts_on_the_last_day_has_no_accrual_day_yet() -> None:
    start = activated_at("1013")

    assert start is not None
    assert day_of(start) == LAST_DAY
    assert not [row for row in rows() if row.user_id == "1013"]


def test_no_balance_is_below_zero_at_the_end_of_an_instant() -> None:
    for user_id in users():
        for instant, held in holdings_after_each_instant(user_id):
            assert min(held.values()) >= 0, (user_id, instant, held)


def test_the_worked_example_is_in_the_sample() -> None:
    start = activated_at("1001")
    day_2 = row_on("1001", "SOL", 2)

    assert start is not None
    assert start.isoformat() == "2026-10-01T10:00:00+00:00"
    assert day_2.holding == DayHolding(opening=12_00000000, closing=10_50000000, average=10_12500000)
    assert day_2.reward == 22191
    # Its next average is 10.50022191, the reward included, only if nothing else moves.
    assert len(lines_of("1001")) == 3


def test_the_hourly_steps_of_the_other_worked_example_are_in_the_sample() -> None:
    assert row_on("1012", "ALGO", 14).holding.average == 1250_00000000


@pytest.mark.parametrize("outcome", Outcome)
def test_every_outcome_occurs_more_than_once(outcome: Outcome) -> None:
    assert len([row for row in rows() if row.outcome is outcome]) > 1


def test_an_asset_is_paused_for_users_who_hold_it_above_its_minimum() -> None:
    paused = [row for row in rows() if row.outcome is Outcome.PAUSED]

    assert {row.asset for row in paused} == {"AXS"}
    assert {row.user_id for row in paused} == {"1006", "1011"}
    assert max(row.holding.average for row in paused) > program().assets["AXS"].minimum_units


def test_dust_rounds_to_zero_then_earns_then_is_capped() -> None:
    outcomes = [outcome for outcome, _ in groupby(row.outcome for row in rows_of("1009", "DUST"))]

    assert outcomes == [Outcome.ROUNDED_TO_ZERO, Outcome.EARNED, Outcome.CAPPED]


def test_a_minimum_is_crossed_in_both_directions() -> None:
    outcomes = [outcome for outcome, _ in groupby(row.outcome for row in rows_of("1003", "SUI"))]

    assert outcomes[:3] == [Outcome.EARNED, Outcome.BELOW_MINIMUM, Outcome.EARNED]
    assert outcomes[-2:] == [Outcome.BELOW_MINIMUM, Outcome.EARNED]


def test_the_average_and_not_an_instant_meets_the_minimum() -> None:
    minimum = program().assets["SUI"].minimum_units
    dipped, sank, rose = (row_on("1003", "SUI", day) for day in (13, 17, 20))

    assert dipped.outcome is Outcome.EARNED
    assert dipped.holding.opening - 60_00000000 < minimum
    assert sank.outcome is Outcome.EARNED
    assert sank.holding.closing < minimum
    assert rose.outcome is Outcome.BELOW_MINIMUM
    assert rose.holding.closing >= minimum


def test_one_unit_below_the_minimum_earns_nothing_and_exactly_the_minimum_earns() -> None:
    minimum = program().assets["SUI"].minimum_units
    below, at = row_on("1003", "SUI", 24), row_on("1012", "S", 13)

    assert (below.holding.average, below.outcome) == (minimum - 1, Outcome.BELOW_MINIMUM)
    assert (at.holding.average, at.outcome) == (program().assets["S"].minimum_units, Outcome.EARNED)


def test_a_cap_is_passed_and_met_exactly_and_left_again() -> None:
    terms = program().assets["BNB"]
    above, below, at = (row_on("1004", "BNB", day) for day in (18, 20, 26))

    assert (above.outcome, below.outcome, at.outcome) == (Outcome.CAPPED, Outcome.EARNED, Outcome.EARNED)
    assert at.holding.average == terms.cap_units
    assert at.reward == above.reward > below.reward


def test_everything_is_withdrawn_and_deposited_again_later() -> None:
    near = rows_of("1005", "NEAR")

    assert near[0].holding.closing > 0
    assert row_on("1005", "NEAR", 9).holding.closing == 0
    assert not [row for row in near if date(2026, 10, 10) <= row.day <= date(2026, 10, 15)]
    assert near[-1].outcome is Outcome.EARNED


def test_a_movement_at_midnight_belongs_to_the_day_it_opens() -> None:
    day_before, day_of_movement = row_on("1007", "TON", 8), row_on("1007", "TON", 9)

    assert any(line.instant == end_of(day_before.day) for line in lines_of("1007"))
    assert day_before.holding.closing == day_of_movement.holding.opening == 500_00000000
    assert day_of_movement.holding.average == 300_00000000
    assert len({line.user_id for line in export().lines if line.instant.time() == MIDNIGHT}) >= 4


def test_movements_at_one_instant_act_together_where_one_alone_would_overdraw() -> None:
    together = [line for line in lines_of("1007") if line.instant.isoformat().startswith("2026-10-12T12")]

    assert len(together) == 3
    assert row_on("1007", "TON", 12).holding.opening + together[0].change < 0
    assert row_on("1007", "TON", 12).outcome is Outcome.EARNED


def test_trades_have_two_legs_at_one_instant() -> None:
    for operation in ("Buy", "Sell", "Convert", "Auto-Invest"):
        legs = [line for line in export().lines if line.operation == operation]
        trades = {(line.user_id, line.instant) for line in legs}
        assert len(legs) == 2 * len(trades) > 0
        for user_id, instant in trades:
            paid, got = sorted(line.change for line in legs if (line.user_id, line.instant) == (user_id, instant))
            assert paid < 0 < got


def test_what_orders_lock_is_released_and_can_cost_a_day_its_reward() -> None:
    for asset in ("BNB", "USDT", "SOL"):
        lines = [line for line in lines_of("1002") if line.asset == asset]
        assert sum(line.change for line in lines if line.operation in {"Order Lock", "Order Release"}) == 0
    assert row_on("1002", "BNB", 7).outcome is Outcome.EARNED
    assert row_on("1002", "BNB", 9).outcome is Outcome.BELOW_MINIMUM
    assert row_on("1002", "BNB", 11).outcome is Outcome.EARNED


def test_operations_are_those_of_an_exchange() -> None:
    assert {line.operation for line in export().lines} >= {
        *["Deposit", "Withdraw", "Buy", "Sell", "Transaction Fee", "Send", "Receive", "Convert"],
        *["Order Lock", "Order Release", "Airdrop", "Auto-Invest"],
    }


def test_a_user_holds_all_ten_assets_of_the_shipped_program() -> None:
    assert {row.asset for row in rows() if row.user_id == "1006"} == set(program().assets) - {"DUST"}


def test_assets_outside_the_program_are_in_the_sample() -> None:
    assert {line.asset for line in export().lines} - set(program().assets) == {"USDT", "BTC", "PEPE"}


def test_other_accounts_and_zero_changes_are_in_the_sample() -> None:
    assert export().skipped_not_spot >= 2
    assert export().skipped_zero == 1


def test_identical_lines_count_each() -> None:
    twins = [line for line in lines_of("1010") if line.operation == "Deposit" and line.asset == "ALGO"]

    assert [line.change for line in twins] == [600_00000000, 600_00000000]
    assert twins[0].instant == twins[1].instant
    assert twins[0].movement == twins[1].movement


def test_some_lines_are_not_in_the_order_of_time() -> None:
    descents = [later for earlier, later in pairwise(export().lines) if later.instant < earlier.instant]

    assert len(descents) >= 4


def test_some_remarks_need_their_quotes() -> None:
    remarks = [fields[6] for fields in csv.reader(io.StringIO(SAMPLE.read_text()))]

    assert any("," in remark for remark in remarks)
    assert any('"' in remark for remark in remarks)


def test_amounts_are_written_in_every_form() -> None:
    amounts = {fields[5] for fields in csv.reader(io.StringIO(SAMPLE.read_text()))}

    assert {"12.00000000", "-3", "1E-8", "1.5", "0.00000000"} <= amounts
