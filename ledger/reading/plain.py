"""Positions and standings of users for whom nothing unusual is recorded, read in one message to the database.

Most users are such users at most times, and a few small statements read everything about them. PostgreSQL spends
most of its time here on planning, and it plans these statements in half the time that it needs for one statement
that unites them. A user who is held or owed days, or has a reversed reward or a movement that counts later, is
left out, and must be read by ``ledger.reading.earnings`` or ``ledger.reading.standing``.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import date, datetime
from typing import Any

from sqlalchemy import Integer, Text, bindparam, func, literal_column, select

from ledger.database.exact_sums import exact_sum, from_exact_sums
from ledger.database.one_go import BoundStatement, ReadyStatement
from ledger.database.schema import (
    UtcInstant,
    accounts,
    acts,
    days,
    enrolments,
    postings,
    rewards,
    stored_day,
    stored_instant,
    users,
)
from ledger.reading.earnings import Position
from ledger.reading.owed import spans
from ledger.reading.standing import LAST_CREDITED_DAY, Standing, latest_enrolment_id, plain_standing
from ledger.reversals import REVERSALS, is_reversal_of
from staking.days import ONE_DAY, day_of, start_of
from staking.program import Program

_asked = bindparam("users", type_=Text, expanding=True)
_ONE = literal_column("1", Integer)
_counts_later = (
    select(_ONE)
    .where(
        postings.c.account_id == accounts.c.account_id,
        postings.c.effective_at > bindparam("instant", type_=UtcInstant),
    )
    .correlate(accounts)
    .exists()
)
_HOLDINGS = ReadyStatement(
    select(accounts.c.user_id, accounts.c.asset, accounts.c.balance, _counts_later.label("counts_later")).where(
        accounts.c.user_id.in_(_asked)
    )
)
_TOTALS = ReadyStatement(
    select(rewards.c.user_id, rewards.c.asset, *exact_sum(rewards.c.reward))
    .where(rewards.c.user_id.in_(_asked))
    .group_by(rewards.c.user_id, rewards.c.asset)
)
_REVERSED = ReadyStatement(
    select(days.c.user_id)
    .join_from(days, REVERSALS, is_reversal_of(days.c.entry_id))
    .where(days.c.user_id.in_(_asked))
)
_OPEN = ReadyStatement(
    select(enrolments.c.user_id).where(enrolments.c.user_id.in_(_asked), enrolments.c.ended_at.is_(None))
)
_USERS = ReadyStatement(
    select(users.c.user_id, users.c.closed_through, LAST_CREDITED_DAY.label("last_credited_day")).where(
        users.c.user_id.in_(_asked)
    )
)
_latest = enrolments.alias("latest")
_LATEST = ReadyStatement(
    select(
        _latest.c.user_id,
        _latest.c.enrolment_id,
        _latest.c.region,
        _latest.c.activated_at,
        _latest.c.first_accrual_day,
        _latest.c.ended_at,
        _latest.c.end_reason,
        _latest.c.end_operator,
        _latest.c.end_tell,
    ).where(_latest.c.user_id.in_(_asked), _latest.c.enrolment_id == latest_enrolment_id(_latest))
)
_HOLDS_AND_RELEASES = ReadyStatement(
    select(acts.c.user_id, acts.c.kind, func.max(acts.c.act_number).label("last"))
    .where(acts.c.user_id.in_(_asked), acts.c.kind.in_(("hold", "release")))
    .group_by(acts.c.user_id, acts.c.kind)
)
_OWED = ReadyStatement(spans.with_only_columns(enrolments.c.user_id).where(enrolments.c.user_id.in_(_asked)))


def positions_asked(user_ids: Sequence[str], instant: datetime) -> list[BoundStatement]:
    """What must be read for ``positions_in``."""
    return [_OPEN.bound(users=user_ids), *_amounts_asked(user_ids, instant)]


def positions_in(found: Sequence[Sequence[Any]], user_ids: Sequence[str]) -> dict[str, Position]:
    """The positions of the users about whom there is nothing unusual, by their ids."""
    opened, *amounts = found
    enrolled = {user_id for (user_id,) in opened}
    return {
        user_id: Position(user_id in enrolled, holdings, totals)
        for user_id, (holdings, totals) in _amounts_in(amounts, user_ids).items()
    }


def standings_asked(user_ids: Sequence[str], now: datetime) -> list[BoundStatement]:
    """What must be read for ``standings_in``."""
    return [
        _USERS.bound(users=user_ids),
        _LATEST.bound(users=user_ids),
        _HOLDS_AND_RELEASES.bound(users=user_ids),
        _OWED.bound(users=user_ids, yesterday=stored_day(day_of(now) - ONE_DAY)),
        *_amounts_asked(user_ids, now),
    ]


def standings_in(
    found: Sequence[Sequence[Any]], user_ids: Sequence[str], program: Program | None, today: date
) -> dict[str, Standing]:
    """The standings of the users about whom there is nothing unusual, by their ids. ``program`` is the one in
    force today."""
    known, latest, holds_and_releases, owed, *amounts = found
    last_acts: defaultdict[str, dict[str, int]] = defaultdict(dict)
    for user_id, kind, last in holds_and_releases:
        last_acts[user_id][kind] = last
    unusual = {user_id for (user_id,) in owed} | {
        user_id for user_id, last in last_acts.items() if last.get("hold", 0) > last.get("release", 0)
    }
    row_of = {row.user_id: row for row in known}
    latest_of = {row.user_id: row for row in latest}
    begins = start_of(today)

    def of(user_id: str, holdings: Mapping[str, int], totals: Mapping[str, int]) -> Standing:
        row, enrolment = row_of.get(user_id), latest_of.get(user_id)
        is_behind = bool(row and enrolment and max(row.closed_through, enrolment.activated_at) < begins)
        return plain_standing(
            user_id,
            enrolment,
            Position(enrolment is not None and enrolment.ended_at is None, holdings, totals),
            last_credited_day=row and row.last_credited_day,
            is_behind=is_behind,
            program=program,
            today=today,
        )

    return {
        user_id: of(user_id, holdings, totals)
        for user_id, (holdings, totals) in _amounts_in(amounts, user_ids).items()
        if user_id not in unusual
    }


def _amounts_asked(user_ids: Sequence[str], instant: datetime) -> list[BoundStatement]:
    return [
        _HOLDINGS.bound(users=user_ids, instant=stored_instant(instant)),
        _TOTALS.bound(users=user_ids),
        _REVERSED.bound(users=user_ids),
    ]


def _amounts_in(
    found: Sequence[Sequence[Any]], user_ids: Sequence[str]
) -> dict[str, tuple[dict[str, int], dict[str, int]]]:
    """Holdings and totals, units by asset, of those users who have no reversed reward and no later movement."""
    held, earned, reversed_of = found
    holdings: dict[str, dict[str, int]] = {user_id: {} for user_id in user_ids}
    totals: dict[str, dict[str, int]] = {user_id: {} for user_id in user_ids}
    unusual = {user_id for (user_id,) in reversed_of}
    for user_id, asset, balance, counts_later in held:
        holdings[user_id][asset] = balance
        if counts_later:
            unusual.add(user_id)
    for user_id, asset, sum_high, sum_low in earned:
        units = from_exact_sums(sum_high, sum_low)
        if units:
            totals[user_id][asset] = units
    return {user_id: (holdings[user_id], totals[user_id]) for user_id in user_ids if user_id not in unusual}
