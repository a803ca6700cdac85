"""Enrolments: recording one, ending one, and recalling what is unfinished (rules 1, 7 and 10)."""

from datetime import date, datetime
from typing import Any

from sqlalchemy import ColumnElement, Select, and_, func, or_, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from contract.acts import Act
from contract.answers import ENDED_BY_OPERATOR, End, Receipt, Refusal
from contract.events import EnrolmentBegan, EnrolmentEnded
from contract.requests import EndRequest, EnrolRequest
from ledger.acts import record_deactivation, write_act
from ledger.database.engine import Ledger, run_again_if_it_gave_way
from ledger.database.schema import AnyRow, UtcInstant, acceptances, days, enrolments
from ledger.errors import BackDatingRefused, ContentDiffers, NotEnrolled
from ledger.holdings import holdings_before
from ledger.locking import LockedUser, lock_user
from ledger.outbox import NewEvent, write_events
from ledger.programs import first_program_day, program_on
from staking.days import ONE_DAY, REWARD_WINDOW, day_of, end_of, first_accrual_day, start_of
from staking.eligibility import refusal_reasons
from staking.models import Activation, RefusalReason
from staking.program import Program


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
        recorded = await _recorded(connection, request)
        if recorded is not None:
            return receipt_of(recorded)
        now = max(request.now, ledger.clock())
        last_end = await _last_end_of(connection, request.user_id)
        if activation.back_dating is None:
            # Even if a clock is behind, two enrolments must not have the same day.
            activated_at = max(request.activated_at, user.closed_through, last_end or request.activated_at)
        else:
            activated_at = request.activated_at
            await _check_back_dating(connection, user, last_end, activated_at, now=request.now)
        program = (await program_on(connection, day_of(activated_at))).program
        reasons = await reasons_against(connection, user.user_id, activation, program, activated_at)
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
        receipt = _receipt(request.enrolment_id, activated_at)
        await write_events(connection, [_began(request, receipt, now)])
        return receipt


async def reasons_against(
    connection: AsyncConnection, user_id: str, activation: Activation, program: Program, instant: datetime
) -> list[RefusalReason]:
    """Rule 7: every reason against enrolling a user at an instant under the program of its day; empty if there is
    none. Nothing is written."""
    holdings = await holdings_before(connection, user_id, instant, inclusive=True)
    return refusal_reasons(activation, holdings, program)


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
        last_credited = await connection.scalar(
            last_credited_day(days.c.user_id == request.user_id, days.c.enrolment_id == request.enrolment_id)
        )
        if last_credited is not None:
            last_accrual_day = max(last_accrual_day, last_credited)
        if row.ended_at is not None and row.last_accrual_day <= last_accrual_day:
            return end_of_row(row)
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
            no_longer_owed = _days_in(max(last_accrual_day + ONE_DAY, row.first_accrual_day), row.last_accrual_day)
            changes["owed_days_at_end"] = row.owed_days_at_end - no_longer_owed
        updated = await connection.execute(
            update(enrolments)
            .where(enrolments.c.enrolment_id == request.enrolment_id)
            .values(changes)
            .returning(enrolments)
        )
        end = end_of_row(updated.one())
        await write_events(connection, [_ended(request.user_id, end, max(request.ended_at, ledger.clock()))])
        return end


async def is_enrolled(connection: AsyncConnection, user_id: str) -> bool:
    """Whether a user has an enrolment that has not ended."""
    of_user = and_(enrolments.c.user_id == user_id, enrolments.c.ended_at.is_(None))
    return await connection.scalar(select(enrolments.c.enrolment_id).where(of_user)) is not None


async def is_recorded(connection: AsyncConnection, enrolment_id: str) -> bool:
    """Whether an enrolment was ever recorded here."""
    statement = select(enrolments.c.enrolment_id).where(enrolments.c.enrolment_id == enrolment_id)
    return await connection.scalar(statement) is not None


def last_credited_day(*of: ColumnElement[bool]) -> Select[date]:
    """The last credited day of those days of which the conditions are true.

    It is read from the end, where the first row decides; a maximum would read the user's whole history.
    """
    return select(days.c.day).where(*of, days.c.credited_at.is_not(None)).order_by(days.c.day.desc()).limit(1)


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


def _began(request: EnrolRequest, receipt: Receipt, now: datetime) -> NewEvent:
    activation = request.activation
    data = EnrolmentBegan(
        enrolment_id=receipt.enrolment_id,
        activated_at=receipt.activated_at,
        first_accrual_day=first_accrual_day(receipt.activated_at),
        first_reward_from=receipt.first_reward_from,
        first_reward_until=receipt.first_reward_until,
        region=activation.region,
        channel=activation.channel,
        back_dated=activation.back_dating is not None,
    )
    return NewEvent("enrolment.began", now, request.user_id, about=receipt.enrolment_id, data=data)


def _ended(user_id: str, end: End, now: datetime) -> NewEvent:
    """An end may be told again, on an earlier day: so the day is part of what tells it from others."""
    data = EnrolmentEnded(
        enrolment_id=end.enrolment_id,
        ended_at=end.ended_at,
        last_accrual_day=end.last_accrual_day,
        owed_days=end.owed_days,
        reason=ENDED_BY_OPERATOR if end.operator else end.reason,
        message=end.tell,
    )
    about = f"{end.enrolment_id}/{end.last_accrual_day or 'none'}"
    return NewEvent("enrolment.ended", now, user_id, about=about, data=data)


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


async def _recorded(connection: AsyncConnection, request: EnrolRequest) -> AnyRow | None:
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


async def _last_end_of(connection: AsyncConnection, user_id: str) -> datetime | None:
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


def _days_in(first: date, last: date) -> int:
    return max((last - first).days + 1, 0)


def end_of_row(row: AnyRow) -> End:
    """How the enrolment of a row ended, as it is answered."""
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
