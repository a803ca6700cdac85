"""Program versions: applying one, pausing assets (rule 5, I7), and finding the one in force on a day."""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from functools import lru_cache
from itertools import zip_longest
from typing import TypeAlias

from sqlalchemy import ScalarSelect, func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from contract.acts import check_words
from contract.events import AppliedTerms, ProgramApplied
from ledger.acts import write_act
from ledger.database.engine import Ledger, run_again_if_it_gave_way
from ledger.database.program_memory import ProgramVersion
from ledger.database.schema import AnyRow, UtcDay, program_versions, users
from ledger.errors import MisspeltAsset, NoProgram, ProgramRefused, UnknownAsset
from ledger.locking import lock_all_users
from ledger.outbox import NewEvent, write_events
from ledger.spelling import misspelt
from staking.days import ONE_DAY, day_of
from staking.program import Program, likeness, other_spelling


@dataclass(frozen=True)
class InForce:
    """A version and the days on which it was, is or will be in force."""

    version: ProgramVersion
    last_day: date | None
    """None: until another one is applied."""

    @property
    def first_day(self) -> date:
        return self.version.program.effective_from


@dataclass(frozen=True)
class Applied:
    """The answer to applying a program."""

    version: ProgramVersion
    changed: bool
    """False if the same content was already in force, or already applied for later."""
    resumed: list[str]
    """Assets that were to be paused on its first day, and are not paused in it."""


@dataclass(frozen=True)
class Switched:
    """The answer to pausing or resuming assets."""

    first_day: date
    versions: list[ProgramVersion]
    """The versions that were written, in the order of their days; empty if nothing had to change."""


Objection: TypeAlias = Callable[[], None]
"""Is called last, if the ledger refuses nothing and something would be written. It may raise."""


def no_objection() -> None:
    """An agreement that accepts everything."""


@run_again_if_it_gave_way
async def apply_program(
    ledger: Ledger,
    program: Program,
    *,
    operator: str,
    reason: str | None = None,
    now: datetime,
    objection: Objection = no_objection,
) -> Applied:
    """Rule 5: makes a program the one in force from 00:00 UTC of its ``effective_from``.

    The first may start in the past. Raises ProgramRefused for a later one that does not start after today and
    after every day already closed for anyone (I7).
    """
    check_words(operator, reason)
    first_day = program.effective_from
    async with ledger.write() as connection:
        await lock_all_users(connection)
        now = max(now, ledger.clock())
        earlier = await all_versions(connection)
        replaced = in_force_on(timetable(earlier), first_day)
        if replaced is not None and replaced.version.program == program:
            return Applied(replaced.version, changed=False, resumed=[])
        if earlier and first_day < (possible := await _first_day_to_come(connection, now)):
            raise ProgramRefused(
                f"this program starts on {first_day}, but the terms of a day that has begun never change; "
                f"set effective_from to {possible} or later"
            )
        _check_spelling_of(program, earlier)
        objection()
        (new,) = await _add_versions(connection, earlier, [program], now)
        await write_act(
            connection,
            "program_apply",
            f"program_apply/{new.version}",
            operator=operator,
            reason=reason,
            recorded_at=now,
            subject=f"program version {new.version}",
        )
        before = replaced.version.program.assets if replaced else {}
        paused_before = [asset for asset in program.assets if asset in before and before[asset].paused]
        resumed = [asset for asset in paused_before if not program.assets[asset].paused]
        return Applied(new, changed=True, resumed=resumed)


@run_again_if_it_gave_way
async def switch_assets(
    ledger: Ledger,
    assets: Collection[str],
    *,
    paused: bool,
    operator: str,
    reason: str,
    first_day: date | None = None,
    now: datetime,
    objection: Objection = no_objection,
) -> Switched:
    """Pauses or resumes assets from 00:00 UTC of a day on; by default from the first possible day.

    This writes a version that starts on that day, and replaces each version that is to start later. So a pause
    holds until it is resumed. If nothing has to change, nothing is written. Raises NoProgram, UnknownAsset for an
    asset that the program does not have on that day, ProgramRefused for a day that has begun (I7).
    """
    check_words(operator, reason)
    async with ledger.write() as connection:
        await lock_all_users(connection)
        now = max(now, ledger.clock())
        possible = await _first_day_to_come(connection, now)
        first_day = first_day or possible
        earlier = await all_versions(connection)
        at_first = in_force_on(timetable(earlier), first_day)
        if at_first is None:
            raise no_program_on(first_day)
        _check_has(assets, at_first.version.program, first_day)
        begins = at_first.version.program.model_copy(update={"effective_from": first_day})
        later = [span.version.program for span in timetable(earlier) if span.first_day > first_day]
        switched = [
            program.with_paused(assets, paused=paused)
            for program in (begins, *later)
            if any(terms.paused != paused for asset, terms in program.assets.items() if asset in assets)
        ]
        if switched and first_day < possible:
            raise ProgramRefused(
                f"{first_day} has begun, and the terms of a day that has begun never change; "
                f"the first day possible is {possible}"
            )
        if switched:
            objection()
        added = await _add_versions(connection, earlier, switched, now)
        if added:
            kind = "program_pause" if paused else "program_resume"
            versions = ", ".join(str(version.version) for version in added)
            await write_act(
                connection,
                kind,
                f"{kind}/{added[0].version}",
                operator=operator,
                reason=reason,
                recorded_at=now,
                subject=f"{', '.join(assets)} from {first_day}, program version {versions}",
            )
        return Switched(first_day, added)


async def program_on(connection: AsyncConnection, day: date) -> ProgramVersion:
    """The program version in force on a day. Raises NoProgram before the first."""
    row = (
        await connection.execute(
            select(program_versions).where(program_versions.c.version == version_in_force_on(day))
        )
    ).one_or_none()
    if row is None:
        raise no_program_on(day)
    return _version(row)


async def program_of_begun_day(ledger: Ledger, connection: AsyncConnection, day: date) -> ProgramVersion:
    """Like program_on, for a day that has begun. Its terms never change any more (I7), so they are read only
    once."""
    remembered = ledger.program_memory.find(day)
    if remembered is not None:
        return remembered
    version = await program_on(connection, day)
    ledger.program_memory.keep(day, version)
    return version


async def first_program_day(connection: AsyncConnection) -> date | None:
    """The first day that any program version covers."""
    earliest = func.min(program_versions.c.effective_from, type_=UtcDay)
    return await connection.scalar(select(earliest))


async def all_versions(connection: AsyncConnection) -> list[ProgramVersion]:
    """Every version applied, in order."""
    rows = await connection.execute(select(program_versions).order_by(program_versions.c.version))
    return [_version(row) for row in rows]


def first_restricted_day(versions: Sequence[ProgramVersion], region: str, first: date, last: date) -> date | None:
    """Rule 7: the first day in a span on which a region is restricted, from all versions in order; None if
    there is none."""
    restricting = (
        max(span.first_day, first)
        for span in timetable(versions)
        if span.version.program.restricts(region)
        and span.first_day <= last
        and (span.last_day is None or span.last_day >= first)
    )
    return next(restricting, None)


def version_in_force_on(day: date) -> ScalarSelect[int]:
    """A subquery: the number of the version in force on a day. Of versions with the same ``effective_from``, it
    is the one that was applied last."""
    return (
        select(program_versions.c.version)
        .where(program_versions.c.effective_from <= day)
        .order_by(program_versions.c.effective_from.desc(), program_versions.c.version.desc())
        .limit(1)
        .scalar_subquery()
    )


def timetable(versions: Sequence[ProgramVersion]) -> list[InForce]:
    """Which version is in force when, from all versions in order. A version that was replaced before it began
    is left out."""
    by_first_day = {version.program.effective_from: version for version in versions}
    first_days = sorted(by_first_day)
    return [
        InForce(by_first_day[first_day], following and following - ONE_DAY)
        for first_day, following in zip_longest(first_days, first_days[1:])
    ]


def in_force_on(spans: Sequence[InForce], day: date) -> InForce | None:
    """The version of a timetable that is in force on a day; None before the first."""
    return max((span for span in spans if span.first_day <= day), key=lambda span: span.first_day, default=None)


async def _first_day_to_come(connection: AsyncConnection, now: datetime) -> date:
    """I7: the first day whose terms can still change, after today and every day closed for anyone."""
    closed_through: datetime | None = await connection.scalar(
        select(func.max(users.c.closed_through, type_=users.c.closed_through.type))
    )
    tomorrow = day_of(now) + ONE_DAY
    return max(tomorrow, day_of(closed_through)) if closed_through else tomorrow


async def _add_versions(
    connection: AsyncConnection, earlier: Sequence[ProgramVersion], programs: Sequence[Program], now: datetime
) -> list[ProgramVersion]:
    """Writes programs as new versions, numbered after the given ones. If another version was added meanwhile,
    it has taken the number, and the transaction is run again."""
    last = earlier[-1].version if earlier else 0
    new = [ProgramVersion(number, program, now) for number, program in enumerate(programs, last + 1)]
    if new:
        rows = [
            {
                "version": added.version,
                "effective_from": added.program.effective_from,
                "content": added.program.model_dump_json(),
                "applied_at": now,
            }
            for added in new
        ]
        await connection.execute(program_versions.insert(), rows)
        await write_events(connection, [_applied(added) for added in new])
    return new


def _applied(added: ProgramVersion) -> NewEvent:
    terms = {
        asset: AppliedTerms(minimum=of.minimum, cap=of.cap, apr=of.apr, paused=of.paused)
        for asset, of in added.program.assets.items()
    }
    data = ProgramApplied(version=added.version, effective_from=added.program.effective_from, assets=terms)
    return NewEvent("program.applied", added.applied_at, about=str(added.version), data=data)


def _check_has(assets: Collection[str], program: Program, day: date) -> None:
    for asset in assets:
        if asset not in program.assets:
            there = ", ".join(sorted(program.assets))
            if sentence := misspelt(asset, program.assets):
                raise MisspeltAsset(sentence)
            raise UnknownAsset(f"{asset} is not an asset of the program in force on {day}, which has {there}")


def _check_spelling_of(program: Program, earlier: Sequence[ProgramVersion]) -> None:
    before = {asset for version in earlier for asset in version.program.assets}
    for asset in program.assets:
        if (right := other_spelling(asset, before)) is not None:
            raise ProgramRefused(f"assets.{asset}: {likeness(asset, right)}, which earlier versions have")


def no_program_on(day: date) -> NoProgram:
    """The refusal of a request that needs the program of a day on which none is in force."""
    return NoProgram(f"no program is in force on {day}; apply one with: starter.py program apply program.toml")


def _version(row: AnyRow) -> ProgramVersion:
    return ProgramVersion(row.version, _parsed(row.content), row.applied_at)


@lru_cache(maxsize=64)
def _parsed(content: str) -> Program:
    return Program.model_validate_json(content)
