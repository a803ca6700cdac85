"""The chart of daily rewards: the geometry of an SVG that the server draws."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

from staking.days import ONE_DAY
from web.pages.wording import amount_text, day_text, fine_usdt_text

DAYS_MAX = 30
_DAYS_MIN = 7
WIDTH, HEIGHT = 720, 220
_LEFT, _RIGHT, _TOP, _BOTTOM = 40, 4, 28, 26
_GAP_PERCENT = 28
_ROUND_STEPS = (10, 12, 14, 16, 20, 24, 30, 40, 50, 60, 80)


@dataclass(frozen=True)
class DayValue:
    """What a day's rewards are worth at the reference prices, in units of USDT."""

    day: date
    value: int


@dataclass(frozen=True)
class Bar:
    """A day of the chart, in hundredths of a unit of the drawing turned into decimal text."""

    x: str
    y: str
    width: str
    height: str
    title: str


@dataclass(frozen=True)
class Line:
    """A line of the grid with its value."""

    y: str
    label: str


@dataclass(frozen=True)
class Label:
    """The label of a day below the chart."""

    x: str
    text: str
    anchor: str


@dataclass(frozen=True)
class Chart:
    """Everything that the drawing shows."""

    bars: list[Bar]
    lines: list[Line]
    labels: list[Label]
    summary: str


def draw(values: Sequence[DayValue]) -> Chart | None:
    """A bar per day, oldest first and without a gap between the days; None without any."""
    if not values:
        return None
    slots = max(len(values), _DAYS_MIN)
    top = _round_up(max(1, *(value.value for value in values)))
    plot_height = HEIGHT - _TOP - _BOTTOM
    slot = (WIDTH - _LEFT - _RIGHT) * 100 // slots
    bars: list[Bar] = []
    for place, value in enumerate(values, slots - len(values)):
        height = value.value * plot_height * 100 // top
        if value.value:
            height = max(height, 150)
        width = slot * (100 - _GAP_PERCENT) // 100
        bars.append(
            Bar(
                x=_text(_LEFT * 100 + place * slot + (slot - width) // 2),
                y=_text((HEIGHT - _BOTTOM) * 100 - height),
                width=_text(width),
                height=_text(height),
                title=f"{day_text(value.day)}: {fine_usdt_text(value.value)} USDT",
            )
        )
    lines = [
        Line(y=_text((HEIGHT - _BOTTOM) * 100 - plot_height * share * 50), label=amount_text(top * share // 2))
        for share in (1, 2)
    ]
    best = max(values, key=lambda value: (value.value, value.day))
    return Chart(
        bars=bars,
        lines=lines,
        labels=_labels(values, slots, slot),
        summary=f"{len(values)} days from {day_text(values[0].day)} to {day_text(values[-1].day)}; the most on "
        f"{day_text(best.day)} with {fine_usdt_text(best.value)} USDT.",
    )


def by_day(values: dict[date, int]) -> list[DayValue]:
    """The last days, up to the latest one, including days without a reward."""
    if not values:
        return []
    last = max(values)
    first = max(min(values), last - (DAYS_MAX - 1) * ONE_DAY)
    return [
        DayValue(day, values.get(day, 0))
        for day in (first + number * ONE_DAY for number in range((last - first).days + 1))
    ]


def _labels(values: Sequence[DayValue], slots: int, slot: int) -> list[Label]:
    """The first and the last day, and the one in the middle if there is room."""
    first_place = slots - len(values)
    chosen = {0: "start", len(values) - 1: "end"}
    if len(values) >= _DAYS_MIN:
        chosen[len(values) // 2] = "middle"
    if len(values) == 1:
        chosen = {0: "end"}
    shift = {"start": 0, "middle": slot // 2, "end": slot}
    return [
        Label(
            x=_text(_LEFT * 100 + (first_place + number) * slot + shift[anchor]),
            text=day_text(values[number].day).rsplit(" ", 1)[0],
            anchor=anchor,
        )
        for number, anchor in sorted(chosen.items())
    ]


def _round_up(value: int) -> int:
    """The next larger round number whose half is round too."""
    magnitude = 10 ** max(len(str(value)) - 2, 0)
    return next(step * magnitude for step in (*_ROUND_STEPS, 100) if step * magnitude >= value)


def _text(hundredths: int) -> str:
    whole, rest = divmod(hundredths, 100)
    return f"{whole}.{rest:02d}"
