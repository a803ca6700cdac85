"""The middle step of a day: which terms it uses, and which region it tests."""

import asyncio

import pytest
from world import SHIPPED_PROGRAM, World, a_world, at, day, program_with

from contract.requests import ComputeRequest
from ledger.day.together import compute_day
from ledger.errors import NoProgram, NotEnrolled
from staking.days import ONE_DAY
from staking.models import EndsHere, Rewards, Snapshot

pytestmark = pytest.mark.on_both_databases

D1, D2, D3 = (day("2026-10-01") + n * ONE_DAY for n in range(3))
USERS = ("ann", "ben", "cyd")


def asked(user: str, *, of: str | None = None, region: str | None = None) -> ComputeRequest:
    """The request of the loop for a user whose snapshot of D2 is empty."""
    snapshot = Snapshot(day=D2, holdings=[])
    return ComputeRequest(
        user_id=user, enrolment_id=f"enrolment of {of or user}", snapshot=snapshot, region=region
    )


async def enrolled(world: World, *users: str, region: str = "FR") -> None:
    for user in users:
        await world.move(user, "12", "SOL", at("2026-09-30"))
        await world.enrol(user, at("2026-10-01 10:00"), region=region)


async def test_an_enrolment_that_is_not_the_user_s_is_refused_and_refuses_nobody_else(world: World) -> None:
    await enrolled(world, "ann", "ben")
    ann, ben, cyd = await asyncio.gather(
        compute_day(world.ledger, asked("ann")),
        compute_day(world.ledger, asked("ben", of="ann")),
        compute_day(world.ledger, asked("cyd")),
        return_exceptions=True,
    )
    assert isinstance(ann, Rewards)
    assert (type(ben), str(ben)) == (NotEnrolled, "user ben has no enrolment enrolment of ann")
    assert (type(cyd), str(cyd)) == (NotEnrolled, "user cyd has no enrolment enrolment of cyd")


async def test_the_region_is_the_enrolment_s_where_the_run_did_not_keep_it(world: World) -> None:
    await enrolled(world, "ann", region="BE")
    restricting = SHIPPED_PROGRAM.model_copy(update={"effective_from": D2, "restricted_regions": ["BE"]})
    await world.apply(restricting)
    ends = EndsHere(day=D2, reason="region_restricted:BE")
    assert await compute_day(world.ledger, asked("ann")) == ends
    assert await compute_day(world.ledger, asked("ann", region="BE")) == ends


async def test_each_ledger_remembers_the_terms_of_its_own_days(
    world: World, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """A process may have several ledgers open, and the terms of a day in one say nothing about another."""
    await world.apply(program_with("2026-10-02"))
    async with a_world(tmp_path_factory.mktemp("another")) as another:
        for each, version in ((world, 2), (another, 1)):
            await enrolled(each, "ann")
            for region in (None, "FR"):  # The second request is answered from memory.
                rewards = await compute_day(each.ledger, asked("ann", region=region))
                assert isinstance(rewards, Rewards)
                assert rewards.program_version == version


async def test_no_program_no_rewards(tmp_path_factory: pytest.TempPathFactory) -> None:
    async with a_world(tmp_path_factory.mktemp("empty"), program=None) as world:
        answers = await asyncio.gather(
            *(compute_day(world.ledger, asked(user)) for user in USERS), return_exceptions=True
        )
    assert [type(answer) for answer in answers] == [NoProgram] * len(USERS)
