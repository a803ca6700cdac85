"""One user's day: when it may be closed, what it earned and when it is paid, by tables and without a database."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contract.requests import CreditRequest, SnapshotRequest
from staking.day import (
    ClosedDay,
    ClosingFacts,
    Credit,
    DayBefore,
    DayFacts,
    Enrolled,
    Fixed,
    Terms,
    check_averages,
    check_is_accrual_day,
    check_order,
    close,
    closed_before,
    credit,
    credited_before,
    paid,
    rewards_of,
)
from staking.days import ONE_DAY, end_of, start_of
from staking.models import CreditReceipt, EndsHere, Holding, PoolShort, RewardLine, Rewards, Snapshot
from staking.money import format_amount, parse_amount
from staking.program import parse_program
from staking.refusals import ContentDiffers, LedgerError, NotEnrolled, OutOfOrder
from staking.rewards import Outcome

SHIPPED = parse_program((Path(__file__).parents[2] / "program.toml").read_text())
D1, D2, D3, D4 = (date(2026, 10, 1) + number * ONE_DAY for number in range(4))
ACTIVATED = datetime(2026, 10, 1, 10, tzinfo=UTC)
LONG_AGO = datetime(1970, 1, 1, tzinfo=UTC)
A_MOMENT = timedelta(microseconds=1)
ENROLLED = Enrolled(ACTIVATED, first_accrual_day=D2, last_accrual_day=None)
ENDED_AT_D3 = replace(ENROLLED, last_accrual_day=D3)
ACTIVATION_DAY = DayBefore(1, accrues=False, is_credited=False, last_accrual_day=None)
CREDITED_DAY = DayBefore(1, accrues=True, is_credited=True, last_accrual_day=None)
OWED_DAY = replace(CREDITED_DAY, is_credited=False)


def closing_of(day: date, *, enrolment_id: str = "1") -> SnapshotRequest:
    return SnapshotRequest(user_id="ann", enrolment_id=enrolment_id, day=day, now=end_of(day))


def in_order(day: date, before: DayBefore | None = None, **others: Any) -> ClosingFacts:
    """The facts of a user whose earlier days are all closed."""
    facts: dict[str, Any] = {"closed_through": start_of(day), "enrolment": ENROLLED, "before": before, **others}
    return ClosingFacts(**facts)


# The order of days.

MAY_BE_CLOSED = {
    "the activation day of a user of whom no day was ever closed": (D1, in_order(D1, closed_through=LONG_AGO)),
    "the first accrual day, after the activation day that earned nothing": (D2, in_order(D2, ACTIVATION_DAY)),
    "a day after one that is credited": (D3, in_order(D3, CREDITED_DAY)),
    "the last accrual day": (D3, in_order(D3, CREDITED_DAY, enrolment=ENDED_AT_D3)),
    "an activation day after a day that was dropped": (
        D1,
        in_order(D1, replace(OWED_DAY, last_accrual_day=D1 - 2 * ONE_DAY)),
    ),
    "an activation day after the credited last day of another enrolment": (
        D1,
        in_order(D1, replace(CREDITED_DAY, last_accrual_day=D1 - ONE_DAY)),
    ),
}


@pytest.mark.parametrize(("day", "facts"), MAY_BE_CLOSED.values(), ids=MAY_BE_CLOSED.keys())
def test_a_day_may_be_closed_when_it_is_its_turn(day: date, facts: ClosingFacts):
    check_order(closing_of(day), facts, now=end_of(day))


@dataclass(frozen=True)
class Refused:
    """The facts of a day that may not be closed, and the sentence of the refusal."""

    day: date
    facts: ClosingFacts
    error: type[LedgerError]
    says: str
    now: datetime = field(default=end_of(D4))


MAY_NOT_BE_CLOSED = {
    "no such enrolment": Refused(
        D2, in_order(D2, enrolment=None), NotEnrolled, "user ann has no enrolment 1 on 2026-10-02"
    ),
    "before the activation day": Refused(
        D1 - ONE_DAY, in_order(D1 - ONE_DAY), NotEnrolled, "user ann has no enrolment 1 on 2026-09-30"
    ),
    "after the last accrual day": Refused(
        D4,
        in_order(D4, CREDITED_DAY, enrolment=ENDED_AT_D3),
        OutOfOrder,
        "2026-10-04 is after the last accrual day of user ann's enrolment 1, which has ended",
    ),
    "a moment before the boundary": Refused(
        D2,
        in_order(D2, ACTIVATION_DAY),
        OutOfOrder,
        "2026-10-02 is not over at 2026-10-02T23:59:59.999999+00:00",
        now=end_of(D2) - A_MOMENT,
    ),
    "below the watermark": Refused(
        D2,
        in_order(D2, ACTIVATION_DAY, closed_through=end_of(D2)),
        OutOfOrder,
        "user ann is closed through 2026-10-03T00:00:00+00:00 already",
    ),
    "after an owed day": Refused(
        D3, in_order(D3, OWED_DAY), OutOfOrder, "2026-10-02 is still owed to user ann; credit it first"
    ),
    "after the owed last day of another enrolment": Refused(
        D1,
        in_order(D1, replace(OWED_DAY, last_accrual_day=D1 - ONE_DAY)),
        OutOfOrder,
        "2026-09-30 is still owed to user ann; credit it first",
    ),
    "after a day that is not closed": Refused(
        D3, in_order(D3), OutOfOrder, "2026-10-02 is not closed for user ann; close it first"
    ),
    "while an earlier enrolment has owed days": Refused(
        D1,
        in_order(D1, owed_enrolment_id="0"),
        OutOfOrder,
        "days of enrolment 0 are still owed to user ann; credit them first",
    ),
}


@pytest.mark.parametrize("refused", MAY_NOT_BE_CLOSED.values(), ids=MAY_NOT_BE_CLOSED.keys())
def test_a_day_out_of_its_turn_is_refused_and_the_sentence_says_why(refused: Refused):
    with pytest.raises(refused.error) as says:
        check_order(closing_of(refused.day), refused.facts, refused.now)
    assert str(says.value) == refused.says


def test_a_closing_that_is_repeated_answers_what_was_fixed():
    snapshot = Snapshot(day=D2, holdings=[Holding(asset="SOL", opening=1, closing=2, average=1)])
    assert closed_before(closing_of(D2), in_order(D2)) is None
    assert closed_before(closing_of(D2), in_order(D2, fixed=Fixed("1", snapshot))) == snapshot


def test_a_closing_that_is_repeated_for_another_enrolment_is_refused_and_names_both():
    facts = in_order(D2, fixed=Fixed("1", Snapshot(day=D2, holdings=[])))
    with pytest.raises(ContentDiffers, match=r"recorded as of enrolment 1, and is now asked as of enrolment 2"):
        closed_before(closing_of(D2, enrolment_id="2"), facts)


# The snapshot.

SIX, EIGHTEEN = (start_of(D2) + timedelta(hours=hours) for hours in (6, 18))


@dataclass(frozen=True)
class Held:
    """Openings and movements in tokens; opening, closing and average of each asset in the snapshot."""

    openings: Mapping[str, str]
    movements: Mapping[str, Sequence[tuple[datetime, str]]]
    snapshot: Mapping[str, tuple[str, str, str]]


SNAPSHOTS = {
    "nothing": Held({}, {}, {}),
    "held all day": Held({"SOL": "12"}, {}, {"SOL": ("12", "12", "12")}),
    "moved twice": Held(
        {"SOL": "12"}, {"SOL": [(SIX, "-3"), (EIGHTEEN, "1.5")]}, {"SOL": ("12", "10.5", "10.125")}
    ),
    "came on the day": Held({}, {"SOL": [(EIGHTEEN, "4")]}, {"SOL": ("0", "4", "1")}),
    "came and went, so that it closes as it opened": Held(
        {"SOL": "0"}, {"SOL": [(SIX, "2"), (EIGHTEEN, "-2")]}, {"SOL": ("0", "0", "1")}
    ),
    "gone before the day": Held({"SOL": "0", "SUI": "5"}, {}, {"SUI": ("5", "5", "5")}),
    "an asset outside the program": Held(
        {"SOL": "1", "DOGE": "7"}, {"XRP": [(SIX, "1")]}, {"SOL": ("1", "1", "1")}
    ),
    "several assets, by their codes": Held(
        {"SUI": "1", "BNB": "2"},
        {"ADA": [(start_of(D2), "3")]},
        {"ADA": ("0", "3", "3"), "BNB": ("2", "2", "2"), "SUI": ("1", "1", "1")},
    ),
}


@pytest.mark.parametrize("held", SNAPSHOTS.values(), ids=SNAPSHOTS.keys())
def test_a_snapshot_has_each_program_asset_with_an_opening_or_a_movement(held: Held):
    openings = {asset: parse_amount(tokens) for asset, tokens in held.openings.items()}
    movements = {
        asset: [(instant, parse_amount(tokens)) for instant, tokens in moved]
        for asset, moved in held.movements.items()
    }
    snapshot = close(DayFacts(D2, openings, movements), SHIPPED.assets)

    assert snapshot == Snapshot(
        day=D2,
        holdings=[
            Holding(
                asset=asset,
                opening=parse_amount(opening),
                closing=parse_amount(closing),
                average=parse_amount(average),
            )
            for asset, (opening, closing, average) in held.snapshot.items()
        ],
    )


# The rewards.


def a_snapshot(day: date = D2, **averages: str) -> Snapshot:
    holdings = [
        Holding(asset=asset, opening=0, closing=0, average=parse_amount(average))
        for asset, average in averages.items()
    ]
    return Snapshot(day=day, holdings=holdings)


@pytest.mark.parametrize(
    ("region", "ends"), [("FR", False), ("US", True), ("US-CA", True), ("UA", False), ("UA-43", True)]
)
def test_a_day_on_which_the_region_is_restricted_ends_the_enrolment_and_earns_nothing(region: str, ends: bool):
    decided = rewards_of(a_snapshot(SOL="12"), Terms(1, SHIPPED, region))
    if ends:
        assert decided == EndsHere(day=D2, reason=f"region_restricted:{region}")
    else:
        assert isinstance(decided, Rewards)


def test_rewards_have_a_line_for_each_holding_with_the_terms_that_it_was_computed_with():
    decided = rewards_of(a_snapshot(SOL="12", BNB="0.1", SUI="60000"), Terms(7, SHIPPED, "FR"))

    assert isinstance(decided, Rewards)
    assert (decided.day, decided.program_version) == (D2, 7)
    assert [(line.asset, line.outcome, format_amount(line.reward)) for line in decided.lines] == [
        ("SOL", Outcome.EARNED, "0.00026301"),
        ("BNB", Outcome.BELOW_MINIMUM, "0.00000000"),
        ("SUI", Outcome.CAPPED, "1.36986301"),
    ]
    for line in decided.lines:
        terms = SHIPPED.assets[line.asset]
        assert (line.minimum, line.cap, line.apr, line.formula) == (terms.minimum, terms.cap, terms.apr, 1)


def test_a_user_who_held_nothing_has_rewards_without_lines():
    assert rewards_of(a_snapshot(), Terms(1, SHIPPED, "FR")) == Rewards(day=D2, program_version=1, lines=[])


# The credit.


def a_line(asset: str, average: str, reward: str) -> RewardLine:
    return RewardLine(
        asset=asset,
        average=parse_amount(average),
        minimum="1",
        cap="10000",
        apr="0.008",
        reward=parse_amount(reward),
        outcome=Outcome.EARNED,
    )


SOL, SUI, NOTHING = a_line("SOL", "12", "3"), a_line("SUI", "200", "5"), a_line("BNB", "0.1", "0")
CLOSED = ClosedDay(
    enrolment_id="1",
    enrolled_at=ACTIVATED,
    last_accrual_day=None,
    program_version=1,
    accrues=True,
    averages=[("SOL", SOL.average), ("SUI", SUI.average)],
)
RECEIPT = CreditReceipt(day=D2, credited_at=end_of(D2), late=False, entry_id=5)
PAID_BEFORE = replace(CLOSED, receipt=RECEIPT, lines=[SOL, SUI])


def rewards(*lines: RewardLine, program_version: int = 1) -> Rewards:
    return Rewards(day=D2, program_version=program_version, lines=list(lines))


def credit_of(*lines: RewardLine, enrolment_id: str = "1", program_version: int = 1) -> CreditRequest:
    asked = rewards(*lines, program_version=program_version)
    return CreditRequest(user_id="ann", enrolment_id=enrolment_id, rewards=asked, now=end_of(D2))


@pytest.mark.parametrize("closed", [CLOSED, replace(CLOSED, last_accrual_day=D2)], ids=["open", "its last day"])
def test_an_accrual_day_may_be_credited(closed: ClosedDay):
    check_is_accrual_day(credit_of(), closed)


NO_ACCRUAL_DAY = "2026-10-02 is no accrual day of user ann's enrolment 1"
NOT_TO_BE_CREDITED = {
    "the activation day": (replace(CLOSED, accrues=False), OutOfOrder, NO_ACCRUAL_DAY),
    "a day that was dropped": (replace(CLOSED, last_accrual_day=D1), OutOfOrder, NO_ACCRUAL_DAY),
    "a day of another enrolment": (
        replace(CLOSED, enrolment_id="2"),
        ContentDiffers,
        "as of enrolment 2 under program version 1, and is now asked as of enrolment 1 under program version 1",
    ),
    "a day under another program version": (
        replace(CLOSED, program_version=2),
        ContentDiffers,
        "as of enrolment 1 under program version 2, and is now asked as of enrolment 1 under program version 1",
    ),
}


@pytest.mark.parametrize(("closed", "error", "says"), NOT_TO_BE_CREDITED.values(), ids=NOT_TO_BE_CREDITED.keys())
def test_a_day_that_earns_nothing_or_is_not_as_believed_is_not_credited(
    closed: ClosedDay, error: type[LedgerError], says: str
):
    with pytest.raises(error, match=says):
        check_is_accrual_day(credit_of(), closed)


def test_a_credit_that_is_repeated_answers_the_first_receipt_in_whatever_order_its_lines_are():
    assert credited_before(credit_of(SOL, SUI), CLOSED) is None
    assert credited_before(credit_of(SOL, SUI), PAID_BEFORE) == RECEIPT
    assert credited_before(credit_of(SUI, SOL), PAID_BEFORE) == RECEIPT


CHANGED = {
    "average": parse_amount("13"),
    "minimum": "2",
    "cap": "9",
    "apr": "0.009",
    "reward": parse_amount("4"),
    "outcome": Outcome.CAPPED,
    "formula": 2,
}


def test_every_figure_of_a_line_is_tried():
    assert CHANGED.keys() | {"asset"} == RewardLine.model_fields.keys()


@pytest.mark.parametrize(
    "lines",
    [[SOL], [SOL, SUI, NOTHING], [], *([SOL.model_copy(update={name: CHANGED[name]}), SUI] for name in CHANGED)],
    ids=["a line is missing", "a line is new", "no line", *CHANGED],
)
def test_a_credit_that_is_repeated_with_anything_else_is_refused(lines: list[RewardLine]):
    with pytest.raises(ContentDiffers, match="the credit of 2026-10-02 for user ann was recorded as"):
        credited_before(credit_of(*lines), PAID_BEFORE)


def test_rewards_of_the_averages_that_were_fixed_may_be_credited():
    check_averages(credit_of(SUI, SOL), CLOSED)
    check_averages(credit_of(), replace(CLOSED, averages=[]))


@pytest.mark.parametrize(
    ("lines", "asked"),
    [
        ([], "empty"),
        ([SOL], "12.00000000 SOL"),
        ([SOL, SOL, SUI], "12.00000000 SOL, 12.00000000 SOL, 200.00000000 SUI"),
        ([a_line("SOL", "12.00000001", "3"), SUI], "12.00000001 SOL, 200.00000000 SUI"),
    ],
    ids=["no line", "a line is missing", "a line is there twice", "another average"],
)
def test_rewards_of_other_averages_than_were_fixed_are_refused(lines: list[RewardLine], asked: str):
    with pytest.raises(ContentDiffers) as refused:
        check_averages(credit_of(*lines), CLOSED)
    assert str(refused.value) == (
        "the snapshot of 2026-10-02 for user ann was recorded as 12.00000000 SOL, 200.00000000 SUI, "
        f"and is now asked as {asked}"
    )


def pools(**tokens: str) -> dict[str, int]:
    return {asset: parse_amount(amount) for asset, amount in tokens.items()}


POOLS = {
    "more than enough": (pools(SOL="9", SUI="9"), []),
    "exactly enough": (pools(SOL="3", SUI="5"), []),
    "one unit short": (pools(SOL="2.99999999", SUI="5"), ["SOL"]),
    "both short, by their codes": (pools(SUI="4", SOL="0"), ["SOL", "SUI"]),
    "a pool that was never funded": (pools(SOL="3"), ["SUI"]),
}


@pytest.mark.parametrize(("pool", "short"), POOLS.values(), ids=POOLS.keys())
def test_a_day_is_paid_whole_or_not_at_all(pool: dict[str, int], short: list[str]):
    decided = credit(rewards(SUI, SOL, NOTHING), CLOSED, pool, end_of(D2))
    if short:
        assert decided == PoolShort(day=D2, assets=short)
    else:
        assert decided == Credit(end_of(D2), late=False, paid={"SOL": SOL.reward, "SUI": SUI.reward})


def test_a_day_that_earned_nothing_needs_no_pool():
    assert credit(rewards(NOTHING), CLOSED, {}, end_of(D2)) == Credit(end_of(D2), late=False, paid={})


DEADLINE = end_of(D2) + timedelta(hours=8)


@pytest.mark.parametrize(
    ("credited_at", "enrolled_at", "late"),
    [
        (DEADLINE, ACTIVATED, False),
        (DEADLINE + A_MOMENT, ACTIVATED, True),
        (DEADLINE + A_MOMENT, end_of(D2) - A_MOMENT, True),
        (DEADLINE + A_MOMENT, end_of(D2), False),
    ],
    ids=["in time", "late", "recorded just before the day closed", "dated back to a day that had closed"],
)
def test_a_credit_after_its_deadline_is_late_unless_its_day_had_closed_before_the_enrolment_was_recorded(
    credited_at: datetime, enrolled_at: datetime, late: bool
):
    decided = credit(rewards(SOL), replace(CLOSED, enrolled_at=enrolled_at), pools(SOL="3"), credited_at)
    assert decided == Credit(credited_at, late, {"SOL": SOL.reward})


AMOUNTS = st.dictionaries(st.sampled_from(["SOL", "SUI", "BNB"]), st.integers(0, 3))


@given(AMOUNTS, AMOUNTS)
def test_no_pool_falls_below_zero_and_nothing_is_held_back_that_can_be_paid(
    due: dict[str, int], pool: dict[str, int]
):
    lines = [a_line(asset, "1", format_amount(reward)) for asset, reward in due.items()]
    decided = credit(rewards(*lines), CLOSED, pool, end_of(D2))
    short = {asset for asset, reward in due.items() if reward > pool.get(asset, 0)}
    if isinstance(decided, PoolShort):
        assert set(decided.assets) == short
    else:
        assert not short
        assert decided.paid == {asset: reward for asset, reward in due.items() if reward}


def test_the_worked_example_comes_out_day_after_day():
    """A day opens with what the day before closed with, and that day's reward counts from the boundary on."""
    openings, movements = pools(SOL="12"), {"SOL": [(SIX, parse_amount("-3")), (EIGHTEEN, parse_amount("1.5"))]}
    told: list[tuple[str, str]] = []
    for day in (D2, D3):
        snapshot = close(DayFacts(day, openings, movements), SHIPPED.assets)
        decided = rewards_of(snapshot, Terms(1, SHIPPED, "FR"))
        assert isinstance(decided, Rewards)
        (line,) = decided.lines
        told.append((format_amount(line.average), format_amount(line.reward)))
        openings = {held.asset: held.closing for held in snapshot.holdings}
        movements = {asset: [(end_of(day), reward)] for asset, reward in paid(decided).items()}
    assert told == [("10.12500000", "0.00022191"), ("10.50022191", "0.00023014")]
