"""What the number of days in a run costs: long runs take longer to replay, and short runs begin anew more
often."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from benchmarks.midnight.checkouts import HERE, Given, checkout_fleet
from benchmarks.midnight.telling import say
from benchmarks.midnight.waves import Cost, Plan, measure, median_of
from settings import Settings

USERS = 60
_SETTING = "SOFT_STAKING_DAYS_PER_RUN"


@dataclass(frozen=True)
class RunLength:
    """The medians of a user's day in runs of some length, over all positions in a run."""

    days: int
    warm: Cost
    cold: Cost


async def measured_run_lengths(
    lengths: Sequence[int], given: Given, users: int, patience_s: float, rounds: int
) -> list[RunLength]:
    """Measures this checkout. Each user is one day further in a run than the user before, so that the wave meets
    every day of a run equally often."""
    if _SETTING.removeprefix("SOFT_STAKING_").lower() not in Settings.model_fields:
        say(f"this checkout does not know {_SETTING}: every run is as long as it is by itself")
    costs: dict[tuple[int, bool], list[Cost]] = {(days, cold): [] for days in lengths for cold in (False, True)}
    for number in range(1, rounds + 1):
        for days, cold in costs:
            say(f"round {number} of {rounds}: runs of {days} days, {'cold' if cold else 'warm'}")
            behind = [user % days for user in range(users)]
            its = replace(given, variables={**given.variables, _SETTING: str(days)})
            async with checkout_fleet(HERE, its) as fleet:
                costs[days, cold].append(await measure(fleet, Plan(behind, cold=cold, patience_s=patience_s)))
    return [RunLength(days, median_of(costs[days, False]), median_of(costs[days, True])) for days in lengths]
