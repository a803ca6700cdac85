"""Crediting a day: pool to user for every asset, the reward rows and the day's mark, in one transaction."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

from sqlalchemy import and_, bindparam, select
from sqlalchemy.ext.asyncio import AsyncConnection

from ledger.engine import Ledger, run_again_if_it_gave_way
from ledger.errors import ContentDiffers, LedgerError, OutOfOrder
from ledger.journal import (
    POOL,
    SPOT,
    Account,
    AccountKey,
    Leg,
    LockedUser,
    NewEntry,
    Spot,
    check_range,
    fenced_off,
    lock_pools,
    lock_users,
    post_to,
)
from ledger.rows import insert_rows, update_rows
from ledger.schema import AnyRow, accounts, days, enrolments, rewards, snapshots
from staking.days import end_of, is_late
from staking.models import CreditReceipt, CreditRequest, PoolShort, RewardLine
from staking.money import format_amount
from staking.rewards import Outcome


async def credit_day(ledger: Ledger, request: CreditRequest) -> CreditReceipt | PoolShort:
    """Rules 10, 11 and 13: credits an accrual day, whole and once.

    The reward counts from the boundary that closed its day. A repeat answers the first receipt. Raises Superseded
    or LedgerRestored if the run that asks does not stand where the ledger does, ContentDiffers for other content
    than was recorded, OutOfOrder for a day that is not closed, AccountFull if the user's account cannot take the
    reward.
    """
    return await ledger.batches(_credit_all).answer(request.rewards.day, request)


_Answers = dict[str, CreditReceipt | PoolShort | LedgerError]


@dataclass(frozen=True)
class _Credit:
    """A day that may be credited to a user."""

    request: CreditRequest
    user: LockedUser
    credited_at: datetime
    late: bool
    spot: Mapping[AccountKey, Account]

    @property
    def paid(self) -> list[RewardLine]:
        return [line for line in self.request.rewards.lines if line.reward]

    def entry(self) -> NewEntry:
        """Pool to user, for every asset that earned."""
        legs = [
            leg
            for line in self.paid
            for leg in (Leg(POOL, line.asset, -line.reward), Leg(Spot(self.user), line.asset, line.reward))
        ]
        return NewEntry(
            kind="reward",
            legs=legs,
            effective_at=self.user.effective(end_of(self.request.rewards.day)),
            recorded_at=self.credited_at,
            user_id=self.user.user_id,
        )


@run_again_if_it_gave_way
async def _credit_all(
    ledger: Ledger, day: date, requests: Sequence[CreditRequest]
) -> Mapping[str, CreditReceipt | PoolShort | LedgerError]:
    answers: _Answers = {}
    credited: dict[str, CreditReceipt] = {}
    async with ledger.write() as connection:
        locked = await lock_users(connection, [request.user_id for request in requests])
        recorded = await _recorded(connection, day, [request.user_id for request in requests])
        due: list[_Credit] = []
        answers |= fenced_off(locked, requests)
        for request in requests:
            if request.user_id in answers:
                continue
            user, rows = locked.get(request.user_id), recorded.get(request.user_id, [])
            try:
                _check_record(request, rows)
                if rows[0].credited_at is not None:
                    answers[request.user_id] = _repeated(request, rows)
                elif user is not None:
                    due.append(_credit(request, user, rows, max(request.now, ledger.clock())))
            except LedgerError as refusal:
                answers[request.user_id] = refusal
        pools = await lock_pools(connection, {line.asset for credit in due for line in credit.paid})
        funded = _funded(due, pools, answers)
        if funded:
            credited = await _write(connection, day, funded, pools)
    for credit in funded:
        ledger.observer.credited(credited[credit.request.user_id], credit.request.rewards.lines)
    return answers | credited


def _credit(request: CreditRequest, user: LockedUser, rows: Sequence[AnyRow], credited_at: datetime) -> _Credit:
    _check_same_snapshot(request, rows)
    late = is_late(request.rewards.day, credited_at=credited_at, enrolled_at=rows[0].enrolled_at)
    spot: dict[AccountKey, Account] = {}
    for row in rows:
        key = (SPOT, user.user_id, row.asset)
        spot[key] = Account(row.account_id, key, row.balance)
    credit = _Credit(request, user, credited_at, late, spot)
    for line in credit.paid:
        check_range(spot[SPOT, user.user_id, line.asset], line.reward)
    return credit


def _funded(due: Sequence[_Credit], pools: Mapping[AccountKey, Account], answers: _Answers) -> list[_Credit]:
    """Rule 13: the credits that the pools can pay, first come first served; the others are answered as short."""
    left = defaultdict[str, int](int, {asset: pool.balance or 0 for (_, _, asset), pool in pools.items()})
    funded: list[_Credit] = []
    for credit in due:
        short = sorted(line.asset for line in credit.paid if left[line.asset] < line.reward)
        if short:
            answers[credit.request.user_id] = PoolShort(day=credit.request.rewards.day, assets=short)
            continue
        for line in credit.paid:
            left[line.asset] -= line.reward
        funded.append(credit)
    return funded


async def _write(
    connection: AsyncConnection, day: date, due: Sequence[_Credit], pools: Mapping[AccountKey, Account]
) -> dict[str, CreditReceipt]:
    paying = [credit for credit in due if credit.paid]
    entry_ids: dict[str, int] = {}
    if paying:
        known = dict(pools)
        for credit in paying:
            known.update(credit.spot)
        ids = await post_to(connection, known, [credit.entry() for credit in paying])
        entry_ids = {credit.request.user_id: entry_id for credit, entry_id in zip(paying, ids, strict=True)}
    rows = [_row(credit.request, line) for credit in due for line in credit.request.rewards.lines]
    await insert_rows(connection, rewards, rows)
    receipts = {
        credit.request.user_id: CreditReceipt(
            day=day,
            credited_at=credit.credited_at,
            late=credit.late,
            entry_id=entry_ids.get(credit.request.user_id),
        )
        for credit in due
    }
    marks = [
        {
            "user_id": user_id,
            "day": day,
            "credited_at": receipt.credited_at,
            "late": receipt.late,
            "entry_id": receipt.entry_id,
        }
        for user_id, receipt in receipts.items()
    ]
    await update_rows(connection, days, marks)
    return receipts


def _row(request: CreditRequest, line: RewardLine) -> dict[str, Any]:
    return {
        "user_id": request.user_id,
        "day": request.rewards.day,
        "asset": line.asset,
        "minimum": line.minimum,
        "cap": line.cap,
        "apr": line.apr,
        "reward": line.reward,
        "outcome": line.outcome.value,
        "formula": line.formula,
    }


_RECORDED = (
    select(
        days,
        enrolments.c.recorded_at.label("enrolled_at"),
        enrolments.c.last_accrual_day,
        snapshots.c.asset,
        snapshots.c.average,
        accounts.c.account_id,
        accounts.c.balance,
        *(column for column in rewards.c if column.name not in snapshots.c),
    )
    .join_from(days, enrolments, enrolments.c.enrolment_id == days.c.enrolment_id)
    .outerjoin(snapshots, and_(snapshots.c.user_id == days.c.user_id, snapshots.c.day == days.c.day))
    .outerjoin(
        rewards,
        and_(
            rewards.c.user_id == snapshots.c.user_id,
            rewards.c.day == snapshots.c.day,
            rewards.c.asset == snapshots.c.asset,
        ),
    )
    .outerjoin(accounts, and_(accounts.c.user_id == snapshots.c.user_id, accounts.c.asset == snapshots.c.asset))
    .where(days.c.user_id.in_(bindparam("user_ids", expanding=True)), days.c.day == bindparam("day"))
    .order_by(days.c.user_id, snapshots.c.asset)
)


async def _recorded(connection: AsyncConnection, day: date, user_ids: Sequence[str]) -> dict[str, list[AnyRow]]:
    """By user, the day's record with its snapshots by asset, each with its reward row where the day was credited
    and the spot account that a reward goes to. A day without snapshots has one row, whose asset is None."""
    rows = await connection.execute(_RECORDED, {"user_ids": user_ids, "day": day})
    recorded: defaultdict[str, list[AnyRow]] = defaultdict(list)
    for row in rows:
        recorded[row.user_id].append(row)
    return recorded


def _check_record(request: CreditRequest, rows: Sequence[AnyRow]) -> None:
    """Pair assertion: the record must say what the request believes."""
    day = request.rewards.day
    if not rows:
        raise OutOfOrder(f"{day} is not closed for user {request.user_id}; take its snapshot first")
    record = rows[0]
    believed = (request.enrolment_id, request.rewards.program_version)
    if (record.enrolment_id, record.program_version) != believed:
        raise ContentDiffers(
            f"the day {day} of user {request.user_id}",
            recorded=f"of enrolment {record.enrolment_id} under program version {record.program_version}",
            asked=f"of enrolment {believed[0]} under program version {believed[1]}",
        )
    if not record.accrues or (record.last_accrual_day is not None and day > record.last_accrual_day):
        raise OutOfOrder(f"{day} is no accrual day of user {request.user_id}'s enrolment {record.enrolment_id}")


def _repeated(request: CreditRequest, rows: Sequence[AnyRow]) -> CreditReceipt:
    """The first receipt, to a request that says the same."""
    record = rows[0]
    lines = [
        RewardLine(
            asset=row.asset,
            average=row.average,
            minimum=row.minimum,
            cap=row.cap,
            apr=row.apr,
            reward=row.reward,
            outcome=Outcome(row.outcome),
            formula=row.formula,
        )
        for row in rows
        if row.asset is not None
    ]
    asked = sorted(request.rewards.lines, key=lambda line: line.asset)
    if lines != asked:
        raise ContentDiffers(
            f"the credit of {request.rewards.day} for user {request.user_id}",
            recorded=_readable(lines),
            asked=_readable(asked),
        )
    return CreditReceipt(
        day=record.day, credited_at=record.credited_at, late=record.late, entry_id=record.entry_id
    )


def _check_same_snapshot(request: CreditRequest, rows: Sequence[AnyRow]) -> None:
    """Pair assertion: the rewards were computed from the averages that were fixed."""
    fixed = [(row.asset, row.average) for row in rows if row.asset is not None]
    used = sorted((line.asset, line.average) for line in request.rewards.lines)
    if fixed != used:
        raise ContentDiffers(
            f"the snapshot of {request.rewards.day} for user {request.user_id}",
            recorded=", ".join(f"{format_amount(average)} {asset}" for asset, average in fixed) or "empty",
            asked=", ".join(f"{format_amount(average)} {asset}" for asset, average in used) or "empty",
        )


def _readable(lines: Sequence[RewardLine]) -> str:
    return (
        ", ".join(
            f"{format_amount(line.reward)} {line.asset} ({line.outcome}; average {format_amount(line.average)}, "
            f"minimum {line.minimum}, cap {line.cap}, APR {line.apr}, formula {line.formula})"
            for line in lines
        )
        or "nothing"
    )
