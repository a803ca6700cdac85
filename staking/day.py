"""One user's day, decided from what is recorded of it: its closing, its rewards and its credit (rules 1 to 13).

Every function here is pure and about one user. ledger/day/facts.py reads the facts; ledger/day/together.py writes
what is decided.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Protocol

from staking.average import day_holding
from staking.days import ONE_DAY, day_of, end_of, is_late, start_of
from staking.models import CreditReceipt, EndsHere, Holding, PoolShort, RewardLine, Rewards, Snapshot
from staking.money import format_amount
from staking.program import AssetTerms, Program
from staking.refusals import ContentDiffers, NotEnrolled, OutOfOrder
from staking.rewards import formula_on, outcome_and_reward


class ClosingAsked(Protocol):
    """A request to close a day of a user, for an enrolment."""

    @property
    def user_id(self) -> str: ...
    @property
    def enrolment_id(self) -> str: ...
    @property
    def day(self) -> date: ...


class CreditAsked(Protocol):
    """A request to credit a user what a day earned, for an enrolment."""

    @property
    def user_id(self) -> str: ...
    @property
    def enrolment_id(self) -> str: ...
    @property
    def rewards(self) -> Rewards: ...


@dataclass(frozen=True)
class Enrolled:
    """What is recorded of an enrolment."""

    activated_at: datetime
    first_accrual_day: date
    last_accrual_day: date | None
    """None while the enrolment is open."""


@dataclass(frozen=True)
class DayBefore:
    """What is recorded of the day before the one that is to be closed."""

    program_version: int
    accrues: bool
    is_credited: bool
    last_accrual_day: date | None
    """The last accrual day of its enrolment; None while that is open."""


@dataclass(frozen=True)
class Fixed:
    """A day that was closed before."""

    enrolment_id: str
    snapshot: Snapshot


@dataclass(frozen=True)
class ClosingFacts:
    """What decides whether a day may be closed for a user."""

    closed_through: datetime
    """The user's watermark: the end of the last closed day."""
    enrolment: Enrolled | None = None
    """The enrolment for which the day is to be closed; None if the user has no such enrolment."""
    fixed: Fixed | None = None
    """None if the day is not closed."""
    before: DayBefore | None = None
    """None if the day before is not closed."""
    owed_enrolment_id: str | None = None
    """An enrolment that has ended before the day and still has owed days. It is looked for on an enrolment's first
    day."""


@dataclass(frozen=True)
class DayFacts:
    """What decides a snapshot: what the user held when the day opened, and what moved on it, in units by asset."""

    day: date
    openings: Mapping[str, int]
    movements: Mapping[str, Sequence[tuple[datetime, int]]]
    """Instants within the day, with signed changes."""


@dataclass(frozen=True)
class Terms:
    """What decides a day's rewards beside its snapshot."""

    program_version: int
    program: Program
    """The program in force on the day."""
    region: str
    """The region that the user enrolled from."""


@dataclass(frozen=True)
class ClosedDay:
    """What decides whether a closed day may be credited."""

    enrolment_id: str
    enrolled_at: datetime
    """When the enrolment was recorded."""
    last_accrual_day: date | None
    """The enrolment's last accrual day; None while the enrolment is open."""
    program_version: int
    accrues: bool
    averages: Sequence[tuple[str, int]]
    """Each asset's average in units as the snapshot fixed it, ordered by asset."""
    receipt: CreditReceipt | None = None
    """None if the day is not credited."""
    lines: Sequence[RewardLine] = ()
    """The reward rows of a credited day, ordered by asset."""


@dataclass(frozen=True)
class Credit:
    """The result of crediting a day."""

    credited_at: datetime
    late: bool
    paid: Mapping[str, int]
    """Units by asset above zero, out of the pools to the user."""


def closed_before(request: ClosingAsked, facts: ClosingFacts) -> Snapshot | None:
    """What was fixed the first time; None if the day is not closed.

    Raises ContentDiffers if the day was closed for another enrolment.
    """
    if facts.fixed is None:
        return None
    if facts.fixed.enrolment_id != request.enrolment_id:
        raise ContentDiffers(
            f"the closing of {request.day} for user {request.user_id}",
            recorded=f"of enrolment {facts.fixed.enrolment_id}",
            asked=f"of enrolment {request.enrolment_id}",
        )
    return facts.fixed.snapshot


def check_order(request: ClosingAsked, facts: ClosingFacts, now: datetime) -> None:
    """Raises NotEnrolled or OutOfOrder unless the day is the next one to be closed for the user.

    Days are closed one after the other, each after the day before it is credited: that day's reward counts from
    the boundary between the two (rule 6), so the next average depends on it. Once a day is closed, no earlier day
    can be closed. So if an owed day of an earlier enrolment were skipped, it would be lost (rule 10).
    """
    day, user_id, enrolment = request.day, request.user_id, facts.enrolment
    if enrolment is None or day_of(enrolment.activated_at) > day:
        raise not_enrolled(request)
    if enrolment.last_accrual_day is not None and day > enrolment.last_accrual_day:
        # The day may be Day 1 of the user's next enrolment, which could not close it any more.
        raise OutOfOrder(
            f"{day} is after the last accrual day of user {user_id}'s enrolment {request.enrolment_id}, "
            "which has ended"
        )
    if now < end_of(day):
        raise OutOfOrder(f"{day} is not over at {now.isoformat()}")
    if facts.closed_through > start_of(day):
        raise OutOfOrder(f"user {user_id} is closed through {facts.closed_through.isoformat()} already")
    if _is_owed(facts.before, day - ONE_DAY):
        raise OutOfOrder(f"{day - ONE_DAY} is still owed to user {user_id}; credit it first")
    if day > day_of(enrolment.activated_at) and facts.before is None:
        raise OutOfOrder(f"{day - ONE_DAY} is not closed for user {user_id}; close it first")
    if facts.owed_enrolment_id is not None:
        raise OutOfOrder(
            f"days of enrolment {facts.owed_enrolment_id} are still owed to user {user_id}; credit them first"
        )


def not_enrolled(request: ClosingAsked) -> NotEnrolled:
    """The refusal of a day on which the user does not have the enrolment, or has never had one."""
    return NotEnrolled(f"user {request.user_id} has no enrolment {request.enrolment_id} on {request.day}")


def _is_owed(record: DayBefore | None, day: date) -> bool:
    return (
        record is not None
        and record.accrues
        and not record.is_credited
        and _is_within(day, record.last_accrual_day)
    )


def _is_within(day: date, last_accrual_day: date | None) -> bool:
    return last_accrual_day is None or day <= last_accrual_day


def close(facts: DayFacts, assets: Collection[str]) -> Snapshot:
    """Rule 2: opening, closing and average of each program asset with an opening or a movement on the day.

    ``assets`` are those of the program in force on the day.
    """
    opened = {asset for asset, opening in facts.openings.items() if opening}
    holdings: list[Holding] = []
    for asset in sorted(opened | facts.movements.keys()):
        if asset in assets:
            found = day_holding(facts.day, facts.openings.get(asset, 0), facts.movements.get(asset, ()))
            holdings.append(
                Holding(asset=asset, opening=found.opening, closing=found.closing, average=found.average)
            )
    return Snapshot(day=facts.day, holdings=holdings)


def rewards_of(snapshot: Snapshot, terms: Terms) -> Rewards | EndsHere:
    """Rules 3, 4, 5 and 12: what a closed day earns; or rule 7: that the user's region is restricted on it."""
    day, program = snapshot.day, terms.program
    if program.restricts(terms.region):
        return EndsHere(day=day, reason=f"region_restricted:{terms.region}")
    formula = formula_on(day)
    lines = [_line(holding, program.assets[holding.asset], formula) for holding in snapshot.holdings]
    return Rewards(day=day, program_version=terms.program_version, lines=lines)


def _line(holding: Holding, terms: AssetTerms, formula: int) -> RewardLine:
    outcome, reward = outcome_and_reward(holding.average, terms, formula)
    return RewardLine(
        asset=holding.asset,
        average=holding.average,
        minimum=terms.minimum,
        cap=terms.cap,
        apr=terms.apr,
        reward=reward,
        outcome=outcome,
        formula=formula,
    )


def credited_before(request: CreditAsked, closed: ClosedDay) -> CreditReceipt | None:
    """The first receipt, for a request with the same content; None if the day is not credited.

    Raises ContentDiffers if the request has other content than what was recorded.
    """
    if closed.receipt is None:
        return None
    asked = sorted(request.rewards.lines, key=lambda line: line.asset)
    if [*closed.lines] != asked:
        raise ContentDiffers(
            f"the credit of {request.rewards.day} for user {request.user_id}",
            recorded=_readable(closed.lines),
            asked=_readable(asked),
        )
    return closed.receipt


def check_is_accrual_day(request: CreditAsked, closed: ClosedDay) -> None:
    """Raises ContentDiffers if the record of the day has other content than the request, OutOfOrder if the day
    earns nothing."""
    day, believed = request.rewards.day, (request.enrolment_id, request.rewards.program_version)
    if (closed.enrolment_id, closed.program_version) != believed:
        raise ContentDiffers(
            f"the day {day} of user {request.user_id}",
            recorded=f"of enrolment {closed.enrolment_id} under program version {closed.program_version}",
            asked=f"of enrolment {believed[0]} under program version {believed[1]}",
        )
    if not closed.accrues or not _is_within(day, closed.last_accrual_day):
        raise OutOfOrder(f"{day} is no accrual day of user {request.user_id}'s enrolment {closed.enrolment_id}")


def check_averages(request: CreditAsked, closed: ClosedDay) -> None:
    """Raises ContentDiffers unless the rewards were computed from the averages that were fixed."""
    used = sorted((line.asset, line.average) for line in request.rewards.lines)
    if [*closed.averages] != used:
        raise ContentDiffers(
            f"the snapshot of {request.rewards.day} for user {request.user_id}",
            recorded=", ".join(f"{format_amount(average)} {asset}" for asset, average in closed.averages)
            or "empty",
            asked=", ".join(f"{format_amount(average)} {asset}" for asset, average in used) or "empty",
        )


def paid(rewards: Rewards) -> dict[str, int]:
    """What a day's rewards take out of the pools: units by asset, above zero."""
    return {line.asset: line.reward for line in rewards.lines if line.reward}


def credit(
    rewards: Rewards, closed: ClosedDay, pool: Mapping[str, int], credited_at: datetime
) -> Credit | PoolShort:
    """Rules 11 and 13: the whole day is paid out of the pools, late or not; or nothing of it is.

    ``pool`` is what is left in each asset's reward pool, in units.
    """
    due = paid(rewards)
    short = sorted(asset for asset, reward in due.items() if pool.get(asset, 0) < reward)
    if short:
        return PoolShort(day=rewards.day, assets=short)
    late = is_late(rewards.day, credited_at=credited_at, enrolled_at=closed.enrolled_at)
    return Credit(credited_at, late, due)


def _readable(lines: Sequence[RewardLine]) -> str:
    return (
        ", ".join(
            f"{format_amount(line.reward)} {line.asset} ({line.outcome}; average {format_amount(line.average)}, "
            f"minimum {line.minimum}, cap {line.cap}, APR {line.apr}, formula {line.formula})"
            for line in lines
        )
        or "nothing"
    )
