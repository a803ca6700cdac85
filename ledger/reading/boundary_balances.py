"""What every user held at a boundary: in parts, in one order, with totals and a digest that others can compute."""

import hashlib
from collections import Counter
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, Select, bindparam, select, tuple_
from sqlalchemy.ext.asyncio import AsyncConnection

from ledger.database.exact_sums import exact_sum, from_exact_sum
from ledger.database.schema import UtcInstant, accounts, postings
from staking.money import format_amount

_IN_A_PART = 5_000
"""How many balances a part has: so few that others in the process wait only for milliseconds, and so many that
statements cost little."""


class Balance(NamedTuple):
    """What a user held of one asset, in units above zero."""

    user_id: str
    asset: str
    units: int


@dataclass(frozen=True)
class AssetTotal:
    """All balances of an asset at a boundary."""

    balance: int
    """The sum of the balances, in units."""
    users: int
    """How many users held any of it."""


@dataclass(frozen=True)
class BalancesDigest:
    """What two systems compare first, before single balances."""

    totals: dict[str, AssetTotal]
    """The totals of each asset, in the order of their codes. Assets of which nobody held anything are left out."""
    digest: str
    """SHA-256, in hexadecimal digits, of all lines of ``digest_line`` in UTF-8, one after the other."""


def _later(column: ColumnElement[Any]) -> ColumnElement[int | None]:
    """A sum over what counts from the boundary on, which is read from its index."""
    of_the_account = postings.c.account_id == accounts.c.account_id
    since = postings.c.effective_at >= bindparam("boundary", type_=UtcInstant)
    return select(column).where(of_the_account, since).correlate(accounts).scalar_subquery()


# A balance without what came after. So at the boundaries that are asked for, recent ones, little is read.
_PART: Select[tuple[Any, ...]] = (
    select(
        accounts.c.user_id,
        accounts.c.asset,
        accounts.c.balance,
        *(_later(part).label(part.name) for part in exact_sum(postings.c.amount)),
    )
    .where(tuple_(accounts.c.user_id, accounts.c.asset) > tuple_(bindparam("user"), bindparam("asset")))
    .order_by(accounts.c.user_id, accounts.c.asset)
    .limit(_IN_A_PART)
)


async def balances_at(connection: AsyncConnection, boundary: datetime) -> AsyncGenerator[list[Balance]]:
    """Every balance above zero just before a boundary, ordered by user and asset in the order of their bytes.

    These are the closing balances of the day before: what counts from the boundary itself on, such as that day's
    rewards, belongs to the day that it opens (rule 2). The parts are read in one transaction, so that memory does
    not grow.
    """
    last = {"user": "", "asset": ""}
    while True:
        rows = (await connection.execute(_PART, {**last, "boundary": boundary})).all()
        held = [
            Balance(row.user_id, row.asset, units)
            for row in rows
            if (units := row.balance if row.sum_high is None else row.balance - from_exact_sum(row))
        ]
        if held:
            yield held
        if len(rows) < _IN_A_PART:
            return
        last = {"user": rows[-1].user_id, "asset": rows[-1].asset}


def digest_line(balance: Balance) -> str:
    """The line of a balance above zero in the digest: ``1001 SOL 12.00000000`` and a line feed."""
    return f"{balance.user_id} {balance.asset} {format_amount(balance.units)}\n"


async def balances_digest(connection: AsyncConnection, boundary: datetime) -> BalancesDigest:
    """The totals and the digest of ``balances_at``."""
    hashed, units, users = hashlib.sha256(), Counter[str](), Counter[str]()
    async for part in balances_at(connection, boundary):
        hashed.update("".join(map(digest_line, part)).encode())
        for balance in part:
            units[balance.asset] += balance.units
            users[balance.asset] += 1
    totals = {asset: AssetTotal(units[asset], users[asset]) for asset in sorted(units)}
    return BalancesDigest(totals, hashed.hexdigest())
