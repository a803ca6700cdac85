"""A small world to test in: a real ledger, a program, and short words for what happens in it."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from datetime import UTC, date, datetime, timedelta
from itertools import count
from pathlib import Path

from ledger.closing import close_day
from ledger.crediting import credit_day
from ledger.engine import Clock, Ledger, open_ledger
from ledger.enrolments import enrol
from ledger.movements import post_movement
from ledger.pools import fund_pool
from ledger.programs import apply_program, program_on
from ledger.statements import StatementLine, statement
from staking.days import end_of
from staking.models import (
    Activation,
    BackDating,
    CreditReceipt,
    CreditRequest,
    EnrolRequest,
    PoolShort,
    Receipt,
    Refusal,
    RewardLine,
    Rewards,
    Snapshot,
    SnapshotRequest,
)
from staking.money import parse_amount
from staking.program import Program, parse_program
from staking.rewards import outcome_and_reward

ROOT = Path(__file__).parent.parent
SHIPPED_PROGRAM = parse_program((ROOT / "program.toml").read_text())
LONG_AGO = datetime(2000, 1, 1, tzinfo=UTC)


def at(text: str) -> datetime:
    """``2026-10-01`` or ``2026-10-01 10:00`` in UTC."""
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def day(text: str) -> date:
    return date.fromisoformat(text)


def units(tokens: str) -> int:
    return parse_amount(tokens)


def activation(
    program: Program = SHIPPED_PROGRAM, *, region: str = "FR", back_dated_to: datetime | None = None
) -> Activation:
    """What a user sends who has accepted everything."""
    return Activation(
        region=region,
        channel="web",
        documents=program.documents,
        back_dating=back_dated_to
        and BackDating(activated_at=back_dated_to, operator="tests", reason="was enrolled elsewhere"),
    )


def program_with(effective_from: str = "2020-01-01", **assets: dict[str, object]) -> Program:
    """The shipped program from another day on, with some terms changed: ``SOL={"apr": "0.1"}``."""
    content = SHIPPED_PROGRAM.model_dump(mode="json")
    content["effective_from"] = effective_from
    for asset, terms in assets.items():
        content["assets"].setdefault(
            asset, {"minimum": "1", "cap": "1000", "apr": "0.01", "reference_price": "1"}
        ).update(terms)
    return Program.model_validate(content)


class World:
    """A ledger and short words for what happens in it. Tokens are decimal text, instants ``at(...)``."""

    def __init__(self, ledger: Ledger) -> None:
        self.ledger = ledger
        self._keys = count(1)

    async def apply(self, program: Program, now: datetime = LONG_AGO) -> None:
        await apply_program(self.ledger, program, now=now)

    async def fund(self, asset: str, tokens: str = "1000000") -> None:
        await fund_pool(self.ledger, asset, units(tokens), now=LONG_AGO)

    async def move(self, user: str, tokens: str, asset: str, when: datetime, *, key: str | None = None) -> int:
        """A deposit, or a withdrawal where negative."""
        kind = "withdrawal" if tokens.startswith("-") else "deposit"
        return await post_movement(
            self.ledger,
            user,
            {asset: units(tokens)},
            kind=kind,
            idempotency_key=key or f"movement {next(self._keys)}",
            occurred_at=when,
        )

    async def enrol(
        self,
        user: str,
        when: datetime,
        *,
        enrolment_id: str | None = None,
        program: Program = SHIPPED_PROGRAM,
        region: str = "FR",
    ) -> Receipt | Refusal:
        request = EnrolRequest(
            user_id=user,
            enrolment_id=enrolment_id or f"enrolment of {user}",
            activation=activation(program, region=region),
            activated_at=when,
            now=when,
        )
        return await enrol(self.ledger, request)

    async def close(
        self, user: str, closed: date, *, enrolment_id: str | None = None, now: datetime | None = None
    ) -> Snapshot:
        request = SnapshotRequest(
            user_id=user,
            enrolment_id=enrolment_id or f"enrolment of {user}",
            day=closed,
            now=now or end_of(closed),
        )
        return await close_day(self.ledger, request)

    async def rewards(self, snapshot: Snapshot) -> Rewards:
        """What the rules make of a snapshot."""
        async with self.ledger.read() as connection:
            version = await program_on(connection, snapshot.day)
        lines: list[RewardLine] = []
        for held in snapshot.holdings:
            terms = version.program.assets[held.asset]
            outcome, reward = outcome_and_reward(held.average, terms)
            lines.append(
                RewardLine(
                    asset=held.asset,
                    average=held.average,
                    minimum=terms.minimum,
                    cap=terms.cap,
                    apr=terms.apr,
                    reward=reward,
                    outcome=outcome,
                )
            )
        return Rewards(day=snapshot.day, program_version=version.version, lines=lines)

    async def credit(
        self, user: str, rewards: Rewards, *, enrolment_id: str | None = None, now: datetime | None = None
    ) -> CreditReceipt | PoolShort:
        request = CreditRequest(
            user_id=user,
            enrolment_id=enrolment_id or f"enrolment of {user}",
            rewards=rewards,
            now=now or end_of(rewards.day) + timedelta(minutes=1),
        )
        return await credit_day(self.ledger, request)

    async def close_and_credit(
        self, user: str, accrual_day: date, *, enrolment_id: str | None = None
    ) -> CreditReceipt | PoolShort:
        snapshot = await self.close(user, accrual_day, enrolment_id=enrolment_id)
        return await self.credit(user, await self.rewards(snapshot), enrolment_id=enrolment_id)

    async def statement(self, *users: str) -> list[StatementLine]:
        async with self.ledger.read() as connection:
            return await statement(connection, users or None)


@asynccontextmanager
async def a_world(
    folder: Path, *, clock: Clock = lambda: LONG_AGO, program: Program | None = SHIPPED_PROGRAM
) -> AsyncGenerator[World]:
    """A new ledger in a folder, with the shipped program and full pools. Its recording clock stands still in the
    past, so that the instants passed in decide."""
    async with open_ledger(f"sqlite:///{folder}/ledger.db", clock=clock) as ledger:
        world = World(ledger)
        if program is not None:
            await world.apply(program)
            for asset in program.assets:
                await world.fund(asset)
        yield world
