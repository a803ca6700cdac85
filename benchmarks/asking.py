"""Sends requests to an HTTP server as fast as it answers, with wrk (which must be installed)."""

import asyncio
import json
import re
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from tempfile import NamedTemporaryFile

import typer

_SCRIPT = """
local asked, number = {}, 0
function init(_)
  for _, one in ipairs(ASKED) do asked[#asked + 1] = wrk.format("GET", one[1], one[2]) end
end
function request()
  number = number % #asked + 1
  return asked[number]
end
function done(summary, latency, _)
  local errors = summary.errors
  local failed = errors.connect + errors.read + errors.write + errors.status + errors.timeout
  io.write(string.format("requests=%d us=%d failed=%d p50_us=%d p99_us=%d\\n", summary.requests, summary.duration,
    failed, latency:percentile(50), latency:percentile(99)))
end
"""
_RESULT = re.compile(r"requests=(\d+) us=(\d+) failed=(\d+) p50_us=(\d+) p99_us=(\d+)")


@dataclass(frozen=True)
class Answered:
    """How fast requests were answered."""

    requests_per_s: float
    p50_ms: float
    p99_ms: float


def check_wrk() -> None:
    """Raises BadParameter if wrk is not installed."""
    if shutil.which("wrk") is None:
        raise typer.BadParameter("wrk is not installed")


async def ask(
    where: str, asked: Sequence[tuple[str, Mapping[str, str]]], *, seconds: int, connections: int
) -> Answered:
    """Sends requests, each a path and its headers, one after the other and again from the first. Raises
    TyperException if any of them fails."""
    requests = ", ".join(_lua(path, headers) for path, headers in asked)
    with NamedTemporaryFile("w", suffix=".lua") as script:
        script.write(f"local ASKED = {{{requests}}}\n{_SCRIPT}")
        script.flush()
        command = ["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "-s", script.name, where]
        asking = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
        told, _ = await asking.communicate()
    found = _RESULT.search(told.decode())
    if found is None or int(found[3]):
        raise typer.TyperException(f"not every request was answered as it should be: {told.decode()}")
    count, microseconds, _, p50_us, p99_us = map(int, found.groups())
    return Answered(1e6 * count / microseconds, p50_us / 1000, p99_us / 1000)


def middle(several: Sequence[Answered]) -> Answered:
    """The medians of several measurements."""
    return Answered(
        median(each.requests_per_s for each in several),
        median(each.p50_ms for each in several),
        median(each.p99_ms for each in several),
    )


def _lua(path: str, headers: Mapping[str, str]) -> str:
    fields = ", ".join(f"[{json.dumps(name)}] = {json.dumps(value)}" for name, value in headers.items())
    return f"{{{json.dumps(path)}, {{{fields}}}}}"
