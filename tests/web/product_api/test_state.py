"""The state of a loop is a code with parameters, whatever words the workflow has for it."""

from datetime import UTC, date, datetime

import pytest

from contract.acts import Hold
from contract.live_status import Blocked
from ledger.reading.doing import UNKNOWN
from staking.models import PoolShort, SourceLate
from web.product_api.state import StateCode, state_in
from workflows.showing import Held, Idle, Processing, Refused, Sleeping, Starting, UserState, state_text

DAY = date(2026, 10, 2)
NOW = datetime(2026, 10, 3, tzinfo=UTC)


@pytest.mark.parametrize(
    ("state", "code", "parameters"),
    [
        (Starting(), StateCode.STARTING, {}),
        (Sleeping(DAY, NOW), StateCode.SLEEPING, {}),
        (Processing(), StateCode.PROCESSING, {}),
        (PoolShort(day=DAY, assets=["SOL"]), StateCode.WAITING_FOR_POOL, {"assets": ["SOL"]}),
        (
            PoolShort(day=DAY, assets=["A,B", "币安人生"]),
            StateCode.WAITING_FOR_POOL,
            {"assets": ["A,B", "币安人生"]},
        ),
        (
            SourceLate(day=DAY, sources=["wallet", "spot"]),
            StateCode.WAITING_FOR_SOURCE,
            {"sources": ["wallet", "spot"]},
        ),
        (Blocked(step="close", day=DAY, message="no"), StateCode.BLOCKED, {}),
        (Held(Hold(held_at=NOW, operator="ann", reason="a check")), StateCode.HELD, {}),
        (Idle(), StateCode.IDLE, {}),
        (Refused(), StateCode.IDLE, {}),
    ],
)
def test_every_state_of_a_workflow_has_its_code(
    state: UserState, code: StateCode, parameters: dict[str, list[str]]
) -> None:
    found = state_in(state_text(state))

    assert (found.code, found.parameters) == (code, parameters)


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("not running", StateCode.NOT_RUNNING),
        ("ended", StateCode.ENDED),
        ("not enrolled", StateCode.NOT_ENROLLED),
        (UNKNOWN.state, StateCode.UNKNOWN),
        ("dreaming of a later version", StateCode.UNKNOWN),
    ],
)
def test_words_of_the_ledger_and_of_nobody_have_a_code_too(text: str, code: StateCode) -> None:
    assert (state_in(text).code, state_in(text).parameters) == (code, {})
