"""The journal: how an entry and its postings are written (I1, I2)."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypeAlias

from sqlalchemy.ext.asyncio import AsyncConnection

from ledger.accounts import SPOT, Account, AccountKey, check_range, lock_order, open_accounts
from ledger.database.rows import insert_numbered_rows, insert_rows, update_rows
from ledger.database.schema import accounts, entries, postings
from ledger.locking import LockedUser
from ledger.request_content import readable_changes


@dataclass(frozen=True)
class Spot:
    """A user's spot account."""

    user: LockedUser


Owner: TypeAlias = Spot | str
"""The owner of an account: the spot account of a locked user, POOL or OUTSIDE."""


@dataclass(frozen=True)
class Leg:
    """One side of an entry: a signed change, in units, of one account."""

    owner: Owner
    asset: str
    amount: int

    @property
    def account(self) -> AccountKey:
        """Which account it changes."""
        if isinstance(self.owner, Spot):
            return SPOT, self.owner.user.user_id, self.asset
        return self.owner, None, self.asset


@dataclass(frozen=True)
class NewEntry:
    """An entry to be written."""

    kind: str
    legs: Sequence[Leg]
    effective_at: datetime
    recorded_at: datetime
    user_id: str | None = None
    idempotency_key: str | None = None
    occurred_at: datetime | None = None
    note: str | None = None
    operator: str | None = None
    """Who corrected something or funded a pool, with ``reason``; None for everything else."""
    reason: str | None = None
    """For colleagues, never for the user."""
    reverses: int | None = None
    """The entry that this one reverses."""
    tell: str | None = None
    """A correction's text for the user."""
    import_number: int | None = None
    """The import that it came with."""


async def post(connection: AsyncConnection, entry: NewEntry) -> int:
    """Writes one entry; see post_all. Answers its id."""
    return (await post_all(connection, [entry]))[0]


async def post_all(connection: AsyncConnection, new: Sequence[NewEntry]) -> list[int]:
    """Writes balanced entries, their postings and the balances they make; answers the entries' ids, in order.

    The caller holds the lock of every user in them. Raises InsufficientBalance or AccountFull, naming the account,
    if a balance would leave its range in the end, or MisspeltAsset; then nothing is written.
    """
    accounts_by_key = await open_accounts(connection, {leg.account for entry in new for leg in entry.legs})
    return await post_to(connection, accounts_by_key, new)


async def post_to(
    connection: AsyncConnection, account_of: Mapping[AccountKey, Account], new: Sequence[NewEntry]
) -> list[int]:
    """Like post_all, if the accounts of all legs are given and the pools among them are locked."""
    for entry in new:
        _check_balanced(entry)
    changes: defaultdict[AccountKey, int] = defaultdict(int)
    for entry in new:
        for leg in entry.legs:
            changes[leg.account] += leg.amount
    changed = {
        account_of[key]: change
        for key, change in changes.items()
        if change and account_of[key].balance is not None
    }
    for account, change in changed.items():
        check_range(account, change)
    entry_ids = await insert_numbered_rows(connection, entries, [_entry_row(entry) for entry in new])
    rows = [
        {"entry_id": entry_id, "account_id": account, "effective_at": entry.effective_at, "amount": amount}
        for entry_id, entry in zip(entry_ids, new, strict=True)
        for account, amount in _amounts_by_account(entry, account_of).items()
        if amount
    ]
    await insert_rows(connection, postings, rows)
    # Their users are locked, and so are the pools, so what was read is still true.
    balances_after = [
        {"account_id": account.account_id, "balance": (account.balance or 0) + change}
        for account, change in sorted(changed.items(), key=lambda item: lock_order(item[0].key))
    ]
    await update_rows(connection, accounts, balances_after)
    return entry_ids


def _check_balanced(entry: NewEntry) -> None:
    """Checks I1, for entries whose legs somebody else made."""
    sums: dict[str, int] = defaultdict(int)
    for leg in entry.legs:
        sums[leg.asset] += leg.amount
    unbalanced = {asset: amount for asset, amount in sums.items() if amount}
    if unbalanced or not any(leg.amount for leg in entry.legs):
        raise ValueError(
            f"entry {entry.kind} does not balance: {readable_changes(unbalanced) or 'it has no postings'}"
        )


def _entry_row(entry: NewEntry) -> dict[str, Any]:
    return {
        "kind": entry.kind,
        "user_id": entry.user_id,
        "idempotency_key": entry.idempotency_key,
        "effective_at": entry.effective_at,
        "recorded_at": entry.recorded_at,
        "occurred_at": entry.occurred_at,
        "note": entry.note,
        "operator": entry.operator,
        "reason": entry.reason,
        "reverses": entry.reverses,
        "tell": entry.tell,
        "import_number": entry.import_number,
    }


def _amounts_by_account(entry: NewEntry, account_of: Mapping[AccountKey, Account]) -> dict[int, int]:
    amounts: defaultdict[int, int] = defaultdict(int)
    for leg in entry.legs:
        amounts[account_of[leg.account].account_id] += leg.amount
    return amounts
