"""Program versions: applying one (rule 5, I7) and finding the one in force on a day."""

from dataclasses import dataclass
from datetime import date, datetime
from functools import lru_cache
from weakref import WeakKeyDictionary

from sqlalchemy import ScalarSelect, func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from ledger.engine import Ledger
from ledger.errors import NoProgram, ProgramRefused
from ledger.schema import AnyRow, UtcDay, program_versions, users
from staking.days import ONE_DAY, day_of
from staking.program import Program

_CLOSED_DAYS_REMEMBERED_MAX = 100


@dataclass(frozen=True)
class ProgramVersion:
    """A program as it was applied."""

    version: int
    program: Program
    applied_at: datetime


_of_closed_days: WeakKeyDictionary[Ledger, dict[date, ProgramVersion]] = WeakKeyDictionary()


@dataclass(frozen=True)
class Applied:
    """The answer to applying a program."""

    version: ProgramVersion
    changed: bool
    """False if this content was in force, or about to be, already."""


async def apply_program(ledger: Ledger, program: Program, *, now: datetime) -> Applied:
    """Rule 5: makes a program the one in force from 00:00 UTC of its ``effective_from``.

    The first may start in the past. Raises ProgramRefused for a later one that does not start after today and
    after every day already closed for anyone (I7).
    """
    async with ledger.write() as connection:
        now = max(now, ledger.clock())
        from_that_day = await _version_starting_on(connection, program.effective_from)
        if from_that_day is not None and from_that_day.program == program:
            return Applied(from_that_day, changed=False)
        latest: int | None = await connection.scalar(select(func.max(program_versions.c.version)))
        if latest is not None:
            await _check_day_has_not_begun(connection, program.effective_from, today=day_of(now))
        new = ProgramVersion((latest or 0) + 1, program, applied_at=now)
        await connection.execute(
            program_versions.insert().values(
                version=new.version,
                effective_from=program.effective_from,
                content=program.model_dump_json(),
                applied_at=now,
            )
        )
        return Applied(new, changed=True)


async def program_on(connection: AsyncConnection, day: date) -> ProgramVersion:
    """The program version in force on a day. Raises NoProgram before the first."""
    row = (
        await connection.execute(
            select(program_versions).where(program_versions.c.version == version_in_force_on(day))
        )
    ).one_or_none()
    if row is None:
        raise NoProgram(f"no program is in force on {day}; apply one with: starter.py program apply program.toml")
    return _version(row)


async def program_of_closed_day(ledger: Ledger, connection: AsyncConnection, day: date) -> ProgramVersion:
    """program_on, of a day that is over: its terms never change any more (I7), so they are asked for once."""
    remembered = _of_closed_days.setdefault(ledger, {})
    if day not in remembered:
        if len(remembered) >= _CLOSED_DAYS_REMEMBERED_MAX:
            remembered.clear()
        remembered[day] = await program_on(connection, day)
    return remembered[day]


async def first_program_day(connection: AsyncConnection) -> date | None:
    """The first day that any program version covers."""
    earliest = func.min(program_versions.c.effective_from, type_=UtcDay)
    return await connection.scalar(select(earliest))


async def all_versions(connection: AsyncConnection) -> list[ProgramVersion]:
    """Every version applied, in order."""
    rows = await connection.execute(select(program_versions).order_by(program_versions.c.version))
    return [_version(row) for row in rows]


def version_in_force_on(day: date) -> ScalarSelect[int]:
    """A subquery: the number of the version in force on a day, of equal ``effective_from`` the last applied."""
    return (
        select(program_versions.c.version)
        .where(program_versions.c.effective_from <= day)
        .order_by(program_versions.c.effective_from.desc(), program_versions.c.version.desc())
        .limit(1)
        .scalar_subquery()
    )


async def _version_starting_on(connection: AsyncConnection, day: date) -> ProgramVersion | None:
    row = (
        await connection.execute(
            select(program_versions)
            .where(program_versions.c.effective_from == day)
            .order_by(program_versions.c.version.desc())
            .limit(1)
        )
    ).one_or_none()
    return None if row is None else _version(row)


async def _check_day_has_not_begun(connection: AsyncConnection, effective_from: date, *, today: date) -> None:
    closed_through: datetime | None = await connection.scalar(
        select(func.max(users.c.closed_through, type_=users.c.closed_through.type))
    )
    last_closed = day_of(closed_through) - ONE_DAY if closed_through else today
    last_begun = max(today, last_closed)
    if effective_from <= last_begun:
        raise ProgramRefused(
            f"this program starts on {effective_from}, but the terms of a day that has begun never change; "
            f"set effective_from to {last_begun + ONE_DAY} or later"
        )


def _version(row: AnyRow) -> ProgramVersion:
    return ProgramVersion(row.version, _parsed(row.content), row.applied_at)


@lru_cache(maxsize=64)
def _parsed(content: str) -> Program:
    return Program.model_validate_json(content)
