"""What a process knows of the events that can be read without missing an earlier one."""

import asyncio
from dataclasses import dataclass, field
from typing import NamedTuple


class Awaited(NamedTuple):
    """An event that was seen, and what has to end before it may be read."""

    number: int
    before: int
    """The number of a transaction that began after the event was seen. Whoever wrote an earlier event has a lower
    one."""


@dataclass
class EventHorizon:
    """Every event up to the number ``through`` is there for good, or will never be there."""

    through: int = 0
    awaited: Awaited | None = None
    known_at_s: float = float("-inf")
    """As of when this is known, by the event loop's clock."""
    one_at_a_time: asyncio.Lock = field(default_factory=asyncio.Lock)
