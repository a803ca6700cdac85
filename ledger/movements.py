"""Live movements of a spot balance: deposits, withdrawals, trades; never delayed by soft staking (rule 9)."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from operator import index

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncConnection

from ledger.accounts import OUTSIDE, SPOT, check_range, find_accounts
from ledger.database.engine import Ledger, run_again_if_it_gave_way
from ledger.database.schema import sources, stored_instant, users
from ledger.entries import Recorded, recorded
from ledger.errors import InTheFuture
from ledger.journal import Leg, NewEntry, Spot, post
from ledger.locking import LockedUser, lock_user
from ledger.request_content import RequestContent, find_repeat
from ledger.timelines import Timeline, check_held, read_timelines
from staking.days import in_utc
from staking.models import check_user_id
from staking.money import MAX_ACCOUNT_UNITS, format_amount
from staking.program import check_asset_code

KEY_LENGTH_MAX = 200
CLOCKS_DIFFER_BY_MAX = timedelta(seconds=5)
"""How far a source's clock may be ahead of the one that says ``now``. Without this tolerance a withdrawal would
sometimes be refused because the clocks of two machines differ by milliseconds. With a much larger one, a wrong
clock would delay when the user's next movements count: without sources nothing counts before the user's latest."""


async def deposit(
    ledger: Ledger,
    user_id: str,
    asset: str,
    amount: int,
    *,
    idempotency_key: str,
    now: datetime,
    occurred_at: datetime | None = None,
) -> Recorded:
    """Adds an amount, in units above zero, to a user's spot balance.

    It counts from ``occurred_at``, or from ``now`` if that is None; but in no closed day (I4), and where no source
    is registered never before the user's latest movement. A repeat of the key answers the first entry. Raises
    ContentDiffers for a repeat that says anything else, InTheFuture, AccountFull, MisspeltAsset for an asset that
    differs only in case from one of the program, or ValueError for what is malformed.
    """
    changes = {check_asset_code(asset): _checked(amount)}
    return await _move(ledger, user_id, changes, "deposit", idempotency_key, now, occurred_at)


async def withdraw(
    ledger: Ledger,
    user_id: str,
    asset: str,
    amount: int,
    *,
    idempotency_key: str,
    now: datetime,
    occurred_at: datetime | None = None,
) -> Recorded:
    """Takes an amount, in units above zero, from a user's spot balance, whatever days are owed (rule 9).

    Otherwise it is like deposit. Raises InsufficientBalance, with nothing taken, if the balance does not allow all
    of it.
    """
    changes = {check_asset_code(asset): -_checked(amount)}
    return await _move(ledger, user_id, changes, "withdrawal", idempotency_key, now, occurred_at)


async def trade(
    ledger: Ledger,
    user_id: str,
    sold_asset: str,
    sold_amount: int,
    bought_asset: str,
    bought_amount: int,
    *,
    idempotency_key: str,
    now: datetime,
    occurred_at: datetime | None = None,
) -> Recorded:
    """Exchanges an amount of one asset for an amount of another, both in units above zero: both legs or none.

    Otherwise it is like withdraw.
    """
    sold, bought = check_asset_code(sold_asset), check_asset_code(bought_asset)
    if sold == bought:
        raise ValueError(f"a trade exchanges two assets, not {sold} for itself")
    changes = {sold: -_checked(sold_amount), bought: _checked(bought_amount)}
    return await _move(ledger, user_id, changes, "trade", idempotency_key, now, occurred_at)


@run_again_if_it_gave_way
async def post_movement(
    ledger: Ledger,
    user_id: str,
    changes: Mapping[str, int],
    *,
    kind: str,
    idempotency_key: str,
    occurred_at: datetime,
) -> int:
    """Posts one whole movement: signed changes in units by asset. Answers the journal entry's id.

    It counts when it occurred, but in no closed day (I4), and where no source is registered never before the
    latest posting of the user. A repeat of the key answers the first entry. Raises ContentDiffers for a repeat
    that says anything else, InsufficientBalance or AccountFull if a balance does not allow it.
    """
    async with ledger.write() as connection:
        user = await lock_user(connection, user_id)
        asked = RequestContent(
            kind, user_id, {asset: amount for asset, amount in changes.items() if amount}, occurred_at
        )
        repeat = await find_repeat(connection, idempotency_key, asked)
        if repeat is not None:
            return repeat
        return await _post(ledger, connection, user, asked, idempotency_key, occurred_at)


def counts_from(user: LockedUser, instant: datetime) -> datetime:
    """When a live posting of that instant counts that needs no look at what was held since: in no closed day (I4),
    and never before the user's latest."""
    return max(user.effective(instant), user.latest_effective_at)


async def late_ones_count_when_they_happened(connection: AsyncConnection) -> bool:
    """Whether a movement that comes after a later one of its user counts from its own instant all the same.

    So it is while any source is registered: then days wait for what comes late, and it must not count in a later
    day than others of its time.
    """
    return await connection.scalar(select(sources.c.name).limit(1)) is not None


async def post_live(connection: AsyncConnection, user: LockedUser, entry: NewEntry) -> int:
    """Writes a user's entry that counts from the instant that counts_from gives, or from an earlier one from which
    the user's holdings were found to allow it."""
    entry_id = await post(connection, entry)
    latest = max(user.latest_effective_at, entry.effective_at)
    await connection.execute(
        users.update().where(users.c.user_id == user.user_id).values(latest_effective_at=latest)
    )
    return entry_id


def check_idempotency_key(text: str) -> str:
    """A client's key as it came. Raises ValueError unless it is 1 to 200 printable characters."""
    if not 1 <= len(text) <= KEY_LENGTH_MAX:
        raise ValueError(f"a key has 1 to {KEY_LENGTH_MAX} characters, this one has {len(text)}")
    if not text.isprintable():
        raise ValueError("a key has printable characters only")
    return text


@run_again_if_it_gave_way
async def _move(
    ledger: Ledger,
    user_id: str,
    changes: Mapping[str, int],
    kind: str,
    idempotency_key: str,
    now: datetime,
    occurred_at: datetime | None,
) -> Recorded:
    check_user_id(user_id)
    check_idempotency_key(idempotency_key)
    instant = in_utc(occurred_at or now)
    if instant > in_utc(now) + CLOCKS_DIFFER_BY_MAX:
        raise InTheFuture(f"{instant.isoformat()} is in the future; a movement is posted once it has occurred")
    async with ledger.write() as connection:
        user = await lock_user(connection, user_id)
        asked = RequestContent(kind, user_id, changes, occurred_at)
        repeat = await find_repeat(connection, idempotency_key, asked)
        entry_id = repeat or await _post(ledger, connection, user, asked, idempotency_key, instant)
        return await recorded(connection, entry_id, already=repeat is not None)


async def _post(
    ledger: Ledger,
    connection: AsyncConnection,
    user: LockedUser,
    asked: RequestContent,
    idempotency_key: str,
    instant: datetime,
) -> int:
    effective_at = counts_from(user, instant)
    if user.effective(instant) < effective_at and await late_ones_count_when_they_happened(connection):
        effective_at = user.effective(instant)
        await _check_since(connection, user, asked.changes, effective_at)
    legs = [
        leg
        for asset, amount in sorted(asked.changes.items())
        for leg in (Leg(Spot(user), asset, amount), Leg(OUTSIDE, asset, -amount))
    ]
    entry = NewEntry(
        kind=asked.kind,
        legs=legs,
        effective_at=effective_at,
        recorded_at=ledger.clock(),
        user_id=user.user_id,
        idempotency_key=idempotency_key,
        occurred_at=instant if instant != effective_at else None,
    )
    return await post_live(connection, user, entry)


async def _check_since(
    connection: AsyncConnection, user: LockedUser, changes: Mapping[str, int], effective_at: datetime
) -> None:
    """I2, for changes that count before the user's latest movement: at the end of each instant since."""
    instant = stored_instant(effective_at)
    known = await find_accounts(connection, {(SPOT, user.user_id, asset) for asset in changes})
    ids = {account.account_id for account in known.values()}
    timelines = await read_timelines(connection, ids, instant, instant)
    for (_, _, asset), account in sorted(known.items()):
        change, balance = changes[asset], account.balance or 0
        check_range(account, change)
        timeline = timelines.get(account.account_id, Timeline())
        check_held((user.user_id, asset), timeline.held_from(instant, balance), change, instant)


def _checked(amount: int) -> int:
    if not 0 < index(amount) <= MAX_ACCOUNT_UNITS:
        raise ValueError(f"a movement has an amount above 0 and at most 90 billion, not {format_amount(amount)}")
    return amount
