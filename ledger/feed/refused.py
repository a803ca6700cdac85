"""Refused movements: those that feeds sent and that could not be posted. None is lost: each is kept until it can
be posted or an operator dismisses it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Executable, Text, bindparam, delete, func, or_, select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncConnection

from contract.acts import check_words
from contract.events import MovementRefused, RefusedContent
from ledger.acts import write_act
from ledger.database.among import Among
from ledger.database.engine import GaveWay, Ledger, run_again_if_it_gave_way
from ledger.database.schema import AnyRow, refused_movements, sources
from ledger.errors import UnknownMovement
from ledger.feed.deciding import GROUP_REFUSED, INSUFFICIENT_BALANCE, MovementOutcome
from ledger.feed.reading import Arrived, Reason, SentMovement, sent_in
from ledger.outbox import NewEvent, write_events
from staking.models import RefusalReason, check_user_id

_CONTENT_DIFFERS = "content_differs"
_REFUSED = select(refused_movements.c.movement_id, refused_movements.c.code).where(
    Among(refused_movements.c.movement_id, "ids")
)


@dataclass(frozen=True)
class RefusedMovement:
    """A movement that waits among the refused ones."""

    sent: SentMovement
    """The movement as it was sent the last time."""
    reason: Reason
    """Why it was refused the last time."""
    first_refused_at: datetime
    last_refused_at: datetime
    times: int
    """How often it was refused."""


async def keep_refused(
    connection: AsyncConnection,
    movements: Sequence[Arrived],
    outcomes: Sequence[MovementOutcome],
    *,
    now: datetime,
) -> None:
    """Keeps the movements that were refused, and removes from the refused movements those that are now in the
    journal.

    A movement that is refused because another content is recorded under its id stays until an operator dismisses
    it: somebody should learn that two systems use one id.
    """
    asked = {outcome.movement_id for outcome in outcomes}
    waiting: dict[str, str] = {
        row.movement_id: row.code for row in await connection.execute(_REFUSED, {"ids": sorted(asked)})
    }
    refused: dict[str, tuple[Arrived, Reason]] = {}
    gone: set[str] = set()
    for movement, outcome in zip(movements, outcomes, strict=True):
        if outcome.reason:
            refused[outcome.movement_id] = (movement, outcome.reason)
            continue
        refused.pop(outcome.movement_id, None)
        if waiting.get(outcome.movement_id, _CONTENT_DIFFERS) != _CONTENT_DIFFERS or outcome.status == "posted":
            gone.add(outcome.movement_id)
    if fitting := sorted(gone & waiting.keys()):
        await connection.execute(_TAKE_OFF, {"ids": fitting})
    if refused:
        await connection.execute(_keep(connection.dialect.name), _rows(refused, now))
        news = [
            _refused_event(movement.sent, reason, now)
            for movement_id, (movement, reason) in refused.items()
            if waiting.get(movement_id) != reason.code
        ]
        await write_events(connection, news)


def _refused_event(sent: SentMovement, reason: Reason, now: datetime) -> NewEvent:
    try:
        user_id = check_user_id(sent.user)
    except ValueError:
        user_id = None
    # Half a character may have been sent, which cannot be told on in UTF-8.
    told = {name: value and value.encode(errors="replace").decode() for name, value in sent._asdict().items()}
    data = MovementRefused(
        movement=RefusedContent(id=told.pop("movement_id"), **told),
        reason=RefusalReason(code=reason.code, sentence=reason.sentence.encode(errors="replace").decode()),
    )
    about = f"{data.movement.id}/{reason.code}/{now.isoformat()}"
    return NewEvent("movement.refused", now, user_id, about=about, data=data)


_TAKE_OFF = delete(refused_movements).where(Among(refused_movements.c.movement_id, "ids"))


def _keep(dialect: str) -> Executable:
    """Keeps one row for each id: the movement as it was sent the last time, with the reason of the last
    refusal."""
    table = refused_movements
    statement = (postgresql.insert if dialect == "postgresql" else sqlite.insert)(table)
    changing = ("group_name", "content", "code", "sentence", "last_refused_at")
    return statement.on_conflict_do_update(
        index_elements=[table.c.movement_id],
        set_={**{name: statement.excluded[name] for name in changing}, "times": table.c.times + 1},
    )


def _rows(refused: Mapping[str, tuple[Arrived, Reason]], now: datetime) -> list[dict[str, object]]:
    return [
        {
            "movement_id": movement_id,
            "group_name": movement.sent.group,
            "content": movement.sent.content(),
            "code": reason.code,
            "sentence": reason.sentence,
            "first_refused_at": now,
            "last_refused_at": now,
            "times": 1,
        }
        for movement_id, (movement, reason) in refused.items()
    ]


_IN_ORDER = select(refused_movements).order_by(refused_movements.c.refused_number)


async def all_refused(connection: AsyncConnection, *, last: int | None = None) -> list[RefusedMovement]:
    """Refused movements in the order in which they first came; with ``last``, only that many of the latest
    ones."""
    if last is None:
        rows = await connection.execute(_IN_ORDER)
        return [_refused(row) for row in rows]
    newest = select(refused_movements).order_by(refused_movements.c.refused_number.desc()).limit(last)
    return [_refused(row) for row in reversed((await connection.execute(newest)).all())]


async def refused_with_groups(connection: AsyncConnection, movement_ids: Sequence[str]) -> list[RefusedMovement]:
    """Some refused movements and all legs of their groups, in the order in which they first came.

    Raises UnknownMovement, naming them, if any is not among the refused.
    """
    ids = bindparam("ids", expanding=True, type_=Text)
    table = refused_movements
    groups = select(table.c.group_name).where(table.c.movement_id.in_(ids), table.c.group_name.is_not(None))
    rows = await connection.execute(
        _IN_ORDER.where(or_(table.c.movement_id.in_(ids), table.c.group_name.in_(groups))),
        {"ids": sorted(set(movement_ids))},
    )
    found = [_refused(row) for row in rows]
    if missing := sorted(set(movement_ids) - {one.sent.movement_id for one in found}):
        raise UnknownMovement(
            f"not among the refused movements: {', '.join(missing)}; those are listed by: "
            "starter.py movements refused"
        )
    return found


async def refused_for_balance(connection: AsyncConnection, last_refused_from: datetime) -> list[RefusedMovement]:
    """Those that were last tried at an instant or after it, and that a balance did not allow then; in the order in
    which they first came."""
    table = refused_movements
    rows = await connection.execute(
        _IN_ORDER.where(table.c.code == INSUFFICIENT_BALANCE, table.c.last_refused_at >= last_refused_from)
    )
    return [_refused(row) for row in rows]


_TO_BE_TRIED_AGAIN = (
    select(func.count())
    .select_from(refused_movements)
    .where(
        refused_movements.c.code.in_((INSUFFICIENT_BALANCE, GROUP_REFUSED)),
        refused_movements.c.last_refused_at >= select(func.min(sources.c.complete_through)).scalar_subquery(),
    )
)


async def count_to_be_tried_again(connection: AsyncConnection) -> int:
    """How many refused movements may still be tried again when a source reports: a balance did not allow them, and
    they were tried after the instant through which every source is complete."""
    return await connection.scalar(_TO_BE_TRIED_AGAIN) or 0


async def refused_count(connection: AsyncConnection) -> int:
    """How many movements wait among the refused ones."""
    return await connection.scalar(select(func.count()).select_from(refused_movements)) or 0


@run_again_if_it_gave_way
async def dismiss_refused(
    ledger: Ledger, movement_ids: Sequence[str], *, operator: str, reason: str, now: datetime
) -> list[RefusedMovement]:
    """Dismisses refused movements that will never be posted, and returns them as they were.

    Raises UnknownMovement, and dismisses nothing, if any of the ids is not among the refused movements.
    """
    check_words(operator, reason)
    async with ledger.write() as connection:
        asked = set(movement_ids)
        found = [
            one for one in await refused_with_groups(connection, movement_ids) if one.sent.movement_id in asked
        ]
        taken = await connection.execute(_TAKE_OFF, {"ids": sorted(asked)})
        if taken.rowcount != len(asked):
            raise GaveWay("somebody else dismissed or posted them meanwhile")
        for one in found:
            stamp = one.first_refused_at.isoformat()
            await write_act(
                connection,
                "movement_dismiss",
                f"movement_dismiss/{stamp}/{now.isoformat()}/{one.sent.movement_id}",
                operator=operator,
                reason=reason,
                recorded_at=now,
                subject=f"movement {one.sent.movement_id}: {one.sent.content()}",
            )
        return found


def _refused(row: AnyRow) -> RefusedMovement:
    return RefusedMovement(
        sent_in(row.content),
        Reason(row.code, row.sentence),
        row.first_refused_at,
        row.last_refused_at,
        row.times,
    )
