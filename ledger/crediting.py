"""Crediting a day: pool to user for every asset, the reward rows and the day's mark, in one transaction."""

from typing import Any

from sqlalchemy import and_, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from ledger.engine import Ledger
from ledger.errors import ContentDiffers, OutOfOrder
from ledger.journal import POOL, Leg, LockedUser, NewEntry, Spot, lock_user, post
from ledger.schema import AnyRow, accounts, days, enrolments, rewards, snapshots
from staking.days import end_of, is_late
from staking.models import CreditReceipt, CreditRequest, PoolShort, RewardLine
from staking.money import format_amount
from staking.rewards import Outcome


async def credit_day(ledger: Ledger, request: CreditRequest) -> CreditReceipt | PoolShort:
    """Rules 10, 11 and 13: credits an accrual day, whole and once.

    The reward counts from the boundary that closed its day. A repeat answers the first receipt. Raises
    ContentDiffers for other content than was recorded, OutOfOrder for a day that is not closed, AccountFull if the
    user's account cannot take the reward.
    """
    day = request.rewards.day
    async with ledger.write() as connection:
        user = await lock_user(connection, request.user_id)
        record = await _record(connection, request)
        recorded = await _recorded_lines(connection, request)
        if record.credited_at is not None:
            _check_same(request, recorded, "credit")
            return _receipt(record)
        _check_same_snapshot(request, record, recorded)
        short = await _short_pools(connection, request)
        if short:
            return PoolShort(day=day, assets=short)
        credited_at = max(request.now, ledger.clock())
        late = is_late(day, credited_at=credited_at, enrolled_at=record.enrolled_at)
        paid = [line for line in request.rewards.lines if line.reward]
        entry_id: int | None = None
        if paid:
            entry_id = await post(
                connection,
                NewEntry(
                    kind="reward",
                    legs=[leg for line in paid for leg in _legs(user, line)],
                    effective_at=user.effective(end_of(day)),
                    recorded_at=credited_at,
                    user_id=user.user_id,
                ),
            )
        if request.rewards.lines:
            await connection.execute(
                rewards.insert(), [_row(request.user_id, request, line) for line in request.rewards.lines]
            )
        await connection.execute(
            update(days)
            .where(days.c.user_id == request.user_id, days.c.day == day)
            .values(credited_at=credited_at, late=late, entry_id=entry_id)
        )
        return CreditReceipt(day=day, credited_at=credited_at, late=late, entry_id=entry_id)


def _legs(user: LockedUser, line: RewardLine) -> tuple[Leg, Leg]:
    return Leg(POOL, line.asset, -line.reward), Leg(Spot(user), line.asset, line.reward)


def _row(user_id: str, request: CreditRequest, line: RewardLine) -> dict[str, Any]:
    return {
        "user_id": user_id,
        "day": request.rewards.day,
        "asset": line.asset,
        "minimum": line.minimum,
        "cap": line.cap,
        "apr": line.apr,
        "reward": line.reward,
        "outcome": line.outcome.value,
    }


def _receipt(record: AnyRow) -> CreditReceipt:
    return CreditReceipt(
        day=record.day, credited_at=record.credited_at, late=record.late, entry_id=record.entry_id
    )


async def _record(connection: AsyncConnection, request: CreditRequest) -> AnyRow:
    """The day's record. Pair assertion: it must say what the request believes."""
    day = request.rewards.day
    record = (
        await connection.execute(
            select(days, enrolments.c.recorded_at.label("enrolled_at"), enrolments.c.last_accrual_day)
            .join_from(days, enrolments, enrolments.c.enrolment_id == days.c.enrolment_id)
            .where(days.c.user_id == request.user_id, days.c.day == day)
        )
    ).one_or_none()
    if record is None:
        raise OutOfOrder(f"{day} is not closed for user {request.user_id}; take its snapshot first")
    believed = (request.enrolment_id, request.rewards.program_version)
    if (record.enrolment_id, record.program_version) != believed:
        raise ContentDiffers(
            f"the day {day} of user {request.user_id}",
            recorded=f"of enrolment {record.enrolment_id} under program version {record.program_version}",
            asked=f"of enrolment {believed[0]} under program version {believed[1]}",
        )
    if not record.accrues or (record.last_accrual_day is not None and day > record.last_accrual_day):
        raise OutOfOrder(f"{day} is no accrual day of user {request.user_id}'s enrolment {record.enrolment_id}")
    return record


async def _recorded_lines(connection: AsyncConnection, request: CreditRequest) -> list[AnyRow]:
    """The day's snapshots by asset, each with its reward row where the day was credited."""
    same = and_(
        rewards.c.user_id == snapshots.c.user_id,
        rewards.c.day == snapshots.c.day,
        rewards.c.asset == snapshots.c.asset,
    )
    reward_columns = [column for column in rewards.c if column.name not in snapshots.c]
    rows = await connection.execute(
        select(snapshots.c.asset, snapshots.c.average, *reward_columns)
        .join_from(snapshots, rewards, same, isouter=True)
        .where(snapshots.c.user_id == request.user_id, snapshots.c.day == request.rewards.day)
        .order_by(snapshots.c.asset)
    )
    return list(rows)


def _check_same(request: CreditRequest, recorded: list[AnyRow], what: str) -> None:
    lines = [
        RewardLine(
            asset=row.asset,
            average=row.average,
            minimum=row.minimum,
            cap=row.cap,
            apr=row.apr,
            reward=row.reward,
            outcome=Outcome(row.outcome),
        )
        for row in recorded
    ]
    asked = sorted(request.rewards.lines, key=lambda line: line.asset)
    if lines != asked:
        raise ContentDiffers(
            f"the {what} of {request.rewards.day} for user {request.user_id}",
            recorded=_readable(lines),
            asked=_readable(asked),
        )


def _check_same_snapshot(request: CreditRequest, record: AnyRow, recorded: list[AnyRow]) -> None:
    """Pair assertion: the rewards were computed from the averages that were fixed."""
    fixed = [(row.asset, row.average) for row in recorded]
    used = sorted((line.asset, line.average) for line in request.rewards.lines)
    if fixed != used:
        raise ContentDiffers(
            f"the snapshot of {record.day} for user {request.user_id}",
            recorded=", ".join(f"{format_amount(average)} {asset}" for asset, average in fixed) or "empty",
            asked=", ".join(f"{format_amount(average)} {asset}" for asset, average in used) or "empty",
        )


def _readable(lines: list[RewardLine]) -> str:
    return (
        ", ".join(
            f"{format_amount(line.reward)} {line.asset} ({line.outcome}; average {format_amount(line.average)}, "
            f"minimum {line.minimum}, cap {line.cap}, APR {line.apr})"
            for line in lines
        )
        or "nothing"
    )


async def _short_pools(connection: AsyncConnection, request: CreditRequest) -> list[str]:
    """Rule 13: the assets whose pool cannot pay this day."""
    due = {line.asset: line.reward for line in request.rewards.lines if line.reward}
    if not due:
        return []
    rows = await connection.execute(
        select(accounts.c.asset, accounts.c.balance)
        .where(accounts.c.kind == POOL, accounts.c.shard == 0, accounts.c.asset.in_(sorted(due)))
        .order_by(accounts.c.account_id)
        .with_for_update()
    )
    available = {row.asset: row.balance for row in rows}
    return sorted(asset for asset, amount in due.items() if available.get(asset, 0) < amount)
