"""Style is a test and not a wish: functions are short, nothing is dead, no marker is left over, and the
documentation names all that there is and nothing else.

Which metrics exist is known only from a running process, so their page is tested in
tests/telemetry/test_metrics.py.
"""

import ast
import re
from collections.abc import Iterator
from dataclasses import asdict
from datetime import date
from pathlib import Path
from typing import get_args

import typer.main
from documentation import (
    ARCHITECTURE,
    HTTP_API,
    OPERATIONS,
    RULES,
    RUNNING,
    TERMINOLOGY,
    TEXT,
    decisions,
    fenced,
    table,
)
from world import ROOT

import commands.find
import commands.program
import starter
from contract.acts import Hold
from contract.live_status import Blocked
from ledger.database.schema import ActKind
from ledger.reading.statement_text import STATEMENT_COLUMNS
from running.options import WorkerOptions
from settings import Settings
from staking.days import end_of, start_of
from staking.models import PoolShort, SourceLate
from staking.program import AssetTerms, Program
from staking.rewards import Outcome
from workflows.showing import Held, Processing, Sleeping, Starting, state_text

FUNCTION_LINES_MAX = 70
LEFT_OUT = {"findings", "dist", "build"}
MARKER = re.compile(r"\b(TODO|FIXME|XXX|HACK)\b")
CALLED_BY_OTHERS = {
    "capture_signals": "uvicorn",
    "fetchone": "SQLAlchemy's connection to SQLite",
    "intercept_activity": "the SDK's worker",
    "process_bind_param": "SQLAlchemy, for a type of column",
    "process_result_value": "SQLAlchemy, for a type of column",
    "self_group": "SQLAlchemy, for a condition",
}
"""Methods that no code of ours calls by name, and what calls them."""


def files(suffix: str) -> Iterator[Path]:
    """The project's files, without generated ones."""
    for top in sorted(ROOT.iterdir()):
        if not top.name.startswith(".") and top.name not in LEFT_OUT:
            yield from [top] if top.suffix == suffix else sorted(top.rglob(f"*{suffix}"))


TREES = {file.relative_to(ROOT): ast.parse(file.read_text(encoding="utf-8")) for file in files(".py")}
CODE = {file: tree for file, tree in TREES.items() if file.parts[0] not in ("tests", "benchmarks")}


def test_no_function_is_longer_than_a_screen() -> None:
    long = [
        f"{file}:{node.lineno} {node.name} has {length} lines"
        for file, tree in TREES.items()
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and (length := (node.end_lineno or node.lineno) - node.lineno + 1) > FUNCTION_LINES_MAX
    ]
    assert long == []


def test_no_marker_is_left_over() -> None:
    assert [
        f"{file.relative_to(ROOT)}:{number}"
        for suffix in (".py", ".md", ".toml", ".yaml", ".yml", ".html", ".js")
        for file in files(suffix)
        if file != Path(__file__)
        for number, line in enumerate(file.read_text(encoding="utf-8").splitlines(), 1)
        if MARKER.search(line)
    ] == []


def defined(tree: ast.Module) -> Iterator[tuple[str, int]]:
    """The functions, classes and constants of a module, and the methods of its classes, by name and line.

    Left out are names with two underscores on both sides, which Python calls, and functions with a decorator,
    which is what calls them.
    """
    classes = [node for node in ast.walk(tree) if isinstance(node, ast.ClassDef)]
    for node in [*tree.body, *(method for one in classes for method in one.body)]:
        is_called = isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and not node.decorator_list
        if (is_called or isinstance(node, ast.ClassDef)) and not node.name.startswith("__"):
            yield node.name, node.lineno
    for node in tree.body:
        targets = node.targets if isinstance(node, ast.Assign) else []
        targets = [node.target] if isinstance(node, ast.AnnAssign) else targets
        yield from (
            (target.id, node.lineno)
            for target in targets
            if isinstance(target, ast.Name) and target.id != "__all__"
        )


def used(tree: ast.Module) -> Iterator[str]:
    """Every name that a module reads, imports or exports."""
    for node in ast.walk(tree):
        match node:
            case ast.Name(id=name, ctx=ast.Load()) | ast.Attribute(attr=name):
                yield name
            case ast.ImportFrom(names=names):
                yield from (one.name for one in names)
            case ast.Constant(value=str(text)) if re.fullmatch(
                r"\w+(\[.*\])?", text
            ):  # This is an annotation, or an export.
                yield from re.findall(r"\w+", text)
            case _:
                pass


def test_no_definition_is_dead() -> None:
    """A definition that only tests use is dead, too."""
    templates = " ".join(file.read_text(encoding="utf-8") for file in files(".html"))
    known = {name for tree in CODE.values() for name in used(tree)} | {*re.findall(r"\w+", templates)}
    assert [
        f"{file}:{line} {name}"
        for file, tree in CODE.items()
        for name, line in defined(tree)
        if name not in known | CALLED_BY_OTHERS.keys() and "migrations" not in file.parts
    ] == []


def test_every_command_of_the_starter_stands_once_in_the_table_of_the_runbook() -> None:
    group = typer.main.get_command(starter.app)
    assert isinstance(group, typer.main.TyperGroup)
    cells = [re.sub(r"\(.*|:.*", "", row[1]) for row in table(OPERATIONS, "to do")]
    named = [name for cell in cells for name in re.findall(r"[a-z-]+", cell)]
    assert sorted(named) == sorted(group.commands)


def test_every_make_target_that_is_shown_exists() -> None:
    targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), flags=re.M)
    shown = {target for text in TEXT.values() for target in re.findall(r"`make ([a-z-]+)`", text)}
    assert {"demo", "test", "run"} <= shown <= set(targets)


def test_every_setting_is_documented_and_every_documented_one_exists() -> None:
    exist = {f"SOFT_STAKING_{name.upper()}" for name in Settings.model_fields}
    documented = {name for text in TEXT.values() for name in re.findall(r"SOFT_STAKING_[A-Z_]+[A-Z]", text)}
    assert documented == exist


def test_every_error_code_and_problem_type_is_documented_and_every_documented_one_exists() -> None:
    """The errors are read from the text of the two modules that make them."""
    answered = re.findall(r"-\d{4,5}", (ROOT / "web" / "exchange_api" / "errors.py").read_text(encoding="utf-8"))
    assert {row[0] for row in table(HTTP_API, "code")} == set(answered)
    sources = "".join(
        (ROOT / "web" / name).read_text(encoding="utf-8") for name in ("problems.py", "access/bearer.py")
    )
    kinds = re.findall(r'"([a-z]+(?:-[a-z]+)*)",\s+"[A-Z]|\("([a-z-]+)", "[A-Z]', sources)
    assert {row[0] for row in table(HTTP_API, "type")} == {f"/problems/{one or other}" for one, other in kinds}


def test_every_outcome_of_a_day_is_explained_in_the_rules_in_the_order_of_rule_12() -> None:
    assert [row[0] for row in table(RULES, "outcome")] == [outcome.value for outcome in Outcome]


def test_every_column_of_the_statement_is_explained_in_the_rules() -> None:
    (statement,) = fenced(RULES, "csv")
    explained = [name for row in table(RULES, "column") for name in row[0].split(", ")]
    assert explained == statement.splitlines()[0].split(",") == list(STATEMENT_COLUMNS)


def test_every_command_about_the_program_is_named_in_the_runbook() -> None:
    group = typer.main.get_command(commands.program.app)
    assert isinstance(group, typer.main.TyperGroup)
    assert [name for name in group.commands if f"`{name}`" not in TEXT[OPERATIONS]] == []


def test_every_key_of_a_program_file_is_explained_in_the_rules() -> None:
    explained = {row[0].strip("[]").split(".")[0] for row in table(RULES, "key")}
    assert explained == Program.model_fields.keys() | AssetTerms.model_fields.keys()


def test_what_a_process_takes_on_is_documented_with_its_default() -> None:
    options = asdict(WorkerOptions())
    del options["version"]
    documented = {row[0].removeprefix("--").replace("-", "_"): int(row[1]) for row in table(RUNNING, "option")}
    assert documented == options


def test_every_decision_is_cited_by_the_code_and_every_cited_one_exists() -> None:
    rooms = [file.parent for file in ROOT.glob("*/__init__.py") if file.parent.name not in ("tests", "benchmarks")]
    sources = [file.read_text(encoding="utf-8") for room in rooms for file in room.rglob("*.py")]
    cited = {number for source in sources for number in re.findall(r"\bdecision (\d{4})\b", source, flags=re.I)}
    assert cited == set(decisions())
    assert [int(number) for number in decisions()] == list(range(1, len(cited) + 1))


def test_every_room_has_its_row_in_the_architecture() -> None:
    rooms = {
        f"{file.parent.relative_to(ROOT)}/"
        for pattern in ("*/__init__.py", "[!t.]*/*/__init__.py")
        for file in ROOT.glob(pattern)
        if ".venv" not in file.parts
    }
    described = {name for row in table(ARCHITECTURE, "room") for name in row[0].split(", ")}
    assert rooms <= described
    assert all((ROOT / name).exists() for name in described)


def test_every_state_has_its_row_among_the_states_and_every_word_there_exists() -> None:
    """``idle`` is a word of the workflow alone: in its place ``status`` shows what the ledger knows."""
    rows = TEXT[TERMINOLOGY].split("| what is so |", 1)[1].splitlines()[2:]
    cells = [row.split("|") for row in rows if row.startswith("|")]
    of_status = {word for row in cells for word in re.findall(r"`([^`]+)`", row[2])}
    of_list = {word for row in cells for word in re.findall(r"`(\w+)`", row[3])}
    day = date(2026, 10, 2)
    hold = Hold(held_at=start_of(day), operator="ann", reason="case 4711")
    of_workflows = {
        state_text(state)
        for state in (
            Starting(),
            Sleeping(day, end_of(day)),
            Processing(),
            PoolShort(day=day, assets=["SOL"]),
            SourceLate(day=day, sources=["wallet"]),
            Blocked(step="credit", day=day, message="the account is full"),
            Held(hold),
        )
    }
    assert of_status == of_workflows | {"not enrolled", "ended", "not running", "unknown"}
    assert of_list == {state.value for state in commands.find.SearchedState}


def test_every_kind_of_act_is_documented_and_every_documented_one_exists() -> None:
    assert sorted(row[0] for row in table(OPERATIONS, "act")) == sorted(get_args(ActKind))
