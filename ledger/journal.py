"""The journal: the one way to lock a user, and how postings are written (I1, I2, I4)."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, NamedTuple, TypeAlias

from sqlalchemy import ColumnElement, Table, and_, bindparam, func, literal_column, select, text
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncConnection

from contract.requests import FencedRequest
from ledger.database.rows import (
    Stored,
    insert_numbered_rows,
    insert_numbered_stored,
    insert_rows,
    insert_stored,
    update_rows,
)
from ledger.database.schema import IS_OF_THE_SYSTEM, AnyRow, accounts, entries, postings, stored_instant, users
from ledger.errors import AccountFull, ContentDiffers, InsufficientBalance, LedgerRestored, Superseded
from ledger.spelling import check_spelling
from staking.money import MAX_ACCOUNT_UNITS, format_amount

_NEVER = datetime(1970, 1, 1, tzinfo=UTC)
SPOT = "spot"
POOL = "pool"
OUTSIDE = "outside"


@dataclass(frozen=True)
class LockedUser:
    """A user whose row this transaction holds: nothing can be closed for or posted to the user meanwhile (I4)."""

    user_id: str
    closed_through: datetime
    """The watermark: the end of the last closed day (decision 0001)."""
    latest_effective_at: datetime
    generation: int
    """How often the user's state was recalled."""

    def effective(self, instant: datetime) -> datetime:
        """When a posting of that instant counts: in no closed day (I4)."""
        return max(instant, self.closed_through)

    def check_fence(self, request: FencedRequest) -> None:
        """Raises Superseded if the user was recalled again after the run that sends the request had recalled.

        That run may have been terminated, and its request may come late. What it recalled may not be true any
        more.
        """
        if request.generation < self.generation:
            raise Superseded(
                f"the state of user {self.user_id} was recalled again since ({self.generation} times by now, "
                f"{request.generation} when this was asked): what was asked rests on what may not be true any more"
            )

    def check_not_restored(self, request: FencedRequest) -> None:
        """Raises LedgerRestored if the ledger does not have the recall on which the request is based."""
        if request.generation > self.generation:
            raise LedgerRestored(
                f"the ledger knows less of user {self.user_id} than the user's workflow: it was restored from a "
                "backup, or is another ledger; send again what happened since, and then retry"
            )


@dataclass(frozen=True)
class Spot:
    """A user's spot account."""

    user: LockedUser


AccountKey: TypeAlias = tuple[str, str | None, str]
"""Kind, user and asset."""

Owner: TypeAlias = Spot | str
"""The owner of an account: the spot account of a locked user, POOL or OUTSIDE."""


@dataclass(frozen=True)
class Account:
    """An account as it was found under the lock that guards it."""

    account_id: int
    key: AccountKey
    balance: int | None
    """Units; None for OUTSIDE, for which no balance is kept."""


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
    """The entry that this one takes back."""
    tell: str | None = None
    """What the user is told of a correction."""
    import_number: int | None = None
    """The import that it came with."""


_LOCK_USERS = (
    select(users.c.user_id, users.c.closed_through, users.c.latest_effective_at, users.c.generation)
    .where(users.c.user_id.in_(bindparam("user_ids", expanding=True)))
    .order_by(users.c.user_id)
    # This lock does not block the foreign keys to the row, which every entry of the user checks.
    .with_for_update(key_share=True)
)


async def lock_user(connection: AsyncConnection, user_id: str) -> LockedUser:
    """Takes the user's lock for the rest of the transaction. A new user is recorded.

    The lock is a statement of its own and comes first. So what is read after it contains every posting that was
    committed while this statement waited.
    """
    locked = await lock_users(connection, [user_id])
    if not locked:
        new = {"user_id": user_id, "closed_through": _NEVER, "latest_effective_at": _NEVER}
        await insert_missing(connection, users, [new])
        locked = await lock_users(connection, [user_id])
    return locked[user_id]


async def lock_users(connection: AsyncConnection, user_ids: Iterable[str]) -> dict[str, LockedUser]:
    """Takes the locks of the users that exist, in the order of their ids, so that no two wait for each other."""
    rows = await connection.execute(_LOCK_USERS, {"user_ids": sorted(user_ids)})
    return {
        row.user_id: LockedUser(row.user_id, row.closed_through, row.latest_effective_at, row.generation)
        for row in rows
    }


async def users_as_they_are(connection: AsyncConnection, user_ids: Iterable[str]) -> dict[str, LockedUser]:
    """What taking the users' locks would return, without taking them. It is for a look ahead, and never for a
    posting."""
    asked = sorted(user_ids)
    seen = {user_id: LockedUser(user_id, _NEVER, _NEVER, 0) for user_id in asked}
    rows = await connection.execute(select(users).where(users.c.user_id.in_(asked)))
    seen |= {
        row.user_id: LockedUser(row.user_id, row.closed_through, row.latest_effective_at, row.generation)
        for row in rows
    }
    return seen


async def lock_or_make_users(connection: AsyncConnection, user_ids: Iterable[str]) -> dict[str, LockedUser]:
    """Like lock_user, for several users."""
    asked = sorted(user_ids)
    locked = await lock_users(connection, asked)
    missing = [user_id for user_id in asked if user_id not in locked]
    if missing:
        new = [
            {"user_id": user_id, "closed_through": _NEVER, "latest_effective_at": _NEVER} for user_id in missing
        ]
        await insert_missing(connection, users, new)
        locked |= await lock_users(connection, missing)
    return locked


async def lock_all_users(connection: AsyncConnection) -> None:
    """Waits until no user is locked, and prevents that any user is locked until the end of the transaction. So no
    day is closed meanwhile, for anyone."""
    if connection.dialect.name == "postgresql":  # SQLite has one writer
        await connection.execute(text("LOCK TABLE users IN EXCLUSIVE MODE"))


async def insert_missing(connection: AsyncConnection, table: Table, rows: Iterable[dict[str, Any]]) -> None:
    """Inserts the rows that do not conflict with a unique index, and leaves the existing rows as they are."""
    insert = postgresql.insert if connection.dialect.name == "postgresql" else sqlite.insert
    values = list(rows)
    if values:
        await connection.execute(insert(table).on_conflict_do_nothing(), values)


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
        for account, change in sorted(changed.items(), key=lambda item: _lock_order(item[0].key))
    ]
    await update_rows(connection, accounts, balances_after)
    return entry_ids


class Movement(NamedTuple):
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
    """Where the bulk has entries of several kinds."""


@dataclass(frozen=True)
class InCommon:
    """What all entries of a bulk have in common."""

    kind: str
    """Of those that name none of their own."""
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
    connection: AsyncConnection, new: Sequence[Movement], in_common: InCommon
) -> Sequence[int]:
    """Like post_all, for a bulk of movements of locked users. Each balances, since its two sides are made here."""
    if not new:
        return []
    account_of = await open_accounts(
        connection, accounts_of((movement.user_id, movement.asset) for movement in new)
    )
    return await post_movements_to(connection, account_of, new, in_common)


async def post_movements_to(
    connection: AsyncConnection,
    account_of: Mapping[AccountKey, Account],
    new: Sequence[Movement],
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


def entry_rows(new: Sequence[Movement], in_common: InCommon) -> tuple[tuple[str, ...], list[tuple[Stored, ...]]]:
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


def exact_sum(column: ColumnElement[int]) -> tuple[ColumnElement[int | None], ColumnElement[int | None]]:
    """Two columns that from_exact_sum combines into one sum, which may exceed 64 bits on the way.

    SQLite fails on a sum beyond 64 bits, and PostgreSQL leaves integers for it.
    """
    high = func.sum(column.op(">>")(literal_column("32")))
    low = func.sum(column.op("&")(literal_column("4294967295")))
    return high.label("sum_high"), low.label("sum_low")


def from_exact_sum(row: AnyRow) -> int:
    """The sum in a row that has exact_sum's columns; 0 where nothing was summed."""
    return from_exact_sums(row.sum_high, row.sum_low)


def from_exact_sums(high: int | None, low: int | None) -> int:
    """The sum from the values of the two columns."""
    return (int(high or 0) << 32) + int(low or 0)


@dataclass(frozen=True)
class RequestContent:
    """What a request under an idempotency key asks for. Its repeats must ask for the same."""

    kind: str
    user_id: str | None
    """None for a funding of a reward pool."""
    changes: Mapping[str, int]
    """Units by asset."""
    occurred_at: datetime | None = None
    """None if the instant is that of the request, so that it differs at each repeat."""

    def __str__(self) -> str:
        whose = f"user {self.user_id}" if self.user_id else "the reward pool"
        when = f" at {self.occurred_at.isoformat()}" if self.occurred_at else ""
        return f"a {self.kind} of {_readable(self.changes)} for {whose}{when}"


async def find_repeat(connection: AsyncConnection, idempotency_key: str, asked: RequestContent) -> int | None:
    """The id of the entry recorded under a key, or None. Raises ContentDiffers if the entry has other content."""
    rows = (
        await connection.execute(
            select(
                entries.c.entry_id,
                entries.c.kind,
                entries.c.user_id,
                func.coalesce(entries.c.occurred_at, entries.c.effective_at).label("occurred_at"),
                accounts.c.asset,
                postings.c.amount,
            )
            .join_from(entries, postings, postings.c.entry_id == entries.c.entry_id)
            .join(accounts, accounts.c.account_id == postings.c.account_id)
            .where(entries.c.idempotency_key == idempotency_key, accounts.c.kind != OUTSIDE)
        )
    ).all()
    if not rows:
        return None
    first = rows[0]
    recorded = RequestContent(
        first.kind,
        first.user_id,
        {row.asset: row.amount for row in rows},
        None if asked.occurred_at is None else first.occurred_at,
    )
    if recorded != asked:
        raise ContentDiffers(f"the entry {idempotency_key}", recorded=recorded, asked=asked)
    return first.entry_id


def _readable(changes: Mapping[str, int]) -> str:
    return ", ".join(f"{format_amount(amount)} {asset}" for asset, amount in sorted(changes.items()))


def _check_balanced(entry: NewEntry) -> None:
    """Checks I1, for entries whose legs somebody else made."""
    sums: dict[str, int] = defaultdict(int)
    for leg in entry.legs:
        sums[leg.asset] += leg.amount
    unbalanced = {asset: amount for asset, amount in sums.items() if amount}
    if unbalanced or not any(leg.amount for leg in entry.legs):
        raise ValueError(f"entry {entry.kind} does not balance: {_readable(unbalanced) or 'it has no postings'}")


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


def _lock_order(key: AccountKey) -> tuple[bool, str, str, str]:
    """The pools are locked last: all users share them, so they must be locked for the shortest time."""
    kind, user_id, asset = key
    return kind == POOL, kind, user_id or "", asset


async def open_accounts(connection: AsyncConnection, wanted: set[AccountKey]) -> dict[AccountKey, Account]:
    """The accounts; missing ones are made. Pools are locked. Users' accounts are guarded by their users' locks."""
    found = await find_accounts(connection, wanted)
    missing = sorted(wanted - found.keys(), key=_lock_order)
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
    accounts.c.user_id.in_(bindparam("user_ids", expanding=True)),
    accounts.c.asset.in_(bindparam("assets", expanding=True)),
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
        accounts.c.asset.in_(bindparam("assets", expanding=True)),
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
