"""The templates, and the words and time zones that they know."""

import re
from collections.abc import Callable
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import urlencode
from zoneinfo import ZoneInfo, available_timezones

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from web.pages import wording

_LONG_NUMBER = 12
_BETWEEN_GROUPS = re.compile(r"(?<=,)|(?=\.)|(?<=\.\d{8})(?=\d)")


def _number(text: Callable[[Any], str]) -> Callable[[Any], Markup]:
    """A number for a page. It stays on one line if possible; a long one may be broken between groups of digits."""

    def shown(number: Any) -> Markup:
        whole = text(number).replace(" ", "\N{NO-BREAK SPACE}")
        return Markup("<wbr>").join(_BETWEEN_GROUPS.split(whole) if len(whole) > _LONG_NUMBER else [whole])

    return shown


_FILTERS: dict[str, Any] = {
    "amount": _number(wording.amount_text),
    "exact_amount": _number(wording.exact_amount_text),
    "terms": _number(wording.terms_text),
    "usdt": _number(wording.usdt_text),
    "fine_usdt": _number(wording.fine_usdt_text),
    "hue": wording.hue,
    "percent": _number(wording.percent_text),
    "day": wording.day_text,
    "document": wording.document_title,
    "end": wording.end_text,
    "calculation": wording.calculation,
    "query": urlencode,
}
_GLOBALS: dict[str, Any] = {
    "instant_text": wording.instant_text,
    "span_text": wording.span_text,
    "outcome_names": wording.OUTCOME_NAMES,
}


@cache
def templates() -> Environment:
    """The templates. Everything that they show is escaped, and a missing name is an error."""
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(_FILTERS, iso=_iso)
    environment.globals.update(_GLOBALS)
    return environment


@cache
def time_zones() -> list[str]:
    """The time zones of this system; only UTC if it has no time zone database."""
    return sorted(available_timezones() - {"localtime", "Factory"} | {"UTC"})


def time_zone(name: str | None) -> ZoneInfo | None:
    """The zone that a reader has chosen; None for a name that is not a zone."""
    if name is None or name not in time_zones() or (name == "UTC" and name not in available_timezones()):
        return None
    return ZoneInfo(name)


def _iso(instant: datetime) -> str:
    return instant.isoformat().replace("+00:00", "Z")
