"""If something is changed without our code, the audit reports exactly the breaches that follow."""

import re
from collections.abc import Mapping
from pathlib import Path

import databases
import pytest
from tamperings import TAMPERINGS
from tamperings.acting import NAMED, NAMED_AFTERWARDS, twice
from world import World, breaches_of, tamper

from ledger.auditing.checks import CHECKS, Check

pytestmark = pytest.mark.on_both_databases


def looked_up(folder: Path, named: Mapping[str, str]) -> dict[str, object]:
    return {name: databases.raw(folder, f"SELECT {query}")[0][0] for name, query in named.items()}


@pytest.mark.parametrize("what", TAMPERINGS)
async def test_exactly_what_follows_from_a_tampering_is_reported(rich: World, tmp_path: Path, what: str) -> None:
    tampering = TAMPERINGS[what]
    doubles = twice(*tampering.doubles) if tampering.doubles else []
    named = looked_up(tmp_path, NAMED)
    tamper(tmp_path, *tampering.statements, *doubles)
    named |= looked_up(tmp_path, NAMED_AFTERWARDS)

    found = await rich.audit()

    assert breaches_of(found) == sorted(breach.format(**named) for breach in tampering.breaches)


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.promise)
def test_every_promise_is_broken_by_a_tampering(check: Check) -> None:
    said = re.compile(".*".join(map(re.escape, re.split(r"\{\w+\}", f"{check.invariant}: {check.says}"))))
    assert any(said.fullmatch(breach) for tampering in TAMPERINGS.values() for breach in tampering.breaches)
