"""Feeds in tests: short functions for movements that an exchange's systems send."""

from collections.abc import Sequence
from datetime import datetime
from itertools import count

from world import World, at

from ledger.feed.deciding import MovementOutcome
from ledger.feed.posting import post_feed
from ledger.feed.reading import SentMovement, arrived

NOW = at("2026-10-05 12:00")
_numbers = count(1)


def sent(
    amount: str,
    asset: str = "SOL",
    *,
    user: str = "ann",
    when: str = "2026-10-01T10:00:00Z",
    key: str | None = None,
    group: str | None = None,
) -> SentMovement:
    return SentMovement(key or f"sent {next(_numbers)}", user, asset, amount, when, group)


async def feed(world: World, *movements: SentMovement, now: datetime = NOW) -> list[MovementOutcome]:
    """Sends one request."""
    return await post_feed(world.ledger, [arrived(movement, now) for movement in movements])


def statuses(outcomes: Sequence[MovementOutcome]) -> str:
    """The statuses of the results, such as ``posted repeated``. In place of ``refused`` it has the code of the
    reason."""
    return " ".join(outcome.reason.code if outcome.reason else outcome.status for outcome in outcomes)
