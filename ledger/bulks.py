"""Postings of many movements together. Each movement carries only what differs between them (I1, I2)."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple, TypeAlias

from sqlalchemy.ext.asyncio import AsyncConnection

from ledger.accounts import OUTSIDE, SPOT, Account, AccountKey, check_range, find_accounts, open_accounts
from ledger.database.rows import Stored, insert_numbered_stored, insert_stored, update_rows
from ledger.database.schema import accounts, entries, postings, stored_instant


class BulkMovement(NamedTuple):
    """One change, in units, of one spot account of a locked user; the other side is outside.

    It is one of thousands in a bulk. So it has only what differs between them, and instants as they are stored.
    """

    user_id: str
    asset: str
    amount: int
    effective_at: int
    occurred_at: int | None = None
    idempotency_key: str | None = None
    note: str | None = None
    reverses: int | None = None
    kind: str | None = None
    """The entry's own kind, if the bulk has entries of several kinds."""


@dataclass(frozen=True)
class InCommon:
    """What all entries of a bulk have in common."""

    kind: str
    """The kind of all entries that have no kind of their own."""
    recorded_at: datetime
    import_number: int | None = None
    operator: str | None = None
    reason: str | None = None


Changed: TypeAlias = tuple[str, str]
"""A user and an asset."""
Sides: TypeAlias = Mapping[Changed, tuple[int, int]]
"""The ids of two accounts: the user's account, and the account outside."""


def accounts_of(changes: Iterable[Changed]) -> set[AccountKey]:
    """The accounts of both sides."""
    return {account for changed in changes for account in (_spot_of(changed), _outside_of(changed))}


def sides_of(changes: Iterable[Changed], account_of: Mapping[AccountKey, Account]) -> Sides:
    """The ids of the accounts of both sides."""
    return {
        changed: (account_of[_spot_of(changed)].account_id, account_of[_outside_of(changed)].account_id)
        for changed in changes
    }


def _spot_of(changed: Changed) -> AccountKey:
    return SPOT, *changed


def _outside_of(changed: Changed) -> AccountKey:
    return OUTSIDE, None, changed[1]


async def post_movements(
    connection: AsyncConnection, new: Sequence[BulkMovement], in_common: InCommon
) -> Sequence[int]:
    """Like journal.post_all, for many movements of locked users. Each balances: its two sides are made here."""
    if not new:
        return []
    account_of = await open_accounts(
        connection, accounts_of((movement.user_id, movement.asset) for movement in new)
    )
    return await post_movements_to(connection, account_of, new, in_common)


async def post_movements_to(
    connection: AsyncConnection,
    account_of: Mapping[AccountKey, Account],
    new: Sequence[BulkMovement],
    in_common: InCommon,
) -> Sequence[int]:
    """post_movements, of at least one, where the accounts of both sides of each are known."""
    changes: defaultdict[Changed, int] = defaultdict(int)
    for movement in new:
        changes[movement.user_id, movement.asset] += movement.amount
    sides = sides_of(changes, account_of)
    for changed, change in changes.items():
        check_range(account_of[_spot_of(changed)], change)
    entry_ids = await insert_numbered_stored(connection, entries, *entry_rows(new, in_common))
    rows: list[tuple[int, int, int, int]] = []
    for entry_id, movement in zip(entry_ids, new, strict=True):
        spot, other = sides[movement.user_id, movement.asset]
        rows.append((entry_id, spot, movement.effective_at, movement.amount))
        rows.append((entry_id, other, movement.effective_at, -movement.amount))
    await insert_stored(connection, postings, ("entry_id", "account_id", "effective_at", "amount"), rows)
    await _write_balances(connection, changes, account_of)
    return entry_ids


async def settle(connection: AsyncConnection, changes: Mapping[Changed, int]) -> None:
    """Writes the balances that changes in units make whose postings are written already; the users are locked.

    Raises InsufficientBalance or AccountFull if one would leave its range.
    """
    account_of = await find_accounts(connection, {_spot_of(changed) for changed in changes})
    for changed, change in changes.items():
        check_range(account_of[_spot_of(changed)], change)
    await _write_balances(connection, changes, account_of)


async def _write_balances(
    connection: AsyncConnection, changes: Mapping[Changed, int], account_of: Mapping[AccountKey, Account]
) -> None:
    of_users = {changed: account_of[_spot_of(changed)] for changed in changes}
    balances_after = [
        {"account_id": of_users[changed].account_id, "balance": (of_users[changed].balance or 0) + change}
        for changed, change in sorted(changes.items())
        if change
    ]
    await update_rows(connection, accounts, balances_after)


def entry_rows(
    new: Sequence[BulkMovement], in_common: InCommon
) -> tuple[tuple[str, ...], list[tuple[Stored, ...]]]:
    """The names of the columns, and the rows."""
    same: dict[str, Stored] = {
        "recorded_at": stored_instant(in_common.recorded_at),
        "import_number": in_common.import_number,
        "operator": in_common.operator,
        "reason": in_common.reason,
    }
    names = ("user_id", "effective_at", "occurred_at", "idempotency_key", "note", "reverses", "kind", *same)
    values, kind = tuple(same.values()), in_common.kind
    return names, [
        (
            one.user_id,
            one.effective_at,
            one.occurred_at,
            one.idempotency_key,
            one.note,
            one.reverses,
            one.kind or kind,
            *values,
        )
        for one in new
    ]
