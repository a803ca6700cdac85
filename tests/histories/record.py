"""Records golden histories: `make golden`, or PYTHONPATH=tests python -m histories.record [STORY ...].

A story is recorded when its commands have changed, or the fields in its payloads: as a new shape beside the old
ones, which stay. Nothing is recorded if an old shape does not replay: then the change needs workflow.patched
(docs/changing-workflows.md).
"""

import logging
from typing import Annotated

import databases
import typer
from histories.goldens import (
    Golden,
    all_goldens,
    diary_text,
    differences,
    fields,
    fingerprint,
    fingerprint_file,
    latest_goldens,
    replay_failure,
)
from histories.stories import STORIES, Story, histories_of
from temporalio.api.history.v1 import History

from commands import entrance
from running.process import CommandFailed, run, say

app = typer.Typer(pretty_exceptions_enable=False, add_completion=False)


@app.command()
def record(
    stories: Annotated[
        list[str] | None, typer.Argument(metavar="[STORY]...", help="By default all of them.")
    ] = None,
    replace: Annotated[
        bool,
        typer.Option(
            "--replace", help="Overwrite the latest shape of a story: for one with which no workflow ever ran."
        ),
    ] = False,
) -> None:
    """Record the golden histories of stories that have another shape than before, and write all diaries anew."""
    known = {story.name: story for story in STORIES}
    if unknown := set(stories or ()) - set(known):
        raise typer.BadParameter(f"no story is called {', '.join(sorted(unknown))}; there are: {', '.join(known)}")
    run(_record([known[name] for name in stories or known], replace=replace))


async def _record(stories: list[Story], *, replace: bool) -> None:
    if not replace:
        await _check_that_all_replay()
    for story in stories:
        for name, history in (await histories_of(story)).items():
            _keep(name, history, replace=replace)
    await _check_that_all_replay()
    for golden in all_goldens():
        golden.diary_file.write_text(await diary_text(golden), encoding="utf-8")


def _keep(name: str, history: History, *, replace: bool) -> None:
    latest, today = latest_goldens().get(name), fingerprint(history)
    if latest is None:
        golden = Golden(name, 1)
    elif differences(fingerprint(latest.history), today) or fields(latest.history) != fields(history):
        golden = latest if replace else Golden(name, latest.number + 1)
    else:
        say(f"{latest} is as it was")
        return
    golden.write(history)
    fingerprint_file(name).write_text(today, encoding="utf-8")
    say(f"{golden} recorded")


async def _check_that_all_replay() -> None:
    failures = {golden: await replay_failure(golden) for golden in all_goldens()}
    if broken := [str(golden) for golden, failure in failures.items() if failure]:
        raise CommandFailed(
            f"today's code does not replay {', '.join(broken)}, nor would it workflows that run: put the change "
            "behind workflow.patched (docs/changing-workflows.md)"
        )


if __name__ == "__main__":
    # Some stories need failures. They are not shown.
    logging.disable()
    databases.kind = databases.SQLITE
    entrance.main(app)
