"""What a user holds now, and held at an instant: balances, and balances without what came later."""

from collections.abc import Iterable
from datetime import datetime

from sqlalchemy import ColumnElement, and_, select
from sqlalchemy.ext.asyncio import AsyncConnection

from ledger.database.exact_sums import exact_sum, from_exact_sum
from ledger.database.schema import accounts, postings


async def balances(connection: AsyncConnection, user_id: str) -> dict[str, int]:
    """A user's spot balances by asset, in units, as of the last posting."""
    rows = await connection.execute(
        select(accounts.c.asset, accounts.c.balance).where(accounts.c.user_id == user_id)
    )
    return {row.asset: row.balance for row in rows}


async def holdings_before(
    connection: AsyncConnection, user_id: str, instant: datetime, *, inclusive: bool = False
) -> dict[str, int]:
    """A user's holdings by asset, in units, just before an instant; ``inclusive``: with its own movements.

    It is the balance without what came after, and only the latter is read.
    """
    after = postings.c.effective_at > instant if inclusive else postings.c.effective_at >= instant
    return (await _balances_without(connection, [user_id], after))[user_id]


async def holdings_of_all_before(
    connection: AsyncConnection, user_ids: Iterable[str], instant: datetime
) -> dict[str, dict[str, int]]:
    """Like holdings_before, for several users by their ids."""
    return await _balances_without(connection, user_ids, postings.c.effective_at >= instant)


async def _balances_without(
    connection: AsyncConnection, user_ids: Iterable[str], left_out: ColumnElement[bool]
) -> dict[str, dict[str, int]]:
    asked = sorted(user_ids)
    rows = await connection.execute(
        select(accounts.c.user_id, accounts.c.asset, accounts.c.balance, *exact_sum(postings.c.amount))
        .select_from(accounts)
        .outerjoin(postings, and_(postings.c.account_id == accounts.c.account_id, left_out))
        .where(accounts.c.user_id.in_(asked))
        .group_by(accounts.c.account_id, accounts.c.user_id, accounts.c.asset, accounts.c.balance)
    )
    holdings: dict[str, dict[str, int]] = {user_id: {} for user_id in asked}
    for row in rows:
        holdings[row.user_id][row.asset] = row.balance - from_exact_sum(row)
    return holdings
