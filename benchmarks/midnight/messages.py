"""How long people wait for an answer while all users are being paid."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter

from benchmarks.midnight.checkouts import CheckoutFleet, Given, checkout_fleet
from benchmarks.midnight.processes import BenchmarkFailed
from benchmarks.midnight.telling import say
from benchmarks.midnight.waves import Alike, Group, Plan, asleep, quantile, until

USERS = 2000
_KINDS_PER_S = 3.0
"""How many messages of each kind are sent in a second."""
_OF_A_KIND_MAX = 600
_LOOKED_EVERY_S = 0.5
_START_EARNING, _HOLD_ASLEEP, _HOLD_WAKING = "Start Earning", "hold of one who sleeps", "hold of one who wakes"
"""A user who wakes is among those who are being paid, or who have just been paid. A user who is held before is not
paid."""


@dataclass(frozen=True)
class Answers:
    """The answers to messages of one kind, which were sent at a steady rate during the wave."""

    checkout: str
    message: str
    sent: int
    p50_s: float
    p99_s: float
    max_s: float
    wave_s: float
    """How long it took until every user was paid or held."""
    failures: Sequence[str]


async def measured_messages(path: Path, name: str, given: Given, plan: Plan) -> list[Answers]:
    """Sends Start Earning and holds from the instant at which all users wake until all are paid."""
    say(f"{name}: messages while {len(plan.days_behind):,} users are paid")
    async with checkout_fleet(path, given) as fleet:
        of_a_kind = min(_OF_A_KIND_MAX, len(plan.days_behind))
        new = [f"new-{number:06}" for number in range(of_a_kind)]
        bystanders = Alike("bystander", of_a_kind, 0)
        await fleet.loader.ask({"do": "fund", "users": new})
        await fleet.sleep_until_midnight(bystanders)
        group, wakes_at = await asleep(fleet, plan)
        waking = group.users[:: len(group.users) // of_a_kind]
        messages = [
            message
            for users in zip(new, bystanders.users, waking, strict=False)
            for message in zip(
                ("activate", "hold", "hold"), (_START_EARNING, _HOLD_ASLEEP, _HOLD_WAKING), users, strict=True
            )
        ]
        await until(wakes_at)
        began_s = perf_counter()
        await fleet.loader.ask({"do": "send", "pause_s": 1 / (3 * _KINDS_PER_S), "messages": messages})
        await _all_paid(fleet, group, plan.patience_s)
        wave_s = perf_counter() - began_s
        told = await fleet.loader.ask({"do": "stop sending"})
    return [
        _answers(name, message, sorted(answered_s), wave_s, told["failures"])
        for message, answered_s in told["answered_s"].items()
    ]


async def _all_paid(fleet: CheckoutFleet, group: Group, patience_s: float) -> None:
    until_s = perf_counter() + patience_s
    while left := await fleet.left(group):
        if perf_counter() > until_s:
            raise BenchmarkFailed(f"{left} users were not paid within {patience_s:g} s")
        await asyncio.sleep(_LOOKED_EVERY_S)


def _answers(
    checkout: str, message: str, answered_s: Sequence[float], wave_s: float, failures: Sequence[str]
) -> Answers:
    return Answers(
        checkout=checkout,
        message=message,
        sent=len(answered_s),
        p50_s=quantile(answered_s, 0.5),
        p99_s=quantile(answered_s, 0.99),
        max_s=answered_s[-1],
        wave_s=wave_s,
        failures=[failure for failure in failures if failure.startswith(message)],
    )
