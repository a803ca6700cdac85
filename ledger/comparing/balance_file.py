"""A file of balances, CSV ``user,asset,balance``, read line by line so that its length does not matter."""

import csv
import os
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import BinaryIO, NamedTuple

from staking.models import check_user_id
from staking.money import parse_balance
from staking.program import check_asset_code

HEADER = ("user", "asset", "balance")
_LINE_BYTES_MAX = 1_000
_IN_A_PART = 5_000
_PROBLEMS_MAX = 20
_BOM = b"\xef\xbb\xbf"
_UTF_16 = (b"\xff\xfe", b"\xfe\xff")
_WHAT_IT_HAS = f"its first line is {','.join(HEADER)}"


class BalanceFileError(ValueError):
    """A file cannot be compared; each of the sentences says what is wrong and where."""

    def __init__(self, *sentences: str) -> None:
        self.sentences = sentences
        super().__init__("; ".join(sentences))


class GivenBalance(NamedTuple):
    """A line of the file."""

    user_id: str
    asset: str
    units: int
    line: int


@dataclass
class Problems:
    """The problems of a file's lines. Only the first ones are kept."""

    path: Path
    sentences: list[str] = field(default_factory=list[str])
    count: int = 0

    def add(self, line: int, problem: str) -> None:
        """Adds a problem of a line."""
        self.count += 1
        if len(self.sentences) < _PROBLEMS_MAX:
            self.sentences.append(f"{self.path}, line {line}: {problem}")

    def check(self) -> None:
        """Raises BalanceFileError if there is any problem."""
        if not self.count:
            return
        more = self.count - len(self.sentences)
        said = [*self.sentences, f"and {more} more lines"] if more else self.sentences
        raise BalanceFileError(*said, "nothing was compared")


@dataclass(frozen=True)
class Part:
    """The balances of some lines that follow each other."""

    balances: list[GivenBalance]
    kilobytes: int
    """How much of the file has been read at the end of this part."""
    of_kilobytes: int
    """The size of the file."""


def read_balances(path: Path, problems: Problems) -> Generator[Part]:
    """The balances in a file, in parts, in units; a line that cannot be read is among the problems instead.

    Raises BalanceFileError for a file that is not a file of balances.
    """
    with _opened(path) as file:
        of_kilobytes = os.fstat(file.fileno()).st_size // 1000
        lines = _Lines(file, problems)
        header = next(lines, None)
        problems.check()  # These are problems of the first line, without which no other line can be read.
        places = _places(path, header)
        part: list[GivenBalance] = []
        for number, text in lines:
            try:
                part.append(_balance(number, text, places))
            except ValueError as error:
                problems.add(number, str(error))
            if len(part) == _IN_A_PART:
                yield Part(part, lines.bytes_read // 1000, of_kilobytes)
                part = []
        yield Part(part, lines.bytes_read // 1000, of_kilobytes)


def _opened(path: Path) -> BinaryIO:
    try:
        if path.is_dir():
            raise BalanceFileError(f"{path} is a directory; name the CSV file in it")
        return path.open("rb")
    except FileNotFoundError:
        raise BalanceFileError(f"there is no file {path}; check the name") from None
    except OSError as error:
        raise BalanceFileError(f"{path} cannot be read: {error.strerror}") from None


class _Lines:
    """The lines that are text, with their numbers. Blank lines are left out."""

    def __init__(self, file: BinaryIO, problems: Problems) -> None:
        self._file = file
        self._problems = problems
        self._number = 0
        self.bytes_read = 0

    def __iter__(self) -> Iterator[tuple[int, str]]:
        return self

    def __next__(self) -> tuple[int, str]:
        while line := self._line():
            if self._number == 1:
                line = _without_mark(line)
            if len(line) > _LINE_BYTES_MAX:
                self._problems.add(self._number, f"it is longer than {_LINE_BYTES_MAX} bytes")
                continue
            try:
                text = line.decode().strip("\r\n")
            except UnicodeDecodeError as error:
                self._problems.add(self._number, f"it is not UTF-8 text (byte {error.start + 1})")
                continue
            if text.strip():
                return self._number, text
        raise StopIteration

    def _line(self) -> bytes:
        """The next line. Of a line that is too long, only enough is kept to show that."""
        self._number += 1
        line = rest = self._file.readline(_LINE_BYTES_MAX + 2)
        self.bytes_read += len(line)
        while rest and not rest.endswith(b"\n"):
            rest = self._file.readline(_LINE_BYTES_MAX)
            self.bytes_read += len(rest)
        return line


def _without_mark(line: bytes) -> bytes:
    if line.startswith(_UTF_16):
        raise BalanceFileError("the file is UTF-16 text; save it as CSV in UTF-8")
    return line.removeprefix(_BOM)


def _places(path: Path, header: tuple[int, str] | None) -> list[int]:
    """The positions of the columns."""
    if header is None:
        raise BalanceFileError(f"{path} is empty; {_WHAT_IT_HAS}")
    number, text = header
    try:
        names = [name.strip().lower() for name in _fields(text)]
    except ValueError as error:
        raise BalanceFileError(f"{path}, line {number}: {error}") from None
    if sorted(names) != sorted(HEADER):
        missing = [name for name in HEADER if name not in names]
        what = f"there is no column {' or '.join(missing)}" if missing else "it names a column too many"
        raise BalanceFileError(f"{path}, line {number}: {what}, but {text[:120]!r}; {_WHAT_IT_HAS}")
    return [names.index(name) for name in HEADER]


def _balance(number: int, text: str, places: Sequence[int]) -> GivenBalance:
    fields = _fields(text)
    if len(fields) != len(places):
        raise ValueError(f"a line has {len(places)} fields, this one has {len(fields)}")
    user_id, asset, balance = (fields[place] for place in places)
    return GivenBalance(check_user_id(user_id), _asset(asset), parse_balance(balance), number)


_asset = lru_cache(maxsize=10_000)(check_asset_code)


def _fields(text: str) -> list[str]:
    if '"' not in text:
        return text.split(",")
    try:
        return next(csv.reader([text], strict=True))
    except csv.Error:
        raise ValueError(
            "its quotes are not those of CSV: a quote is closed on its line, before a comma or the end, and is "
            "doubled within quoted text"
        ) from None
