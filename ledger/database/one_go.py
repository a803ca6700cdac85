"""Reads a few statements in one go, where no statement needs the answer of another.

Under load a transaction costs more than what it reads: its beginning, each statement and its end are a round trip
to PostgreSQL or a hand-over to SQLite's thread, and SQLAlchemy puts the text of each statement together anew. Here
a whole transaction is one message or one hand-over, and the text of each statement is kept. Where PostgreSQL may
keep prepared statements, a connection prepares each once, and a message executes them without planning anything.
"""

import json
import re
from collections import namedtuple
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import count
from typing import Any, TypeAlias

from sqlalchemy import SelectBase
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine.interfaces import Dialect

Given: TypeAlias = int | str | Sequence[str]
"""One parameter of a statement: as it is stored, or several texts for an ``IN``."""
Found: TypeAlias = Sequence[Sequence[Any]]
"""Rows as a driver returns them."""

_POSTGRESQL: Dialect = postgresql.psycopg.dialect()
_SQLITE: Dialect = sqlite.dialect(paramstyle="named")
_SEVERAL = re.compile(r"__\[POSTCOMPILE_(\w+)\]")
_IN_SEVERAL = re.compile(r"(?<!NOT )IN \(__\[POSTCOMPILE_(\w+)\]\)")
_numbers = count(1)


class ReadyStatement:
    """A SELECT whose text is put together once for each database."""

    def __init__(self, select: SelectBase) -> None:
        self._select = select
        self.name = f"ready_{next(_numbers)}"
        """Of the prepared statement on a connection of this process."""
        self._row: Any = namedtuple("Row", select.selected_columns.keys())  # type: ignore[misc]  # its columns vary

    def bound(self, **given: Given) -> "BoundStatement":
        """The statement with its parameters: integers as they are stored, and several texts for each ``IN``."""
        return BoundStatement(self, given)

    def rows(self, found: Found, *, in_postgresql: bool) -> list[Any]:
        """The rows that were found, with the names and the types of the SELECT's columns."""
        readers, row = self._of_postgresql if in_postgresql else self._of_sqlite, self._row
        if not any(readers):
            return [row(*values) for values in found]
        return [
            row(*[read(value) if read else value for read, value in zip(readers, values, strict=True)])
            for values in found
        ]

    @cached_property
    def postgresql_text(self) -> tuple[str, dict[str, str]]:
        """A text for Python's ``%``, and the literals of the parameters that are part of the SELECT."""
        compiled = self._select.compile(dialect=_POSTGRESQL)
        own = {name: _words(value, _quoted) for name, value in compiled.params.items() if value is not None}
        return _SEVERAL.sub(r"%(\1)s", str(compiled)), own

    @cached_property
    def postgresql_preparation(self) -> tuple[str, list[str]]:
        """What prepares the statement on a connection, and the names of its parameters in their order."""
        compiled = self._select.compile(dialect=_POSTGRESQL)
        own = {name: _words(value, _quoted) for name, value in compiled.params.items() if value is not None}
        names = [name for name in compiled.params if name not in own]
        places = {name: f"${number}" for number, name in enumerate(names, 1)}
        text = _IN_SEVERAL.sub(lambda found: _in(found[1], is_given=found[1] in places), str(compiled))
        return f"PREPARE {self.name} AS {text % (own | places)}", names

    @cached_property
    def sqlite_text(self) -> tuple[str, dict[str, Any]]:
        """A text with named parameters, and the values of those that are part of the SELECT."""
        compiled = self._select.compile(dialect=_SQLITE)
        text = _SEVERAL.sub(r"SELECT value FROM json_each(:\1)", str(compiled))
        return text, {name: _as_one(value) for name, value in compiled.params.items() if value is not None}

    @cached_property
    def _of_postgresql(self) -> "_Readers":
        return self._readers(_POSTGRESQL)

    @cached_property
    def _of_sqlite(self) -> "_Readers":
        return self._readers(_SQLITE)

    def _readers(self, dialect: Dialect) -> "_Readers":
        kinds = [column.type.dialect_impl(dialect) for column in self._select.selected_columns]
        return [kind.result_processor(dialect, None) for kind in kinds]


_Readers: TypeAlias = Sequence[Callable[[Any], Any] | None]


@dataclass(frozen=True)
class BoundStatement:
    """A statement and its parameters."""

    statement: ReadyStatement
    given: Mapping[str, Given]

    def for_postgresql(self, literal: Callable[[str], str]) -> str:
        """The statement with its parameters as literals, so that several statements travel in one message.

        ``literal`` makes a literal of a text.
        """
        text, own = self.statement.postgresql_text
        return text % (own | {name: _words(value, literal) for name, value in self.given.items()})

    def execution(self, literal: Callable[[str], str]) -> str:
        """What executes the statement on a connection that has prepared it."""
        _, names = self.statement.postgresql_preparation
        values = [self.given[name] for name in names]
        words = [
            _words(value, literal) if isinstance(value, int | str) else f"ARRAY[{_words(value, literal)}]::text[]"
            for value in values
        ]
        return f"EXECUTE {self.statement.name}({', '.join(words)})" if words else f"EXECUTE {self.statement.name}"

    def for_sqlite(self) -> tuple[str, dict[str, Any]]:
        """The text and its parameters.

        Several texts are one parameter, in JSON: the text is then always the same, and SQLite keeps it prepared.
        """
        text, own = self.statement.sqlite_text
        return text, own | {name: _as_one(value) for name, value in self.given.items()}


def _in(name: str, *, is_given: bool) -> str:
    """The test for one of several texts, which are one array where they are given."""
    return f"= ANY (%({name})s)" if is_given else f"IN (%({name})s)"


def _words(value: Given, literal: Callable[[str], str]) -> str:
    if isinstance(value, int):
        return str(value)
    return literal(value) if isinstance(value, str) else ",".join([literal(each) for each in value])


def _as_one(value: Given) -> int | str:
    return value if isinstance(value, int | str) else json.dumps(value)


def _quoted(text: str) -> str:
    """This is only for the texts of our own statements."""
    return "'" + text.replace("'", "''") + "'"
