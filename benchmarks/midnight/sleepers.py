"""Whether a worker's memory grows with the users who sleep."""

from collections.abc import Sequence
from dataclasses import dataclass

from benchmarks.midnight.checkouts import HERE, Given, checkout_fleet
from benchmarks.midnight.processes import resident_bytes
from benchmarks.midnight.waves import Alike


@dataclass(frozen=True)
class Memory:
    """The memory of all worker processes while some number of users sleep."""

    sleepers: int
    worker_rss_mb: float


async def measured_sleepers(numbers: Sequence[int], given: Given) -> list[Memory]:
    """Measures the memory while more and more users of this checkout sleep until a distant midnight."""
    found: list[Memory] = []
    async with checkout_fleet(HERE, given) as fleet:
        there = 0
        for number in sorted(numbers):
            await fleet.sleep_until_midnight(Alike(f"until{number}", number - there, 0))
            there = number
            found.append(Memory(there, resident_bytes(fleet.workers.pids) / 1e6))
    return found
