"""A program that pages through the credited rewards in any way sees each of them once."""

import asyncio
from collections.abc import Coroutine, Iterator, Sequence
from datetime import timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from web_api import Program, Web, a_web, make_program, milliseconds
from world import World, at, day

from staking.days import ONE_DAY

pytestmark = pytest.mark.on_both_databases

HISTORY = "/history/rewardsRecord"
BEGAN = at("2026-10-20 00:00:00")
"""The instant at which the service caught up on owed days, day by day."""
CREDITED_AFTER_US = [0, 1, 999, 1_000, 1_000, 1_999, 2_000, 2_000, 2_000, 3_999, 4_000, 90_000_000, 90_000_500]
"""How long after it each day was credited: within one millisecond, at its borders, and at one instant."""
ASSETS = {"SOL": "12", "BNB": "3", "ADA": "500"}
ROWS = len(CREDITED_AFTER_US) * len(ASSETS)
ROWS_OF_A_MILLISECOND = 3 * len(ASSETS)
BEGAN_MS = milliseconds(BEGAN)
LAST_MS = milliseconds(BEGAN + timedelta(microseconds=CREDITED_AFTER_US[-1]))
LOOKS = settings(
    max_examples=25,
    deadline=None,
    database=None,
    derandomize=True,
    phases=[Phase.generate, Phase.shrink],
    suppress_health_check=list(HealthCheck),
)
_Answer = TypeVar("_Answer")


class Row(NamedTuple):
    """What identifies a reward: its average, which includes all earlier rewards."""

    asset: str
    average: str
    time: int


class Client:
    """A program that sends requests from a thread of its own, as programs do."""

    def __init__(self, web: Web, program: Program) -> None:
        self._web = web
        self._program = program
        self._loop = asyncio.get_running_loop()

    def ask(self, **parameters: int | str) -> tuple[list[Row], int]:
        """The rows of one page, and the total."""
        answer = self._do(self._web.ask(self._program, HISTORY, parameters))
        return [Row(row["asset"], row["avgAmount"], row["time"]) for row in answer["rows"]], answer["total"]

    def by_page(self, size: int, **window: int) -> list[Row]:
        """Reads pages by number, until one is empty."""
        seen: list[Row] = []
        for current in range(1, ROWS + 2):
            rows, total = self.ask(size=size, current=current, **window)
            assert len(rows) == min(size, total - len(seen))
            if not rows:
                return seen
            seen += rows
        raise AssertionError("there is no end")

    def by_time(self, size: int, **window: int) -> list[Row]:
        """Goes back from just before the oldest time that was seen, until a page is empty."""
        seen: list[Row] = []
        for _ in range(ROWS + 1):
            rows, _ = self.ask(size=size, **window)
            if not rows:
                return seen
            seen += rows
            window = {**window, "endTime": rows[-1].time - 1}
            if window.get("startTime", 0) > window["endTime"]:
                return seen
        raise AssertionError("there is no end")

    def from_the_oldest(self, size: int, **window: int) -> list[Row]:
        """Goes back from the oldest time that was seen, including it, until a page has nothing new."""
        seen: dict[Row, None] = {}
        for _ in range(ROWS + 1):
            rows, _ = self.ask(size=size, **window)
            if seen.keys() >= set(rows):
                return list(seen)
            seen |= dict.fromkeys(rows)
            window = {**window, "endTime": rows[-1].time}
        raise AssertionError("there is no end")

    def _do(self, work: Coroutine[Any, Any, _Answer]) -> _Answer:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(timeout=180)


@pytest.fixture
async def client(world: World, tmp_path: Path) -> Client:
    """A program of ann's, who earns in three assets and was credited many days at almost the same time."""
    web = await a_web(world, tmp_path, weight_per_minute=10**9)
    web.clock.instant = BEGAN + timedelta(days=5)
    for asset, amount in ASSETS.items():
        await world.move("ann", amount, asset, at("2026-09-30"))
    await world.enrol("ann", at("2026-10-01 10:00"))
    await world.snapshot("ann", day("2026-10-01"))
    for number, after_us in enumerate(CREDITED_AFTER_US):
        snapshot = await world.snapshot("ann", day("2026-10-02") + number * ONE_DAY, now=BEGAN)
        await world.credit("ann", await world.compute(snapshot), now=BEGAN + timedelta(microseconds=after_us))
    return Client(web, await make_program(world, web.settings))


def windows(borders: Sequence[int]) -> Iterator[dict[str, int]]:
    """Reads the credited rewards in windows that follow each other, the newest first."""
    edges = sorted({BEGAN_MS, *borders, LAST_MS + 1}, reverse=True)
    for end, start in pairwise(edges):
        yield {"startTime": start, "endTime": end - 1}


async def test_a_reward_is_within_its_own_time_and_in_no_other(client: Client) -> None:
    def look() -> None:
        rows, _ = client.ask(size=100)
        assert len(rows) == ROWS
        for time in {row.time for row in rows}:
            of_time = [row for row in rows if row.time == time]
            assert client.ask(startTime=time, endTime=time, size=100) == (of_time, len(of_time))
            in_microseconds = client.ask(startTime=time * 1000 + 700, endTime=time * 1000 + 300, size=100)
            assert in_microseconds == (of_time, len(of_time))

    await asyncio.to_thread(look)


async def test_every_reward_is_seen_once_whichever_way_a_program_pages(client: Client) -> None:
    @LOOKS
    @given(
        way=st.sampled_from([Client.by_page, Client.by_time]),
        size=st.integers(1, 2 * ROWS_OF_A_MILLISECOND),
        borders=st.lists(
            st.one_of(st.integers(BEGAN_MS, BEGAN_MS + 5), st.integers(BEGAN_MS, LAST_MS)), max_size=4
        ),
        forward=st.booleans(),
    )
    def look(way: Any, size: int, borders: list[int], forward: bool) -> None:
        tiles = list(windows(borders))
        pages = [way(client, size, **window) for window in (reversed(tiles) if forward else tiles)]
        seen = [row for page in (reversed(pages) if forward else pages) for row in page]
        assert seen == everything

    everything, _ = await asyncio.to_thread(client.ask, size=100)
    assert len(set(everything)) == ROWS
    await asyncio.to_thread(look)


@pytest.mark.parametrize("size", [ROWS_OF_A_MILLISECOND + 1, 25])
async def test_a_program_that_asks_for_the_oldest_time_again_misses_nothing(client: Client, size: int) -> None:
    def look() -> None:
        everything, _ = client.ask(size=100)
        assert client.from_the_oldest(size) == everything

    await asyncio.to_thread(look)


async def test_without_a_page_number_the_last_millisecond_of_a_page_is_whole(client: Client) -> None:
    def look() -> None:
        for size in range(1, ROWS + 1):
            rows, _ = client.ask(size=size, endTime=LAST_MS)
            rest, _ = client.ask(size=100, endTime=LAST_MS)
            assert len(rows) >= size
            assert {row.time for row in rows[size:]} <= {rows[size - 1].time}
            assert rows[-1].time not in {row.time for row in rest[len(rows) :]}

    await asyncio.to_thread(look)
