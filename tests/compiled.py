"""Lets all engines of a process share compiled SQL.

Every test opens ledgers of its own. Each has an engine, and each engine would compile every statement anew: half
of all statements that tests send. A program in use compiles hardly any.
"""

from collections.abc import Hashable
from typing import Any

from sqlalchemy import Connection, Engine, event


class _Compiled(dict[Hashable, Any]):
    """SQLAlchemy's cache of compiled statements, in which engines share entries if their dialects have the same
    class."""

    def get(self, key: Any, default: Any = None) -> Any:
        return super().get(_shared(key), default)

    def __setitem__(self, key: Any, compiled: Any) -> None:
        super().__setitem__(_shared(key), compiled)


def _shared(key: tuple[Any, ...]) -> Hashable:
    """The class of the dialect that is the first part of a key."""
    dialect, *statement = key
    return (type(dialect), *statement)


_compiled = _Compiled()


def share_what_is_compiled() -> None:
    """Makes every new engine of this process use the shared cache."""
    event.listen(Engine, "engine_connect", _use)


def _use(connection: Connection) -> None:
    connection.execution_options(compiled_cache=_compiled)
