"""The audit: proves the invariants and completeness from what is stored, all of it as of one instant."""

from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal
from itertools import groupby
from typing import Any

from pydantic import ValidationError
from sqlalchemy import Integer, func, select, text, type_coerce
from sqlalchemy.ext.asyncio import AsyncConnection

from ledger.auditing.checks import AMOUNTS, CHECKS, FLAGS, Check, Recomputation, StoredRow, tables_to_check_by
from ledger.database.engine import Ledger
from ledger.database.schema import program_versions
from ledger.reading.owed import spans
from staking.days import ONE_DAY, day_of, start_of
from staking.money import format_amount
from staking.program import Program

BREACHES_SHOWN_MAX = 100
OWED_USERS_SHOWN_MAX = 100
_ROWS_AT_ONCE = 10_000
_EPOCH_DAY = date(1970, 1, 1)
_READABLE_PROGRAMS = ("I7", "every program version reads as it was applied")
_POSTGRESQL_SETTINGS = (
    "SET LOCAL jit = off",  # compiling takes longer than most of these statements
    "SET LOCAL cursor_tuple_fraction = 1",  # a stream is read to its end
    "SET LOCAL work_mem = '32MB'",
)

Progress = Callable[[str, int, int], None]
"""Called before each promise is checked, with its name, its number from 1 on, and how many promises there are."""


@dataclass(frozen=True)
class Breach:
    """One row that contradicts a promise. Days and instants are dates, amounts decimal text."""

    table: str
    key: dict[str, Any]
    """The columns that identify the row."""
    values: dict[str, Any]
    """What the row says, and what it should say."""
    what: str
    """The breach as a sentence."""


@dataclass(frozen=True)
class Checked:
    """What the check of one promise found."""

    invariant: str
    promise: str
    breaches: list[Breach]
    """The first BREACHES_SHOWN_MAX."""
    breach_count: int
    recomputed: int
    """How many rows could not be decided with 64 bits, so that Python computed them again."""


@dataclass(frozen=True)
class OwedDays:
    """The accrual days up to yesterday that are not credited to a user yet. They will be, so they are not a
    breach."""

    user_id: str
    days: int
    first: date
    last: date


@dataclass(frozen=True)
class Audit:
    """The outcome of all checks, and what was counted on the way."""

    checks: list[Checked]
    entries: int
    postings: int
    credited_days: int
    reversed_rewards: int
    """Rewards that were credited and then reversed by an operator. They are not a breach."""
    refused_movements: int
    """Movements of feeds that could not be posted, and wait. No breach."""
    owed: list[OwedDays]
    """The first OWED_USERS_SHOWN_MAX users, by id."""
    owed_users: int
    owed_days: int

    @property
    def is_clean(self) -> bool:
        """Whether nothing contradicts a promise."""
        return not any(check.breaches for check in self.checks)


async def audit(ledger: Ledger, *, now: datetime, on_progress: Progress | None = None) -> Audit:
    """Checks every promise in one reading transaction.

    ``now`` decides which accrual days are over, and so owed if they are not credited.
    """
    say = on_progress or _quietly
    total = len(CHECKS) + 1
    async with ledger.read(takes_long=True) as connection:
        if connection.dialect.name == "postgresql":
            for setting in _POSTGRESQL_SETTINGS:
                await connection.execute(text(setting))
        say(_READABLE_PROGRAMS[1], 1, total)
        programs, readable = await _programs(connection)
        checks = [readable]
        terms = tables_to_check_by(programs)
        for number, check in enumerate(CHECKS, start=2):
            say(check.promise, number, total)
            checks.append(await _checked(connection, check, terms))
        return Audit(checks=checks, **await _counts(connection), **await _owed(connection, day_of(now) - ONE_DAY))


def _quietly(promise: str, number: int, total: int) -> None:
    pass


async def _programs(connection: AsyncConnection) -> tuple[dict[int, Program], Checked]:
    """The programs by version. A program that cannot be read is a breach, and does not end the audit."""
    programs: dict[int, Program] = {}
    breaches: list[Breach] = []
    for row in await connection.execute(select(program_versions).order_by(program_versions.c.version)):
        problem = None
        try:
            program = programs[row.version] = Program.model_validate_json(row.content)
            if program.effective_from != row.effective_from:
                problem = f"its content is effective from {program.effective_from}"
        except ValidationError as error:
            problem = f"its content has {error.error_count()} faults"
        if problem is not None:
            what = f"version {row.version}, in force from {row.effective_from}, cannot be relied on: {problem}"
            values = {"effective_from": row.effective_from, "problem": problem}
            breaches.append(Breach("program_versions", {"version": row.version}, values, what))
    return programs, Checked(*_READABLE_PROGRAMS, breaches[:BREACHES_SHOWN_MAX], len(breaches), recomputed=0)


async def _checked(connection: AsyncConnection, check: Check, terms: str) -> Checked:
    # Materialized, so that the database plans to find all breaches, and not to find the first hundred quickly.
    rows = await connection.execute(
        text(
            f"WITH {terms}, breaches AS MATERIALIZED ({check.sql}) "
            "SELECT count(*) OVER () AS breach_count, breaches.* FROM breaches "
            f"ORDER BY {', '.join(check.key)} LIMIT {BREACHES_SHOWN_MAX}"
        )
    )
    columns = list(rows.keys())[1:]
    found = [tuple(row) for row in rows]
    breaches = [_breach(check, columns, row) for _, *row in found]
    breach_count = found[0][0] if found else 0
    recomputed = 0
    if check.recomputation is not None:
        async for same in _groups(connection, check.recomputation, terms, key_length=len(check.key)):
            recomputed += len(same)
            row = check.recomputation.breach(same)
            if row is not None:
                breach_count += 1
                if len(breaches) < BREACHES_SHOWN_MAX:
                    breaches.append(_breach(check, columns, row))
    return Checked(check.invariant, check.promise, breaches, breach_count, recomputed)


async def _groups(
    connection: AsyncConnection, recomputation: Recomputation, terms: str, *, key_length: int
) -> AsyncGenerator[list[StoredRow]]:
    """The rows to be computed again, those of one key together. They are read in large portions, since each
    portion costs a switch to the database's thread."""
    group: list[StoredRow] = []
    async with connection.stream(text(f"WITH {terms} {recomputation.sql}")) as result:
        async for rows in result.partitions(_ROWS_AT_ONCE):
            for key, same in groupby(rows, key=lambda row: row[:key_length]):
                if group and group[0][:key_length] != key:
                    yield group
                    group = []
                group.extend(same)
    if group:
        yield group


def _breach(check: Check, columns: list[str], row: Any) -> Breach:
    values = {column: _presented(column, value) for column, value in zip(columns, row, strict=True)}
    what = check.says.format_map({column: "none" if value is None else value for column, value in values.items()})
    key = {column: values.pop(column) for column in check.key}
    return Breach(check.table, key, values, what)


def _presented(column: str, value: Any) -> Any:
    """A stored value as people and machines read it."""
    if isinstance(value, Decimal):  # PostgreSQL's sums
        value = int(value)
    if value is None or isinstance(value, str):
        return value
    if column in AMOUNTS:
        return format_amount(value)
    if column in FLAGS:
        return bool(value)
    try:
        if column == "day" or column.endswith("_day") or column == "effective_from":
            return _EPOCH_DAY + value * ONE_DAY
        if column == "closed_through" or column.endswith("_at"):
            return start_of(_EPOCH_DAY) + timedelta(microseconds=value)
    except OverflowError:  # a day outside the calendar is a breach too, and does not end the audit
        pass
    return value


async def _counts(connection: AsyncConnection) -> dict[str, int]:
    row = await connection.execute(
        text(
            """SELECT (SELECT count(*) FROM entries) AS entries,
                      (SELECT count(*) FROM postings) AS postings,
                      (SELECT count(*) FROM refused_movements)
                          + (SELECT count(*) FROM refused_messages) AS refused_movements,
                      (SELECT count(*) FROM days WHERE credited_at IS NOT NULL) AS credited_days,
                      (SELECT count(*) FROM entries e JOIN days d ON d.entry_id = e.reverses
                       JOIN rewards r ON r.user_id = d.user_id AND r.day = d.day AND r.reward > 0)
                          AS reversed_rewards"""
        )
    )
    return dict(row.mappings().one())


async def _owed(connection: AsyncConnection, yesterday: date) -> dict[str, Any]:
    """The accrual days of every enrolment that are not credited. An enrolment's days are credited in order."""
    span = spans.subquery()
    of_a_span = type_coerce(span.c.last_day, Integer) - type_coerce(span.c.first_day, Integer) + 1
    rows = (
        await connection.execute(
            select(
                span.c.user_id,
                func.sum(of_a_span).label("days"),
                func.min(span.c.first_day).label("first_day"),
                func.max(span.c.last_day).label("last_day"),
                func.count().over().label("all_users"),
                func.sum(func.sum(of_a_span)).over().label("all_days"),
            )
            .group_by(span.c.user_id)
            .order_by(span.c.user_id)
            .limit(OWED_USERS_SHOWN_MAX),
            {"yesterday": yesterday},
        )
    ).all()
    return {
        "owed": [OwedDays(row.user_id, int(row.days), row.first_day, row.last_day) for row in rows],
        "owed_users": rows[0].all_users if rows else 0,
        "owed_days": int(rows[0].all_days) if rows else 0,
    }
