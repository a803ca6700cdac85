"""The lock of a user: the one way to be alone with a user's days and postings (I4)."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime

from sqlalchemy import select, text
from sqlalchemy.ext.asyncio import AsyncConnection

from contract.requests import FencedRequest
from ledger.database.among import Among
from ledger.database.rows import insert_missing
from ledger.database.schema import AnyRow, users
from ledger.errors import LedgerRestored, Superseded

_NEVER = datetime(1970, 1, 1, tzinfo=UTC)


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


_LOCK_USERS = (
    select(users.c.user_id, users.c.closed_through, users.c.latest_effective_at, users.c.generation)
    .where(Among(users.c.user_id, "user_ids"))
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
    return _by_id(rows)


def _by_id(rows: Iterable[AnyRow]) -> dict[str, LockedUser]:
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
    seen |= _by_id(rows)
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
