"""A user at every stage of Soft Staking, at 10:00 UTC of 5 October 2026, while no step is being made."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta

from world import SHIPPED_PROGRAM, World, activation, at, day, units

from contract.acts import Act
from contract.requests import ActRequest, EnrolRequest
from ledger.acts import hold
from ledger.enrolments import enrol
from staking.days import ONE_DAY, day_of, first_accrual_day
from staking.money import format_amount
from staking.program import ASSET_CODE_LENGTH_MAX, Program

NOW = at("2026-10-05 10:00")
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
_RESTRICTED_FROM = day("2026-10-05")
_RESTRICTED = "NO"


async def every_stage(world: World) -> None:
    """Users named after their stage."""
    await _Stages(world).are_reached()


@dataclass(frozen=True)
class _Stages:
    world: World
    program: Program = SHIPPED_PROGRAM
    holdings: Mapping[str, str] = field(default_factory=lambda: {"SOL": "12"})
    too_little: Mapping[str, str] = field(default_factory=lambda: {"SOL": "0.5"})
    named: Callable[[str], str] = str
    """A user, after the stage."""
    restricted_region: str = _RESTRICTED

    async def are_reached(self) -> None:
        await self._holds("below-minimum", self.too_little)
        await self._holds("grey", self.holdings)
        await self._enrolled("day-1", "2026-10-05 09:30")
        await self._enrolled("day-2", "2026-10-04 12:00")
        await self._enrolled("earning", credited=3)
        await self._enrolled("holds-too-little", credited=3)
        await self._withdraws("holds-too-little", "2026-10-05 00:00", left=self.too_little)
        await self._enrolled("day-1-without-holdings", "2026-10-05 09:30")
        await self._withdraws("day-1-without-holdings", "2026-10-05 09:40", left={})
        await self._enrolled("delayed", credited=1)
        await self._enrolled("never-credited")
        await self._enrolled("held", credited=2)
        await self._held("held", "2026-10-04 12:00")
        await self._enrolled("held-and-nothing-due", credited=3)
        await self._held("held-and-nothing-due", "2026-10-05 09:00")
        await self._enrolled("ended", credited=2)
        await self._ended("ended", "2026-10-04 12:00")
        await self._enrolled("ended-and-owed", credited=1)
        await self._ended("ended-and-owed", "2026-10-05 02:00")
        await self._enrolled("ended-and-started-again", credited=1)
        await self._ended("ended-and-started-again", "2026-10-05 02:00")
        await self._enrolled("ended-and-started-again", "2026-10-05 09:30", enrolment_id="again")
        await self._enrolled("ended-by-region", credited=2)
        await self._ended("ended-by-region", "2026-10-04 00:00", reason="region_restricted:FR")
        await self._enrolled("restricted", credited=3, region=self.restricted_region)
        await self._enrolled("restricted-and-owed", region=self.restricted_region)
        await self._dated_back("dated-back", "2026-09-20 10:00")
        restricted = [*self.program.restricted_regions, _RESTRICTED]
        changed = {"effective_from": _RESTRICTED_FROM, "restricted_regions": restricted}
        await self.world.apply(self.program.model_copy(update=changed), now=at("2026-10-04 12:00"))

    async def _holds(self, stage: str, holdings: Mapping[str, str]) -> None:
        for asset, tokens in holdings.items():
            await self.world.move(self.named(stage), tokens, asset, at("2026-09-01"))

    async def _withdraws(self, stage: str, when: str, *, left: Mapping[str, str]) -> None:
        """Withdraws every holding down to what is to be left. Rewards stay in the account, too."""
        for asset, tokens in self.holdings.items():
            withdrawn = units(left.get(asset, "0")) - units(tokens)
            await self.world.move(self.named(stage), format_amount(withdrawn), asset, at(when))

    async def _enrolled(
        self,
        stage: str,
        when: str = "2026-10-01 10:00",
        *,
        credited: int = 0,
        region: str = "FR",
        enrolment_id: str | None = None,
    ) -> None:
        """A user who activated and for whom some accrual days are credited."""
        user = self.named(stage)
        if enrolment_id is None:
            await self._holds(stage, self.holdings)
        await self.world.enrol(user, at(when), program=self.program, region=region, enrolment_id=enrolment_id)
        if credited:
            await self.world.snapshot(user, day_of(at(when)))
        for number in range(credited):
            await self.world.pay(user, first_accrual_day(at(when)) + number * ONE_DAY)

    async def _held(self, stage: str, when: str) -> None:
        user = self.named(stage)
        act = Act(operator="ann", reason="a check")
        await hold(self.world.ledger, ActRequest(user_id=user, act_id=f"hold {user}", act=act, now=at(when)))

    async def _ended(self, stage: str, when: str, *, reason: str = "asked to stop") -> None:
        await self.world.end(self.named(stage), at(when), reason=reason)

    async def _dated_back(self, stage: str, activated_at: str) -> None:
        """An activation that was recorded a minute ago."""
        await self._holds(stage, self.holdings)
        user = self.named(stage)
        request = EnrolRequest(
            user_id=user,
            enrolment_id=f"enrolment of {user}",
            activation=activation(self.program, back_dated_to=at(activated_at)),
            activated_at=at(activated_at),
            now=NOW - timedelta(minutes=1),
        )
        await enrol(self.world.ledger, request)


# The same stages, with everything as long as it can be.

LONGEST_AMOUNT, LONGEST_RATE = "89999999999.99999999", "0.123456789012345678"
LONGEST_DOCUMENT, LONGEST_VERSION = "w" * 64, "W" * 64
_ASSETS = [f"{'W' * (ASSET_CODE_LENGTH_MAX - 2)}{number}" for number in range(10, 16)]
_LONGEST_HOLDING = "80000000000.12345678"
"""An amount with as many digits as the largest one, which leaves room for rewards."""
_TERMS = {"minimum": LONGEST_AMOUNT, "cap": LONGEST_AMOUNT, "apr": LONGEST_RATE, "reference_price": LONGEST_AMOUNT}
_EARN = _TERMS | {"minimum": "79999999999.99999999"}
LONGEST_PROGRAM = Program.model_validate(
    SHIPPED_PROGRAM.model_dump()
    | {
        "effective_from": day("2026-09-01"),
        "assets": {asset: _EARN if asset in _ASSETS[:3] else _TERMS for asset in _ASSETS},
        "documents": {LONGEST_DOCUMENT: LONGEST_VERSION, "risk_warning": "2026-01-01"},
    }
)


def longest_id(stage: str) -> str:
    """The user at a stage in the world whose texts are longest."""
    return stage + "W" * (64 - len(stage))


async def every_stage_at_its_longest(world: World) -> None:
    """The same stages, with amounts, codes and names as long as they can be."""
    await world.apply(LONGEST_PROGRAM, now=at("2026-08-01"))
    for asset in _ASSETS:
        await world.fund(asset, LONGEST_AMOUNT)
    await _Stages(
        world,
        program=LONGEST_PROGRAM,
        holdings=dict.fromkeys(_ASSETS, _LONGEST_HOLDING),
        too_little=dict.fromkeys(_ASSETS, "10000000000.12345678"),
        named=longest_id,
        restricted_region=f"{_RESTRICTED}-WWW",
    ).are_reached()
