"""Closing a day for users: the snapshot (rule 2, I4, I5)."""

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

from sqlalchemy import BigInteger, and_, bindparam, cast, null, select, type_coerce, union_all, update
from sqlalchemy.ext.asyncio import AsyncConnection

from ledger.engine import Ledger, run_again_if_it_gave_way
from ledger.errors import ContentDiffers, LedgerError, NotEnrolled, OutOfOrder
from ledger.journal import LockedUser, fenced_off, holdings_of_all_before, lock_users
from ledger.programs import ProgramVersion, program_of_closed_day
from ledger.rows import insert_rows
from ledger.schema import AnyRow, UtcInstant, accounts, days, enrolments, postings, snapshots, users
from staking.average import DayHolding, day_holding
from staking.days import ONE_DAY, day_of, end_of, start_of
from staking.models import Holding, Snapshot, SnapshotRequest


async def close_day(ledger: Ledger, request: SnapshotRequest) -> Snapshot:
    """Closes the day for the user and fixes each program asset's opening, closing and average.

    A repeat answers what was fixed. Raises Superseded or LedgerRestored if the run that asks does not stand where
    the ledger does, ContentDiffers if the day belongs to another enrolment, OutOfOrder if
    the day is not over, or an earlier one of the user is still owed.
    """
    return await ledger.batches(_close_all).answer(request.day, request)


@dataclass(frozen=True)
class _Closing:
    """A day that may be closed for a user."""

    request: SnapshotRequest
    closed_at: datetime
    known: AnyRow

    @property
    def user_id(self) -> str:
        return self.request.user_id

    @property
    def is_the_first(self) -> bool:
        return self.request.day == day_of(self.known.activated_at)

    def continues(self, program: ProgramVersion) -> bool:
        """Whether yesterday's snapshot covers the same assets: then its closings are today's openings (I5)."""
        return self.known.program_version_before == program.version


@run_again_if_it_gave_way
async def _close_all(
    ledger: Ledger, day: date, requests: Sequence[SnapshotRequest]
) -> Mapping[str, Snapshot | LedgerError]:
    answers: dict[str, Snapshot | LedgerError] = {}
    async with ledger.write() as connection:
        locked = await lock_users(connection, [request.user_id for request in requests])
        known = await _known(connection, day, requests)
        answers |= fenced_off(locked, requests)
        repeats = [each for each in requests if each.user_id not in answers and _is_closed(known, each)]
        answers |= await _repeated(connection, day, repeats, known)
        closings: list[_Closing] = []
        for request in requests:
            if request.user_id not in answers:
                now = max(request.now, ledger.clock())
                try:
                    _check_order(request, locked.get(request.user_id), known.get(request.user_id), now)
                except LedgerError as refusal:
                    answers[request.user_id] = refusal
                else:
                    closings.append(_Closing(request, now, known[request.user_id]))
        answers |= await _unpaid_before(connection, day, [each for each in closings if each.is_the_first])
        admitted = [closing for closing in closings if closing.user_id not in answers]
        if admitted:
            try:
                program = await program_of_closed_day(ledger, connection, day)
            except LedgerError as refusal:
                return answers | dict.fromkeys([closing.user_id for closing in admitted], refusal)
            answers |= await _close(connection, day, program, admitted)
    return answers


_RAISE_WATERMARK = (
    update(users)
    .where(users.c.user_id.in_(bindparam("user_ids", expanding=True)))
    .values(closed_through=bindparam("through"))
)


async def _close(
    connection: AsyncConnection, day: date, program: ProgramVersion, closings: Sequence[_Closing]
) -> dict[str, Snapshot]:
    holdings = await _holdings(connection, day, program, closings)
    await insert_rows(connection, days, [_record(closing, program) for closing in closings])
    rows = [
        {
            "user_id": user_id,
            "day": day,
            "asset": asset,
            "opening": held.opening,
            "closing": held.closing,
            "average": held.average,
        }
        for user_id, by_asset in holdings.items()
        for asset, held in by_asset.items()
    ]
    await insert_rows(connection, snapshots, rows)
    raised = {"user_ids": [closing.user_id for closing in closings], "through": end_of(day)}
    await connection.execute(_RAISE_WATERMARK, raised)
    return {user_id: _snapshot(day, by_asset) for user_id, by_asset in holdings.items()}


def _record(closing: _Closing, program: ProgramVersion) -> dict[str, Any]:
    return {
        "user_id": closing.user_id,
        "day": closing.request.day,
        "enrolment_id": closing.request.enrolment_id,
        "program_version": program.version,
        "accrues": closing.request.day >= closing.known.first_accrual_day,
        "closed_at": closing.closed_at,
    }


def _snapshot(day: date, holdings: Mapping[str, DayHolding]) -> Snapshot:
    return Snapshot(
        day=day,
        holdings=[
            Holding(asset=asset, opening=held.opening, closing=held.closing, average=held.average)
            for asset, held in sorted(holdings.items())
        ],
    )


_that_day, _before, _enrolment_before = days.alias(), days.alias(), enrolments.alias()
_KNOWN = (
    select(
        users.c.user_id,
        enrolments.c.activated_at,
        enrolments.c.first_accrual_day,
        enrolments.c.last_accrual_day,
        _that_day.c.enrolment_id.label("closed_for"),
        _before.c.accrues.label("accrues_before"),
        _before.c.credited_at.label("credited_at_before"),
        _before.c.program_version.label("program_version_before"),
        _enrolment_before.c.last_accrual_day.label("last_accrual_day_before"),
    )
    .select_from(users)
    .outerjoin(
        enrolments,
        and_(
            enrolments.c.user_id == users.c.user_id,
            enrolments.c.enrolment_id.in_(bindparam("enrolment_ids", expanding=True)),
        ),
    )
    .outerjoin(_that_day, and_(_that_day.c.user_id == users.c.user_id, _that_day.c.day == bindparam("day")))
    .outerjoin(_before, and_(_before.c.user_id == users.c.user_id, _before.c.day == bindparam("day_before")))
    .outerjoin(_enrolment_before, _enrolment_before.c.enrolment_id == _before.c.enrolment_id)
    .where(users.c.user_id.in_(bindparam("user_ids", expanding=True)))
)


async def _known(connection: AsyncConnection, day: date, requests: Sequence[SnapshotRequest]) -> dict[str, AnyRow]:
    """For each user that there is: the enrolment asked for, and what is recorded of the day and the day before."""
    asked = {
        "user_ids": [request.user_id for request in requests],
        "enrolment_ids": [request.enrolment_id for request in requests],
        "day": day,
        "day_before": day - ONE_DAY,
    }
    rows = await connection.execute(_KNOWN, asked)
    return {row.user_id: row for row in rows}


def _is_closed(known: Mapping[str, AnyRow], request: SnapshotRequest) -> bool:
    return request.user_id in known and known[request.user_id].closed_for is not None


async def _repeated(
    connection: AsyncConnection, day: date, requests: Sequence[SnapshotRequest], known: Mapping[str, AnyRow]
) -> dict[str, Snapshot | LedgerError]:
    """What was fixed the first time."""
    if not requests:
        return {}
    fixed = await _fixed(connection, day, [request.user_id for request in requests])
    answers: dict[str, Snapshot | LedgerError] = {}
    for request in requests:
        closed_for = known[request.user_id].closed_for
        answers[request.user_id] = (
            _snapshot(day, fixed[request.user_id])
            if closed_for == request.enrolment_id
            else ContentDiffers(
                f"the closing of {day} for user {request.user_id}",
                recorded=f"of enrolment {closed_for}",
                asked=f"of enrolment {request.enrolment_id}",
            )
        )
    return answers


async def _fixed(
    connection: AsyncConnection, day: date, user_ids: Collection[str]
) -> defaultdict[str, dict[str, DayHolding]]:
    rows = await connection.execute(
        select(snapshots).where(snapshots.c.user_id.in_(user_ids), snapshots.c.day == day)
    )
    fixed: defaultdict[str, dict[str, DayHolding]] = defaultdict(dict)
    for row in rows:
        fixed[row.user_id][row.asset] = DayHolding(row.opening, row.closing, row.average)
    return fixed


async def read_snapshot(connection: AsyncConnection, user_id: str, day: date) -> Snapshot:
    """What was fixed for a user and closed day."""
    return _snapshot(day, (await _fixed(connection, day, [user_id]))[user_id])


def _check_order(request: SnapshotRequest, user: LockedUser | None, known: AnyRow | None, now: datetime) -> None:
    """Days are closed one after the other, each after the one before is credited: its reward counts from the
    boundary on (rule 6), so a later average cannot be known before it."""
    day, user_id = request.day, request.user_id
    if user is None or known is None or known.activated_at is None or day_of(known.activated_at) > day:
        raise NotEnrolled(f"user {user_id} has no enrolment {request.enrolment_id} on {day}")
    if known.last_accrual_day is not None and day > known.last_accrual_day:
        # The day may be the first of the user's next enrolment, which could not close it any more.
        raise OutOfOrder(
            f"{day} is after the last accrual day of user {user_id}'s enrolment {request.enrolment_id}, "
            "which has ended"
        )
    if now < end_of(day):
        raise OutOfOrder(f"{day} is not over at {now.isoformat()}")
    if user.closed_through > start_of(day):
        raise OutOfOrder(f"user {user_id} is closed through {user.closed_through.isoformat()} already")
    if _is_owed_before(known, day):
        raise OutOfOrder(f"{day - ONE_DAY} is still owed to user {user_id}; credit it first")
    if day > day_of(known.activated_at) and known.accrues_before is None:
        raise OutOfOrder(f"{day - ONE_DAY} is not closed for user {user_id}; close it first")


def _is_owed_before(known: AnyRow, day: date) -> bool:
    last = known.last_accrual_day_before
    within = last is None or day - ONE_DAY <= last
    return bool(known.accrues_before) and known.credited_at_before is None and within


async def _unpaid_before(
    connection: AsyncConnection, day: date, closings: Sequence[_Closing]
) -> dict[str, LedgerError]:
    """Refusals of first days: once a day is closed no earlier one can be, so an owed day of an earlier enrolment
    that was skipped would be lost (rule 10)."""
    if not closings:
        return {}
    last_day_credited = (
        select(days.c.day)
        .where(
            days.c.user_id == enrolments.c.user_id,
            days.c.day == enrolments.c.last_accrual_day,
            days.c.credited_at.is_not(None),
        )
        .exists()
    )
    rows = await connection.execute(
        select(enrolments.c.user_id, enrolments.c.enrolment_id).where(
            enrolments.c.user_id.in_([closing.user_id for closing in closings]),
            enrolments.c.enrolment_id.not_in([closing.request.enrolment_id for closing in closings]),
            enrolments.c.last_accrual_day >= enrolments.c.first_accrual_day,
            enrolments.c.last_accrual_day < day,
            ~last_day_credited,
        )
    )
    return {
        row.user_id: OutOfOrder(
            f"days of enrolment {row.enrolment_id} are still owed to user {row.user_id}; credit them first"
        )
        for row in rows
    }


async def _holdings(
    connection: AsyncConnection, day: date, program: ProgramVersion, closings: Sequence[_Closing]
) -> dict[str, dict[str, DayHolding]]:
    """By user, every program asset with an opening, a closing or a movement on the day. Reads only that day's
    movements where yesterday's snapshot covers the same assets, and else only what came after the day opened."""
    openings, movements = await _openings_and_movements(connection, day, [each.user_id for each in closings])
    others = [closing.user_id for closing in closings if not closing.continues(program)]
    if others:
        openings |= await holdings_of_all_before(connection, others, start_of(day))
    holdings: dict[str, dict[str, DayHolding]] = {}
    for user_id in (closing.user_id for closing in closings):
        opened = {asset: opening for asset, opening in openings[user_id].items() if opening}
        moved = movements[user_id]
        holdings[user_id] = {
            asset: day_holding(day, opened.get(asset, 0), moved.get(asset, []))
            for asset in sorted(opened.keys() | moved.keys())
            if asset in program.program.assets
        }
    return holdings


_Openings = dict[str, dict[str, int]]
_Movements = dict[str, defaultdict[str, list[tuple[datetime, int]]]]


_NO_INSTANT = type_coerce(cast(null(), BigInteger), UtcInstant)
_OPENINGS_AND_MOVEMENTS = union_all(
    select(accounts.c.user_id, accounts.c.asset, postings.c.effective_at, postings.c.amount)
    .join_from(accounts, postings, postings.c.account_id == accounts.c.account_id)
    .where(
        accounts.c.user_id.in_(bindparam("user_ids", expanding=True)),
        postings.c.effective_at >= bindparam("start"),
        postings.c.effective_at < bindparam("end"),
    ),
    select(snapshots.c.user_id, snapshots.c.asset, _NO_INSTANT, snapshots.c.closing).where(
        snapshots.c.user_id.in_(bindparam("user_ids", expanding=True)), snapshots.c.day == bindparam("day_before")
    ),
)


async def _openings_and_movements(
    connection: AsyncConnection, day: date, user_ids: Collection[str]
) -> tuple[_Openings, _Movements]:
    """By user and asset, yesterday's closings and the day's movements."""
    asked = {"user_ids": user_ids, "start": start_of(day), "end": end_of(day), "day_before": day - ONE_DAY}
    rows = await connection.execute(_OPENINGS_AND_MOVEMENTS, asked)
    openings: _Openings = {user_id: {} for user_id in user_ids}
    movements: _Movements = {user_id: defaultdict(list) for user_id in user_ids}
    for user_id, asset, effective_at, amount in rows:
        if effective_at is None:
            openings[user_id][asset] = amount
        else:
            movements[user_id][asset].append((effective_at, amount))
    return openings, movements
