"""The time zone of the times in an export, from its header, its name, and what a person says."""

import re
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from zoneinfo import ZoneInfo

from ledger.imports.history_export import ExportError, header_of

_OFFSET = re.compile(r"(?:UTC)?([+-])([0-9]{1,2})(?::([0-9]{2}))?")
_ZONE_IN_NAME = re.compile(r"\((UTC[^()]*)\)")
_OFFSET_MAX = timedelta(hours=14)


def parse_zone(text: str) -> tzinfo:
    """The time zone called ``UTC``, ``Europe/Paris``, ``+02:00``, ``UTC+9`` or ``-6``. Raises ValueError for any
    other text."""
    if text == "UTC":
        return UTC
    if offset := _OFFSET.fullmatch(text):
        sign, hours, minutes = offset.groups()
        distance = timedelta(hours=int(hours), minutes=int(minutes or 0))
        if int(minutes or 0) < 60 and distance <= _OFFSET_MAX:
            return timezone(-distance if sign == "-" else distance)
    else:
        try:
            return ZoneInfo(text)
        except (LookupError, ValueError, OSError):
            pass
    raise ValueError(f"{text[:60]!r} is not a time zone known here; write UTC, Europe/Paris, +02:00 or UTC+9")


def zone_in_name(name: str) -> tzinfo | None:
    """The zone in an export's file name, as in ``…(UTC+9).csv`` or ``…(UTC--6).csv``.

    Raises ExportError if the name has an unknown zone, or two zones.
    """
    told = [text.replace("--", "-") for text in _ZONE_IN_NAME.findall(name)]
    if not told:
        return None
    try:
        zones = [parse_zone(text) for text in told]
    except ValueError as error:
        raise ExportError(
            f"{name}: {error}; rename the file, or say --timezone and take it out of the name"
        ) from None
    if any(not _are_the_same(zone, zones[0]) for zone in zones):
        raise ExportError(f"{name}: the name has two time zones, {' and '.join(told)}; rename the file")
    return zones[0]


def zone_of_export(content: bytes, name: str, *, said: tzinfo | None) -> tzinfo | None:
    """The zone of a file's times: UTC for the heading ``UTC_Time``, else the zone in its name, else the one that a
    person gave.

    None if neither shows it. Raises ExportError if two of these contradict each other.
    """
    utc_word = header_of(content).utc_word
    in_name = zone_in_name(name)
    sources = {f"the header {utc_word}": UTC if utc_word else None, "the file's name": in_name, "--timezone": said}
    told = {source: zone for source, zone in sources.items() if zone is not None}
    if not told:
        return None
    (first, zone), *others = told.items()
    for source, other in others:
        if not _are_the_same(zone, other):
            raise ExportError(
                f"{name}: {first} says that its times are {zone}, and {source} says {other}; "
                "only one can be true. Leave --timezone out, or mend the name"
            )
    return zone


def _are_the_same(one: tzinfo, other: tzinfo) -> bool:
    """Whether two zones have always had the same time, as far back as exports go."""
    if str(one) == str(other):
        return True
    months = [datetime(year, month, 1, tzinfo=UTC) for year in range(2017, 2028) for month in range(1, 13)]
    return all(month.astimezone(one).utcoffset() == month.astimezone(other).utcoffset() for month in months)
