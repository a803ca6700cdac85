"""Whether a worker's memory grows with the users who sleep."""

from collections.abc import Sequence
from dataclasses import dataclass

from benchmarks.midnight.checkouts import HERE, Given, checkout_fleet
from benchmarks.midnight.processes import resident_bytes
from benchmarks.midnight.waves import Alike


@dataclass(frozen=True)
class Memory:
    """Of all worker processes, with so many users asleep."""

    sleepers: int
    worker_rss_mb: float


async def measured_sleepers(numbers: Sequence[int], given: Given) -> list[Memory]:
    """More and more users of this checkout sleep until a midnight that is not near."""
    found: list[Memory] = []
    async with checkout_fleet(HERE, given) as fleet:
        there = 0
        for number in sorted(numbers):
            await fleet.sleep_until_midnight(Alike(f"until{number}", number - there, 0))
            there = number
            found.append(Memory(there, resident_bytes(fleet.workers.pids) / 1e6))
    return found
