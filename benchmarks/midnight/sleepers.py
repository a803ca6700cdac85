"""Whether a worker's memory grows with the users who sleep."""

from collections.abc import Sequence
from dataclasses import dataclass

from benchmarks.midnight.checkouts import HERE, Given, checkout_fleet
from benchmarks.midnight.processes import resident_bytes
from benchmarks.midnight.telling import say

_AT_ONCE = 500


@dataclass(frozen=True)
class Memory:
    """Of all worker processes, with so many users asleep."""

    sleepers: int
    worker_rss_mb: float


async def measured_sleepers(numbers: Sequence[int], given: Given) -> list[Memory]:
    """Enrols more and more users of this checkout, who sleep until a midnight that is not near."""
    found: list[Memory] = []
    async with checkout_fleet(HERE, given) as fleet:
        there = 0
        for number in sorted(numbers):
            while there < number:
                more = min(number - there, _AT_ONCE)
                users = [f"sleeper-{user:07}" for user in range(there, there + more)]
                await fleet.loader.ask({"do": "enrol now", "users": users})
                there += more
                say(f"{there:,} users sleep")
            found.append(Memory(there, resident_bytes(fleet.workers.pids) / 1e6))
    return found
