"""Things that never change, kept in memory so that the database is not asked for them again."""

from typing import Generic, TypeVar

_KEPT_MAX = 10_000

Known = TypeVar("Known")


class Memory(Generic[Known]):
    """The last few thousand things of one kind, by name."""

    def __init__(self) -> None:
        self._kept: dict[str, Known] = {}

    def find(self, name: str) -> Known | None:
        """What is kept under a name, or None."""
        return self._kept.get(name)

    def keep(self, name: str, known: Known) -> None:
        """Keeps a thing. If there are too many, the one that was kept first is forgotten."""
        if name not in self._kept and len(self._kept) >= _KEPT_MAX:
            del self._kept[next(iter(self._kept))]
        self._kept[name] = known
