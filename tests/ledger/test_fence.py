"""The run that recalled the user's state last may write for the user. A late request of another run is refused."""

from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from world import World, activation, at, day

from contract.acts import Act
from contract.answers import Receipt
from contract.requests import ActRequest, CreditRequest, EndRequest, EnrolRequest, FencedRequest, SnapshotRequest
from contract.steps import LEDGER_DIFFERS, SUPERSEDED
from ledger.acts import hold, release
from ledger.day.together import close_day, credit_day
from ledger.enrolments import end_enrolment, enrol
from ledger.errors import LedgerError, LedgerRestored, Superseded
from ledger.recall import recall

pytestmark = pytest.mark.on_both_databases

D1, D2, D3 = day("2026-10-01"), day("2026-10-02"), day("2026-10-03")
NOW = at("2026-10-04 12:00")
A_CHECK = Act(operator="ann", reason="a check")
Write = Callable[[Any, Any], Awaitable[Any]]


async def requests(world: World, generation: int) -> dict[str, tuple[Write, FencedRequest]]:
    """The requests of the loop and of each message for ann, whose D2 is closed and owed, in one generation."""
    rewards = await world.compute(await world.snapshot("ann", D2))
    of_ann: dict[str, Any] = {"user_id": "ann", "generation": generation}
    act = ActRequest(**of_ann, act_id="new", act=A_CHECK, now=NOW)
    enrolled: dict[str, Any] = {**of_ann, "enrolment_id": "enrolment of ann"}
    return {
        "enrol": (
            enrol,
            EnrolRequest(**of_ann, enrolment_id="2", activation=activation(), activated_at=NOW, now=NOW),
        ),
        "snapshot": (close_day, SnapshotRequest(**enrolled, day=D2, now=NOW)),
        "credit": (credit_day, CreditRequest(**enrolled, rewards=rewards, now=NOW)),
        "end_enrolment": (end_enrolment, EndRequest(**enrolled, ended_at=NOW, reason="asked to stop")),
        "hold": (hold, act),
        "release": (release, act),
    }


STEPS = ["enrol", "snapshot", "credit", "end_enrolment", "hold", "release"]
DAILY_STEPS = ["snapshot", "credit"]


@pytest.fixture
async def generation(world: World) -> int:
    """The world of ann, who holds 12 SOL and is enrolled, and whose D1 and D2 are closed."""
    await world.move("ann", "12", "SOL", at("2026-09-30"))
    assert isinstance(await world.enrol("ann", at("2026-10-01 10:00")), Receipt)
    generation = (await world.recall("ann")).generation
    await world.snapshot("ann", D1)
    await world.snapshot("ann", D2)
    return generation


@pytest.mark.parametrize("step", STEPS)
async def test_what_a_superseded_run_asks_is_refused_and_nothing_is_written(
    world: World, generation: int, step: str
) -> None:
    write, request = (await requests(world, generation))[step]
    assert (await recall(world.ledger, "ann")).generation == generation + 1
    before = await world.everything()

    with pytest.raises(Superseded, match="was recalled again since"):
        await write(world.ledger, request)
    assert await world.everything() == before


@pytest.mark.parametrize("step", STEPS)
async def test_what_the_run_asks_that_recalled_last_is_done(world: World, generation: int, step: str) -> None:
    write, request = (await requests(world, generation))[step]
    await write(world.ledger, request)


@pytest.mark.parametrize("step", STEPS)
async def test_a_run_that_began_before_recalls_were_counted_is_superseded_by_the_first_that_is_counted(
    world: World, generation: int, step: str
) -> None:
    write, request = (await requests(world, 0))[step]
    with pytest.raises(Superseded):
        await write(world.ledger, request)


@pytest.mark.parametrize("step", DAILY_STEPS)
async def test_a_day_is_not_processed_on_a_ledger_that_knows_less_than_the_run(
    world: World, generation: int, step: str
) -> None:
    write, request = (await requests(world, generation + 1))[step]
    before = await world.everything()
    with pytest.raises(LedgerRestored, match="restored from a backup"):
        await write(world.ledger, request)
    assert await world.everything() == before


async def test_of_users_who_are_closed_together_only_the_superseded_one_is_refused(
    world: World, generation: int
) -> None:
    await world.move("ben", "12", "SOL", at("2026-09-30"))
    await world.enrol("ben", at("2026-10-01 10:00"))
    await world.pay("ann", D2)
    await recall(world.ledger, "ann")

    pause = [close_day(world.ledger, _closing(user, generation)) for user in ("ann", "ben")]
    with pytest.raises(Superseded):
        await pause[0]
    assert (await pause[1]).day == D1


def _closing(user: str, generation: int) -> SnapshotRequest:
    return SnapshotRequest(
        user_id=user,
        enrolment_id=f"enrolment of {user}",
        day=D3 if user == "ann" else D1,
        now=NOW,
        generation=generation if user == "ann" else 0,
    )


def test_the_refusals_that_a_run_acts_on_are_those_that_the_ledger_raises() -> None:
    names = {kind.__name__ for kind in LedgerError.__subclasses__()}
    assert {SUPERSEDED, *LEDGER_DIFFERS} <= names
