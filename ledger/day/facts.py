"""What is recorded of users' days: SQL in, typed facts out.

Each function reads for several users together, by the same few statements however many users there are, since a
statement costs more than the rows that it reads.
"""

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import date, datetime
from itertools import groupby
from operator import attrgetter

from sqlalchemy import BigInteger, and_, bindparam, cast, null, or_, select, type_coerce, union_all
from sqlalchemy.ext.asyncio import AsyncConnection

from contract.requests import ComputeRequest, SnapshotRequest
from ledger.accounts import SPOT, Account, AccountKey
from ledger.database.among import Among
from ledger.database.program_memory import ProgramVersion
from ledger.database.schema import (
    UtcInstant,
    accounts,
    days,
    enrolments,
    postings,
    rewards,
    snapshots,
    sources,
    users,
)
from ledger.holdings import holdings_of_all_before
from ledger.locking import LockedUser
from staking.day import ClosedDay, ClosingFacts, DayBefore, DayFacts, Enrolled, Fixed
from staking.days import ONE_DAY, day_of, end_of, start_of
from staking.models import CreditReceipt, Holding, RewardLine, Snapshot
from staking.rewards import Outcome


@dataclass(frozen=True)
class CreditFacts:
    """A closed day, and the accounts that its rewards go to."""

    closed: ClosedDay
    spot: Mapping[AccountKey, Account]
    """The user's spot account of each asset in the snapshot."""


_that_day, _before, _enrolment_before = days.alias(), days.alias(), enrolments.alias()
_CLOSING = (
    select(
        users.c.user_id,
        enrolments.c.enrolment_id,
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
            Among(enrolments.c.enrolment_id, "enrolment_ids"),
        ),
    )
    .outerjoin(_that_day, and_(_that_day.c.user_id == users.c.user_id, _that_day.c.day == bindparam("day")))
    .outerjoin(_before, and_(_before.c.user_id == users.c.user_id, _before.c.day == bindparam("day_before")))
    .outerjoin(_enrolment_before, _enrolment_before.c.enrolment_id == _before.c.enrolment_id)
    .where(Among(users.c.user_id, "user_ids"))
)


async def closing_facts(
    connection: AsyncConnection, day: date, requests: Iterable[SnapshotRequest], locked: Mapping[str, LockedUser]
) -> dict[str, ClosingFacts]:
    """For each request, by user: the enrolment asked for, and what is recorded of the day and the day before."""
    enrolment_ids = {request.user_id: request.enrolment_id for request in requests}
    asked = {
        "user_ids": [*enrolment_ids],
        "enrolment_ids": [*enrolment_ids.values()],
        "day": day,
        "day_before": day - ONE_DAY,
    }
    enrolled: dict[str, Enrolled] = {}
    closed_for: dict[str, str] = {}
    before: dict[str, DayBefore] = {}
    for row in await connection.execute(_CLOSING, asked):
        user_id: str = row.user_id
        if row.enrolment_id == enrolment_ids[user_id]:
            enrolled[user_id] = Enrolled(row.activated_at, row.first_accrual_day, row.last_accrual_day)
        if row.closed_for is not None:
            closed_for[user_id] = row.closed_for
        if row.accrues_before is not None:
            before[user_id] = DayBefore(
                row.program_version_before,
                row.accrues_before,
                row.credited_at_before is not None,
                row.last_accrual_day_before,
            )
    fixed = await fixed_snapshots(connection, day, closed_for)
    beginning = {
        user_id: enrolment_ids[user_id]
        for user_id, enrolment in enrolled.items()
        if user_id not in closed_for and day_of(enrolment.activated_at) == day
    }
    owed = await _owed_enrolments(connection, day, beginning)
    return {
        user_id: ClosingFacts(
            closed_through=locked[user_id].closed_through,
            enrolment=enrolled.get(user_id),
            fixed=Fixed(closed_for[user_id], fixed[user_id]) if user_id in closed_for else None,
            before=before.get(user_id),
            owed_enrolment_id=owed.get(user_id),
        )
        for user_id in enrolment_ids
        if user_id in locked
    }


async def fixed_snapshots(
    connection: AsyncConnection, day: date, user_ids: Collection[str]
) -> dict[str, Snapshot]:
    """For each user, the snapshot that was fixed for a closed day."""
    if not user_ids:
        return {}
    rows = await connection.execute(
        select(snapshots)
        .where(snapshots.c.user_id.in_([*user_ids]), snapshots.c.day == day)
        .order_by(snapshots.c.user_id, snapshots.c.asset)
    )
    holdings: dict[str, list[Holding]] = {user_id: [] for user_id in user_ids}
    for row in rows:
        holdings[row.user_id].append(
            Holding(asset=row.asset, opening=row.opening, closing=row.closing, average=row.average)
        )
    return {user_id: Snapshot(day=day, holdings=of_user) for user_id, of_user in holdings.items()}


async def _owed_enrolments(connection: AsyncConnection, day: date, beginning: Mapping[str, str]) -> dict[str, str]:
    """By user, an enrolment that ended before a day and whose last day is not credited. ``beginning`` are the
    enrolments that begin on that day, by user."""
    if not beginning:
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
            enrolments.c.user_id.in_([*beginning]),
            enrolments.c.enrolment_id.not_in([*beginning.values()]),
            enrolments.c.last_accrual_day >= enrolments.c.first_accrual_day,
            enrolments.c.last_accrual_day < day,
            ~last_day_credited,
        )
    )
    return {row.user_id: row.enrolment_id for row in rows}


_NO_INSTANT = type_coerce(cast(null(), BigInteger), UtcInstant)
_OPENINGS_AND_MOVEMENTS = union_all(
    select(accounts.c.user_id, accounts.c.asset, postings.c.effective_at, postings.c.amount)
    .join_from(accounts, postings, postings.c.account_id == accounts.c.account_id)
    .where(
        Among(accounts.c.user_id, "user_ids"),
        postings.c.effective_at >= bindparam("start"),
        postings.c.effective_at < bindparam("end"),
    ),
    select(snapshots.c.user_id, snapshots.c.asset, _NO_INSTANT, snapshots.c.closing).where(
        Among(snapshots.c.user_id, "user_ids"), snapshots.c.day == bindparam("day_before")
    ),
)


async def day_facts(
    connection: AsyncConnection,
    day: date,
    program: ProgramVersion | None,
    before: Mapping[str, DayBefore | None],
) -> dict[str, DayFacts]:
    """By user, what was held when a day opened and what moved on it.

    ``before`` is the record of the day before; ``program`` is the version in force on the day, without which no
    opening is taken from yesterday's snapshot.

    Yesterday's closings are today's openings (I5) where yesterday's snapshot covers the same assets: then only the
    day's movements are read. Otherwise an opening is the balance without what came after.
    """
    asked = {"user_ids": [*before], "start": start_of(day), "end": end_of(day), "day_before": day - ONE_DAY}
    rows = await connection.execute(_OPENINGS_AND_MOVEMENTS, asked)
    openings: dict[str, dict[str, int]] = {user_id: {} for user_id in before}
    movements: dict[str, defaultdict[str, list[tuple[datetime, int]]]]
    movements = {user_id: defaultdict(list) for user_id in before}
    for user_id, asset, effective_at, amount in rows:
        if effective_at is None:
            openings[user_id][asset] = amount
        else:
            movements[user_id][asset].append((effective_at, amount))
    others = [
        user_id
        for user_id, record in before.items()
        if record is None or program is None or record.program_version != program.version
    ]
    if others:
        openings |= await holdings_of_all_before(connection, others, start_of(day))
    return {user_id: DayFacts(day, openings[user_id], movements[user_id]) for user_id in before}


_REGIONS = select(enrolments.c.user_id, enrolments.c.enrolment_id, enrolments.c.region).where(
    Among(enrolments.c.enrolment_id, "enrolment_ids")
)


async def regions(connection: AsyncConnection, requests: Iterable[ComputeRequest]) -> dict[str, str]:
    """For each user, the region from which the user enrolled. Users whose enrolment is unknown or another user's
    are left out."""
    asked = {(request.user_id, request.enrolment_id) for request in requests}
    rows = await connection.execute(_REGIONS, {"enrolment_ids": [enrolment_id for _, enrolment_id in asked]})
    return {row.user_id: row.region for row in rows if (row.user_id, row.enrolment_id) in asked}


_CREDIT = (
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
    .where(Among(days.c.user_id, "user_ids"), days.c.day == bindparam("day"))
    .order_by(days.c.user_id, snapshots.c.asset)
)


async def credit_facts(connection: AsyncConnection, day: date, user_ids: Iterable[str]) -> dict[str, CreditFacts]:
    """For each user, what is recorded of a closed day. Users whose day is not closed are left out."""
    facts: dict[str, CreditFacts] = {}
    rows = await connection.execute(_CREDIT, {"user_ids": [*user_ids], "day": day})
    for user_id, of_user in groupby(rows, key=attrgetter("user_id")):
        first, *others = of_user
        snapshot_rows = [] if first.asset is None else [first, *others]  # a day without snapshots is one row
        receipt = None
        lines: list[RewardLine] = []
        if first.credited_at is not None:
            receipt = CreditReceipt(
                day=day, credited_at=first.credited_at, late=first.late, entry_id=first.entry_id
            )
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
                for row in snapshot_rows
            ]
        closed = ClosedDay(
            enrolment_id=first.enrolment_id,
            enrolled_at=first.enrolled_at,
            last_accrual_day=first.last_accrual_day,
            program_version=first.program_version,
            accrues=first.accrues,
            averages=[(row.asset, row.average) for row in snapshot_rows],
            receipt=receipt,
            lines=lines,
        )
        keys = [(SPOT, user_id, row.asset) for row in snapshot_rows]
        spot = {
            key: Account(row.account_id, key, row.balance) for key, row in zip(keys, snapshot_rows, strict=True)
        }
        facts[user_id] = CreditFacts(closed, spot)
    return facts


_LATE_SOURCES = (
    select(sources.c.name)
    .where(
        sources.c.complete_through < bindparam("through"),
        or_(sources.c.released_through.is_(None), sources.c.released_through < bindparam("through")),
    )
    .order_by(sources.c.name)
    # For the lock on the table that comes with it: nobody can register a source until the transaction ends. What
    # it reads is as of then, since PostgreSQL takes the lock before it looks.
    .with_for_update(read=True, key_share=True)
)


async def late_sources(connection: AsyncConnection, through: datetime) -> list[str]:
    """The sources that are not complete through an instant, for a transaction that closes a day.

    Until the transaction ends, no source is registered.
    """
    return list(await connection.scalars(_LATE_SOURCES, {"through": through}))
