"""The pages of the documentation, and what tests read in them."""

import re
from pathlib import Path

from world import ROOT

README = ROOT / "README.md"
RULES = ROOT / "docs" / "rules.md"
ARCHITECTURE = ROOT / "docs" / "architecture.md"
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
