"""Corrections: reversals of entries, and adjustments. Each has an operator and a reason (I2, I4)."""

import json
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256
from operator import index

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncConnection

from contract.acts import check_words
from contract.events import ReversedLine, RewardReversed
from ledger.accounts import OUTSIDE, SPOT
from ledger.acts import write_act
from ledger.database.engine import Ledger, run_again_if_it_gave_way
from ledger.database.schema import accounts, days, entries, postings
from ledger.entries import Entry, Recorded, read_entry, recorded
from ledger.errors import NotReversible, UnknownEntry, WrongOwner
from ledger.journal import Leg, NewEntry, Spot, post
from ledger.locking import LockedUser, lock_user
from ledger.movements import check_idempotency_key, counts_from, post_live
from ledger.outbox import NewEvent, write_events
from ledger.request_content import RequestContent, find_repeat
from staking.models import check_user_id
from staking.money import MAX_ACCOUNT_UNITS, format_amount
from staking.program import check_asset_code

_REVERSAL, _ADJUSTMENT = "reversal", "adjustment"


@dataclass(frozen=True)
class RewardPool:
    """The reward pool of an asset, as the owner of an entry."""

    asset: str


class _NothingIsWritten(Exception):
    """Rolls back a transaction that was only a trial."""

    def __init__(self, answer: Recorded) -> None:
        self.answer = answer
        super().__init__()


@run_again_if_it_gave_way
async def reverse(
    ledger: Ledger,
    entry_id: int,
    *,
    of: str | RewardPool | None = None,
    reason: str,
    operator: str,
    now: datetime,
    tell: str | None = None,
    dry_run: bool = False,
) -> Recorded:
    """Takes a whole entry back, by an entry that moves the same amounts the other way on the same accounts.

    ``of`` says whose entry it must be: a user's id, or a pool. None is for a caller that has checked this already.
    It counts from ``now``, but in no closed day and never before the user's latest movement (I4): no snapshot
    changes, and the day of a reward that is reversed stays credited. For an entry that is already reversed, the
    answer is its first reversal, whatever the reason is now. With ``dry_run`` nothing is recorded; the answer is
    what would be recorded, with an id that it would not get.

    Raises UnknownEntry, WrongOwner, NotReversible for a reversal, InsufficientBalance or AccountFull if a balance
    does not allow it (I2), or ValueError for what is malformed.
    """
    check_words(operator, reason, tell)
    try:
        async with ledger.write() as connection:
            answer = await _reverse(connection, ledger, entry_id, of, reason, operator, now, tell)
            if dry_run:
                raise _NothingIsWritten(answer)
            return answer
    except _NothingIsWritten as tried:
        return tried.answer


async def _reverse(
    connection: AsyncConnection,
    ledger: Ledger,
    entry_id: int,
    of: str | RewardPool | None,
    reason: str,
    operator: str,
    now: datetime,
    tell: str | None,
) -> Recorded:
    entry = await read_entry(connection, entry_id)
    if entry is None:
        raise UnknownEntry(f"there is no entry {entry_id}")
    if of is not None:
        _check_owner(entry, of)
    if entry.reverses is not None:
        instead = "adjust the balance: starter.py ledger adjust" if entry.user_id else "fund the pool again"
        raise NotReversible(
            f"entry {entry_id} reverses entry {entry.reverses} and cannot be reversed itself; {instead}"
        )
    user = await lock_user(connection, entry.user_id) if entry.user_id else None
    first = await connection.scalar(select(entries.c.entry_id).where(entries.c.reverses == entry_id))
    if first is not None:
        return await recorded(connection, first, already=True)
    recorded_at = ledger.clock()
    reversal = NewEntry(
        kind=_REVERSAL,
        legs=await _legs_back(connection, entry_id, user),
        effective_at=counts_from(user, now) if user else max(now, entry.effective_at),
        recorded_at=recorded_at,
        user_id=entry.user_id,
        operator=operator,
        reason=reason,
        reverses=entry_id,
        tell=tell,
    )
    posted = await (post_live(connection, user, reversal) if user else post(connection, reversal))
    await write_act(
        connection,
        "reverse",
        f"reverse/{posted}",
        operator=operator,
        reason=reason,
        recorded_at=recorded_at,
        user_id=entry.user_id,
        subject=f"entry {entry_id}" if user else f"pool {', '.join(entry.changes)}, entry {entry_id}",
        tell=tell,
    )
    await _tell_of_a_reversed_reward(connection, entry, reversal, posted)
    return await recorded(connection, posted, already=False)


async def _tell_of_a_reversed_reward(
    connection: AsyncConnection, entry: Entry, reversal: NewEntry, posted: int
) -> None:
    day = await connection.scalar(select(days.c.day).where(days.c.entry_id == entry.entry_id))
    if day is None:
        return  # it is not of a reward
    data = RewardReversed(
        day=day,
        entry_id=posted,
        reversed_entry_id=entry.entry_id,
        lines=[ReversedLine(asset=asset, amount=amount) for asset, amount in sorted(entry.changes.items())],
        message=reversal.tell,
    )
    event = NewEvent(
        "reward.reversed", reversal.recorded_at, entry.user_id, day, about=str(posted), data=data, entry_id=posted
    )
    await write_events(connection, [event])


def _check_owner(entry: Entry, of: str | RewardPool) -> None:
    """Raises WrongOwner if the entry is somebody else's: a wrong digit in an id leads to another user's entry."""
    pool = ", ".join(entry.changes)
    if of == entry.user_id or (entry.user_id is None and isinstance(of, RewardPool) and of.asset in entry.changes):
        return
    asked = f"user {of}" if isinstance(of, str) else f"the {of.asset} pool"
    owner = f"user {entry.user_id}" if entry.user_id else f"the {pool} pool"
    moved = ", ".join(f"{format_amount(units)} {asset}" for asset, units in entry.changes.items())
    raise WrongOwner(
        f"entry {entry.entry_id} is not of {asked}, and nothing was reversed: it is of {owner} ({entry.kind}, "
        f"{moved}), whose entries are reversed by: starter.py ledger reverse "
        f"{entry.user_id or f'--pool {pool}'} ENTRY"
    )


@run_again_if_it_gave_way
async def adjust(
    ledger: Ledger,
    user_id: str,
    asset: str,
    amount: int,
    *,
    reason: str,
    operator: str,
    now: datetime,
    tell: str | None = None,
    idempotency_key: str | None = None,
) -> Recorded:
    """Adds a signed amount, in units, to a user's spot balance; the other side is outside.

    It counts from ``now``, as a reversal does. A repeat of the key answers the first entry, whatever the reason
    now; without a key, the same user, asset, amount, reason and operator again are a repeat. Raises ContentDiffers
    for a repeat of a key that says anything else, InsufficientBalance or AccountFull if the balance does not allow
    it (I2), or ValueError for what is malformed.
    """
    check_user_id(user_id)
    asset = check_asset_code(asset)
    check_words(operator, reason, tell)
    if not 0 < abs(index(amount)) <= MAX_ACCOUNT_UNITS:
        raise ValueError(f"an adjustment is not 0 and at most 90 billion, unlike {format_amount(amount)}")
    if idempotency_key is None:
        key = _key_of_content(user_id, asset, amount, reason, operator)
    else:
        key = check_idempotency_key(idempotency_key)
    async with ledger.write() as connection:
        user = await lock_user(connection, user_id)
        repeat = await find_repeat(connection, key, RequestContent(_ADJUSTMENT, user_id, {asset: amount}))
        if repeat is not None:
            return await recorded(connection, repeat, already=True)
        recorded_at = ledger.clock()
        adjustment = NewEntry(
            kind=_ADJUSTMENT,
            legs=[Leg(Spot(user), asset, amount), Leg(OUTSIDE, asset, -amount)],
            effective_at=counts_from(user, now),
            recorded_at=recorded_at,
            user_id=user_id,
            idempotency_key=key,
            operator=operator,
            reason=reason,
            tell=tell,
        )
        posted = await post_live(connection, user, adjustment)
        await write_act(
            connection,
            "adjust",
            f"adjust/{posted}",
            operator=operator,
            reason=reason,
            recorded_at=recorded_at,
            user_id=user_id,
            subject=f"entry {posted}",
            tell=tell,
        )
        return await recorded(connection, posted, already=False)


def _key_of_content(*content: str | int) -> str:
    # The keys of clients have no tabs, so no such key is equal to this one.
    return f"adjustment\t{sha256(json.dumps(content).encode()).hexdigest()}"


async def _legs_back(connection: AsyncConnection, entry_id: int, user: LockedUser | None) -> list[Leg]:
    rows = await connection.execute(
        select(accounts.c.kind, accounts.c.asset, accounts.c.shard, postings.c.amount)
        .join_from(postings, accounts, accounts.c.account_id == postings.c.account_id)
        .where(postings.c.entry_id == entry_id)
    )
    legs: list[Leg] = []
    for row in rows:
        if row.shard:
            raise NotReversible(
                f"entry {entry_id} moved {row.asset} of shard {row.shard} of a {row.kind} account; only shard 0 "
                "can be corrected"
            )
        legs.append(Leg(Spot(user) if user and row.kind == SPOT else row.kind, row.asset, -row.amount))
    return legs
