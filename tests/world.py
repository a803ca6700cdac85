"""A small world to test in: a real ledger, a program, and short methods for what happens in it."""

import asyncio
from collections import defaultdict
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import databases
from polling import eventually
from sqlalchemy import event, text
from sqlalchemy.util import await_only

from contract.answers import End, Receipt, Refusal
from contract.recollection import Recollection
from contract.requests import CreditRequest, EndRequest, EnrolRequest, SnapshotRequest
from ledger.auditing.audit import Audit, audit
from ledger.database.engine import Clock, Ledger, make_ledger, open_ledger, upgrade_ledger
from ledger.database.observing import NOBODY, Observer
from ledger.database.schema import metadata
from ledger.day.together import close_day, credit_day
from ledger.enrolments import end_enrolment, enrol
from ledger.holdings import balances, holdings_before
from ledger.imports.history_export import parse_export
from ledger.imports.importing import ImportReport, import_export
from ledger.imports.plan import Answer
from ledger.imports.records import ImportedBy
from ledger.movements import post_movement
from ledger.pools import fund_pool
from ledger.programs import apply_program, program_on
from ledger.reading.statements import StatementLine, statement
from ledger.recall import recall
from staking.day import Terms, rewards_of
from staking.days import end_of
from staking.models import Activation, BackDating, CreditReceipt, PoolShort, Rewards, Snapshot, SourceLate
from staking.money import parse_amount
from staking.program import Program, parse_program

ROOT = Path(__file__).parent.parent
SHIPPED_PROGRAM = parse_program((ROOT / "program.toml").read_text())
LONG_AGO = datetime(2000, 1, 1, tzinfo=UTC)
BY_A_TEST = ImportedBy(["export.csv"], "UTC", "tests")
EXPORT_HEADER = "User_ID,UTC_Time,Account,Operation,Coin,Change,Remark"


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
    """A ledger and short methods for what happens in it. Tokens are decimal text, instants are ``at(...)``.

    The steps of a day have the names of the activities that take them.
    """

    def __init__(self, ledger: Ledger, *, first_key: int = 1) -> None:
        self.ledger = ledger
        self._keys = count(first_key)
        self._generations: defaultdict[str, int] = defaultdict(int)
        """How often each user was recalled, which is what a run would carry."""

    async def apply(self, program: Program, now: datetime = LONG_AGO) -> None:
        await apply_program(self.ledger, program, operator="tests", now=now)

    async def fund(self, asset: str, tokens: str = "1000000") -> None:
        await fund_pool(self.ledger, asset, units(tokens), operator="tests", now=LONG_AGO)

    async def move(
        self,
        user: str,
        tokens: str,
        asset: str,
        when: datetime,
        *,
        key: str | None = None,
        kind: str | None = None,
    ) -> int:
        """Posts a deposit, or a withdrawal for a negative amount, unless another kind is given."""
        kind = kind or ("withdrawal" if tokens.startswith("-") else "deposit")
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
            generation=self._generations[user],
        )
        return await enrol(self.ledger, request)

    async def snapshot(
        self, user: str, closed: date, *, enrolment_id: str | None = None, now: datetime | None = None
    ) -> Snapshot:
        """Closes a day. No source may be late for it."""
        snapshot = await self.try_to_close(user, closed, enrolment_id=enrolment_id, now=now)
        assert isinstance(snapshot, Snapshot), f"{snapshot} is late"
        return snapshot

    async def try_to_close(
        self, user: str, closed: date, *, enrolment_id: str | None = None, now: datetime | None = None
    ) -> Snapshot | SourceLate:
        request = SnapshotRequest(
            user_id=user,
            enrolment_id=enrolment_id or f"enrolment of {user}",
            day=closed,
            now=now or end_of(closed),
            generation=self._generations[user],
        )
        return await close_day(self.ledger, request)

    async def compute(self, snapshot: Snapshot) -> Rewards:
        """The rewards that the rules compute from a snapshot."""
        async with self.ledger.read() as connection:
            version = await program_on(connection, snapshot.day)
        rewards = rewards_of(snapshot, Terms(version.version, version.program, region="FR"))
        assert isinstance(rewards, Rewards), "no program of a test restricts the region of a world's users"
        return rewards

    async def credit(
        self, user: str, rewards: Rewards, *, enrolment_id: str | None = None, now: datetime | None = None
    ) -> CreditReceipt | PoolShort:
        request = CreditRequest(
            user_id=user,
            enrolment_id=enrolment_id or f"enrolment of {user}",
            rewards=rewards,
            now=now or end_of(rewards.day) + timedelta(minutes=1),
            generation=self._generations[user],
        )
        return await credit_day(self.ledger, request)

    async def pay(
        self, user: str, accrual_day: date, *, enrolment_id: str | None = None
    ) -> CreditReceipt | PoolShort:
        """The three steps of a day."""
        snapshot = await self.snapshot(user, accrual_day, enrolment_id=enrolment_id)
        return await self.credit(user, await self.compute(snapshot), enrolment_id=enrolment_id)

    async def statement(self, *users: str) -> list[StatementLine]:
        async with self.ledger.read() as connection:
            return await statement(connection, users or None)

    async def end(
        self, user: str, when: datetime, *, enrolment_id: str | None = None, reason: str = "asked to stop"
    ) -> End:
        request = EndRequest(
            user_id=user,
            enrolment_id=enrolment_id or f"enrolment of {user}",
            ended_at=when,
            reason=reason,
            generation=self._generations[user],
        )
        return await end_enrolment(self.ledger, request)

    async def recall(self, user: str) -> Recollection:
        known = await recall(self.ledger, user)
        self._generations[user] = known.generation
        return known

    async def import_lines(
        self,
        *lines: str,
        now: datetime = LONG_AGO,
        dry_run: bool = False,
        answer: Answer | None = None,
        partial: bool = False,
    ) -> ImportReport:
        """Lines such as ``ann,2026-10-01 10:00:00,Spot,Deposit,SOL,12,``; the first is line 2 of the file."""
        export = parse_export("\n".join([EXPORT_HEADER, *lines]).encode())
        return await import_export(
            self.ledger, export, now=now, by=BY_A_TEST, answer=answer, partial=partial, dry_run=dry_run
        )

    async def balances(self, user: str) -> dict[str, int]:
        async with self.ledger.read() as connection:
            return await balances(connection, user)

    async def holdings_before(self, user: str, instant: datetime) -> dict[str, int]:
        async with self.ledger.read() as connection:
            return await holdings_before(connection, user, instant)

    async def audit(self, now: datetime | None = None) -> Audit:
        """The standing at an instant, which decides what is owed; without one, at the recording clock's
        instant."""
        return await audit(self.ledger, now=now or self.ledger.clock())

    async def sql(self, statement: str, **values: object) -> list[Any]:
        """Runs SQL in a transaction of its own, without our code. The database's own guards are still in force."""
        async with self.ledger.write() as connection:
            result = await connection.execute(text(statement), values)
            return list(result) if result.returns_rows else []

    async def everything(self) -> dict[str, list[tuple[Any, ...]]]:
        """Every row of every table, to see that nothing changed."""
        async with self.ledger.read() as connection:
            return {
                table.name: sorted(map(tuple, await connection.execute(table.select())), key=repr)
                for table in metadata.sorted_tables
            }


@asynccontextmanager
async def a_world(
    folder: Path,
    *,
    clock: Clock = lambda: LONG_AGO,
    program: Program | None = SHIPPED_PROGRAM,
    observer: Observer = NOBODY,
) -> AsyncGenerator[World]:
    """A new ledger in a folder, with the shipped program and full pools. Its recording clock stands still in the
    past, so that the instants passed in decide."""
    await _begin_after(folder, _furnished if program is SHIPPED_PROGRAM else _new)
    try:
        async with open_ledger(databases.url_in(folder), clock=clock, observer=observer) as ledger:
            world = World(ledger)
            if program is not None and program is not SHIPPED_PROGRAM:
                await _furnish(world, program)
            yield world
    finally:
        databases.forget(folder)


@asynccontextmanager
async def a_new_ledger(url: str, **options: Any) -> AsyncGenerator[Ledger]:
    """An empty ledger, which is made where there is none; it is opened with these options."""
    await make_ledger(url)
    async with open_ledger(url, clock=lambda: LONG_AGO, **options) as ledger:
        yield ledger


@asynccontextmanager
async def a_world_after(folder: Path, words: Callable[[World], Awaitable[None]]) -> AsyncGenerator[World]:
    """A world in which something has happened. It happens once, and then the ledger is copied for each test."""
    await _begin_after(folder, words)
    try:
        async with open_ledger(databases.url_in(folder), clock=lambda: LONG_AGO) as ledger:
            yield World(ledger, first_key=1000)
    finally:
        databases.forget(folder)


async def _begin_after(folder: Path, words: Callable[[World], Awaitable[None]]) -> None:
    if not databases.is_kept(words):
        with TemporaryDirectory() as other:
            if words is _new:
                await upgrade_ledger(databases.url_in(Path(other)))
            else:
                await _begin_after(Path(other), _new if words is _furnished else _furnished)
            async with open_ledger(databases.url_in(Path(other)), clock=lambda: LONG_AGO) as ledger:
                await words(World(ledger))
            databases.keep_as_template(Path(other), words)
    databases.begin_with(words, folder)


async def _new(world: World) -> None:
    """A ledger in which nothing has happened."""


async def _furnished(world: World) -> None:
    """The shipped program and full pools, which most tests begin with."""
    await _furnish(world, SHIPPED_PROGRAM)


async def _furnish(world: World, program: Program) -> None:
    await world.apply(program)
    for asset in program.assets:
        await world.fund(asset)


def breaches_of(found: Audit) -> list[str]:
    """What an audit reports, each as a sentence that begins with the invariant."""
    return sorted(f"{check.invariant}: {breach.what}" for check in found.checks for breach in check.breaches)


def tamper(folder: Path, *statements: str) -> None:
    """Changes a world's ledger as no code of ours would, without triggers, foreign keys and checks."""
    databases.raw(folder, *statements, guards=False)


@dataclass
class Pause:
    """A ledger that stops before a statement: ``reached`` says that it does, ``resume`` lets it go on."""

    reached: asyncio.Event = field(default_factory=asyncio.Event)
    resume: asyncio.Event = field(default_factory=asyncio.Event)


def paused_before(ledger: Ledger, start: str) -> Pause:
    """Stops the ledger, once, before the next statement that starts so."""
    pause = Pause()

    def wait(_connection: object, _cursor: object, statement: str, *_: object) -> None:
        if statement.startswith(start) and not pause.reached.is_set():
            pause.reached.set()
            await_only(pause.resume.wait())

    # The listener is not removed: the ledger may be stopped inside it, and ends with the test.
    event.listen(ledger._engine.sync_engine, "before_cursor_execute", wait)
    return pause


async def until_a_lock_is_waited_for(folder: Path) -> None:
    """Waits until a transaction on a world's ledger waits for a lock of another one. SQLite does not show this,
    but there a transaction that has begun waits anyway."""

    async def it_is() -> bool:
        return databases.a_lock_is_waited_for(folder)

    await eventually(it_is, "a lock is waited for")


class Crash(Exception):
    """Stands for a process that is gone."""


@contextmanager
def crash_before_statement(ledger: Ledger, number: int) -> Generator[None]:
    """Makes the ledger's statement of that number, counted from 0, and every later one fail."""
    numbers = count()

    def crash(_connection: object, _cursor: object, statement: str, *_: object) -> None:
        if next(numbers) >= number:
            raise Crash(statement)

    engine = ledger._engine.sync_engine
    event.listen(engine, "before_cursor_execute", crash)
    try:
        yield
    finally:
        event.remove(engine, "before_cursor_execute", crash)
