"""What a user's workflow shows of itself: its state in words, its current details, its search attributes.

Everything here is a pure function of what the run knows of its user (``Recollection``) and of what its loop does
just now (``LoopState``). Instants and days are UTC, and amounts are shown in tokens.
"""

from dataclasses import dataclass
from datetime import date, datetime
from typing import TypeAlias, assert_never

from contract.acts import Hold
from contract.live_status import (
    SLEEPING,
    WAITING_FOR_POOL,
    WAITING_FOR_SOURCE,
    Blocked,
    LiveStatus,
    waited_for,
    waiting,
)
from contract.recollection import Noted, Recollection
from staking.days import day_of, end_of
from staking.models import PoolShort, SourceLate
from workflows import search_attributes
from workflows.summaries import STEPS_OF_A_DAY, amounts_text, hold_text, instant_text


@dataclass(frozen=True)
class Starting:
    """The run has not come to a day yet."""


@dataclass(frozen=True)
class Sleeping:
    """The loop waits until ``day`` is over and it is the user's turn."""

    day: date
    wakes_at: datetime


@dataclass(frozen=True)
class Processing:
    """The loop is at the steps of a day that is over."""


@dataclass(frozen=True)
class Refused:
    """The run ends: its user's activation was refused, and the user was never enrolled."""


LoopState: TypeAlias = Starting | Sleeping | Processing | SourceLate | PoolShort | Blocked | Refused
"""What the loop of a run does just now. If it is blocked it waits for a retry; if a source is late or a pool is
short, it asks again by itself too."""


@dataclass(frozen=True)
class Held:
    """An operator holds the user, so that the loop takes no further step."""

    hold: Hold


@dataclass(frozen=True)
class Idle:
    """No enrolment is open and no day is owed."""


UserState: TypeAlias = LoopState | Held | Idle
"""How a user stands, as others see it."""


def state_of(user: Recollection, loop: LoopState) -> UserState:
    """How the user stands. A hold is seen immediately, although the loop may still wait for something else."""
    if user.first_unfinished is None:
        return Idle()
    return Held(user.hold) if user.hold is not None else loop


def state_text(state: UserState) -> str:
    """The state as queries, details and summaries name it. Programs read this text, so it must not change."""
    match state:
        case PoolShort(assets=assets):
            return waiting(WAITING_FOR_POOL, assets)
        case SourceLate(sources=sources):
            return waiting(WAITING_FOR_SOURCE, sources)
        case Starting():
            return "starting"
        case Sleeping():
            return SLEEPING
        case Processing():
            return "processing"
        case Blocked():
            return "blocked"
        case Held():
            return "held"
        case Idle() | Refused():
            return "idle"
        case _:
            assert_never(state)


def pools_waited_for(text: str) -> list[str]:
    """The assets whose pools a state waits for, read from its text; an empty list for any other state."""
    return waited_for(text, WAITING_FOR_POOL)


def status(user: Recollection, loop: LoopState, now: datetime) -> LiveStatus:
    """The answer to the query ``status`` at the instant ``now``."""
    first = user.first_unfinished
    return LiveStatus(
        state=state_text(state_of(user, loop)),
        enrolment_id=first and first.receipt.enrolment_id,
        day_in_progress=first and first.next_day,
        next_boundary=first and end_of(max(first.next_day, day_of(now))),
        blocked=loop if first and isinstance(loop, Blocked) else None,
        hold=user.hold,
    )


def current_details(user_id: str, user: Recollection, loop: LoopState) -> str:
    """How the user stands as a Markdown table, and below it what the workflow does every day.

    The summary and the details of a start are lost when its run continues as new, so these details must be enough.
    """
    state, enrolment = state_of(user, loop), user.first_unfinished
    rows = {
        "state": state_text(state),
        "active since": enrolment and instant_text(enrolment.receipt.activated_at),
        "last accrual day": enrolment and enrolment.last_accrual_day,
        "last credited day": user.last_credited_day or "none yet",
        "day in progress": enrolment and enrolment.next_day,
        "next boundary": instant_text(end_of(state.day)) if isinstance(state, Sleeping) else None,
        "credited so far": amounts_text(user.credited),
        "waits for": _what_it_waits_for(state, user.hold),
    }
    lines = [f"| {_name(name)} | {_cell(value)} |" for name, value in rows.items() if value is not None]
    heading = f"| {_name('Soft Staking')} | of user {user_id} |"
    return "\n".join([heading, "|:--|:--|", *lines, "", STEPS_OF_A_DAY])


def to_note(user: Recollection, loop: LoopState) -> Noted:
    """What the search attributes should say by now."""
    before, still_open = user.noted or Noted(), user.open_enrolment
    latest = still_open or user.first_unfinished
    return search_attributes.as_noted(
        before,
        user.settings.search_attributes,
        state=_state_to_note(user, loop, before.state),
        # Operators look for a user who has ended in the region where the enrolment was.
        region=latest.region if latest else before.region,
        hold=user.hold,
        end=None if still_open else user.last_end,
    )


def _state_to_note(user: Recollection, loop: LoopState, before: str | None) -> str | None:
    """None for a user who was neither enrolled nor refused. A step that is under way leaves it as it was."""
    if user.first_unfinished is None:
        if user.last_end is not None:
            return search_attributes.ENDED
        return search_attributes.REFUSED if isinstance(loop, Refused) else None
    match loop:
        case Blocked():
            return search_attributes.BLOCKED
        case PoolShort():
            return search_attributes.WAITING_FOR_POOL
        case SourceLate():
            return search_attributes.WAITING_FOR_SOURCE
        case Sleeping():
            return search_attributes.EARNING
        case Starting() | Processing() | Refused():
            return search_attributes.EARNING if before in (None, search_attributes.ENDED) else before
        case _:
            assert_never(loop)


def _what_it_waits_for(state: UserState, hold: Hold | None) -> str | None:
    """A hold is shown for a user without an enrolment too, since the next enrolment will wait for its release."""
    if hold is not None:
        return f"a release: {hold_text(hold)}"
    match state:
        case Blocked(step=step, day=day, message=message):
            return f"a retry of {step} of {day}: {message}"
        case SourceLate(sources=sources):
            return f"source {', '.join(sources)} to report the end of the day; it is asked again by itself"
        case PoolShort(assets=assets):
            return f"the pool {', '.join(assets)} to be funded; it is asked again by itself"
        case Sleeping(day=day, wakes_at=wakes_at):
            is_its_turn = wakes_at == end_of(day)
            return "the boundary" if is_its_turn else f"its turn after the boundary, {instant_text(wakes_at)}"
        case _:
            return None


def _name(name: str) -> str:
    """The name with blanks at which a browser does not break it, and one more that keeps the value away from
    it."""
    return f"{name} ".replace(" ", "\N{NO-BREAK SPACE}")


def _cell(value: object) -> str:
    """Text that comes from outside must end neither the cell nor the row."""
    return " ".join(str(value).split()).replace("|", "\\|")
