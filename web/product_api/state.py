"""What a user's loop does, as a code with its parameters, for programs."""

from enum import StrEnum

from pydantic import BaseModel, Field

from contract.live_status import WAITING_FOR_POOL, WAITING_FOR_SOURCE, waited_for


class StateCode(StrEnum):
    """Every code there is."""

    STARTING = "starting"
    SLEEPING = "sleeping"
    PROCESSING = "processing"
    WAITING_FOR_POOL = "waiting_for_pool"
    WAITING_FOR_SOURCE = "waiting_for_source"
    BLOCKED = "blocked"
    HELD = "held"
    IDLE = "idle"
    NOT_RUNNING = "not_running"
    ENDED = "ended"
    NOT_ENROLLED = "not_enrolled"
    UNKNOWN = "unknown"


class State(BaseModel):
    """What a user's loop does."""

    code: StateCode
    parameters: dict[str, list[str]] = Field(
        description="`assets` where it waits for pools, `sources` where it waits for sources; else none."
    )


_WAITS = {
    WAITING_FOR_POOL: (StateCode.WAITING_FOR_POOL, "assets"),
    WAITING_FOR_SOURCE: (StateCode.WAITING_FOR_SOURCE, "sources"),
}


def state_in(text: str) -> State:
    """The code of a state that is given in words, as workflows tell it. Words of a later version are unknown."""
    for words, (code, name) in _WAITS.items():
        if names := waited_for(text, words):
            return State(code=code, parameters={name: names})
    try:
        return State(code=StateCode(text.replace(" ", "_")), parameters={})
    except ValueError:
        return State(code=StateCode.UNKNOWN, parameters={})
