"""Workflows live for years: today's code goes on with what earlier code began."""

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
from world import ROOT

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


@pytest.mark.parametrize("story", STORIES, ids=lambda story: story.name)
async def test_a_story_told_today_makes_the_commands_that_its_latest_golden_has(story: Story) -> None:
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
