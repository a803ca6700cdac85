"""Live movements of a spot balance: deposits, withdrawals, trades; never delayed by soft staking (rule 9)."""

from collections.abc import Mapping
from datetime import datetime

from ledger.engine import Ledger
from ledger.journal import OUTSIDE, Asked, Leg, NewEntry, Spot, find_repeat, lock_user, post
from ledger.schema import users


async def post_movement(
    ledger: Ledger,
    user_id: str,
    changes: Mapping[str, int],
    *,
    kind: str,
    idempotency_key: str,
    occurred_at: datetime,
) -> int:
    """Posts one movement, whole: signed changes in units by asset; answers the journal entry's id.

    It counts when it occurred, but in no closed day and never before the latest posting of the user (I4). A repeat
    of the key answers the first entry. Raises ContentDiffers for a repeat that says anything else,
    InsufficientBalance or AccountFull if a balance does not allow it.
    """
    async with ledger.write() as connection:
        user = await lock_user(connection, user_id)
        asked = Asked(kind, user_id, {asset: amount for asset, amount in changes.items() if amount}, occurred_at)
        repeat = await find_repeat(connection, idempotency_key, asked)
        if repeat is not None:
            return repeat
        effective_at = max(user.effective(occurred_at), user.latest_effective_at)
        legs = [
            leg
            for asset, amount in sorted(asked.changes.items())
            for leg in (Leg(Spot(user), asset, amount), Leg(OUTSIDE, asset, -amount))
        ]
        entry_id = await post(
            connection,
            NewEntry(
                kind=kind,
                legs=legs,
                effective_at=effective_at,
                recorded_at=ledger.clock(),
                user_id=user_id,
                idempotency_key=idempotency_key,
                occurred_at=occurred_at if occurred_at != effective_at else None,
            ),
        )
        await connection.execute(
            users.update().where(users.c.user_id == user_id).values(latest_effective_at=effective_at)
        )
        return entry_id
