"""Somebody at every stage of Soft Staking, at 10:00 UTC of 5 October 2026, when no step has been made since."""

from datetime import datetime, timedelta

from world import SHIPPED_PROGRAM, World, activation, at, day, program_with

from ledger.acts import hold
from ledger.enrolments import enrol
from staking.days import ONE_DAY, day_of, first_accrual_day
from staking.models import Act, ActRequest, EnrolRequest

NOW = at("2026-10-05 10:00")
RESTRICTED_FROM = day("2026-10-05")
REGION_TO_BE_RESTRICTED = "NO"


async def every_stage(world: World) -> None:
    """Users named after their stage."""
    await world.move("below-minimum", "0.4", "SOL", at("2026-09-01"))
    await world.move("grey", "12", "SOL", at("2026-09-01"))
    await _enrolled(world, "day-1", at("2026-10-05 09:30"))
    await _enrolled(world, "day-2", at("2026-10-04 12:00"))
    await _enrolled(world, "earning", at("2026-10-01 10:00"), credited=3)
    await _enrolled(world, "holds-too-little", at("2026-10-01 10:00"), credited=3)
    await world.move("holds-too-little", "-11.5", "SOL", at("2026-10-05 00:00"))
    await _enrolled(world, "day-1-without-holdings", at("2026-10-05 09:30"))
    await world.move("day-1-without-holdings", "-12", "SOL", at("2026-10-05 09:40"))
    await _enrolled(world, "delayed", at("2026-10-01 10:00"), credited=1)
    await _enrolled(world, "never-credited", at("2026-10-01 10:00"))
    await _enrolled(world, "held", at("2026-10-01 10:00"), credited=2)
    await _held(world, "held", at("2026-10-04 12:00"))
    await _enrolled(world, "held-and-nothing-due", at("2026-10-01 10:00"), credited=3)
    await _held(world, "held-and-nothing-due", at("2026-10-05 09:00"))
    await _enrolled(world, "ended", at("2026-10-01 10:00"), credited=2)
    await world.end("ended", at("2026-10-04 12:00"))
    await _enrolled(world, "ended-and-owed", at("2026-10-01 10:00"), credited=1)
    await world.end("ended-and-owed", at("2026-10-05 02:00"))
    await _enrolled(world, "ended-and-started-again", at("2026-10-01 10:00"), credited=1)
    await world.end("ended-and-started-again", at("2026-10-05 02:00"))
    await world.enrol("ended-and-started-again", at("2026-10-05 09:30"), enrolment_id="again")
    await _enrolled(world, "ended-by-region", at("2026-10-01 10:00"), credited=2)
    await world.end("ended-by-region", at("2026-10-04 00:00"), reason="region_restricted:FR")
    await _enrolled(world, "restricted", at("2026-10-01 10:00"), credited=3, region=REGION_TO_BE_RESTRICTED)
    await _enrolled(world, "restricted-and-owed", at("2026-10-01 10:00"), region=REGION_TO_BE_RESTRICTED)
    await _dated_back(world, "dated-back", at("2026-09-20 10:00"))
    restricted = [*SHIPPED_PROGRAM.restricted_regions, REGION_TO_BE_RESTRICTED]
    program = program_with(f"{RESTRICTED_FROM}").model_copy(update={"restricted_regions": restricted})
    await world.apply(program, now=at("2026-10-04 12:00"))


STAGES = (
    "nothing-held",
    "below-minimum",
    "grey",
    "day-1",
    "day-2",
    "earning",
    "holds-too-little",
    "day-1-without-holdings",
    "delayed",
    "never-credited",
    "held",
    "held-and-nothing-due",
    "ended",
    "ended-and-owed",
    "ended-and-started-again",
    "ended-by-region",
    "restricted",
    "restricted-and-owed",
    "dated-back",
)


async def _enrolled(world: World, user: str, when: datetime, *, credited: int = 0, region: str = "FR") -> None:
    """A holder of 12 SOL, of whom so many accrual days are credited."""
    await world.move(user, "12", "SOL", at("2026-09-01"))
    await world.enrol(user, when, region=region)
    if credited:
        await world.close(user, day_of(when))
    for number in range(credited):
        await world.close_and_credit(user, first_accrual_day(when) + number * ONE_DAY)


async def _held(world: World, user: str, when: datetime) -> None:
    act = Act(operator="ann", reason="a check")
    await hold(world.ledger, ActRequest(user_id=user, act_id=f"hold {user}", act=act, now=when))


async def _dated_back(world: World, user: str, activated_at: datetime) -> None:
    """Recorded a minute ago."""
    await world.move(user, "12", "SOL", at("2026-09-01"))
    request = EnrolRequest(
        user_id=user,
        enrolment_id=f"enrolment of {user}",
        activation=activation(back_dated_to=activated_at),
        activated_at=activated_at,
        now=NOW - timedelta(minutes=1),
    )
    await enrol(world.ledger, request)
