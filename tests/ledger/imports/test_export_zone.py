"""The time zone in which the times of an export are."""

from datetime import datetime, timedelta

import pytest

from ledger.imports.export_zone import parse_zone


@pytest.mark.parametrize(
    ("text", "offset"),
    [
        ("UTC", timedelta()),
        ("Europe/Paris", timedelta(hours=2)),
        ("+02:00", timedelta(hours=2)),
        ("-03:30", timedelta(hours=-3, minutes=-30)),
        ("+00:00", timedelta()),
        ("+14:00", timedelta(hours=14)),
    ],
)
def test_a_zone_is_a_name_or_an_offset(text: str, offset: timedelta) -> None:
    assert datetime(2026, 7, 1, tzinfo=parse_zone(text)).utcoffset() == offset


@pytest.mark.parametrize(
    "text",
    [
        *["", "Paris", "Europe", "2", "02:00", "+02:60", "+14:01", "-99:00", "+٠٢:٠٠"],
        *["../UTC", "/etc/passwd", "zone.tab", "a\0b", "\ud800", "x" * 9999],
    ],
)
def test_anything_else_is_no_zone(text: str) -> None:
    with pytest.raises(
        ValueError, match=r"is not a time zone known here; write UTC, Europe/Paris, \+02:00 or UTC\+9"
    ) as no:
        parse_zone(text)
    assert len(str(no.value)) < 200
