"""What was credited to all users for a day, in pages. It is found by the enrolments that have the day, never by a
scan."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from itertools import groupby

from sqlalchemy import or_, select
from sqlalchemy.ext.asyncio import AsyncConnection

from ledger.database.schema import enrolments
from ledger.reading.statements import StatementLine, statement

_ROUNDS_MAX = 10
"""After reading this many pages of users of whom few were credited, the page is answered as it is, so that none
takes long."""


@dataclass(frozen=True)
class CreditOfUser:
    """The posting of a day's rewards to a user's spot account."""

    user_id: str
    lines: Sequence[StatementLine]
    """A line for every asset, by code, also if it earned nothing."""


@dataclass(frozen=True)
class CreditsPage:
    """Credits of one day, ordered by user."""

    credits: list[CreditOfUser]
    next_after: str | None
    """The user after whom the next page begins; None on the last."""


async def credits_of_day(connection: AsyncConnection, day: date, *, after: str, size: int) -> CreditsPage:
    """At most ``size`` credits of an accrual day, of users that come after ``after`` in the order of their bytes.

    A user who earned nothing on the day has no credit. A page may have fewer than ``size`` where many users are
    owed the day or earned nothing.
    """
    found: list[CreditOfUser] = []
    for _ in range(_ROUNDS_MAX):
        wanted = size - len(found)
        users = await _users_with(connection, day, after=after, limit=wanted)
        lines = await statement(connection, users, first=day, last=day) if users else []
        found += [
            CreditOfUser(user_id, list(of_user))
            for user_id, of_user in groupby(
                (line for line in lines if line.entry_id), key=lambda line: line.user_id
            )
        ]
        if len(users) < wanted:
            return CreditsPage(found, None)
        after = users[-1]
        if len(found) == size:
            break
    return CreditsPage(found, after)


async def _users_with(connection: AsyncConnection, day: date, *, after: str, limit: int) -> list[str]:
    """Users with an enrolment to which the day belongs."""
    rows = await connection.scalars(
        select(enrolments.c.user_id)
        .distinct()
        .where(
            enrolments.c.user_id > after,
            enrolments.c.first_accrual_day <= day,
            or_(enrolments.c.last_accrual_day.is_(None), enrolments.c.last_accrual_day >= day),
        )
        .order_by(enrolments.c.user_id)
        .limit(limit)
    )
    return list(rows)
