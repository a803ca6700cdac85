"""The query string of a signed request: its parameters, read strictly, and what its signature is over."""

import re
from collections.abc import Collection
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import TypeVar
from urllib.parse import unquote_to_bytes

from staking.program import ASSET_CODE_LENGTH_MAX, check_asset_code
from web.exchange_api import errors

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MILLISECOND = timedelta(milliseconds=1)
_MICROSECOND = timedelta(microseconds=1)
_LAST_US = (datetime.max.replace(tzinfo=UTC) - _EPOCH) // _MICROSECOND
_Value = TypeVar("_Value")
_INTEGER = "^[0-9]{1,20}$"
_MILLISECONDS = r"^[0-9]{1,20}(\.[0-9]{1,3})?$"
_ASSET = rf"^\S{{1,{ASSET_CODE_LENGTH_MAX}}}$"
_BOOLEANS = {"true": True, "false": False}
_SIGNATURE, _TIMESTAMP, _RECEIVE_WINDOW = "signature", "timestamp", "recvWindow"
_OF_EVERY_REQUEST = (_SIGNATURE, _TIMESTAMP, _RECEIVE_WINDOW)
_RECEIVE_WINDOW_US, _RECEIVE_WINDOW_US_MAX = 5_000_000, 60_000_000
_AHEAD_US = 1_000_000
_LAST_MILLISECOND = 100_000_000_000_000
"""A greater number is in microseconds. As milliseconds this number is in the year 5138, as microseconds in
1973."""


class SignedQuery:
    """The parameters of one request. Every method raises ExchangeError for a value that it cannot read.

    ``names`` are the endpoint's own parameters, beside those that every signed request has.
    """

    def __init__(self, raw: bytes, names: Collection[str]) -> None:
        parts = [part.partition(b"=") for part in raw.split(b"&") if part]
        sent = [(_decoded(name), value) for name, _, value in parts]
        self._values = dict(sent)
        if len(self._values) < len(sent):
            raise errors.duplicated()
        read = [name for name in self._values if name in names or name in _OF_EVERY_REQUEST]
        if len(read) < len(sent):
            raise errors.unread(len(read), len(sent))
        self._is_signed_last = bool(sent) and sent[-1][0] == _SIGNATURE
        self.payload = raw.rpartition(b"&")[0]
        """What the signature signs: everything before it, exactly as it came."""
        self.timestamp_us = microseconds(self._mandatory(_TIMESTAMP, self.integer(_TIMESTAMP)))
        self.receive_window_us = self._receive_window_us()
        self._mandatory(_SIGNATURE, self._text(_SIGNATURE))

    @property
    def signature(self) -> str:
        """The signature; empty if anything follows it, since that would not be signed. A plus sign need not be
        encoded."""
        return (self._text(_SIGNATURE) or "") if self._is_signed_last else ""

    def asset(self, name: str = "asset") -> str | None:
        """An asset code, if one was sent."""
        text = self._text(name)
        try:
            return text and check_asset_code(text)
        except ValueError:
            raise errors.illegal_characters(name, _ASSET) from None

    def integer(self, name: str) -> int | None:
        """A number from 0 on, if one was sent."""
        text = self._matching(name, _INTEGER)
        return None if text is None else int(text)

    def integer_in(self, name: str, *, least: int, most: int | None) -> int | None:
        """A number within bounds, if one was sent."""
        number = self.integer(name)
        if number is None:
            return None
        if number < least or (most is not None and number > most):
            upper = "" if most is None else f" to {most}"
            raise errors.malformed(name, f"it is a number from {least}{upper}")
        return number

    def boolean(self, name: str) -> bool:
        """A boolean in any case, which must be sent."""
        text = self._mandatory(name, self._text(name))
        value = _BOOLEANS.get(text.lower())
        if value is None:
            raise errors.missing_or_malformed(name)
        return value

    def check_time(self, now: datetime) -> None:
        """Refuses a request whose timestamp is a second or more ahead, or older than its window."""
        now_us = microseconds_of(now)
        if self.timestamp_us >= now_us + _AHEAD_US:
            raise errors.ahead()
        if now_us - self.timestamp_us > self.receive_window_us:
            raise errors.outside_window()

    def _receive_window_us(self) -> int:
        text = self._matching(_RECEIVE_WINDOW, _MILLISECONDS)
        window_us = _RECEIVE_WINDOW_US if text is None else int(Decimal(text) * 1000)
        if window_us > _RECEIVE_WINDOW_US_MAX:
            raise errors.bad_receive_window()
        return window_us

    def _mandatory(self, name: str, value: _Value | None) -> _Value:
        if value is None:
            raise errors.missing_or_malformed(name)
        return value

    def _matching(self, name: str, legal: str) -> str | None:
        text = self._text(name)
        # fullmatch, since "$" would let a line break follow.
        if text is not None and not re.fullmatch(legal.strip("^$"), text):
            raise errors.illegal_characters(name, legal)
        return text

    def _text(self, name: str) -> str | None:
        value = self._values.get(name)
        if value is None:
            return None
        if not value:
            raise errors.empty(name)
        return _decoded(value)


def microseconds(instant: int) -> int:
    """An instant since 1970-01-01 UTC, in milliseconds or microseconds, in microseconds."""
    return instant if instant > _LAST_MILLISECOND else instant * 1000


def microseconds_of(instant: datetime) -> int:
    """Microseconds since 1970-01-01 UTC."""
    return (instant - _EPOCH) // _MICROSECOND


def milliseconds_of(instant: datetime) -> int:
    """Whole milliseconds since 1970-01-01 UTC, the form in which clients get an instant."""
    return (instant - _EPOCH) // MILLISECOND


def instant_at(since_epoch_us: int) -> datetime:
    """The instant in UTC; the last possible instant for a later one."""
    return _EPOCH + min(since_epoch_us, _LAST_US) * _MICROSECOND


def _decoded(text: bytes) -> str:
    try:
        return unquote_to_bytes(text).decode()
    except UnicodeDecodeError:
        raise errors.illegal_characters_somewhere() from None
