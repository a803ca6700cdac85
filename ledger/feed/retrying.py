"""Tries refused movements again when an operator asks for it."""

from collections.abc import AsyncGenerator, Iterator, Sequence
from datetime import datetime

from ledger.database.engine import Ledger
from ledger.feed.deciding import MovementOutcome
from ledger.feed.posting import post_feed
from ledger.feed.reading import MOVEMENTS_MAX, SentMovement, arrived
from ledger.feed.refused import all_refused, refused_with_groups


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
