"""The reward pools: funding them, reading their balances, and who would wait for an empty pool (rule 13)."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import and_, func, or_, select
from sqlalchemy.ext.asyncio import AsyncConnection

from contract.acts import check_words
from ledger.accounts import OUTSIDE, POOL
from ledger.acts import write_act
from ledger.database.engine import Ledger, run_again_if_it_gave_way
from ledger.database.schema import IS_OF_THE_SYSTEM, accounts, enrolments
from ledger.errors import MisspeltAsset, NoProgram, UnknownAsset
from ledger.journal import Leg, NewEntry, post
from ledger.programs import all_versions
from ledger.request_content import RequestContent, find_repeat
from ledger.spelling import misspelt
from staking.program import AssetTerms

_FUNDING = "pool_funding"


@run_again_if_it_gave_way
async def fund_pool(
    ledger: Ledger,
    asset: str,
    amount: int,
    *,
    operator: str,
    reason: str | None = None,
    now: datetime,
    idempotency_key: str | None = None,
) -> int:
    """Moves an amount, in units above zero, from outside into an asset's pool; answers the pool's new balance.

    A repeat of a key changes nothing, whatever its operator and reason are. Raises UnknownAsset for an asset that
    no program version has, NoProgram, ContentDiffers for a repeat with other content, AccountFull, or ValueError
    if operator or reason are not text.
    """
    if amount <= 0:
        raise ValueError(f"a pool is funded with an amount above zero, not {amount}")
    check_words(operator, reason)
    async with ledger.write() as connection:
        await check_asset(connection, asset)
        repeat = idempotency_key and await find_repeat(
            connection, idempotency_key, RequestContent(_FUNDING, None, {asset: amount})
        )
        if not repeat:
            legs = [Leg(POOL, asset, amount), Leg(OUTSIDE, asset, -amount)]
            entry_id = await post(
                connection,
                NewEntry(
                    kind=_FUNDING,
                    legs=legs,
                    effective_at=now,
                    recorded_at=now,
                    idempotency_key=idempotency_key,
                    operator=operator,
                    reason=reason,
                ),
            )
            await write_act(
                connection,
                "fund",
                f"fund/{entry_id}",
                operator=operator,
                reason=reason,
                recorded_at=now,
                subject=f"pool {asset}, entry {entry_id}",
            )
        return (await pool_balances(connection)).get(asset, 0)


@dataclass(frozen=True)
class Unfunded:
    """An asset that earns, and whose pool is empty."""

    asset: str
    users: int
    """How many enrolled users hold its minimum. All their rewards, in every asset, would wait for this pool."""


async def unfunded(connection: AsyncConnection, terms: Mapping[str, AssetTerms]) -> list[Unfunded]:
    """The assets of these terms with an empty pool, by code, with how many users would earn as of now."""
    balances = await pool_balances(connection)
    empty = sorted(asset for asset in terms if not balances.get(asset))
    if not empty:
        return []
    holds_enough = or_(
        *(and_(accounts.c.asset == asset, accounts.c.balance >= terms[asset].minimum_units) for asset in empty)
    )
    rows = await connection.execute(
        select(accounts.c.asset, func.count().label("users"))
        .join_from(enrolments, accounts, accounts.c.user_id == enrolments.c.user_id)
        .where(enrolments.c.ended_at.is_(None), holds_enough)
        .group_by(accounts.c.asset)
    )
    users = {row.asset: row.users for row in rows}
    return [Unfunded(asset, users.get(asset, 0)) for asset in empty]


async def check_asset(connection: AsyncConnection, asset: str) -> None:
    """Raises UnknownAsset for an asset that no program version has, MisspeltAsset, or NoProgram."""
    assets = {name for version in await all_versions(connection) for name in version.program.assets}
    if not assets:
        raise NoProgram("no program has been applied; apply one with: starter.py program apply program.toml")
    if asset not in assets:
        if sentence := misspelt(asset, assets):
            raise MisspeltAsset(sentence)
        raise UnknownAsset(f"{asset} is not an asset of the program, which has {', '.join(sorted(assets))}")


async def pool_balances(connection: AsyncConnection) -> dict[str, int]:
    """The balance of each asset's pool in units; several pool accounts of an asset are added up."""
    rows = await connection.execute(
        select(accounts.c.asset, accounts.c.balance)
        .where(IS_OF_THE_SYSTEM, accounts.c.kind == POOL)
        .order_by(accounts.c.asset)
    )
    totals: dict[str, int] = {}
    for row in rows:
        totals[row.asset] = totals.get(row.asset, 0) + row.balance
    return totals
