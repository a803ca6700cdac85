"""The journal: the one way to lock a user and the one way to write postings (I1, I2, I4)."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, TypeAlias

from sqlalchemy import ColumnElement, Table, and_, case, func, literal_column, or_, select, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncConnection

from ledger.errors import AccountFull, ContentDiffers, InsufficientBalance
from ledger.schema import AnyRow, accounts, entries, postings, users
from staking.money import MAX_ACCOUNT_UNITS, format_amount

_NEVER = datetime(1970, 1, 1, tzinfo=UTC)
POOL = "pool"
OUTSIDE = "outside"


@dataclass(frozen=True)
class LockedUser:
    """A user whose row this transaction holds: nothing can be closed for or posted to the user meanwhile (I4)."""

    user_id: str
    closed_through: datetime
    latest_effective_at: datetime

    def effective(self, instant: datetime) -> datetime:
        """When a posting of that instant counts: in no closed day (I4)."""
        return max(instant, self.closed_through)


@dataclass(frozen=True)
class Spot:
    """A user's spot account."""

    user: LockedUser


AccountKey: TypeAlias = tuple[str, str | None, str]
"""Kind, user and asset."""

Owner: TypeAlias = Spot | str
"""Whose account: a locked user's spot account, POOL or OUTSIDE."""


@dataclass(frozen=True)
class Leg:
    """One side of an entry: a signed change, in units, of one account."""

    owner: Owner
    asset: str
    amount: int


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
    """Who corrected something, with ``reason``; None for everything else."""
    reason: str | None = None
    reverses: int | None = None
    """The entry that this one takes back."""


async def lock_user(connection: AsyncConnection, user_id: str) -> LockedUser:
    """Takes the user's lock, for the rest of the transaction; makes the user if new.

    The lock is a statement of its own and comes first: what is read after it sees every posting that was
    committed while this waited.
    """
    statement = (
        select(users.c.closed_through, users.c.latest_effective_at)
        .where(users.c.user_id == user_id)
        .with_for_update()
    )
    row = (await connection.execute(statement)).one_or_none()
    if row is None:
        new = {"user_id": user_id, "closed_through": _NEVER, "latest_effective_at": _NEVER}
        await insert_missing(connection, users, [new])
        row = (await connection.execute(statement)).one()
    return LockedUser(user_id, row.closed_through, row.latest_effective_at)


async def insert_missing(connection: AsyncConnection, table: Table, rows: Iterable[dict[str, Any]]) -> None:
    """Inserts the rows that no unique index knows yet; leaves the others as they are."""
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
    if a balance would leave its range in the end, and then has written nothing.
    """
    for entry in new:
        _check_balanced(entry)
    found = await _lock_accounts(connection, {_key(leg) for entry in new for leg in entry.legs})
    changes: defaultdict[int, int] = defaultdict(int)
    for entry in new:
        for leg in entry.legs:
            changes[found[_key(leg)].account_id] += leg.amount
    stored = [row for row in found.values() if row.balance is not None and changes[row.account_id]]
    for row in stored:
        _check_range(row, changes[row.account_id])
    inserted = await connection.execute(
        entries.insert().returning(entries.c.entry_id, sort_by_parameter_order=True),
        [_entry_row(entry) for entry in new],
    )
    entry_ids = list(inserted.scalars())
    rows = [
        {"entry_id": entry_id, "account_id": account, "effective_at": entry.effective_at, "amount": amount}
        for entry_id, entry in zip(entry_ids, new, strict=True)
        for account, amount in _amounts_by_account(entry, found).items()
        if amount
    ]
    await connection.execute(postings.insert(), rows)
    await _change_balances(connection, {row.account_id: changes[row.account_id] for row in stored})
    return entry_ids


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

    Reads only what came after: the balance less that.
    """
    after = postings.c.effective_at > instant if inclusive else postings.c.effective_at >= instant
    rows = await connection.execute(
        select(accounts.c.asset, accounts.c.balance, *exact_sum(postings.c.amount))
        .select_from(accounts)
        .outerjoin(postings, and_(postings.c.account_id == accounts.c.account_id, after))
        .where(accounts.c.user_id == user_id)
        .group_by(accounts.c.account_id, accounts.c.asset, accounts.c.balance)
    )
    return {row.asset: row.balance - from_exact_sum(row) for row in rows}


def exact_sum(column: ColumnElement[int]) -> tuple[ColumnElement[int | None], ColumnElement[int | None]]:
    """Two columns whose values from_exact_sum puts together: a sum that may pass 64 bits on the way.

    SQLite fails on a sum beyond 64 bits, and PostgreSQL leaves integers for it.
    """
    high = func.sum(column.op(">>")(literal_column("32")))
    low = func.sum(column.op("&")(literal_column("4294967295")))
    return high.label("sum_high"), low.label("sum_low")


def from_exact_sum(row: AnyRow) -> int:
    """The sum in a row that has exact_sum's columns; 0 where nothing was summed."""
    return (int(row.sum_high or 0) << 32) + int(row.sum_low or 0)


@dataclass(frozen=True)
class Asked:
    """What a request under an idempotency key asks for; its repeats must ask for the same."""

    kind: str
    user_id: str | None
    """None for the reward pool."""
    changes: Mapping[str, int]
    """Units by asset."""
    occurred_at: datetime | None = None
    """None where the instant is that of the request, and so another at each repeat."""

    def __str__(self) -> str:
        whose = f"user {self.user_id}" if self.user_id else "the reward pool"
        when = f" at {self.occurred_at.isoformat()}" if self.occurred_at else ""
        return f"a {self.kind} of {_readable(self.changes)} for {whose}{when}"


async def find_repeat(connection: AsyncConnection, idempotency_key: str, asked: Asked) -> int | None:
    """The id of the entry recorded under a key, or None. Raises ContentDiffers if it says anything else."""
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
    recorded = Asked(
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
    """I1, where every posting passes."""
    sums: dict[str, int] = defaultdict(int)
    for leg in entry.legs:
        sums[leg.asset] += leg.amount
    unbalanced = {asset: amount for asset, amount in sums.items() if amount}
    if unbalanced or not any(leg.amount for leg in entry.legs):
        raise ValueError(f"entry {entry.kind} does not balance: {_readable(unbalanced) or 'it has no postings'}")


def _check_range(row: AnyRow, change: int) -> None:
    """I2, in words; the table's own check is the guard of last resort."""
    whose = f"user {row.user_id}'s" if row.user_id else "the reward pool's"
    if row.balance + change < 0:
        raise InsufficientBalance(
            f"{whose} {row.asset} balance is {format_amount(row.balance)}, "
            f"which does not allow {format_amount(change)}"
        )
    if row.balance + change > MAX_ACCOUNT_UNITS:
        raise AccountFull(
            f"{whose} {row.asset} balance is {format_amount(row.balance)}; {format_amount(change)} more "
            "would pass the 90 billion that an account can hold"
        )


def _key(leg: Leg) -> AccountKey:
    if isinstance(leg.owner, Spot):
        return "spot", leg.owner.user.user_id, leg.asset
    return leg.owner, None, leg.asset


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
    }


def _amounts_by_account(entry: NewEntry, found: Mapping[AccountKey, AnyRow]) -> dict[int, int]:
    amounts: defaultdict[int, int] = defaultdict(int)
    for leg in entry.legs:
        amounts[found[_key(leg)].account_id] += leg.amount
    return amounts


async def _lock_accounts(connection: AsyncConnection, wanted: set[AccountKey]) -> dict[AccountKey, AnyRow]:
    """The accounts of the legs, made where missing; rows with a balance are locked in sorted order, pools last."""
    keys = sorted(wanted, key=lambda key: (key[0] == POOL, key[0], key[1] or "", key[2]))
    found = await _find_accounts(connection, keys)
    missing = [key for key in keys if key not in found]
    if missing:
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
        found = await _find_accounts(connection, keys)
    return found


async def _find_accounts(connection: AsyncConnection, keys: Sequence[AccountKey]) -> dict[AccountKey, AnyRow]:
    assets = sorted({asset for _, _, asset in keys})
    user_ids = sorted({user_id for _, user_id, _ in keys if user_id is not None})
    kinds = sorted({kind for kind, user_id, _ in keys if user_id is None})
    rows = await connection.execute(
        select(accounts.c.account_id, accounts.c.kind, accounts.c.user_id, accounts.c.asset, accounts.c.balance)
        .where(
            or_(
                and_(accounts.c.kind == "spot", accounts.c.user_id.in_(user_ids)),
                and_(accounts.c.kind != "spot", accounts.c.kind.in_(kinds), accounts.c.shard == 0),
            ),
            accounts.c.asset.in_(assets),
        )
        .order_by(accounts.c.kind == POOL, accounts.c.account_id)
        .with_for_update()
    )
    wanted = set(keys)
    return {key: row for row in rows if (key := (row.kind, row.user_id, row.asset)) in wanted}


async def _change_balances(connection: AsyncConnection, changes: dict[int, int]) -> None:
    if not changes:
        return
    change = case(changes, value=accounts.c.account_id)
    await connection.execute(
        update(accounts).where(accounts.c.account_id.in_(changes)).values(balance=accounts.c.balance + change)
    )
