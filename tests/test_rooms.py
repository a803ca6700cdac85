"""Which room may import which, each with the promise that it keeps.

The table is ordered from the bottom to the top: a room imports only rooms that come before it in the table. The
imports are read from the code, also those within functions and those for types alone.
"""

import ast
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest
from world import ROOT


@dataclass(frozen=True)
class Room:
    """A folder, or one file that keeps a promise of its own."""

    name: str
    may_import: str
    promise: str

    @property
    def arrows(self) -> set[str]:
        return set(self.may_import.split())


ROOMS = (
    Room("commands/starting.py", "", "A Python that is too old, or lacks every package, can read it and says so."),
    Room("examples/exchange", "", "An exchange's own programs know nothing of our code, and speak HTTP."),
    Room("embedded", "", "It knows processes and ports, so that a process ends well whatever else is broken."),
    Room("staking", "", "An auditor reads the rules alone, and the sandbox of workflows may load them."),
    Room("contract", "staking", "What crosses Temporal says what the rules mean, and nothing of how it is done."),
    Room(
        "settings", "staking contract", "A setting is read in one place, and is checked by the rules' own limits."
    ),
    Room(
        "workflows", "staking contract", "A workflow is replayed for years, so nothing that does I/O is in reach."
    ),
    Room(
        "temporal",
        "staking contract settings workflows embedded",
        "Whoever speaks with Temporal from outside needs no ledger: product services are such.",
    ),
    Room("diary", "staking contract workflows temporal", "A history tells by itself what happened."),
    Room(
        "ledger/errors.py",
        "staking",
        "A database that is away and a refused request are different errors.",
    ),
    Room("ledger/database/migrations", "ledger/errors.py", "A revision does in ten years what it does today."),
    Room(
        "ledger/database",
        "staking ledger/errors.py ledger/database/migrations",
        "What the books stand on knows rows and connections, and no entry, day or reward of a user.",
    ),
    Room(
        "ledger",
        "staking contract ledger/errors.py ledger/database",
        "Whoever writes an entry, an enrolment or a program does it here, under the user's lock.",
    ),
    Room(
        "ledger/day",
        "staking contract ledger/errors.py ledger/database ledger",
        "One user's day is decided by the rules, and only together.py knows that users share a transaction.",
    ),
    Room(
        "ledger/feed",
        "staking contract ledger/errors.py ledger/database ledger",
        "What comes from outside is judged one movement at a time, and nothing that came is lost.",
    ),
    Room(
        "ledger/reading",
        "staking contract ledger/errors.py ledger/database ledger ledger/day ledger/feed",
        "Whoever asks how a user stands asks here, and gets the same answer.",
    ),
    Room(
        "ledger/events",
        "staking contract ledger/errors.py ledger/database ledger ledger/reading",
        "What is told to systems outside is what was recorded, and never skips what is committed later.",
    ),
    Room(
        "ledger/recall.py",
        "contract ledger/database ledger ledger/reading",
        "Only the latest run that was told how its user stands may write for the user.",
    ),
    Room(
        "ledger/imports",
        "staking contract ledger/errors.py ledger/database ledger",
        "A file is imported whole, once, and through the same entries as every other movement.",
    ),
    Room(
        "ledger/comparing",
        "staking ledger/database ledger ledger/feed ledger/reading",
        "What another system believes is told line by line, and changes nothing here.",
    ),
    Room(
        "ledger/auditing",
        "staking ledger/database ledger/reading",
        "The audit proves what is stored, and trusts nothing of what wrote it.",
    ),
    Room(
        "webhooks",
        "contract ledger/errors.py ledger/database ledger/events",
        "What is sent to addresses outside passes one place, which tests where they lead.",
    ),
    Room(
        "activities",
        "staking contract ledger/errors.py ledger/database ledger ledger/day ledger/recall.py webhooks",
        "A step is a call of the ledger, so that the ledger is tested without Temporal.",
    ),
    Room(
        "telemetry",
        "staking contract settings temporal ledger/errors.py ledger/database ledger/reading ledger/events",
        "What the service reports of itself is in one place, and no other room knows of it.",
    ),
    Room(
        "streaming",
        "settings ledger/errors.py ledger/database ledger/feed telemetry",
        "Kafka's client is known here alone, and what a message says is decided elsewhere.",
    ),
    Room(
        "web",
        "staking contract settings temporal ledger/errors.py ledger/database",
        "What every part of the application needs knows none of the parts.",
    ),
    Room(
        "web/access",
        "staking settings ledger/database ledger web",
        "Who asks is decided in one place, whatever is asked.",
    ),
    Room(
        "web/codec.py",
        "settings temporal ledger web web/access",
        "The codec decodes for who may see it, and reads no ledger but for their tokens.",
    ),
    Room(
        "web/pages",
        "staking contract temporal ledger/errors.py ledger/database ledger ledger/reading web web/access",
        "The pages show what the ledger tells, and decide nothing about rewards.",
    ),
    Room(
        "web/product_api",
        "staking contract ledger/errors.py ledger/database ledger ledger/reading ledger/feed ledger/events web "
        "web/access",
        "Product services get the same answers as the pages, in a form of their own.",
    ),
    Room(
        "web/exchange_api",
        "staking contract ledger/errors.py ledger/database ledger ledger/reading web web/access",
        "Existing clients get the same answers, in the form that they know.",
    ),
    Room(
        "web/app.py",
        "web web/pages web/product_api web/exchange_api",
        "The parts of the application meet here alone, so each can be read without the others.",
    ),
    Room(
        "running",
        "embedded staking contract settings workflows temporal ledger/errors.py ledger/database ledger "
        "ledger/feed ledger/events webhooks activities telemetry streaming web web/access web/codec.py "
        "web/pages web/app.py",
        "A process is put together, watched and stopped here, whichever command began it.",
    ),
    Room(
        "commands",
        "embedded staking contract settings workflows temporal diary ledger/errors.py ledger/database "
        "ledger/database/migrations ledger ledger/reading ledger/imports ledger/feed ledger/events "
        "ledger/comparing ledger/auditing webhooks telemetry web web/access web/codec.py web/app.py running",
        "A command turns arguments into a call, and an answer into a table or JSON.",
    ),
    Room(
        "starter",
        "embedded staking contract settings temporal ledger/errors.py ledger/database ledger commands/starting.py "
        "commands",
        "People and product services enter here.",
    ),
    Room("worker", "settings telemetry running commands commands/starting.py", "The worker's command line."),
)
BY_NAME = {room.name: room for room in ROOMS}
DOES_NO_IO = {
    "asyncio",  # Only its futures and locks are used: the event loop of a workflow is Temporal's.
    "collections",
    "contextlib",
    "dataclasses",
    "datetime",
    "decimal",
    "enum",
    "functools",
    "hashlib",
    "logging",  # It is used through Temporal's own adapter, which is silent on replay.
    "pydantic",
    "re",
    "tomllib",
    "typing",
    "unicodedata",
    "temporalio.common",
    "temporalio.exceptions",
    "temporalio.workflow",
}
THE_INSTALLED_COMMAND = ("commands/starting.py", "starter")
"""The only import from a lower room into a higher one: the installed command tests its Python before it imports
anything else."""
WITHIN_REACH_OF_WORKFLOWS = ("workflows", "contract", "staking")


@dataclass(frozen=True)
class Import:
    """One import, as it is written in the code."""

    file: str
    line: int
    module: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line} imports {self.module}"


def imports_in(file: str, source: str) -> Iterator[Import]:
    """Every import of a file, wherever it is written, and what it loads by name."""
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.Import(names=names):
                yield from (Import(file, node.lineno, one.name) for one in names)
            case ast.ImportFrom(level=0, module=str(module), names=names):
                yield from (Import(file, node.lineno, f"{module}.{one.name}") for one in names)
            case ast.ImportFrom():
                raise AssertionError(f"{file}:{node.lineno}: name the room, not the place beside")
            case ast.Call(func=ast.Name(id="import_module"), args=[ast.Constant(value=str(module))]):
                yield Import(file, node.lineno, module)
            case _:
                pass


def room_of(file: str) -> str:
    """The room that a file is in."""
    if file in BY_NAME:
        return file
    folder = str(Path(file).parent)
    while folder not in BY_NAME and "/" in folder and not (ROOT / folder / "__init__.py").exists():
        folder = str(Path(folder).parent)
    return Path(file).stem if folder == "." else folder


@cache
def file_of(module: str) -> str | None:
    """The file of ours that an import loads; None if it is not ours."""
    parts = module.split(".")
    for length in range(len(parts), 0, -1):
        path = "/".join(parts[:length])
        for file in (f"{path}.py", f"{path}/__init__.py"):
            if (ROOT / file).exists():
                return file
    return None


def code() -> list[str]:
    """The files of the project, without its tests and benchmarks."""
    tops = [
        top for top in ROOT.iterdir() if not top.name.startswith(".") and top.name not in ("tests", "benchmarks")
    ]
    files = [file for top in tops for file in ([top] if top.suffix == ".py" else top.rglob("*.py"))]
    return sorted(str(file.relative_to(ROOT)) for file in files)


IMPORTS = [one for file in code() for one in imports_in(file, (ROOT / file).read_text(encoding="utf-8"))]


@cache
def arrows() -> dict[tuple[str, str], Import]:
    """The pairs of rooms between which there is an import, with an example of each."""
    found = {
        (room_of(one.file), room_of(loaded)): one for one in IMPORTS if (loaded := file_of(one.module)) is not None
    }
    del found[THE_INSTALLED_COMMAND]
    return found


@pytest.mark.parametrize("room", ROOMS, ids=lambda room: room.name)
def test_a_room_imports_no_more_than_its_promise_allows(room: Room) -> None:
    broken = [
        f"{one}, which is in {to}. {room.promise}"
        for (since, to), one in arrows().items()
        if since == room.name and to != room.name and to not in room.arrows
    ]
    assert not broken, "\n".join(broken)


def test_every_file_is_in_a_room_of_the_table() -> None:
    assert [file for file in code() if room_of(file) not in BY_NAME] == []


def test_every_room_of_the_table_exists_and_every_arrow_is_needed() -> None:
    assert {room_of(file) for file in code()} == set(BY_NAME)
    needed = {(since, to) for since, to in arrows() if since != to}
    allowed = {(room.name, to) for room in ROOMS for to in room.arrows}
    assert allowed - needed == set()


def test_no_arrow_runs_up() -> None:
    heights = {room.name: height for height, room in enumerate(ROOMS)}
    assert [(room.name, to) for room in ROOMS for to in room.arrows if heights[to] >= heights[room.name]] == []


def test_workflows_and_what_they_load_import_nothing_that_does_io() -> None:
    outside = [
        one
        for one in IMPORTS
        if room_of(one.file) in WITHIN_REACH_OF_WORKFLOWS
        and file_of(one.module) is None
        and not {one.module.split(".")[0], ".".join(one.module.split(".")[:2])} & DOES_NO_IO
    ]
    assert not outside, f"{', '.join(map(str, outside))}. {BY_NAME['workflows'].promise}"


def test_the_loop_has_nothing_in_reach_that_does_io() -> None:
    told = "import sys, workflows.soft_staking; print(*sys.modules)"
    run = subprocess.run([sys.executable, "-c", told], cwd=ROOT, capture_output=True, text=True, check=True)
    loaded = run.stdout.split()
    ours = {name.split(".")[0] for name in loaded if (file := file_of(name)) is not None and room_of(file)}
    assert ours == set(WITHIN_REACH_OF_WORKFLOWS)
    assert not {"sqlalchemy", "fastapi", "httpx", "socketserver"} & set(loaded)


@pytest.mark.parametrize(
    "source",
    [
        "import ledger.journal",
        "from ledger import journal",
        "from ledger.journal import post",
        "def later():\n    from ledger.journal import post",
        "if TYPE_CHECKING:\n    from ledger.journal import Leg",
        "with workflow.unsafe.imports_passed_through():\n    import ledger.journal as books",
        "module = import_module('ledger.journal')",
    ],
)
def test_an_import_is_seen_wherever_it_stands(source: str) -> None:
    (seen,) = imports_in("workflows/executing.py", source)
    assert file_of(seen.module) == "ledger/journal.py"
    assert room_of("ledger/journal.py") not in BY_NAME[room_of(seen.file)].arrows
