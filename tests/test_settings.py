"""Settings mean what their documentation says."""

from datetime import timedelta

import pytest
from pydantic import ValidationError

from settings import Settings


@pytest.mark.parametrize(
    ("text", "spread"),
    [
        ("0", timedelta()),
        ("3600", timedelta(hours=1)),
        ("25200", timedelta(hours=7)),
        ("1:30:00", timedelta(hours=1, minutes=30)),
        ("PT2H", timedelta(hours=2)),
    ],
)
def test_a_spread_is_seconds_or_a_length_of_time(
    monkeypatch: pytest.MonkeyPatch, text: str, spread: timedelta
) -> None:
    monkeypatch.setenv("SOFT_STAKING_SPREAD", text)
    assert Settings().spread == spread


@pytest.mark.parametrize("text", ["25201", "-1", "7:00:01", "soon", "", "99999999999999999999"])
def test_a_spread_that_is_too_long_or_no_length_of_time_is_refused(
    monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    monkeypatch.setenv("SOFT_STAKING_SPREAD", text)
    with pytest.raises(ValidationError, match="spread"):
        Settings()
