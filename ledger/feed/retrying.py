"""Tries refused movements again when an operator asks for it, or when a source has sent more."""

from collections.abc import AsyncGenerator, Iterator, Sequence
from datetime import datetime

from ledger.database.engine import Ledger
from ledger.database.schema import stored_instant
from ledger.feed.deciding import MovementOutcome
from ledger.feed.posting import post_feed
from ledger.feed.reading import MOVEMENTS_MAX, ReadMovement, SentMovement, arrived
from ledger.feed.refused import all_refused, refused_for_balance, refused_with_groups
from ledger.movements import CLOCKS_DIFFER_BY_MAX

RETRIED_MAX = 10_000
"""How many movements that a balance did not allow are tried again together."""


async def retry_refused(
    ledger: Ledger, movement_ids: Sequence[str] | None, *, now: datetime
) -> AsyncGenerator[list[MovementOutcome]]:
    """Tries refused movements again in the order in which they first came, each with all legs of its group.
    Without ids, all refused movements are tried. Yields what became of each, part by part; a part is durable when
    it is yielded.

    Raises UnknownMovement, and tries nothing, if any of the ids is not among the refused movements.
    """
    async with ledger.read() as connection:
        found = await (
            all_refused(connection) if movement_ids is None else refused_with_groups(connection, movement_ids)
        )
    for part in _parts([one.sent for one in found]):
        yield await post_feed(ledger, [arrived(movement, now) for movement in part])


async def retry_for_balance(ledger: Ledger, first: datetime, last: datetime, *, now: datetime) -> None:
    """Tries movements again that a balance did not allow and that happened from ``first`` to before ``last``.

    Where several sources send, what covers a movement may come after it. So these are tried in the order in which
    they happened, and once more as long as any of them could be posted. Of more than RETRIED_MAX the last wait for
    an operator.
    """
    async with ledger.read() as connection:
        # None was tried before it happened, by a clock that may differ.
        found = await refused_for_balance(connection, first - 2 * CLOCKS_DIFFER_BY_MAX)
        instants = {one.sent.movement_id: _happened(one.sent, now) for one in found}
        asked = [key for key, at in instants.items() if stored_instant(first) <= at < stored_instant(last)]
        if not asked:
            return
        oldest = sorted(asked, key=lambda key: instants[key])[:RETRIED_MAX]
        waiting = [one.sent for one in await refused_with_groups(connection, oldest)]
    waiting.sort(key=lambda movement: _happened(movement, now))
    has_posted = True
    while waiting and has_posted:
        outcomes: dict[str, MovementOutcome] = {}
        for part in _parts(waiting):
            answers = await post_feed(ledger, [arrived(movement, now) for movement in part])
            outcomes |= {outcome.movement_id: outcome for outcome in answers}
        has_posted = any(outcome.status == "posted" for outcome in outcomes.values())
        waiting = [movement for movement in waiting if outcomes[movement.movement_id].reason]


def _happened(movement: SentMovement, now: datetime) -> int:
    """When a movement happened, as the ledger stores instants; 0 if that cannot be read."""
    read = arrived(movement, now).read
    return read.occurred_at if isinstance(read, ReadMovement) else 0


def _parts(movements: Sequence[SentMovement]) -> Iterator[list[SentMovement]]:
    """Parts that have at most as many movements as a request, unless a single group has more. No group is
    split."""
    together: dict[str | int, list[SentMovement]] = {}
    for place, movement in enumerate(movements):
        key = place if movement.group is None else movement.group
        together[key] = [*together.pop(key, ()), movement]
    part: list[SentMovement] = []
    for legs in together.values():
        if part and len(part) + len(legs) > MOVEMENTS_MAX:
            yield part
            part = []
        part += legs
    if part:
        yield part
