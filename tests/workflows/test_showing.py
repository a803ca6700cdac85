"""What a workflow shows of itself follows from what its run knows and from what its loop does."""

from datetime import UTC, date, datetime, timedelta

import pytest

from contract.acts import Hold
from contract.answers import End, Receipt
from contract.live_status import Blocked
from contract.recollection import Enrolment, Noted, Recollection, RunSettings, SearchAttributeUse
from staking.models import PoolShort
from workflows.showing import (
    Held,
    Idle,
    LoopState,
    Processing,
    Refused,
    Sleeping,
    Starting,
    UserState,
    current_details,
    pools_waited_for,
    state_of,
    state_text,
    status,
    to_note,
)

DAY = date(2026, 10, 2)
BOUNDARY = datetime(2026, 10, 3, tzinfo=UTC)
ACTIVATED = datetime(2026, 10, 1, 10, tzinfo=UTC)
HOLD = Hold(held_at=ACTIVATED, operator="anna", reason="ticket | 4711\nand more")
END = End(enrolment_id="1", ended_at=BOUNDARY, last_accrual_day=DAY, owed_days=0, reason="enough")
BLOCKED = Blocked(step="credit", day=DAY, message="an account would pass 90 billion")
SHORT = PoolShort(day=DAY, assets=["BNB", "SOL"])
ASLEEP = Sleeping(DAY, BOUNDARY)
WRITES = RunSettings(search_attributes=SearchAttributeUse.ALL)
ENROLMENT = Enrolment(
    receipt=Receipt(
        enrolment_id="1",
        activated_at=ACTIVATED,
        first_snapshot_at=BOUNDARY - timedelta(days=1),
        first_reward_from=BOUNDARY,
        first_reward_until=BOUNDARY + timedelta(hours=8),
    ),
    next_day=DAY,
    region="FR",
)
NOBODY = Recollection(settings=WRITES, noted=Noted())
ENROLLED = NOBODY.model_copy(update={"enrolments": [ENROLMENT]})
ENDED = NOBODY.model_copy(update={"last_end": END})
LOOP_STATES: list[LoopState] = [Starting(), ASLEEP, Processing(), SHORT, BLOCKED, Refused()]


def noted(user: Recollection, state: str | None) -> Recollection:
    return user.with_noted(Noted(state=state, region="FR", held=False))


def table(details: str) -> dict[str, str]:
    rows = [row.replace("\N{NO-BREAK SPACE}", " ").strip("| ").split(" | ", 1) for row in details.splitlines()]
    return {row[0].strip(): row[1].strip() for row in rows if len(row) == 2}


@pytest.mark.parametrize(
    ("state", "text"),
    [
        (Starting(), "starting"),
        (ASLEEP, "sleeping"),
        (Processing(), "processing"),
        (PoolShort(day=DAY, assets=["SOL"]), "waiting for pool SOL"),
        (SHORT, "waiting for pool BNB, SOL"),
        (BLOCKED, "blocked"),
        (Held(HOLD), "held"),
        (Idle(), "idle"),
        (Refused(), "idle"),
    ],
    ids=str,
)
def test_a_state_has_the_text_that_programs_read(state: UserState, text: str) -> None:
    assert state_text(state) == text
    assert pools_waited_for(text) == (state.assets if isinstance(state, PoolShort) else [])


@pytest.mark.parametrize("loop", LOOP_STATES, ids=state_text)
def test_a_hold_is_seen_immediately_and_gone_with_its_release(loop: LoopState) -> None:
    assert state_of(ENROLLED.with_hold(HOLD), loop) == Held(HOLD)
    assert state_of(ENROLLED, loop) == loop


@pytest.mark.parametrize("loop", LOOP_STATES, ids=state_text)
def test_a_user_with_nothing_unfinished_is_idle_whatever_the_loop_did_last(loop: LoopState) -> None:
    for user in (NOBODY, ENDED, ENDED.with_hold(HOLD)):
        told = status(user, loop, BOUNDARY)
        assert (told.state, told.enrolment_id, told.day_in_progress, told.next_boundary, told.blocked) == (
            "idle",
            None,
            None,
            None,
            None,
        )


def test_a_status_shows_what_blocks_a_user_who_is_also_held() -> None:
    told = status(ENROLLED.with_hold(HOLD), BLOCKED, BOUNDARY)
    assert (told.state, told.hold, told.blocked) == ("held", HOLD, BLOCKED)


@pytest.mark.parametrize(
    ("now", "boundary"),
    [(ACTIVATED, BOUNDARY), (BOUNDARY, BOUNDARY + timedelta(days=1)), (BOUNDARY - timedelta(seconds=1), BOUNDARY)],
)
def test_the_next_boundary_is_the_first_one_that_is_still_to_come(now: datetime, boundary: datetime) -> None:
    assert status(ENROLLED, ASLEEP, now).next_boundary == boundary


@pytest.mark.parametrize(
    ("user", "loop", "waits_for"),
    [
        (ENROLLED, ASLEEP, "the boundary"),
        (
            ENROLLED,
            Sleeping(DAY, BOUNDARY + timedelta(minutes=7)),
            "its turn after the boundary, 2026-10-03 00:07:00 UTC",
        ),
        (ENROLLED, SHORT, "the pool BNB, SOL to be funded; it is asked again by itself"),
        (ENROLLED, BLOCKED, "a retry of credit of 2026-10-02: an account would pass 90 billion"),
        (
            ENROLLED.with_hold(HOLD),
            BLOCKED,
            "a release: held by anna since 2026-10-01 10:00:00 UTC: ticket \\| 4711 and more",
        ),
        (
            ENDED.with_hold(HOLD),
            Starting(),
            "a release: held by anna since 2026-10-01 10:00:00 UTC: ticket \\| 4711 and more",
        ),
        (ENROLLED, Processing(), None),
        (ENROLLED, Starting(), None),
        (ENDED, BLOCKED, None),
    ],
)
def test_the_details_say_what_is_waited_for(user: Recollection, loop: LoopState, waits_for: str | None) -> None:
    assert table(current_details("ann", user, loop)).get("waits for") == waits_for


def test_the_details_are_a_table_of_now() -> None:
    user = ENROLLED.model_copy(update={"credited": {"SOL": 26301}, "last_credited_day": date(2026, 10, 1)})
    assert table(current_details("ann", user, ASLEEP)) == {
        "Soft Staking": "of user ann",
        "state": "sleeping",
        "active since": "2026-10-01 10:00:00 UTC",
        "last credited day": "2026-10-01",
        "day in progress": "2026-10-02",
        "next boundary": "2026-10-03 00:00:00 UTC",
        "credited so far": "0.00026301 SOL",
        "waits for": "the boundary",
    }


@pytest.mark.parametrize(
    ("user", "loop", "state"),
    [
        (ENROLLED, Starting(), "earning"),
        (ENROLLED, ASLEEP, "earning"),
        (ENROLLED, SHORT, "waiting_for_pool"),
        (ENROLLED, BLOCKED, "blocked"),
        (ENROLLED.with_hold(HOLD), BLOCKED, "blocked"),
        (noted(ENROLLED, "blocked"), Processing(), "blocked"),
        (noted(ENROLLED, "waiting_for_pool"), Processing(), "waiting_for_pool"),
        (noted(ENROLLED, "blocked"), ASLEEP, "earning"),
        (noted(ENROLLED, "ended"), Processing(), "earning"),
        (noted(ENDED, "earning"), ASLEEP, "ended"),
        (NOBODY, Starting(), None),
        (NOBODY, Refused(), "refused"),
        (ENDED, Refused(), "ended"),
    ],
)
def test_a_step_under_way_leaves_the_state_by_which_operators_look_for_a_user(
    user: Recollection, loop: LoopState, state: str | None
) -> None:
    assert to_note(user, loop).state == state


def test_an_ended_user_is_looked_for_where_the_enrolment_was() -> None:
    assert to_note(noted(ENDED, "earning"), Processing()) == Noted(
        state="ended", region="FR", held=False, end_reason="enough"
    )


def test_a_run_that_writes_no_search_attributes_leaves_them_as_they_were() -> None:
    written = Noted(state="blocked", region="DE", held=True)
    user = ENROLLED.model_copy(update={"settings": RunSettings(), "noted": written})
    assert to_note(user, ASLEEP) == written
