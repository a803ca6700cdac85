"""The documentation says what the code does: commands, settings, links, numbers."""

import ast
import csv
import re
import shlex
import tomllib
from datetime import datetime, timedelta
from pathlib import Path

import pytest
import typer.main
from documentation import (
    ARCHITECTURE,
    DECISIONS,
    PAGES,
    README,
    RULES,
    RUNNING,
    TEXT,
    decisions,
    fenced,
    slug,
    table,
)
from world import ROOT

import starter
import worker
from contract.recollection import DAYS_PER_RUN
from ledger.imports.history_export import parse_export
from ledger.reading.statement_text import STATEMENT_COLUMNS
from running import installation
from staking.average import day_holding
from staking.days import ONE_DAY, end_of, start_of
from staking.money import MAX_ACCOUNT_UNITS, UNITS_PER_TOKEN, format_amount, parse_amount
from staking.program import AssetTerms, parse_program
from staking.rewards import outcome_and_reward
from web.health import ANSWERS_WITHIN_S
from workflows.executing import AT_ONCE_TIMEOUT, STEP_TIMEOUT
from workflows.soft_staking import POOL_ASKED_AGAIN_AFTER, POOL_ASKED_AGAIN_AFTER_MAX

ENTRANCES = {"starter": starter.app, "worker": worker.app}


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


@pytest.mark.parametrize("command", shown_commands())
def test_every_shown_command_is_accepted_as_written(command: str) -> None:
    program, *arguments = shlex.split(command.removeprefix(".venv/bin/python "))
    known = typer.main.get_command(ENTRANCES[program.removesuffix(".py")])
    while isinstance(known, typer.main.TyperGroup):
        known = known.commands[arguments.pop(0)]
    known.make_context(program, arguments)


def test_the_readme_is_short() -> None:
    assert len(TEXT[README].splitlines()) <= 200


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


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_file_that_a_page_names_with_its_folder_exists(page: Path) -> None:
    named = re.findall(r"`([\w.-]+(?:/[\w.-]+)+\.(?:py|toml|yaml|yml|json|csv|html))`", TEXT[page])
    assert [name for name in named if not (ROOT / name).exists() and "NAME" not in name] == []


@pytest.mark.parametrize(
    ("page", "module", "function"),
    [
        (page, module, function)
        for page in PAGES
        for module, names in re.findall(r"`((?:[a-z_]+/)+[a-z_]+\.py)`: ((?:`\w+`(?:, | and )?)+)", TEXT[page])
        for function in re.findall(r"\w+", names)
        if function != "and"
    ],
)
def test_every_function_that_a_page_names_in_a_file_is_there(page: Path, module: str, function: str) -> None:
    assert re.search(rf"\b{function}\b", (ROOT / module).read_text(encoding="utf-8")), f"{page.name} names it"


@pytest.mark.parametrize("number", decisions())
def test_a_decision_has_its_five_parts_on_one_page_and_stands_in_the_index(number: str) -> None:
    page = decisions()[number]
    title, *parts = re.findall(r"^#+ (.+)$", TEXT[page], flags=re.M)
    assert title.startswith(f"{number}: ")
    assert parts == ["Context", "Decision", "Consequences", "What else was considered", "References"]
    assert "](https://" in TEXT[page].split("## References")[1]
    assert len(TEXT[page].splitlines()) <= 60
    assert f"| [{number}]({page.name}) |" in TEXT[DECISIONS / "README.md"]


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


def test_the_order_of_the_statements_columns_is_promised_and_new_ones_come_last() -> None:
    assert ",".join(STATEMENT_COLUMNS).startswith(
        "day,asset,opening,closing,average,minimum,cap,apr,reward,outcome,credited_at,late,reference_value_usdt,"
        "entry_id,reversed_by"
    )


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
            for room in ("commands", "contract", "running", "temporal", "workflows")
            for file in (ROOT / room).glob("*.py")
        ),
    ]
    said = "".join(file.read_text(encoding="utf-8") for file in files)
    quotes = [quote for row in table(ARCHITECTURE, "what fails") for quote in re.findall(r'"([^"]+)"', row[1])]
    parts = [part.strip(" ,") for quote in quotes for part in re.split("…|SOL", quote)]
    assert any(parts)
    assert [part for part in parts if part not in said] == []
