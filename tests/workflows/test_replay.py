"""Workflows live for years: today's code goes on with what earlier code began."""

from collections.abc import Callable, MutableMapping
from typing import TypeAlias

import pytest
from histories.goldens import (
    Golden,
    all_goldens,
    diary_text,
    differences,
    fingerprint,
    fingerprint_file,
    latest_goldens,
    replay_failure,
)
from histories.stories import STORIES, Story, histories_of
from temporalio.api.common.v1 import Payload
from temporalio.api.history.v1 import HistoryEvent
from world import ROOT

from workflows.search_attributes import ALL_KEYS

GOLDENS = all_goldens()
DOES_NOT_REPLAY = """
Today's code does not replay {golden}: workflows that are where it is would stand still on a worker with this code.
Put the change behind workflow.patched, so that they take the old path: docs/changing-workflows.md says how.

{failure}
"""
WHAT_TO_DO = """
The workflow makes other commands than before in the story {name}:

{differences}

Workflows that run have the commands as committed in their histories, and this code must replay them. If the change
is not meant, take it back. If it is, docs/changing-workflows.md says how to make it safely; in short: put it
behind workflow.patched, see that the old goldens still replay, and record the new shape with `make golden`.
"""


@pytest.mark.parametrize("golden", GOLDENS, ids=str)
async def test_todays_code_replays_what_earlier_code_began(golden: Golden) -> None:
    failure = await replay_failure(golden)
    assert failure is None, DOES_NOT_REPLAY.format(golden=golden, failure=failure)


ChangeOfShown: TypeAlias = Callable[[HistoryEvent], None]


def shown_at_the_start(event: HistoryEvent) -> MutableMapping[str, Payload]:
    return event.workflow_execution_started_event_attributes.search_attributes.indexed_fields


def without_any(event: HistoryEvent) -> None:
    shown_at_the_start(event).clear()


def without(name: str) -> ChangeOfShown:
    def change(event: HistoryEvent) -> None:
        shown_at_the_start(event).pop(name, None)

    return change


def renamed(event: HistoryEvent) -> None:
    shown = shown_at_the_start(event)
    for name in list(shown):
        shown[f"Former{name}"].CopyFrom(shown.pop(name))


def of_another_type(event: HistoryEvent) -> None:
    for value in shown_at_the_start(event).values():
        value.metadata["type"] = b"Datetime"
        value.data = b'"2026-10-01T00:00:00Z"'


def with_others(event: HistoryEvent) -> None:
    value = Payload(metadata={"encoding": b"json/plain", "type": b"Keyword"}, data=b'"elsewhere"')
    for name in ("AnotherTeams", *(key.name for key in ALL_KEYS if key.name not in shown_at_the_start(event))):
        shown_at_the_start(event)[name].CopyFrom(value)


CHANGES: list[tuple[Golden, str, ChangeOfShown]] = [
    *((golden, "others", with_others) for golden in GOLDENS),
    *(
        (golden, name, change)
        for golden in GOLDENS
        if golden.shows
        for name, change in (
            ("none", without_any),
            *((f"no {shown}", without(shown)) for shown in golden.shows),
            ("renamed", renamed),
            ("of another type", of_another_type),
        )
    ),
]


@pytest.mark.parametrize(
    ("golden", "change"),
    [(golden, change) for golden, _, change in CHANGES],
    ids=[f"{golden}, {name}" for golden, name, _ in CHANGES],
)
async def test_a_run_goes_on_whatever_its_namespace_shows_of_its_search_attributes(
    golden: Golden, change: ChangeOfShown
) -> None:
    """The names that a run's first event shows depend on the names that the namespace has today."""
    failure = await replay_failure(golden, change)
    assert failure is None, DOES_NOT_REPLAY.format(golden=golden, failure=failure)


@pytest.mark.parametrize("story", STORIES, ids=lambda story: story.name)
async def test_a_story_that_runs_today_makes_the_commands_of_its_latest_golden(story: Story) -> None:
    for name, history in (await histories_of(story)).items():
        committed = fingerprint_file(name).read_text(encoding="utf-8")
        found = differences(committed, fingerprint(history))
        assert not found, WHAT_TO_DO.format(name=name, differences=found)


@pytest.mark.parametrize("golden", latest_goldens().values(), ids=str)
def test_a_fingerprint_is_that_of_the_latest_golden(golden: Golden) -> None:
    assert fingerprint(golden.history) == fingerprint_file(golden.name).read_text(encoding="utf-8")


@pytest.mark.parametrize("golden", GOLDENS, ids=str)
async def test_the_diary_of_a_golden_reads_as_committed(golden: Golden) -> None:
    assert await diary_text(golden) == golden.diary_file.read_text(encoding="utf-8")


@pytest.mark.parametrize("golden", GOLDENS, ids=str)
def test_a_golden_names_nothing_of_the_machine_that_recorded_it(golden: Golden) -> None:
    text = golden.file.read_text(encoding="utf-8")
    assert not [word for word in ("identity", "stackTrace", "binaryChecksum", str(ROOT), "@") if word in text]
