"""How users stand, from the ledger alone: one of them, or several in the same few statements."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any, Literal, TypeAlias

from sqlalchemy import FromClause, ScalarSelect, Select, Text, and_, bindparam, select
from sqlalchemy.ext.asyncio import AsyncConnection

from contract.acts import Hold
from contract.answers import Receipt
from ledger.acts import HOLDS_IN_FORCE, holds_of
from ledger.database.engine import Ledger
from ledger.database.schema import AnyRow, UtcInstant, acts, days, enrolments, users
from ledger.enrolments import last_credited_day, receipt_of
from ledger.errors import NoProgram
from ledger.programs import program_of_begun_day, program_on
from ledger.reading.earnings import Position, positions
from ledger.reading.owed import NOTHING_OWED, OwedToUser, owed_to_each, spans
from staking.days import ONE_DAY, day_of, start_of
from staking.program import Program
from staking.tag import tagged_asset

_asked = bindparam("users", type_=Text, expanding=True)
_today = bindparam("start_of_today", type_=UtcInstant)
_latest = enrolments.alias("latest")
LAST_CREDITED_DAY = last_credited_day(days.c.user_id == users.c.user_id).correlate(users).scalar_subquery()
"""The last credited accrual day of the user in a row of ``users``; null if there is none."""


def latest_enrolment_id(of: FromClause) -> ScalarSelect[str]:
    """The id of the open enrolment of the user in a row; if there is none, of the latest."""
    return (
        select(enrolments.c.enrolment_id)
        .where(enrolments.c.user_id == of.c.user_id)
        .order_by(enrolments.c.ended_at.is_(None).desc(), enrolments.c.activated_at.desc())
        .limit(1)
        .correlate(of)
        .scalar_subquery()
    )


# Built once, since product services may ask hundreds of times in a second.
_STANDING: Select[tuple[Any, ...]] = (
    select(
        users.c.user_id,
        *(column for column in _latest.c if column.key != "user_id"),
        LAST_CREDITED_DAY.label("last_credited_day"),
        and_(users.c.closed_through < _today, _latest.c.activated_at < _today).label("is_behind"),
        HOLDS_IN_FORCE.where(acts.c.user_id == users.c.user_id).correlate(users).exists().label("is_held"),
        spans.where(enrolments.c.user_id == users.c.user_id).correlate(users).exists().label("is_owed"),
    )
    .select_from(users)
    .join(_latest, _latest.c.enrolment_id == latest_enrolment_id(users), isouter=True)
    .where(users.c.user_id.in_(_asked))
)
"""A row for each user who is recorded. The columns of the enrolment are null if there never was one."""


TagColour: TypeAlias = Literal["grey", "yellow"]


@dataclass(frozen=True)
class Standing:
    """How a user stands, from the ledger alone."""

    user_id: str
    enrolled: bool
    receipt: Receipt | None
    """The receipt of the open enrolment; if there is none, of the latest."""
    region: str | None
    """The region that the user gave at that activation."""
    restricted_since: date | None
    """Rule 7: the day on which the open enrolment ends, since its region is restricted. The loop has not ended
    it yet, but no day earns any more."""
    ended_at: datetime | None
    end_reason: str | None
    """The reason of a rule, of the user, or of an operator. An operator's reason is never shown to the user."""
    end_operator: str | None
    """The operator who ended it; None if it was the user or a rule."""
    end_tell: str | None
    """That operator's text for the user."""
    last_credited_day: date | None
    owed_days: list[date]
    """Accrual days that are over and not yet credited."""
    is_behind: bool
    """Whether the user is enrolled and a day that is over is not closed yet. The day of the activation counts
    too, although it is never owed."""
    delayed_since: date | None
    """The first owed day, if rewards are delayed; see ledger.reading.owed.owed_to_each."""
    hold: Hold | None
    """The operator's hold on the user; None if there is none."""
    holdings: dict[str, int]
    """Units by asset."""
    totals: dict[str, int]
    """The sum of all credited rewards that were not reversed, in units by asset."""
    tagged_asset: str | None
    """Rule 8: the asset beside which the tag stands; None if there is no tag."""

    @property
    def is_on(self) -> bool:
        """Whether the user is enrolled and rule 7 has not ended it, even if the loop has not reached that day
        yet."""
        return self.enrolled and self.restricted_since is None

    @property
    def tag_colour(self) -> TagColour:
        """Rule 8: yellow while Soft Staking is on."""
        return "yellow" if self.is_on else "grey"

    @property
    def told(self) -> list[str]:
        """The operators' texts for the user: about the hold, and about the end until the next activation."""
        return [words for words in (self.hold and self.hold.tell, self.end_tell) if words]


async def standing_of(ledger: Ledger, user_id: str, *, now: datetime) -> Standing:
    """How a user stands at an instant. A user who is not recorded is simply not enrolled."""
    async with ledger.read() as connection:
        return (await standings_of(ledger, connection, [user_id], now=now))[user_id]


async def standings_of(
    ledger: Ledger, connection: AsyncConnection, user_ids: Sequence[str], *, now: datetime
) -> dict[str, Standing]:
    """Like standing_of, for several users by their ids: two statements, more if one is held or owed days."""
    today = day_of(now)
    given = {"users": user_ids, "yesterday": today - ONE_DAY, "start_of_today": start_of(today)}
    rows = {row.user_id: row for row in await connection.execute(_STANDING, given)}
    stand = await positions(connection, user_ids, now)
    held = [row.user_id for row in rows.values() if row.is_held]
    holds = await holds_of(connection, held) if held else {}
    owing = [row.user_id for row in rows.values() if row.is_owed]
    owed = await owed_to_each(connection, owing, now=now, held=holds) if owing else {}
    of_today = _Today(today, await _program_of(ledger, connection, today))

    def of(user_id: str) -> Standing:
        row = rows.get(user_id)
        latest = None if row is None or row.enrolment_id is None else row
        recorded = _Recorded(
            last_credited_day=None if row is None else row.last_credited_day,
            is_behind=None if row is None else row.is_behind,
            owed=owed.get(user_id, NOTHING_OWED),
            hold=holds.get(user_id),
        )
        return _standing(user_id, latest, stand[user_id], recorded, of_today)

    return {user_id: of(user_id) for user_id in user_ids}


def plain_standing(
    user_id: str,
    latest: AnyRow | None,
    position: Position,
    *,
    last_credited_day: date | None,
    is_behind: bool,
    program: Program | None,
    today: date,
) -> Standing:
    """How a user stands who is neither held nor owed days. ``latest`` is the row of the latest enrolment.

    ``program`` is the one in force on ``today``.
    """
    return _standing(
        user_id,
        latest,
        position,
        _Recorded(last_credited_day=last_credited_day, is_behind=is_behind),
        _Today(today, program),
    )


@dataclass(frozen=True)
class _Today:
    day: date
    program: Program | None


@dataclass(frozen=True)
class _Recorded:
    """What is recorded about a user's days and by operators."""

    last_credited_day: date | None
    is_behind: bool | None
    owed: OwedToUser = NOTHING_OWED
    hold: Hold | None = None


def _standing(
    user_id: str, latest: AnyRow | None, position: Position, recorded: _Recorded, today: _Today
) -> Standing:
    enrolled = latest is not None and latest.ended_at is None
    return Standing(
        user_id=user_id,
        enrolled=enrolled,
        receipt=None if latest is None else receipt_of(latest),
        region=None if latest is None else latest.region,
        restricted_since=_restricted_since(latest, recorded.owed, today.program, today.day),
        ended_at=None if latest is None else latest.ended_at,
        end_reason=None if latest is None else latest.end_reason,
        end_operator=None if latest is None else latest.end_operator,
        end_tell=None if latest is None else latest.end_tell,
        last_credited_day=recorded.last_credited_day,
        owed_days=list(recorded.owed.days),
        is_behind=enrolled and bool(recorded.is_behind),
        delayed_since=recorded.owed.delayed_since,
        hold=recorded.hold,
        holdings={asset: units for asset, units in sorted(position.holdings.items()) if units},
        totals=dict(sorted(position.totals.items())),
        tagged_asset=today.program and tagged_asset(position.holdings, today.program),
    )


def _restricted_since(
    latest: AnyRow | None, owed: OwedToUser, program: Program | None, today: date
) -> date | None:
    if latest is None or latest.ended_at is not None:
        return None
    is_restricted_today = program is not None and program.restricts(latest.region)
    begins_today = today if is_restricted_today and latest.first_accrual_day <= today else None
    return owed.restricted.get(latest.enrolment_id, begins_today)


async def _program_of(ledger: Ledger, connection: AsyncConnection, day: date) -> Program | None:
    has_begun = day <= day_of(ledger.clock())  # and keeps its terms, as one that is over does (I7)
    try:
        version = await (
            program_of_begun_day(ledger, connection, day) if has_begun else program_on(connection, day)
        )
    except NoProgram:
        return None
    return version.program
