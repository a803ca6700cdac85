"""Puts faults between a worker and the real steps, at a place that a test names."""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

from temporalio import activity
from temporalio.client import Client
from temporalio.client import Interceptor as ClientInterceptor
from temporalio.worker import (
    ActivityInboundInterceptor,
    ExecuteActivityInput,
    Interceptor,
    Worker,
)

from ledger.database.engine import Ledger
from running.options import WorkerOptions
from running.worker import build_worker


class ProcessDied(Exception):
    """What the caller of a step sees if the worker is gone: there is no answer, and then another attempt."""


@dataclass(frozen=True)
class Call:
    """One attempt at a step."""

    step: str
    request: Any
    run: Callable[[], Awaitable[Any]]
    """Runs the real step; any number of times."""
    at_once: bool = False
    """Whether the step runs at once, in a task of the workflow, and not as an activity."""


Disturb = Callable[[Call], Awaitable[Any]]


class _Between(ActivityInboundInterceptor):
    def __init__(self, inner: ActivityInboundInterceptor, disturb: Disturb) -> None:
        super().__init__(inner)
        self._disturb = disturb

    async def execute_activity(self, input: ExecuteActivityInput) -> Any:  # noqa: A002
        run = super().execute_activity
        info = activity.info()
        return await self._disturb(Call(info.activity_type, input.args[0], lambda: run(input), info.is_local))


class _Disturbing(ClientInterceptor, Interceptor):
    def __init__(self, disturb: Disturb) -> None:
        self._disturb = disturb

    def intercept_activity(self, next: ActivityInboundInterceptor) -> ActivityInboundInterceptor:  # noqa: A002
        return _Between(next, self._disturb)


def disturbed_worker(
    client: Client,
    ledger: Ledger,
    disturb: Disturb,
    options: WorkerOptions = WorkerOptions(),  # noqa: B008  # it is frozen
) -> Worker:
    """Runs the real worker. Every attempt at a step goes through ``disturb``."""
    return build_worker(disturbed(client, disturb), ledger, options)


def disturbed(client: Client, disturb: Disturb) -> Client:
    """A client for a worker. Every attempt of that worker at a step goes through ``disturb``."""
    config = client.config()
    config["interceptors"] = [*config["interceptors"], _Disturbing(disturb)]
    return Client(**config)


@dataclass
class Once:
    """Disturbs the first call of one step, and counts all of them."""

    step: str
    disturb: Disturb
    calls: Counter[str] = field(default_factory=Counter[str])

    async def __call__(self, call: Call) -> Any:
        self.calls[call.step] += 1
        if call.step == self.step and self.calls[call.step] == 1:
            return await self.disturb(call)
        return await call.run()

    @property
    def disturbed(self) -> bool:
        return self.calls[self.step] > 0


async def killed_before(call: Call) -> Any:
    raise ProcessDied(f"before {call.step}")


async def killed_after_commit(call: Call) -> Any:
    await call.run()
    raise ProcessDied(f"between the commit and the reply of {call.step}")


async def run_twice_at_once(call: Call) -> Any:
    first, second = await asyncio.gather(call.run(), call.run())
    assert first == second
    return first
