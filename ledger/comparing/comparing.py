"""Compares balances of another system with the ledger's at a boundary, in memory that does not grow.

The file's lines are sorted in a database of their own, which SQLite keeps in a file that nobody else sees. Then
both sides are read once, in the same order.
"""

import asyncio
import sqlite3
from collections import defaultdict
from collections.abc import AsyncGenerator, Callable, Generator, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import NamedTuple

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncConnection

from ledger.comparing.balance_file import GivenBalance, Problems, read_balances
from ledger.database.engine import Ledger
from ledger.database.schema import accounts
from ledger.feed.sources import Source, all_sources
from ledger.reading.boundary_balances import Balance, balances_at
from ledger.spelling import misspelt_assets
from staking.money import MAX_STORED_UNITS

_TABLES = """
    PRAGMA journal_mode = OFF;
    PRAGMA synchronous = OFF;
    PRAGMA cache_size = -32000;
    CREATE TABLE given (
        user_id TEXT, asset TEXT, units INTEGER, line INTEGER, PRIMARY KEY (user_id, asset)
    ) WITHOUT ROWID;
    CREATE TABLE differences (user_id TEXT, asset TEXT, ledger INTEGER, file INTEGER, gap INTEGER);
"""


class Difference(NamedTuple):
    """A balance in which the two sides differ, in units; None if a side has no such balance."""

    user_id: str
    asset: str
    ledger: int | None
    file: int | None

    @property
    def units(self) -> int:
        """The amount in the file minus the amount in the ledger."""
        return (self.file or 0) - (self.ledger or 0)


@dataclass
class Totals:
    """All balances of one asset on both sides, in units."""

    ledger: int = 0
    file: int = 0
    differences: int = 0


@dataclass
class Compared:
    """The result of a comparison, without the differences themselves."""

    boundary: datetime
    in_ledger: int = 0
    """How many balances above zero the ledger has."""
    in_file: int = 0
    """How many lines the file has."""
    differences: int = 0
    totals: defaultdict[str, Totals] = field(default_factory=lambda: defaultdict(Totals))
    """The totals of each asset."""
    late_sources: list[Source] = field(default_factory=list[Source])
    """The sources that have not reported that they sent everything that happened before the boundary."""


Progress = Callable[[str, int, int], None]
"""Called with what is being done, how much of it is done, and how much there is."""


class Comparison:
    """The file's balances and the differences, sorted, in a database that is removed afterwards."""

    def __init__(self, store: sqlite3.Connection) -> None:
        self._store = store

    async def compare(self, ledger: Ledger, path: Path, boundary: datetime, show: Progress) -> Compared:
        """Reads the file and compares it with every balance just before the boundary.

        Raises BalanceFileError, which names every bad line, before anything is compared.
        """
        problems = Problems(path)
        await self._read(path, problems, show)
        async with ledger.read(takes_long=True) as connection:
            await self._check_spelling(connection, problems)
            problems.check()
            found = Compared(boundary, in_file=self._lines())
            sources = await all_sources(connection)
            found.late_sources = [source for source in sources if source.complete_through < boundary]
            await self._pass_through(balances_at(connection, boundary), found, show)
        return found

    def differences(self) -> Iterator[Difference]:
        """Every difference, ordered by user and asset."""
        rows = self._store.execute("SELECT user_id, asset, ledger, file FROM differences ORDER BY rowid")
        return map(Difference._make, rows)

    def users_beyond(self, units: int) -> list[str]:
        """The users of whom any balance differs by more than this, ordered."""
        rows = self._store.execute(
            "SELECT DISTINCT user_id FROM differences WHERE gap > ? ORDER BY user_id", (units,)
        )
        return [user_id for (user_id,) in rows]

    def _lines(self) -> int:
        (count,) = self._store.execute("SELECT count(*) FROM given").fetchone()
        return count

    async def _read(self, path: Path, problems: Problems, show: Progress) -> None:
        for part in read_balances(path, problems):
            self._add(part.balances, problems)
            show("reading, in kB", part.kilobytes, part.of_kilobytes)
            await asyncio.sleep(0)  # This lets the command be interrupted.

    def _add(self, balances: Sequence[GivenBalance], problems: Problems) -> None:
        before = self._store.total_changes
        self._store.executemany("INSERT OR IGNORE INTO given VALUES (?, ?, ?, ?)", balances)
        if self._store.total_changes - before == len(balances):
            return
        for balance in balances:
            where = "SELECT line FROM given WHERE user_id = ? AND asset = ?"
            (line,) = self._store.execute(where, (balance.user_id, balance.asset)).fetchone()
            if line != balance.line:
                problem = f"user {balance.user_id}'s {balance.asset} stands on line {line} already"
                problems.add(balance.line, problem)

    async def _check_spelling(self, connection: AsyncConnection, problems: Problems) -> None:
        lines = dict(self._store.execute("SELECT asset, min(line) FROM given GROUP BY asset"))
        misspelt = await misspelt_assets(connection, lines)
        if not misspelt:
            return
        # An asset with an account is not misspelt: its code may be older than a program that has a similar one.
        held = set(await connection.scalars(select(accounts.c.asset).where(accounts.c.asset.in_(misspelt))))
        for asset, sentence in sorted(misspelt.items(), key=lambda item: lines[item[0]]):
            if asset not in held:
                problems.add(lines[asset], sentence)

    async def _pass_through(self, parts: AsyncGenerator[list[Balance]], found: Compared, show: Progress) -> None:
        """Compares both sides, each read in its order."""
        rows = self._store.execute("SELECT user_id, asset, units, line FROM given ORDER BY user_id, asset")
        given = map(GivenBalance._make, rows)
        following = next(given, None)
        async for part in parts:
            for balance in part:
                key = (balance.user_id, balance.asset)
                while following is not None and following[:2] < key:
                    self._take_in(found, Difference(following.user_id, following.asset, None, following.units))
                    following = next(given, None)
                units: int | None = None
                if following is not None and following[:2] == key:
                    units, following = following.units, next(given, None)
                self._take_in(found, Difference(balance.user_id, balance.asset, balance.units, units))
            found.in_ledger += len(part)
            show("comparing", min(found.in_ledger, found.in_file), found.in_file)
        while following is not None:
            self._take_in(found, Difference(following.user_id, following.asset, None, following.units))
            following = next(given, None)

    def _take_in(self, found: Compared, both: Difference) -> None:
        totals = found.totals[both.asset]
        totals.ledger += both.ledger or 0
        totals.file += both.file or 0
        if both.units:
            totals.differences += 1
            found.differences += 1
            gap = min(abs(both.units), MAX_STORED_UNITS)
            self._store.execute("INSERT INTO differences VALUES (?, ?, ?, ?, ?)", (*both, gap))


@contextmanager
def a_comparison() -> Generator[Comparison]:
    """A comparison, whose database is removed at the end."""
    # A file without a name, which is deleted when it is closed and written only where memory does not suffice.
    with closing(sqlite3.connect("", isolation_level=None)) as store:
        store.executescript(_TABLES)
        store.execute("BEGIN")
        yield Comparison(store)
