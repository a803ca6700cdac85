"""The documentation says what the code does: commands, settings, links, numbers."""

import ast
import csv
import re
import shlex
import tomllib
from dataclasses import asdict
from datetime import datetime, timedelta
from pathlib import Path

import pytest
import typer.main

import commands.program
import starter
import worker
from contract.recollection import DAYS_PER_RUN
from ledger.imports.history_export import parse_export
from ledger.reading.statement_text import STATEMENT_COLUMNS
from running import installation
from running.options import WorkerOptions
from settings import Settings
from staking.average import day_holding
from staking.days import ONE_DAY, end_of, start_of
from staking.money import MAX_ACCOUNT_UNITS, UNITS_PER_TOKEN, format_amount, parse_amount
from staking.program import AssetTerms, Program, parse_program
from staking.rewards import Outcome, outcome_and_reward
from web.health import ANSWERS_WITHIN_S
from workflows.soft_staking import POOL_ASKED_AGAIN_AFTER, POOL_ASKED_AGAIN_AFTER_MAX
from workflows.steps import AT_ONCE_TIMEOUT, STEP_TIMEOUT

ROOT = Path(__file__).parent.parent
README = ROOT / "README.md"
RULES = ROOT / "docs" / "rules.md"
ARCHITECTURE = ROOT / "docs" / "architecture.md"
RUNNING = ROOT / "docs" / "running-workers.md"
HTTP_API = ROOT / "docs" / "http-api.md"
OPERATIONS = ROOT / "docs" / "operations.md"
DECISIONS = ROOT / "docs" / "decisions"
PAGES = [README, *sorted((ROOT / "docs").rglob("*.md"))]
TEXT = {page: page.read_text(encoding="utf-8") for page in PAGES}
ENTRANCES = {"starter": starter.app, "worker": worker.app}


def fenced(page: Path, language: str) -> list[str]:
    """The code blocks of a page in a language."""
    return re.findall(rf"^ *```{language}\n(.*?)^ *```$", TEXT[page], flags=re.M | re.S)


def shown_commands() -> list[str]:
    """Every command line of ours that a page shows, in a block to be typed or within a sentence."""
    lines: set[str] = set()
    for page in PAGES:
        typed = [line for block in fenced(page, "sh") for line in block.replace("\\\n", " ").splitlines()]
        lines.update(typed)
        prose = re.sub(r"^ *```.*?^ *```$", "", TEXT[page], flags=re.M | re.S)
        lines.update(
            span for span in re.findall(r"`([^`]+)`", prose) if re.search(r"\b(starter|worker)\.py \S", span)
        )
    return sorted(" ".join(line.split()) for line in lines if line.strip())


def slug(heading: str) -> str:
    """The anchor of a heading."""
    return re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-")


def table(page: Path, first_column: str) -> list[list[str]]:
    """The rows of the table whose header begins with that column, without code marks."""
    rows = TEXT[page].split(f"\n| {first_column} |", 1)[1].split("\n\n", 1)[0].splitlines()[2:]
    return [[cell.strip().replace("`", "") for cell in row.strip("|").split("|")] for row in rows]


@pytest.mark.parametrize("command", shown_commands())
def test_every_shown_command_is_accepted_as_written(command: str) -> None:
    program, *arguments = shlex.split(command.removeprefix(".venv/bin/python "))
    known = typer.main.get_command(ENTRANCES[program.removesuffix(".py")])
    while isinstance(known, typer.main.TyperGroup):
        known = known.commands[arguments.pop(0)]
    known.make_context(program, arguments)


def test_the_readme_is_short() -> None:
    assert len(TEXT[README].splitlines()) <= 200


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
    """The text of the two modules that make errors is all there is to know of them."""
    answered = re.findall(r"-\d{4,5}", (ROOT / "web" / "exchange_api" / "errors.py").read_text(encoding="utf-8"))
    assert {row[0] for row in table(HTTP_API, "code")} == set(answered)
    sources = "".join(
        (ROOT / "web" / name).read_text(encoding="utf-8") for name in ("problems.py", "access/bearer.py")
    )
    kinds = re.findall(r'"([a-z]+(?:-[a-z]+)*)",\s+"[A-Z]|\("([a-z-]+)", "[A-Z]', sources)
    assert {row[0] for row in table(HTTP_API, "type")} == {f"/problems/{one or other}" for one, other in kinds}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_relative_link_resolves(page: Path) -> None:
    for link in re.findall(r"\]\(([^)\s]+)\)", TEXT[page]):
        if "://" in link:
            continue
        file, _, anchor = link.partition("#")
        target = (page.parent / file).resolve() if file else page
        assert target.exists(), f"{page.name} links to {link}"
        if anchor:
            anchors = {slug(heading) for heading in re.findall(r"^#+ (.+)$", TEXT[target], flags=re.M)}
            assert anchor in anchors, f"{page.name} links to {link}"


def decisions() -> dict[str, Path]:
    """The pages of the decisions by number."""
    return {page.name[:4]: page for page in sorted(DECISIONS.glob("[0-9]*.md"))}


@pytest.mark.parametrize("number", decisions())
def test_a_decision_has_its_five_parts_on_one_page_and_stands_in_the_index(number: str) -> None:
    page = decisions()[number]
    title, *parts = re.findall(r"^#+ (.+)$", TEXT[page], flags=re.M)
    assert title.startswith(f"{number}: ")
    assert parts == ["Context", "Decision", "Consequences", "What else was considered", "References"]
    assert "](https://" in TEXT[page].split("## References")[1]
    assert len(TEXT[page].splitlines()) <= 60
    assert f"| [{number}]({page.name}) |" in TEXT[DECISIONS / "README.md"]


def test_every_decision_is_cited_by_the_code_and_every_cited_one_exists() -> None:
    rooms = [file.parent for file in ROOT.glob("*/__init__.py") if file.parent.name not in ("tests", "benchmarks")]
    sources = [file.read_text(encoding="utf-8") for room in rooms for file in room.rglob("*.py")]
    cited = {number for source in sources for number in re.findall(r"\bdecision (\d{4})\b", source, flags=re.I)}
    assert cited == set(decisions())
    assert [int(number) for number in decisions()] == list(range(1, len(cited) + 1))


def test_every_rule_has_its_heading_in_order() -> None:
    assert re.findall(r"^### Rule (\d+):", TEXT[RULES], flags=re.M) == [str(number) for number in range(1, 14)]


def test_every_rule_number_that_the_code_names_has_a_heading() -> None:
    headings = {int(number) for number in re.findall(r"^### Rule (\d+):", TEXT[RULES], flags=re.M)}
    rooms = ("staking", "contract", "ledger", "activities", "workflows", "commands")
    sources = [file.read_text(encoding="utf-8") for room in rooms for file in (ROOT / room).rglob("*.py")]
    named = {int(n) for source in sources for n in re.findall(r"\brules? (\d+)", source, flags=re.I)}
    assert named
    assert named <= headings


def test_the_statement_in_the_rules_is_what_the_sample_export_comes_to() -> None:
    (statement,) = fenced(RULES, "csv")
    rows = list(csv.DictReader(statement.splitlines()))
    export = parse_export((ROOT / "examples" / "transactions.csv").read_bytes())
    shipped = parse_program((ROOT / "program.toml").read_text(encoding="utf-8"))
    movements = [
        (line.instant, line.change) for line in export.lines if (line.user_id, line.asset) == ("1001", "SOL")
    ]
    for row in rows:
        day = datetime.fromisoformat(row["day"]).date()
        of_day = [(instant, change) for instant, change in movements if start_of(day) <= instant < end_of(day)]
        opening = sum(change for instant, change in movements if instant < start_of(day))
        held = day_holding(day, opening, of_day)
        price = shipped.assets["SOL"].reference_price
        terms = AssetTerms(minimum=row["minimum"], cap=row["cap"], apr=row["apr"], reference_price=price)
        outcome, reward = outcome_and_reward(held.average, terms, 1)
        amounts = (held.opening, held.closing, held.average, reward, terms.reference_value(reward))
        assert [format_amount(units) for units in amounts] == [
            row[column] for column in ("opening", "closing", "average", "reward", "reference_value_usdt")
        ]
        assert row["outcome"] == outcome
        movements.append((end_of(day), reward))
    assert table(RULES, "accrual day") == [
        [f"Day {number}", row["average"], row["reward"], f"Day {number + 1}"] for number, row in enumerate(rows, 2)
    ]


def test_every_outcome_of_a_day_is_explained_in_the_rules_in_the_order_of_rule_12() -> None:
    assert [row[0] for row in table(RULES, "outcome")] == [outcome.value for outcome in Outcome]


def test_every_column_of_the_statement_is_explained_in_the_rules() -> None:
    (statement,) = fenced(RULES, "csv")
    explained = [name for row in table(RULES, "column") for name in row[0].split(", ")]
    assert explained == statement.splitlines()[0].split(",") == list(STATEMENT_COLUMNS)


def test_the_order_of_the_statements_columns_is_promised_and_new_ones_come_last() -> None:
    assert ",".join(STATEMENT_COLUMNS).startswith(
        "day,asset,opening,closing,average,minimum,cap,apr,reward,outcome,credited_at,late,reference_value_usdt,"
        "entry_id,reversed_by"
    )


def test_every_command_about_the_program_is_named_in_the_runbook() -> None:
    group = typer.main.get_command(commands.program.app)
    assert isinstance(group, typer.main.TyperGroup)
    assert [name for name in group.commands if f"`{name}`" not in TEXT[OPERATIONS]] == []


def test_the_day_of_many_steps_in_the_rules_averages_as_written() -> None:
    midnight = start_of(datetime.fromisoformat("2026-10-02").date())
    steps = [(midnight + timedelta(hours=hour), 100 * UNITS_PER_TOKEN) for hour in range(24)]
    average = day_holding(midnight.date(), 0, steps).average
    assert average == parse_amount("1250")
    assert "÷ 24 = 1250." in TEXT[RULES]


def test_the_terms_in_the_rules_are_those_of_the_shipped_program() -> None:
    program = parse_program((ROOT / "program.toml").read_text(encoding="utf-8"))
    assert [row[:4] for row in table(RULES, "asset")] == [
        [asset, terms.minimum, terms.cap, terms.apr] for asset, terms in program.assets.items()
    ]


def test_every_key_of_a_program_file_is_explained_in_the_rules() -> None:
    explained = {row[0].strip("[]").split(".")[0] for row in table(RULES, "key")}
    assert explained == Program.model_fields.keys() | AssetTerms.model_fields.keys()


def test_the_python_example_of_the_readme_compiles_and_uses_what_starter_exports() -> None:
    (example,) = fenced(README, "python")
    tree = ast.parse(example)
    used = {
        node.attr
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "starter"
    }
    assert used <= set(starter.__all__)
    called = {
        node.attr
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "service"
    }
    assert called == {"activate", "status", "deactivate"}
    assert all(hasattr(starter.SoftStakingClient, name) for name in called)


def test_the_python_example_of_the_readme_accepts_the_documents_in_force() -> None:
    (example,) = fenced(README, "python")
    shown = next(
        ast.literal_eval(node.value)
        for node in ast.parse(example).body
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "SHOWN"
    )
    assert shown == tomllib.loads((ROOT / "program.toml").read_text(encoding="utf-8"))["documents"]


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


@pytest.mark.parametrize(
    "sentence",
    [
        f"{DAYS_PER_RUN} accrual days a run ",
        f"{AT_ONCE_TIMEOUT.seconds} s for a step at once, {STEP_TIMEOUT.seconds} s for a step",
        f"asked again after {POOL_ASKED_AGAIN_AFTER.seconds} s, doubling up to "
        f"{POOL_ASKED_AGAIN_AFTER_MAX.seconds // 60} min",
        f"{MAX_ACCOUNT_UNITS // UNITS_PER_TOKEN // 10**9} billion tokens in one account",
        f"`instant / {ONE_DAY // timedelta(microseconds=1)}`",
    ],
)
def test_the_limits_in_the_architecture_are_those_of_the_code(sentence: str) -> None:
    assert sentence in TEXT[ARCHITECTURE]


def test_what_a_process_takes_on_is_documented_with_its_default() -> None:
    options = asdict(WorkerOptions())
    del options["version"]
    documented = {row[0].removeprefix("--").replace("-", "_"): int(row[1]) for row in table(RUNNING, "option")}
    assert documented == options


@pytest.mark.parametrize(
    "sentence",
    [
        f"gets {installation.GRACEFUL_SHUTDOWN.seconds} s here before it is cancelled",
        f"killed after {installation.KILLED_AFTER.seconds} s, and",
        f"the whole ends after {installation.STOPPED_WITHIN.seconds} s at the latest",
        f"are given {ANSWERS_WITHIN_S:.0f} s to answer",
    ],
)
def test_the_limits_of_running_workers_are_those_of_the_code(sentence: str) -> None:
    assert sentence in " ".join(TEXT[RUNNING].split())


def test_what_the_architecture_quotes_as_seen_is_what_the_code_says() -> None:
    files = [
        ROOT / "worker.py",
        *(
            file
            for room in ("commands", "running", "temporal", "workflows")
            for file in (ROOT / room).glob("*.py")
        ),
    ]
    said = "".join(file.read_text(encoding="utf-8") for file in files)
    quotes = [quote for row in table(ARCHITECTURE, "what fails") for quote in re.findall(r'"([^"]+)"', row[1])]
    parts = [part.strip(" ,") for quote in quotes for part in re.split("…|SOL", quote)]
    assert any(parts)
    assert [part for part in parts if part not in said] == []
