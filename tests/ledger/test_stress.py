"""Several processes do the same work on one ledger at the same time, and some are killed in the middle of it.

To look further, use other seeds. A seed does not decide in which order the processes get their turns.
"""

import asyncio
import json
import os
import subprocess
import sys
from collections import defaultdict
from collections.abc import Mapping
from datetime import date
from itertools import count
from pathlib import Path
from signal import SIGKILL
from typing import Any

import databases
import pytest
from world import ROOT, World, a_world, program_with

from ledger.day.facts import fixed_snapshots
from ledger.events.horizon import LOOKS_EVERY_S
from ledger.events.reading import events_after
from staking.days import ONE_DAY
from staking.money import parse_amount

pytestmark = pytest.mark.on_both_databases

SEEDS = ("2026",)
PROCESSES = 4
DEADLINE_S = 300
"""The limit for a process, which is reached only if something waits for ever."""
EPOCH_DAY = date(1970, 1, 1)
TERMS = {"minimum": "1", "cap": "500", "apr": "0.5"}
OUT_OF_ORDER_MAY_BE = ("snapshot Ann", "snapshot dan 2026-10-06", "credit dan 2026-10-06")
"""Ann's days are also closed before it is their turn, and dan leaves on the last day."""
MAY_BE_OWED = {"dan 2026-10-06"}

Said = dict[str, Any]
"""A request and its answer."""


@pytest.mark.parametrize("seed", SEEDS)
async def test_the_same_work_of_many_processes_is_done_once_and_never_changes(tmp_path: Path, seed: str) -> None:
    async with a_world(tmp_path, program=None) as world:
        await world.apply(program_with("2020-01-01", SOL=TERMS, SUI=TERMS))

        work = asyncio.create_task(_all_do_their_work(tmp_path, seed))
        told = await _told_beside(work, world)
        said = await work

        _check_refusals(said)
        answered = _one_answer_each(said)
        await _check_entries(world, answered)
        await _check_days(world, answered)
        _check_told(told, answered)
        assert await _balances(world) == _sums(answered)
        audit = await world.audit()
        assert audit.is_clean, [breach for check in audit.checks for breach in check.breaches]


async def _all_do_their_work(folder: Path, seed: str) -> list[Said]:
    """All answers of all processes, over all their lives."""
    url = databases.url_in(folder)
    lives = await asyncio.gather(
        *(asyncio.to_thread(_live, url, folder, seed, number) for number in range(PROCESSES))
    )
    assert sum(lives) > PROCESSES, "nobody was killed"
    files = [folder / f"said by {number}" for number in range(PROCESSES)]
    return [json.loads(line) for file in files for line in file.read_text().splitlines()]


def _live(url: str, folder: Path, seed: str, number: int) -> int:
    """Starts a process again until it has done its work. Returns how many lives it took."""
    command = [sys.executable, str(Path(__file__).parent / "stress_process.py"), url, seed, str(number)]
    environment = os.environ | {"PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'tests'}"}
    said, errors = folder / f"said by {number}", folder / f"errors of {number}"
    for life in count(1):
        with said.open("ab") as out, errors.open("wb") as err:
            ended = subprocess.run(
                [*command, str(life)], env=environment, stdout=out, stderr=err, timeout=DEADLINE_S
            )
        if ended.returncode != -SIGKILL:
            assert ended.returncode == 0, errors.read_text()
            return life
    raise AssertionError("unreachable")


def _check_refusals(said: list[Said]) -> None:
    """In one order of requests a balance may allow a movement that it does not allow in another order."""
    for each in said:
        if each.get("refused") == "OutOfOrder":
            assert each["request"].startswith(OUT_OF_ORDER_MAY_BE), each
        elif "refused" in each:
            assert each["refused"] == "InsufficientBalance", each
            assert each["kind"] in ("entry", "reversal"), each


def _one_answer_each(said: list[Said]) -> list[Said]:
    """The answer that each request got from every process that made it."""
    answered: dict[str, Said] = {}
    for each in said:
        if "answer" in each:
            assert answered.setdefault(each["request"], each) == each
    return list(answered.values())


def _of_kind(answered: list[Said], *kinds: str) -> dict[str, Said]:
    return {said["request"]: said for said in answered if said["kind"] in kinds}


async def _check_entries(world: World, answered: list[Said]) -> None:
    """Each request has the entry of its answer, and there is no entry that was in no answer."""
    stored = dict(await world.sql("SELECT idempotency_key, entry_id FROM entries WHERE kind <> 'movement'"))
    stored.pop(None, None)
    assert stored.keys() == _of_kind(answered, "entry", "funding").keys()
    for key, said in _of_kind(answered, "entry").items():
        assert said["answer"]["entry_id"] == stored[key]
        assert said["answer"]["changes"] == said["changes"]
    reversals = await world.sql("SELECT reverses, entry_id FROM entries WHERE reverses IS NOT NULL")
    told = _of_kind(answered, "reversal").values()
    assert dict(reversals) == {said["reverses"]: said["answer"]["entry_id"] for said in told}
    assert await world.sql("SELECT count(*) FROM entries WHERE kind = 'movement'") == [(len(_lines(answered)),)]


async def _check_days(world: World, answered: list[Said]) -> None:
    """Every snapshot is as it was answered; every accrual day is credited once, by the entry that was answered."""
    rows = await world.sql("SELECT user_id, day, accrues, credited_at, entry_id FROM days")
    days = {f"{row.user_id} {EPOCH_DAY + row.day * ONE_DAY}": row for row in rows}
    snapshots = _of_kind(answered, "snapshot")
    assert snapshots.keys() == {f"snapshot {name}" for name in days}
    async with world.ledger.read() as connection:
        for said in snapshots.values():
            day, user = date.fromisoformat(said["day"]), said["user"]
            stored = (await fixed_snapshots(connection, day, [user]))[user]
            assert stored.model_dump(mode="json") == said["answer"]
    credited = {f"credit {name}": row.entry_id for name, row in days.items() if row.credited_at is not None}
    told = {name: said["answer"]["entry_id"] for name, said in _of_kind(answered, "credit").items()}
    assert told == credited
    assert {name for name, row in days.items() if row.accrues and row.credited_at is None} <= MAY_BE_OWED
    paid = await world.sql("SELECT entry_id FROM entries WHERE kind = 'reward'")
    assert sorted(entry_id for (entry_id,) in paid) == sorted(filter(None, told.values()))


def _lines(answered: list[Said]) -> set[str]:
    return {line for said in _of_kind(answered, "import").values() for line in said["lines"]}


async def _told_beside(work: asyncio.Task[Any], world: World) -> list[str]:
    """The events that one reader is given beside the work, from cursor to cursor, by their ids."""
    cursor, told = 0, list[str]()
    while True:
        is_last = work.done()
        page = await events_after(world.ledger, cursor, limit=5)
        told += [event.event_id for event in page.events]
        cursor = page.cursor
        if is_last and not page.events:
            return told
        await asyncio.wait({work}, timeout=LOOKS_EVERY_S)


def _check_told(told: list[str], answered: list[Said]) -> None:
    """Whatever was killed: every credit was told once, each user's in order, and every reversed reward."""
    told_credits = [event_id for event_id in told if event_id.startswith("reward.credited/")]
    assert sorted(told_credits) == sorted(
        f"reward.credited/{said['user']}/{said['request'].split()[-1]}"
        for said in _of_kind(answered, "credit").values()
    )
    for user in {event_id.split("/")[1] for event_id in told_credits}:
        of_user = [event_id for event_id in told_credits if event_id.split("/")[1] == user]
        assert of_user == sorted(of_user)
    rewards = {said["answer"]["entry_id"] for said in _of_kind(answered, "credit").values()}
    reversals = _of_kind(answered, "reversal").values()
    assert sorted(event_id for event_id in told if event_id.startswith("reward.reversed/")) == sorted(
        f"reward.reversed/{said['answer']['entry_id']}" for said in reversals if said["reverses"] in rewards
    )


async def _balances(world: World) -> dict[tuple[str, str], int]:
    rows = await world.sql("SELECT coalesce(user_id, kind), asset, balance FROM accounts WHERE balance <> 0")
    return {(owner, asset): balance for owner, asset, balance in rows}


def _sums(answered: list[Said]) -> dict[tuple[str, str], int]:
    """What every user holds, added up from the answers."""
    sums: defaultdict[tuple[str, str], int] = defaultdict(int)
    rewards = {said["answer"]["entry_id"] for said in _of_kind(answered, "credit").values()}
    for said in answered:
        if said["kind"] in ("entry", "credit"):
            _add(sums, said["user"], said["changes"])
        if said["kind"] == "funding":
            _add(sums, "pool", said["changes"])
        if said["kind"] == "credit":
            _add(sums, "pool", said["changes"], sign=-1)
        if said["kind"] == "reversal":
            _add(sums, said["answer"]["user_id"] or "pool", said["answer"]["changes"])
            if said["reverses"] in rewards:
                _add(sums, "pool", said["answer"]["changes"], sign=-1)
    for line in _lines(answered):
        user, _, _, _, asset, tokens, _ = line.split(",")
        _add(sums, user, {asset: parse_amount(tokens)})
    return {whose: units for whose, units in sums.items() if units}


def _add(
    sums: defaultdict[tuple[str, str], int], owner: str, changes: Mapping[str, int], *, sign: int = 1
) -> None:
    for asset, units in changes.items():
        sums[owner, asset] += sign * units
