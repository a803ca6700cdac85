"""Enrolments: recording one, ending one, and recalling what is unfinished (rules 1, 7 and 10)."""

from datetime import date, datetime
from typing import Any

from sqlalchemy import and_, func, or_, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from contract.acts import Act
from contract.answers import End, Receipt, Refusal
from contract.recollection import Enrolment, Recollection
from contract.requests import EndRequest, EnrolRequest
from ledger.acts import hold_of, record_deactivation, write_act
from ledger.database.engine import Ledger, run_again_if_it_gave_way
from ledger.database.schema import AnyRow, UtcInstant, acceptances, days, enrolments, users
from ledger.errors import BackDatingRefused, ContentDiffers, NotEnrolled
from ledger.journal import LockedUser, holdings_before, lock_user
from ledger.programs import first_program_day, program_on
from ledger.reading.earnings import totals
from staking.days import ONE_DAY, REWARD_WINDOW, day_of, end_of, first_accrual_day, start_of
from staking.eligibility import refusal_reasons


@run_again_if_it_gave_way
async def enrol(ledger: Ledger, request: EnrolRequest) -> Receipt | Refusal:
    """Rule 7: tests eligibility as of the activation instant, and records the enrolment.

    A user who is enrolled already gets the first receipt again. Raises ContentDiffers if the enrolment id was
    recorded with another activation, Superseded if the user was recalled again since, BackDatingRefused, or
    NoProgram.
    """
    activation = request.activation
    async with ledger.write() as connection:
        user = await lock_user(connection, request.user_id)
        user.check_fence(request)
        known = await _known(connection, request)
        if known is not None:
            return receipt_of(known)
        now = max(request.now, ledger.clock())
        last_end = await _last_end(connection, request.user_id)
        if activation.back_dating is None:
            # Even if a clock is behind, two enrolments must not have the same day.
            activated_at = max(request.activated_at, user.closed_through, last_end or request.activated_at)
        else:
            activated_at = request.activated_at
            await _check_back_dating(connection, user, last_end, activated_at, now=request.now)
        program = (await program_on(connection, day_of(activated_at))).program
        holdings = await holdings_before(connection, user.user_id, activated_at, inclusive=True)
        reasons = refusal_reasons(activation, holdings, program)
        if reasons:
            return Refusal(reasons=reasons)
        row = _row(request, activated_at, now)
        await connection.execute(enrolments.insert().values(row))
        if activation.back_dating is not None:
            await write_act(
                connection,
                "activate",
                f"activate/{request.enrolment_id}",
                operator=activation.back_dating.operator,
                reason=activation.back_dating.reason,
                recorded_at=now,
                user_id=request.user_id,
                subject=f"back to {activated_at:%Y-%m-%d %H:%M:%S} UTC",
            )
        accepted = {name: activation.documents[name] for name in program.documents}
        if accepted:
            await connection.execute(
                acceptances.insert(),
                [
                    {"enrolment_id": request.enrolment_id, "document": name, "version": version}
                    for name, version in accepted.items()
                ],
            )
        return _receipt(request.enrolment_id, activated_at)


@run_again_if_it_gave_way
async def end_enrolment(ledger: Ledger, request: EndRequest) -> End:
    """Rule 10: ends an enrolment. The day of the end earns nothing, and earlier owed days are still paid.

    A repeat answers the first end. If the end is on an earlier day than the recorded end, the later days are
    accrual days no more; rule 7 needs this for a region that was restricted while days were still owed. A day that
    is credited already stays an accrual day, since it was paid. Raises NotEnrolled for an unknown enrolment,
    Superseded if the user was recalled again since.
    """
    async with ledger.write() as connection:
        user = await lock_user(connection, request.user_id)
        user.check_fence(request)
        row = (
            await connection.execute(
                select(enrolments).where(
                    enrolments.c.enrolment_id == request.enrolment_id,
                    enrolments.c.user_id == request.user_id,
                )
            )
        ).one_or_none()
        if row is None:
            raise NotEnrolled(f"user {request.user_id} has no enrolment {request.enrolment_id}")
        last_accrual_day = day_of(request.ended_at) - ONE_DAY
        last_credited = await _last_credited_day(connection, request.user_id, request.enrolment_id)
        if last_credited is not None:
            last_accrual_day = max(last_accrual_day, last_credited)
        if row.ended_at is not None and row.last_accrual_day <= last_accrual_day:
            return _end(row)
        changes: dict[str, Any] = {"last_accrual_day": last_accrual_day}
        if row.ended_at is None:
            first_owed = row.first_accrual_day if last_credited is None else last_credited + ONE_DAY
            changes |= {
                "ended_at": request.ended_at,
                "end_reason": request.reason,
                "end_operator": request.operator,
                "end_tell": request.tell,
                "owed_days_at_end": _days_in(first_owed, last_accrual_day),
            }
            if request.operator is not None:
                act = Act(operator=request.operator, reason=request.reason, tell=request.tell)
                now = max(request.ended_at, ledger.clock())
                await record_deactivation(connection, request.user_id, request.enrolment_id, act, now)
        else:
            taken_back = _days_in(max(last_accrual_day + ONE_DAY, row.first_accrual_day), row.last_accrual_day)
            changes["owed_days_at_end"] = row.owed_days_at_end - taken_back
        updated = await connection.execute(
            update(enrolments)
            .where(enrolments.c.enrolment_id == request.enrolment_id)
            .values(changes)
            .returning(enrolments)
        )
        return _end(updated.one())


@run_again_if_it_gave_way
async def recall(ledger: Ledger, user_id: str) -> Recollection:
    """What a run must know of its user: what is unfinished, the hold, and what was credited so far.

    Each recall is counted. From then on, runs that recalled earlier may not write for the user any more, since a
    step of a terminated run may still be on its way. A repeat answers the same, with a new number.
    """
    async with ledger.write() as connection:
        user = await lock_user(connection, user_id)
        generation = user.generation + 1
        await connection.execute(update(users).where(users.c.user_id == user_id).values(generation=generation))
        known = await recollection(connection, user_id)
        return known.model_copy(
            update={
                "generation": generation,
                "hold": await hold_of(connection, user_id),
                "last_credited_day": await _last_credited_day(connection, user_id),
                "credited": await totals(connection, user_id),
            }
        )


async def recollection(connection: AsyncConnection, user_id: str) -> Recollection:
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
            last_end = _end(row)
        enrolment = Enrolment(
            receipt=receipt_of(row),
            next_day=await _next_day(connection, row),
            last_accrual_day=row.last_accrual_day,
            region=row.region,
        )
        if not enrolment.is_finished:
            unfinished.append(enrolment)
    return Recollection(enrolments=unfinished, last_end=last_end)


async def is_recorded(connection: AsyncConnection, enrolment_id: str) -> bool:
    """Whether an enrolment was ever recorded here."""
    known = select(enrolments.c.enrolment_id).where(enrolments.c.enrolment_id == enrolment_id)
    return await connection.scalar(known) is not None


def receipt_of(row: AnyRow) -> Receipt:
    """The receipt of an enrolment's row."""
    return _receipt(row.enrolment_id, row.activated_at)


def _receipt(enrolment_id: str, activated_at: datetime) -> Receipt:
    """Rule 1."""
    first_day = first_accrual_day(activated_at)
    return Receipt(
        enrolment_id=enrolment_id,
        activated_at=activated_at,
        first_snapshot_at=start_of(first_day),
        first_reward_from=end_of(first_day),
        first_reward_until=end_of(first_day) + REWARD_WINDOW,
    )


def _row(request: EnrolRequest, activated_at: datetime, now: datetime) -> dict[str, Any]:
    activation = request.activation
    return {
        "enrolment_id": request.enrolment_id,
        "user_id": request.user_id,
        "region": activation.region,
        "channel": activation.channel,
        "app_version": activation.app_version,
        "activated_at": activated_at,
        "recorded_at": now,
        "first_accrual_day": first_accrual_day(activated_at),
        "operator": activation.back_dating and activation.back_dating.operator,
        "operator_reason": activation.back_dating and activation.back_dating.reason,
    }


async def _known(connection: AsyncConnection, request: EnrolRequest) -> AnyRow | None:
    """The enrolment that was recorded under this id; if there is none, the open one."""
    rows = (
        await connection.execute(
            select(enrolments).where(
                or_(
                    enrolments.c.enrolment_id == request.enrolment_id,
                    and_(enrolments.c.user_id == request.user_id, enrolments.c.ended_at.is_(None)),
                )
            )
        )
    ).all()
    for row in rows:
        if row.enrolment_id == request.enrolment_id:
            await _check_same(connection, row, request)
            return row
    return rows[0] if rows else None


async def _check_same(connection: AsyncConnection, row: AnyRow, request: EnrolRequest) -> None:
    accepted = await connection.execute(
        select(acceptances.c.document, acceptances.c.version)
        .where(acceptances.c.enrolment_id == row.enrolment_id)
        .order_by(acceptances.c.document)
    )
    documents = {document.document: document.version for document in accepted}
    activation, back_dating = request.activation, request.activation.back_dating
    recorded: dict[str, object] = {
        "user": row.user_id,
        "region": row.region,
        "channel": row.channel,
        "app version": row.app_version,
        "documents": documents,
        "operator": row.operator,
        "reason": row.operator_reason,
    }
    asked: dict[str, object] = {
        "user": request.user_id,
        "region": activation.region,
        "channel": activation.channel,
        "app version": activation.app_version,
        "documents": {name: activation.documents.get(name) for name in documents},
        "operator": back_dating and back_dating.operator,
        "reason": back_dating and back_dating.reason,
    }
    if back_dating is not None:
        recorded["activated at"] = row.activated_at.isoformat()
        asked["activated at"] = request.activated_at.isoformat()
    if recorded != asked:
        raise ContentDiffers(
            f"enrolment {row.enrolment_id}",
            recorded=_differing(recorded, asked),
            asked=_differing(asked, recorded),
        )


def _differing(content: dict[str, object], other: dict[str, object]) -> str:
    return ", ".join(f"{name} {value}" for name, value in content.items() if value != other[name])


async def _last_end(connection: AsyncConnection, user_id: str) -> datetime | None:
    return await connection.scalar(
        select(func.max(enrolments.c.ended_at, type_=UtcInstant())).where(enrolments.c.user_id == user_id)
    )


async def _check_back_dating(
    connection: AsyncConnection,
    user: LockedUser,
    last_end: datetime | None,
    activated_at: datetime,
    *,
    now: datetime,
) -> None:
    if activated_at > now:
        raise BackDatingRefused(f"{activated_at.isoformat()} is in the future; leave --activated-at out for now")
    first_day = await first_program_day(connection)
    if first_day is not None and activated_at < start_of(first_day):
        raise BackDatingRefused(f"{activated_at.isoformat()} is before the first program version, of {first_day}")
    if last_end is not None and activated_at < last_end:
        raise BackDatingRefused(
            f"{activated_at.isoformat()} is before the user's last enrolment ended, at {last_end.isoformat()}"
        )
    if activated_at < user.closed_through:
        raise BackDatingRefused(
            f"{activated_at.isoformat()} is in a day that is closed for the user already, "
            f"through {user.closed_through.isoformat()}"
        )


async def _last_credited_day(
    connection: AsyncConnection, user_id: str, enrolment_id: str | None = None
) -> date | None:
    """For one enrolment, or for all."""
    of_one = [] if enrolment_id is None else [days.c.enrolment_id == enrolment_id]
    return await connection.scalar(
        select(days.c.day)
        .where(days.c.user_id == user_id, days.c.credited_at.is_not(None), *of_one)
        # Reads from the end, where the first row decides. A maximum would read the user's whole history.
        .order_by(days.c.day.desc())
        .limit(1)
    )


def _days_in(first: date, last: date) -> int:
    return max((last - first).days + 1, 0)


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


def _end(row: AnyRow) -> End:
    accrued = row.last_accrual_day >= row.first_accrual_day
    return End(
        enrolment_id=row.enrolment_id,
        ended_at=row.ended_at,
        last_accrual_day=row.last_accrual_day if accrued else None,
        owed_days=row.owed_days_at_end,
        reason=row.end_reason,
        operator=row.end_operator,
        tell=row.end_tell,
    )
