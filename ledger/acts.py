"""What operators do: recorded with who and why, in the transaction that does it, and never changed.

A hold is such an act, so that it outlives the workflow (decision 0007).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from sqlalchemy import Select, bindparam, select
from sqlalchemy.ext.asyncio import AsyncConnection

from contract.acts import Act, Hold
from contract.requests import ActRequest
from ledger.database.engine import Ledger, run_again_if_it_gave_way
from ledger.database.schema import ActKind, AnyRow, acts, enrolments
from ledger.locking import lock_user
from ledger.regions import in_region


@dataclass(frozen=True)
class RecordedAct:
    """One act of an operator."""

    act_number: int
    user_id: str | None
    """None if the act does not concern a single user, but for example a pool or the program."""
    kind: ActKind
    subject: str | None
    """What was acted on, if it was not the user's loop: "pool SOL, entry 12", "program version 3"."""
    operator: str
    reason: str | None
    """For colleagues; None if no reason was given."""
    tell: str | None
    """For the user."""
    recorded_at: datetime


async def write_act(
    connection: AsyncConnection,
    kind: ActKind,
    act_id: str,
    *,
    operator: str,
    reason: str | None,
    recorded_at: datetime,
    user_id: str | None = None,
    subject: str | None = None,
    tell: str | None = None,
) -> None:
    """Records an act, in the transaction that does it; a caller who names a user holds that user's lock.

    ``act_id`` belongs to one act only: a caller that may repeat a request looks first whether the act is recorded.
    """
    await connection.execute(
        acts.insert().values(
            act_id=act_id,
            user_id=user_id,
            kind=kind,
            operator=operator,
            reason=reason,
            recorded_at=recorded_at,
            subject=subject,
            tell=tell,
        )
    )


@run_again_if_it_gave_way
async def hold(ledger: Ledger, request: ActRequest) -> Hold:
    """Holds the user from now on. It may be repeated: for a user who is held already the answer is the first hold.

    A repeat with the same act id answers what the first one did, also after a release. Raises Superseded if the
    user was recalled again since.
    """
    async with ledger.write() as connection:
        user = await lock_user(connection, request.user_id)
        user.check_fence(request)
        done = await _done(connection, request.act_id)
        if done is not None:
            return _hold(done)
        hold_now = await hold_of(connection, request.user_id)
        if hold_now is not None:
            return hold_now
        held_at = max(request.now, ledger.clock())
        await _write(connection, request.act_id, request.user_id, "hold", request.act, held_at)
        return Hold(
            held_at=held_at, operator=request.act.operator, reason=request.act.reason, tell=request.act.tell
        )


@run_again_if_it_gave_way
async def release(ledger: Ledger, request: ActRequest) -> Hold | None:
    """Releases the user, and answers the hold that this ended; None if the user was not held.

    A repeat with the same act id answers what the first one did. Raises Superseded if the user was recalled again
    since.
    """
    async with ledger.write() as connection:
        user = await lock_user(connection, request.user_id)
        user.check_fence(request)
        done = await _done(connection, request.act_id)
        if done is not None:
            return _hold_in(await _last(connection, request.user_id, before=done.act_number))
        hold_now = await hold_of(connection, request.user_id)
        if hold_now is not None:
            released_at = max(request.now, ledger.clock())
            await _write(connection, request.act_id, request.user_id, "release", request.act, released_at)
        return hold_now


@run_again_if_it_gave_way
async def record_act(
    ledger: Ledger, user_id: str, kind: Literal["retry", "resume"], act: Act, *, act_id: str, now: datetime
) -> None:
    """Records what an operator asks of a user's workflow, before the workflow is asked. A repeat with the same act
    id records nothing."""
    async with ledger.write() as connection:
        await lock_user(connection, user_id)
        if await _done(connection, act_id) is None:
            await _write(connection, act_id, user_id, kind, act, max(now, ledger.clock()))


async def record_deactivation(
    connection: AsyncConnection, user_id: str, enrolment_id: str, act: Act, now: datetime
) -> None:
    """Records who ended an enrolment, in the transaction that ends it; the caller holds the user's lock."""
    await _write(connection, f"deactivate/{enrolment_id}", user_id, "deactivate", act, now)


_HOLDS_AND_RELEASES = acts.c.kind.in_(("hold", "release"))
_LAST: Select[tuple[object, ...]] = (
    select(acts)
    .where(acts.c.user_id == bindparam("user"), _HOLDS_AND_RELEASES)
    .order_by(acts.c.act_number.desc())
    .limit(1)
)

_released = acts.alias("released")
HOLDS_IN_FORCE: Select[tuple[object, ...]] = select(acts).where(
    acts.c.kind == "hold",
    ~select(_released.c.act_number)
    .where(
        _released.c.kind == "release",
        _released.c.user_id == acts.c.user_id,
        _released.c.act_number > acts.c.act_number,
    )
    .exists(),
)
"""The act that holds each user who is held: a hold without a later release."""


async def hold_of(connection: AsyncConnection, user_id: str) -> Hold | None:
    """The hold of a user; None if the user is not held."""
    return _hold_in(await _last(connection, user_id))


async def holds_of(connection: AsyncConnection, user_ids: Sequence[str]) -> dict[str, Hold]:
    """Like hold_of, for several users together: the holds of those who are held, by user id."""
    rows = await connection.execute(HOLDS_IN_FORCE.where(acts.c.user_id.in_(user_ids)))
    return {row.user_id: _hold(row) for row in rows}


async def held_users(connection: AsyncConnection, region: str | None = None) -> dict[str, Hold]:
    """Every user who is held, by id; with a region, only those who ever enrolled from it (rule 7)."""
    query = HOLDS_IN_FORCE.order_by(acts.c.user_id)
    if region is not None:
        query = query.where(
            select(enrolments.c.enrolment_id)
            .where(enrolments.c.user_id == acts.c.user_id, in_region(region))
            .correlate(acts)
            .exists()
        )
    rows = await connection.execute(query)
    return {row.user_id: _hold(row) for row in rows}


async def latest_acts(
    connection: AsyncConnection, user_id: str | None = None, *, last: int | None
) -> list[RecordedAct]:
    """The latest acts of operators, the newest last. If ``last`` is None, these are all acts; if a user is named,
    only that user's."""
    query = select(acts).order_by(acts.c.recorded_at.desc(), acts.c.act_number.desc()).limit(last)
    if user_id is not None:
        query = query.where(acts.c.user_id == user_id)
    rows = (await connection.execute(query)).all()
    return [
        RecordedAct(
            act_number=row.act_number,
            user_id=row.user_id,
            kind=row.kind,
            subject=row.subject,
            operator=row.operator,
            reason=row.reason,
            tell=row.tell,
            recorded_at=row.recorded_at,
        )
        for row in reversed(rows)
    ]


async def _done(connection: AsyncConnection, act_id: str) -> AnyRow | None:
    return (await connection.execute(select(acts).where(acts.c.act_id == act_id))).one_or_none()


async def _last(connection: AsyncConnection, user_id: str, *, before: int | None = None) -> AnyRow | None:
    query = _LAST if before is None else _LAST.where(acts.c.act_number < before)
    return (await connection.execute(query, {"user": user_id})).one_or_none()


def _hold_in(last: AnyRow | None) -> Hold | None:
    return _hold(last) if last is not None and last.kind == "hold" else None


def _hold(row: AnyRow) -> Hold:
    return Hold(held_at=row.recorded_at, operator=row.operator, reason=row.reason, tell=row.tell)


async def _write(
    connection: AsyncConnection, act_id: str, user_id: str, kind: ActKind, act: Act, recorded_at: datetime
) -> None:
    await write_act(
        connection,
        kind,
        act_id,
        operator=act.operator,
        reason=act.reason,
        recorded_at=recorded_at,
        user_id=user_id,
        tell=act.tell,
    )
