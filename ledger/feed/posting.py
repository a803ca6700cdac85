"""Posts movements of a feed to the journal: all movements of one or more requests in one transaction."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from ledger.accounts import OUTSIDE, SPOT, Account, AccountKey, find_accounts, open_accounts
from ledger.bulks import BulkMovement, Changed, InCommon, accounts_of, post_movements_to
from ledger.database.among import Among
from ledger.database.engine import Ledger, run_again_if_it_gave_way
from ledger.database.rows import update_rows
from ledger.database.schema import accounts, entries, instant_of, postings, stored_instant, users
from ledger.feed.deciding import Decided, FeedFacts, MovementOutcome, RecordedMovement, come_late, decide
from ledger.feed.reading import Arrived, ReadMovement
from ledger.feed.refused import keep_refused
from ledger.locking import LockedUser, lock_or_make_users, lock_users
from ledger.movements import late_ones_count_when_they_happened
from ledger.spelling import misspelt_assets
from ledger.timelines import Timeline, read_timelines


@run_again_if_it_gave_way
async def post_feed(ledger: Ledger, movements: Sequence[Arrived]) -> list[MovementOutcome]:
    """Posts those movements that can be posted, and answers for each what became of it, in the order of the
    movements.

    The movements are posted in that order. Each counts from when it happened, but never in a closed day (I4), and
    where no source is registered never before its user's latest movement. If a movement was recorded before, its
    answer says that it is a repeat. A movement that is refused is kept among the refused movements and does not
    hold up the others. The legs of a group are posted together or not at all.
    """
    async with ledger.write() as connection:
        return await post_feed_within(ledger, connection, movements)


async def post_feed_within(
    ledger: Ledger, connection: AsyncConnection, movements: Sequence[Arrived]
) -> list[MovementOutcome]:
    """What ``post_feed`` does, within a transaction in which more is written that belongs to it."""
    read = [movement.read for movement in movements if isinstance(movement.read, ReadMovement)]
    locked = await _lock(connection, read)
    # This is read after the locks are taken, so that nothing of it changes before the commit.
    known = await find_accounts(connection, {(SPOT, one.user_id, one.asset) for one in read})
    facts = await _facts(connection, locked, known, movements, read)
    decided = decide(facts, movements)
    await _post(ledger, connection, known, decided)
    await _raise_latest(connection, locked, facts)
    await keep_refused(connection, movements, decided.outcomes, now=ledger.clock())
    return decided.outcomes


async def _lock(connection: AsyncConnection, read: Sequence[ReadMovement]) -> dict[str, LockedUser]:
    """Locks the users of the movements. A user who does not exist yet is made if a movement adds to a balance;
    from any other unknown user nothing can be taken."""
    locked = await lock_users(connection, {one.user_id for one in read})
    new = {one.user_id for one in read if one.amount > 0 and one.user_id not in locked}
    return locked | await lock_or_make_users(connection, new) if new else locked


async def _facts(
    connection: AsyncConnection,
    locked: Mapping[str, LockedUser],
    known: Mapping[AccountKey, Account],
    movements: Sequence[Arrived],
    read: Sequence[ReadMovement],
) -> FeedFacts:
    balances = {(user_id or "", asset): account.balance or 0 for (_, user_id, asset), account in known.items()}
    new = {one.asset for one in read if (one.user_id, one.asset) not in balances}
    facts = FeedFacts(
        closed_through={one.user_id: 0 for one in read},
        latest={one.user_id: 0 for one in read},
        balances=balances,
        recorded=await _recorded(connection, [one.movement_id for one in read]),
        misspelt=await misspelt_assets(connection, new),
    )
    for user_id, user in locked.items():
        facts.closed_through[user_id] = stored_instant(user.closed_through)
        facts.latest[user_id] = stored_instant(user.latest_effective_at)
    late = [*come_late(facts, movements)]
    if late and await late_ones_count_when_they_happened(connection):
        facts.timelines = await _timelines(connection, facts, known, late)
    return facts


async def _timelines(
    connection: AsyncConnection,
    facts: FeedFacts,
    known: Mapping[AccountKey, Account],
    late: Iterable[tuple[ReadMovement, int]],
) -> defaultdict[Changed, Timeline]:
    """For each account that late movements change, what was posted to it since they happened."""
    timelines: defaultdict[Changed, Timeline] = defaultdict(Timeline)
    changed_of: dict[int, Changed] = {}
    instants: list[int] = []
    for one, instant in late:
        account = known.get((SPOT, one.user_id, one.asset))
        # Others come late only after others of these movements.
        if account is not None and instant < facts.latest[one.user_id]:
            changed_of[account.account_id] = one.user_id, one.asset
            instants.append(instant)
    if instants:
        found = await read_timelines(connection, changed_of.keys(), min(instants), max(instants))
        timelines |= {changed_of[account_id]: timeline for account_id, timeline in found.items()}
    return timelines


_RECORDED = (
    select(
        entries.c.idempotency_key,
        entries.c.kind,
        entries.c.user_id,
        entries.c.note,
        entries.c.effective_at,
        func.coalesce(entries.c.occurred_at, entries.c.effective_at).label("occurred_at"),
        accounts.c.asset,
        postings.c.amount,
    )
    .join_from(entries, postings, postings.c.entry_id == entries.c.entry_id)
    .join(accounts, accounts.c.account_id == postings.c.account_id)
    .where(Among(entries.c.idempotency_key, "keys"), accounts.c.kind != OUTSIDE)
)


async def _recorded(connection: AsyncConnection, movement_ids: Sequence[str]) -> dict[str, RecordedMovement]:
    """What the journal has recorded under some ids. Of an entry that moves several assets, this is one of its
    sides."""
    rows = await connection.execute(_RECORDED, {"keys": movement_ids})
    return {
        row.idempotency_key: RecordedMovement(
            row.kind,
            row.user_id,
            row.asset,
            row.amount,
            stored_instant(row.occurred_at),
            row.note,
            stored_instant(row.effective_at),
        )
        for row in rows
    }


async def _post(
    ledger: Ledger, connection: AsyncConnection, known: Mapping[AccountKey, Account], decided: Decided
) -> None:
    if not decided.to_post:
        return
    new = [
        BulkMovement(
            one.user_id,
            one.asset,
            one.amount,
            effective_at,
            one.occurred_at if one.occurred_at != effective_at else None,
            one.movement_id,
            one.note,
            kind=one.kind,
        )
        for one, effective_at in decided.to_post
    ]
    missing = accounts_of((one.user_id, one.asset) for one in new) - known.keys()
    opened = await open_accounts(connection, missing)
    await post_movements_to(connection, {**known, **opened}, new, InCommon("deposit", ledger.clock()))


async def _raise_latest(connection: AsyncConnection, locked: Mapping[str, LockedUser], facts: FeedFacts) -> None:
    raised = [
        {"user_id": user_id, "latest_effective_at": latest}
        for user_id, user in sorted(locked.items())
        if (latest := instant_of(facts.latest[user_id])) != user.latest_effective_at
    ]
    await update_rows(connection, users, raised)
