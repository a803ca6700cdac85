"""The accounts of users, of reward pools and outside: how they are found, opened, and kept in range (I2)."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TypeAlias

from sqlalchemy import bindparam, select
from sqlalchemy.ext.asyncio import AsyncConnection

from ledger.database.among import Among
from ledger.database.rows import insert_missing
from ledger.database.schema import IS_OF_THE_SYSTEM, accounts
from ledger.errors import AccountFull, InsufficientBalance
from ledger.spelling import check_spelling
from staking.money import MAX_ACCOUNT_UNITS, format_amount

SPOT = "spot"
POOL = "pool"
OUTSIDE = "outside"

AccountKey: TypeAlias = tuple[str, str | None, str]
"""Kind, user and asset."""


@dataclass(frozen=True)
class Account:
    """An account as it was found under the lock that guards it."""

    account_id: int
    key: AccountKey
    balance: int | None
    """Units; None for OUTSIDE, for which no balance is kept."""


async def lock_pools(connection: AsyncConnection, assets: Iterable[str]) -> dict[AccountKey, Account]:
    """Locks the reward pools of assets, if there are any, in the order of their accounts."""
    return await _system_accounts(connection, {(POOL, None, asset) for asset in assets})


def check_range(account: Account, change: int) -> None:
    """I2, in words; the table's own check is the guard of last resort.

    Raises InsufficientBalance or AccountFull if an account with a balance cannot take a change in units.
    """
    _, user_id, asset = account.key
    balance = account.balance or 0
    whose = f"user {user_id}'s" if user_id else "the reward pool's"
    if balance + change < 0:
        raise InsufficientBalance(
            f"{whose} {asset} balance is {format_amount(balance)}, which does not allow {format_amount(change)}"
        )
    if balance + change > MAX_ACCOUNT_UNITS:
        raise AccountFull(
            f"{whose} {asset} balance is {format_amount(balance)}; {format_amount(change)} more "
            "would pass the 90 billion that an account can hold"
        )


def lock_order(key: AccountKey) -> tuple[bool, str, str, str]:
    """The pools are locked last: all users share them, so they must be locked for the shortest time."""
    kind, user_id, asset = key
    return kind == POOL, kind, user_id or "", asset


async def open_accounts(connection: AsyncConnection, wanted: set[AccountKey]) -> dict[AccountKey, Account]:
    """The accounts; missing ones are made. Pools are locked. Users' accounts are guarded by their users' locks."""
    found = await find_accounts(connection, wanted)
    missing = sorted(wanted - found.keys(), key=lock_order)
    if missing:
        await check_spelling(connection, {asset for kind, _, asset in missing if kind == SPOT})
        new = [
            {
                "kind": kind,
                "user_id": user_id,
                "asset": asset,
                "shard": 0,
                "balance": None if kind == OUTSIDE else 0,
            }
            for kind, user_id, asset in missing
        ]
        await insert_missing(connection, accounts, new)
        found |= await find_accounts(connection, set(missing))
    return found


async def find_accounts(connection: AsyncConnection, wanted: set[AccountKey]) -> dict[AccountKey, Account]:
    """The accounts that exist. Pools are locked, in the order of their accounts."""
    of_users = {key for key in wanted if key[0] == SPOT}
    of_the_system = wanted - of_users
    found: dict[AccountKey, Account] = {}
    if of_users:
        found |= await _spot_accounts(connection, of_users)
    if of_the_system:
        found |= await _system_accounts(connection, of_the_system)
    return found


_SPOT_ACCOUNTS = select(accounts.c.account_id, accounts.c.user_id, accounts.c.asset, accounts.c.balance).where(
    Among(accounts.c.user_id, "user_ids"),
    Among(accounts.c.asset, "assets"),
)


async def _spot_accounts(connection: AsyncConnection, wanted: set[AccountKey]) -> dict[AccountKey, Account]:
    asked = {
        "user_ids": sorted({user_id or "" for _, user_id, _ in wanted}),
        "assets": sorted({asset for _, _, asset in wanted}),
    }
    rows = await connection.execute(_SPOT_ACCOUNTS, asked)
    found = ((Account(row.account_id, (SPOT, row.user_id, row.asset), row.balance)) for row in rows)
    return {account.key: account for account in found if account.key in wanted}


_SYSTEM_ACCOUNTS = (
    select(accounts.c.account_id, accounts.c.asset, accounts.c.balance)
    .where(
        IS_OF_THE_SYSTEM,
        accounts.c.kind == bindparam("kind"),
        Among(accounts.c.asset, "assets"),
        accounts.c.shard == 0,
    )
    .order_by(accounts.c.account_id)
)
_LOCK_SYSTEM_ACCOUNTS = _SYSTEM_ACCOUNTS.with_for_update(key_share=True)


async def _system_accounts(connection: AsyncConnection, wanted: set[AccountKey]) -> dict[AccountKey, Account]:
    """The accounts outside, which have no balance and are not locked; then the pools, which are locked in
    order."""
    found: dict[AccountKey, Account] = {}
    for kind, statement in ((OUTSIDE, _SYSTEM_ACCOUNTS), (POOL, _LOCK_SYSTEM_ACCOUNTS)):
        assets = sorted({asset for of_kind, _, asset in wanted if of_kind == kind})
        if assets:
            for row in await connection.execute(statement, {"kind": kind, "assets": assets}):
                key = (kind, None, row.asset)
                found[key] = Account(row.account_id, key, row.balance)
    return found
