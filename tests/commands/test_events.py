"""events: followed in a terminal, and old ones taken away."""

import json
from pathlib import Path

import pytest
from commandline import CommandLine

from contract.events import CloudEvent


@pytest.fixture
def told(alone: CommandLine) -> CommandLine:
    alone.json("program", "apply", str(Path(__file__).parents[2] / "program.toml"))
    return alone


def test_events_are_printed_from_the_oldest_on_and_after_a_cursor(told: CommandLine) -> None:
    lines = told.run("events", "follow", "--no-wait", "--json").out.splitlines()
    (applied,) = [CloudEvent.model_validate_json(line) for line in lines]
    assert applied.type == "program.applied"
    shown = told.run("events", "follow", "--no-wait").out
    assert shown.startswith(f"{applied.cursor}  ")
    assert "  program.applied  -  {" in shown
    for option in (("--after", applied.cursor), ("--after", "newest"), ("--type", "reward.credited")):
        assert told.run("events", "follow", "--no-wait", *option).out == ""


def test_a_cursor_that_there_is_not_is_refused_and_what_is_none_is_wrong_usage(told: CommandLine) -> None:
    unknown = told.run("events", "follow", "--no-wait", "--after", "4711")
    assert (unknown.code, "there is no event 4711" in unknown.err) == (1, True)
    assert told.run("events", "follow", "--after", "soon").code == 2
    assert told.run("events", "follow", "--type", "reward").code == 2


def test_young_events_are_not_taken_away(told: CommandLine) -> None:
    assert told.json("events", "prune") == {"removed": 0, "waits_for": []}
    assert told.run("events", "prune").out == "0 events older than 90 days are removed\n"
    assert len(told.run("events", "follow", "--no-wait").out.splitlines()) == 1


def test_the_schema_of_an_event_is_printed(told: CommandLine) -> None:
    assert json.loads(told.run("events", "schema", "day.delayed").out)["title"] == "day.delayed"
    assert told.run("events", "schema", "day").code == 2
