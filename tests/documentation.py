"""The pages of the documentation, and what tests read in them."""

import re
import shlex
from pathlib import Path

from world import ROOT

README = ROOT / "README.md"
RULES = ROOT / "docs" / "rules.md"
ARCHITECTURE = ROOT / "docs" / "architecture.md"
CONNECT = ROOT / "docs" / "connect.md"
RUNNING = ROOT / "docs" / "running-workers.md"
HTTP_API = ROOT / "docs" / "http-api.md"
TERMINOLOGY = ROOT / "docs" / "terminology.md"
OPERATIONS = ROOT / "docs" / "operations.md"
DECISIONS = ROOT / "docs" / "decisions"
PAGES = [README, *sorted((ROOT / "docs").rglob("*.md"))]
TEXT = {page: page.read_text(encoding="utf-8") for page in PAGES}


def fenced(page: Path, language: str) -> list[str]:
    """The code blocks of a page in a language."""
    return re.findall(rf"^ *```{language}\n(.*?)^ *```$", TEXT[page], flags=re.M | re.S)


def commands_in(block: str) -> list[list[str]]:
    """The arguments of each command of a block that is to be typed."""
    lines = [shlex.split(line, comments=True) for line in block.replace("\\\n", " ").splitlines()]
    assert all(line[:2] == [".venv/bin/python", "starter.py"] for line in lines), block
    return [line[2:] for line in lines]


def make_run() -> list[str]:
    """What `make run` gives to worker.py."""
    recipe = re.search(
        r"^run:.*\n\t@\$\(BIN\)/python worker\.py --dev (.*)$", (ROOT / "Makefile").read_text(), re.M
    )
    assert recipe is not None
    return shlex.split(recipe[1])


def slug(heading: str) -> str:
    """The anchor of a heading."""
    return re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-")


def table(page: Path, first_column: str) -> list[list[str]]:
    """The rows of the table whose header begins with that column, without code marks."""
    rows = TEXT[page].split(f"\n| {first_column} |", 1)[1].split("\n\n", 1)[0].splitlines()[2:]
    return [[cell.strip().replace("`", "") for cell in row.strip("|").split("|")] for row in rows]


def decisions() -> dict[str, Path]:
    """The pages of the decisions by number."""
    return {page.name[:4]: page for page in sorted(DECISIONS.glob("[0-9]*.md"))}
