"""Closing a day for a user: the snapshot (rule 2, I4, I5)."""

from collections import defaultdict
from datetime import date, datetime

from sqlalchemy import and_, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from ledger.engine import Ledger
from ledger.errors import ContentDiffers, NotEnrolled, OutOfOrder
from ledger.journal import LockedUser, holdings_before, lock_user
from ledger.programs import ProgramVersion, program_on
from ledger.schema import AnyRow, accounts, days, enrolments, postings, snapshots, users
from staking.average import DayHolding, day_holding
from staking.days import ONE_DAY, day_of, end_of, start_of
from staking.models import Holding, Snapshot, SnapshotRequest


async def close_day(ledger: Ledger, request: SnapshotRequest) -> Snapshot:
    """Closes the day for the user and fixes each program asset's opening, closing and average.

    A repeat answers what was fixed. Raises ContentDiffers if the day belongs to another enrolment, OutOfOrder if
    the day is not over, or an earlier one of the user is still owed.
    """
    async with ledger.write() as connection:
        user = await lock_user(connection, request.user_id)
        latest = await _latest_records(connection, request.user_id, request.day)
        if latest and latest[0].day == request.day:
            return await _recorded(connection, request, latest[0])
        previous = latest[0] if latest else None
        enrolment = await _enrolment(connection, request)
        now = max(request.now, ledger.clock())
        _check_order(request, user, enrolment, previous, now)
        if request.day == day_of(enrolment.activated_at):
            await _check_earlier_enrolments_are_paid(connection, request)
        program = await program_on(connection, request.day)
        holdings = await _holdings(connection, request, program, previous)
        await connection.execute(
            days.insert().values(
                user_id=request.user_id,
                day=request.day,
                enrolment_id=request.enrolment_id,
                program_version=program.version,
                accrues=request.day >= enrolment.first_accrual_day,
                closed_at=now,
            )
        )
        if holdings:
            await connection.execute(
                snapshots.insert(),
                [
                    {
                        "user_id": request.user_id,
                        "day": request.day,
                        "asset": asset,
                        "opening": holding.opening,
                        "closing": holding.closing,
                        "average": holding.average,
                    }
                    for asset, holding in holdings.items()
                ],
            )
        await connection.execute(
            update(users).where(users.c.user_id == request.user_id).values(closed_through=end_of(request.day))
        )
        return _snapshot(request.day, holdings)


async def read_snapshot(connection: AsyncConnection, user_id: str, day: date) -> Snapshot:
    """What was fixed for a user and closed day."""
    rows = await connection.execute(
        select(snapshots).where(snapshots.c.user_id == user_id, snapshots.c.day == day)
    )
    return _snapshot(day, {row.asset: DayHolding(row.opening, row.closing, row.average) for row in rows})


def _snapshot(day: date, holdings: dict[str, DayHolding]) -> Snapshot:
    return Snapshot(
        day=day,
        holdings=[
            Holding(asset=asset, opening=held.opening, closing=held.closing, average=held.average)
            for asset, held in sorted(holdings.items())
        ],
    )


async def _latest_records(connection: AsyncConnection, user_id: str, day: date) -> list[AnyRow]:
    """The user's latest day records up to a day, latest first, with how far their enrolment accrues."""
    rows = await connection.execute(
        select(days, enrolments.c.last_accrual_day)
        .join_from(days, enrolments, enrolments.c.enrolment_id == days.c.enrolment_id)
        .where(days.c.user_id == user_id, days.c.day <= day)
        .order_by(days.c.day.desc())
        .limit(1)
    )
    return list(rows)


async def _recorded(connection: AsyncConnection, request: SnapshotRequest, record: AnyRow) -> Snapshot:
    if record.enrolment_id != request.enrolment_id:
        raise ContentDiffers(
            f"the closing of {request.day} for user {request.user_id}",
            recorded=f"of enrolment {record.enrolment_id}",
            asked=f"of enrolment {request.enrolment_id}",
        )
    return await read_snapshot(connection, request.user_id, request.day)


async def _enrolment(connection: AsyncConnection, request: SnapshotRequest) -> AnyRow:
    row = (
        await connection.execute(
            select(enrolments.c.activated_at, enrolments.c.first_accrual_day, enrolments.c.last_accrual_day).where(
                enrolments.c.enrolment_id == request.enrolment_id, enrolments.c.user_id == request.user_id
            )
        )
    ).one_or_none()
    if row is None or day_of(row.activated_at) > request.day:
        raise NotEnrolled(f"user {request.user_id} has no enrolment {request.enrolment_id} on {request.day}")
    if row.last_accrual_day is not None and request.day > row.last_accrual_day:
        # The day may be the first of the user's next enrolment, which could not close it any more.
        raise OutOfOrder(
            f"{request.day} is after the last accrual day of user {request.user_id}'s enrolment "
            f"{request.enrolment_id}, which has ended"
        )
    return row


def _check_order(
    request: SnapshotRequest, user: LockedUser, enrolment: AnyRow, previous: AnyRow | None, now: datetime
) -> None:
    """Days are closed one after the other, each after the one before is credited: its reward counts from the
    boundary on (rule 6), so a later average cannot be known before it."""
    if now < end_of(request.day):
        raise OutOfOrder(f"{request.day} is not over at {now.isoformat()}")
    if user.closed_through > start_of(request.day):
        raise OutOfOrder(f"user {request.user_id} is closed through {user.closed_through.isoformat()} already")
    if previous is not None and _is_owed(previous):
        raise OutOfOrder(f"{previous.day} is still owed to user {request.user_id}; credit it first")
    follows = previous is not None and previous.day == request.day - ONE_DAY
    if request.day > day_of(enrolment.activated_at) and not follows:
        raise OutOfOrder(f"{request.day - ONE_DAY} is not closed for user {request.user_id}; close it first")


async def _check_earlier_enrolments_are_paid(connection: AsyncConnection, request: SnapshotRequest) -> None:
    """Once a day is closed no earlier one can be, so an owed day that was skipped would be lost (rule 10)."""
    last_day_credited = (
        select(days.c.day)
        .where(
            days.c.user_id == enrolments.c.user_id,
            days.c.day == enrolments.c.last_accrual_day,
            days.c.credited_at.is_not(None),
        )
        .exists()
    )
    owed_by: str | None = await connection.scalar(
        select(enrolments.c.enrolment_id)
        .where(
            enrolments.c.user_id == request.user_id,
            enrolments.c.enrolment_id != request.enrolment_id,
            enrolments.c.last_accrual_day >= enrolments.c.first_accrual_day,
            enrolments.c.last_accrual_day < request.day,
            ~last_day_credited,
        )
        .limit(1)
    )
    if owed_by is not None:
        raise OutOfOrder(
            f"days of enrolment {owed_by} are still owed to user {request.user_id}; credit them first"
        )


def _is_owed(record: AnyRow) -> bool:
    within = record.last_accrual_day is None or record.day <= record.last_accrual_day
    return record.accrues and record.credited_at is None and within


async def _holdings(
    connection: AsyncConnection, request: SnapshotRequest, program: ProgramVersion, previous: AnyRow | None
) -> dict[str, DayHolding]:
    """Every program asset with an opening, a closing or a movement on the day. Reads only that day's movements
    where yesterday's snapshot covers the same assets, and else only what came after the day opened."""
    day = request.day
    continues = (
        previous is not None and previous.day == day - ONE_DAY and previous.program_version == program.version
    )
    if continues:
        yesterday = await read_snapshot(connection, request.user_id, day - ONE_DAY)
        openings = {held.asset: held.closing for held in yesterday.holdings}
    else:
        openings = await holdings_before(connection, request.user_id, start_of(day))
    movements = await _movements(connection, request.user_id, day)
    assets = {asset for asset, opening in openings.items() if opening} | movements.keys()
    return {
        asset: day_holding(day, openings.get(asset, 0), movements[asset])
        for asset in assets & program.program.assets.keys()
    }


async def _movements(
    connection: AsyncConnection, user_id: str, day: date
) -> defaultdict[str, list[tuple[datetime, int]]]:
    rows = await connection.execute(
        select(accounts.c.asset, postings.c.effective_at, postings.c.amount)
        .join_from(
            accounts,
            postings,
            and_(
                postings.c.account_id == accounts.c.account_id,
                postings.c.effective_at >= start_of(day),
                postings.c.effective_at < end_of(day),
            ),
        )
        .where(accounts.c.user_id == user_id)
    )
    movements: defaultdict[str, list[tuple[datetime, int]]] = defaultdict(list)
    for row in rows:
        movements[row.asset].append((row.effective_at, row.amount))
    return movements
