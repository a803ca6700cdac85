"""What a user's run must know of its user, from the ledger."""

from datetime import date

from sqlalchemy import and_, or_, select
from sqlalchemy.ext.asyncio import AsyncConnection

from contract.answers import End
from contract.recollection import Enrolment, Recollection
from ledger.acts import hold_of
from ledger.database.schema import AnyRow, days, enrolments
from ledger.enrolments import end_of_row, last_credited_day, receipt_of
from ledger.reading.earnings import totals
from staking.days import ONE_DAY, day_of


async def recollection(connection: AsyncConnection, user_id: str) -> Recollection:
    """What is unfinished, oldest first, the user's last end, the hold, and what was credited so far."""
    unfinished = await unfinished_of(connection, user_id)
    return unfinished.model_copy(
        update={
            "hold": await hold_of(connection, user_id),
            "last_credited_day": await connection.scalar(last_credited_day(days.c.user_id == user_id)),
            "credited": await totals(connection, user_id),
        }
    )


async def unfinished_of(connection: AsyncConnection, user_id: str) -> Recollection:
    """Enrolments that are open or have owed days, oldest first, and the user's last end."""
    rows = await connection.execute(
        select(enrolments)
        .where(enrolments.c.user_id == user_id)
        .order_by(enrolments.c.activated_at, enrolments.c.recorded_at)
    )
    unfinished: list[Enrolment] = []
    last_end: End | None = None
    for row in rows:
        if row.ended_at is not None:
            last_end = end_of_row(row)
        enrolment = Enrolment(
            receipt=receipt_of(row),
            next_day=await _next_day(connection, row),
            last_accrual_day=row.last_accrual_day,
            region=row.region,
        )
        if not enrolment.is_finished:
            unfinished.append(enrolment)
    return Recollection(enrolments=unfinished, last_end=last_end)


async def _next_day(connection: AsyncConnection, enrolment: AnyRow) -> date:
    """The day after the last day for which nothing is left to do."""
    of_this = and_(days.c.user_id == enrolment.user_id, days.c.enrolment_id == enrolment.enrolment_id)
    finished = or_(days.c.credited_at.is_not(None), ~days.c.accrues)
    first_day = day_of(enrolment.activated_at)
    query = select(days.c.day).where(of_this, finished).order_by(days.c.day.desc()).limit(1)
    if enrolment.last_accrual_day is not None:  # so that days of later enrolments need not be read
        query = query.where(days.c.day <= max(enrolment.last_accrual_day, first_day))
    last: date | None = await connection.scalar(query)
    return first_day if last is None else last + ONE_DAY
