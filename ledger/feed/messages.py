"""What a message of a topic says: movements, or how far a source is complete. No connection in sight."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any, NamedTuple, TypeAlias

from pydantic import AfterValidator, BeforeValidator, Field, ValidationError

from ledger.feed.reading import (
    ID_LENGTH_MAX,
    MOVEMENTS_MAX,
    Arrived,
    Reason,
    SentMovement,
    arrived,
    check_id,
)
from ledger.feed.sources import check_source_name
from ledger.movements import CLOCKS_DIFFER_BY_MAX
from staking.models import Instant, Model

MESSAGE_BYTES_MAX = 1_048_576
"""As many as a request over HTTP may have."""
KEPT_BYTES_MAX = 4_096
"""So much of a message that says nothing is kept; the whole of it is in the topic."""
_FAULTS_TOLD_MAX = 3


class Mark(NamedTuple):
    """A source's word that it has sent, in this partition, everything that happened before an instant."""

    source: str
    complete_through: datetime


class Unreadable(NamedTuple):
    """A message of which nothing can be posted."""

    reason: Reason
    content: str
    """Its beginning, as text that any database can keep."""
    size_bytes: int


Said: TypeAlias = Sequence[Arrived] | Mark | Unreadable


@dataclass(frozen=True)
class Message:
    """A message of one partition."""

    partition: int
    read_from: int
    """The offset from which its partition was to be read when it came: after the message before it."""
    offset: int
    said: Said
    written_at: float | None = None
    """When it was written, in seconds since 1970-01-01 UTC, by the clock of whoever wrote it."""

    @property
    def open_group(self) -> str | None:
        """The group of a movement that stands alone in its message, and whose other legs may be in the next."""
        if isinstance(self.said, Mark | Unreadable) or len(self.said) != 1:
            return None
        return self.said[0].sent.group


def _text(value: object) -> object:
    # pydantic would also read a number, of seconds or of milliseconds.
    if not isinstance(value, str):
        raise ValueError("an instant is text such as 2026-10-02T00:00:00Z")
    return value


_Id = Annotated[str, Field(min_length=1, max_length=ID_LENGTH_MAX), AfterValidator(check_id)]


class _Movement(Model):
    id: _Id
    user: str
    asset: str
    amount: str
    at: str
    group: _Id | None = None

    def sent(self) -> SentMovement:
        return SentMovement(self.id, self.user, self.asset, self.amount, self.at, self.group)


class _Movements(Model):
    movements: list[_Movement] = Field(min_length=1, max_length=MOVEMENTS_MAX)


class _Mark(Model):
    source: Annotated[str, AfterValidator(check_source_name)]
    complete_through: Annotated[Instant, BeforeValidator(_text)]


def said_in(value: bytes | None, now: datetime) -> Said:
    """What a message says that was read at ``now``: the JSON of a movement, ``{"movements": [...]}`` as POST
    /v1/movements takes it, or ``{"source": ..., "complete_through": ...}``."""
    if not value:
        return _unreadable(b"", "message_empty", "the message is empty")
    if len(value) > MESSAGE_BYTES_MAX:
        sentence = f"the message has {len(value)} bytes, and at most {MESSAGE_BYTES_MAX} are read"
        return _unreadable(value, "message_too_large", sentence)
    try:
        content: Any = json.loads(value)
    except (ValueError, RecursionError) as error:
        return _unreadable(value, "message_not_json", f"the message is not JSON: {error}")
    if not isinstance(content, dict):
        return _unreadable(value, "message_malformed", "the message is JSON, but no object")
    try:
        if "source" in content:
            return _mark(value, _Mark.model_validate(content), now)
        if "movements" in content:
            return [arrived(one.sent(), now) for one in _Movements.model_validate(content).movements]
        return [arrived(_Movement.model_validate(content).sent(), now)]
    except ValidationError as error:
        return _unreadable(value, "message_malformed", _told(error))


def _mark(value: bytes, mark: _Mark, now: datetime) -> Said:
    through = mark.complete_through
    if through > now + CLOCKS_DIFFER_BY_MAX:
        sentence = f"{through.isoformat()} is in the future; a source is complete through what has happened"
        return _unreadable(value, "in_the_future", sentence)
    return Mark(mark.source, through)


def _told(error: ValidationError) -> str:
    faults = error.errors(include_url=False, include_context=False, include_input=False)
    told = [
        f"{'.'.join(_plain(str(part)) for part in fault['loc'])}: {fault['msg'].removeprefix('Value error, ')}"
        for fault in faults[:_FAULTS_TOLD_MAX]
    ]
    if len(faults) > len(told):
        told.append(f"and {len(faults) - len(told)} more")
    return f"the message is neither a movement nor a source's word: {'; '.join(told)}"


def _unreadable(value: bytes, code: str, sentence: str) -> Unreadable:
    text = value[:KEPT_BYTES_MAX].decode(errors="backslashreplace")
    return Unreadable(Reason(code, _plain(sentence)), _plain(text), len(value))


def _plain(text: str) -> str:
    """Text that any database can keep: what cannot be printed is shown by its number."""
    if text.isprintable():
        return text
    return "".join(sign if sign.isprintable() else sign.encode("unicode_escape").decode() for sign in text)
