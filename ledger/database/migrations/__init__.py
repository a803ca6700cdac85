"""The versions of the schema, and how a ledger gets from one to the next.

``versions/`` holds one alembic revision per version; a new ledger is made by running them all. Whoever changes
``ledger/database/schema.py`` adds the next one there and raises SCHEMA_VERSION. A revision that was released never
changes, and imports nothing of ours, since it must do in ten years what it does today.
"""

from collections.abc import Callable, Iterator, Set
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import Connection, Text, column, inspect, select, table

from ledger.errors import LedgerUnavailable

if TYPE_CHECKING:
    from alembic.runtime.migration import RevisionStep

SCHEMA_VERSION = 11
"""The one that this program reads and writes."""

_UNMARKED_VERSION = 1
"""Version 1 was made before ledgers were marked with their version."""
_VERSION_TABLE = "alembic_version"
_version = table(_VERSION_TABLE, column("version_num", Text))
_TABLES_OF_A_LEDGER = {"users", "accounts", "entries", "postings"}
"""Every version has them."""
_TABLES_NAMED_MAX = 3


@dataclass(frozen=True)
class Schema:
    """Which schema the database at a URL has; ``version`` is None where there is nothing yet."""

    where: str
    version: int | None

    @property
    def is_current(self) -> bool:
        return self.version == SCHEMA_VERSION

    @property
    def is_newer(self) -> bool:
        return self.version is not None and self.version > SCHEMA_VERSION

    def __str__(self) -> str:
        if self.version is None:
            return (
                f"there is no ledger at {self.where}: change to the folder of your installation, or name its "
                "ledger with SOFT_STAKING_DATA_DIR or SOFT_STAKING_DATABASE_URL; a new one is made by "
                "`starter.py db upgrade`, and with a whole installation by `worker.py --dev`"
            )
        start = f"the ledger {self.where} has schema version {self.version}"
        if self.is_current:
            return f"{start}, the one that this program needs"
        advice = "use the newer program" if self.is_newer else "bring it there with: starter.py db upgrade"
        return f"{start}, and this program needs schema version {SCHEMA_VERSION}; {advice}"


def holds_a_ledger(tables: Set[str]) -> bool:
    """Whether a database with these tables holds a ledger, of whatever version."""
    return tables >= _TABLES_OF_A_LEDGER


def schema_in(connection: Connection, where: str) -> Schema:
    """The schema of the connection's database. Raises LedgerUnavailable if something else is in it."""
    tables = set(inspect(connection).get_table_names())
    mark = connection.scalar(select(_version.c.version_num)) if _VERSION_TABLE in tables else None
    if tables <= {_VERSION_TABLE} and mark is None:
        return Schema(where, None)
    if holds_a_ledger(tables) and (mark is None or mark.isdecimal()):
        return Schema(where, _UNMARKED_VERSION if mark is None else int(mark))
    named = ", ".join(sorted(tables)[:_TABLES_NAMED_MAX]) + (", …" if len(tables) > _TABLES_NAMED_MAX else "")
    raise LedgerUnavailable(
        f"the database {where} is in use for something else (it has the tables {named}); "
        "the ledger needs one of its own"
    )


def upgrade(
    connection: Connection,
    where: str,
    *,
    to: int = SCHEMA_VERSION,
    on_version: Callable[[int], None] = lambda version: None,
) -> Schema:
    """Runs every revision that the database lacks, in the connection's transaction; answers what it had before.

    ``on_version`` hears each version before it is made. Raises LedgerUnavailable if there is no ledger, or a newer
    one.
    """
    found = schema_in(connection, where)
    if found.is_newer:
        raise LedgerUnavailable(str(found))
    if (found.version or 0) < to:
        _run_revisions(connection, found.version, to, on_version)
    return found


def _run_revisions(
    connection: Connection, version: int | None, to: int, on_version: Callable[[int], None]
) -> None:
    # Here, since importing it takes longer than most commands, and there is seldom something to run.
    from alembic.operations import Operations
    from alembic.runtime.migration import MigrationContext, MigrationStep
    from alembic.script import ScriptDirectory

    script = ScriptDirectory(Path(__file__).parent)
    missing = [*script.iterate_revisions(str(to), "base" if version is None else str(version))]

    def steps(_heads: object, _context: object) -> "Iterator[RevisionStep]":
        for revision in reversed(missing):
            on_version(int(revision.revision))
            yield MigrationStep.upgrade_from_script(script.revision_map, revision)

    context = MigrationContext.configure(connection, opts={"fn": steps})
    if version is not None and not context.get_current_heads():
        context.stamp(script, str(version))
    # Handed over, since alembic's own `op` is one for the whole process, which may be upgrading other ledgers too.
    context.run_migrations(op=Operations(context))
