"""The real Temporal servers that tests run against; one starts in about a second, so each test has its own."""

import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path

from temporalio.client import Client
from temporalio.testing import TimeSkippingConfig, WorkflowEnvironment

from embedded.temporal_server import throwaway_server
from temporal.payloads import PYDANTIC

_START_UP = timedelta(seconds=30)
_BESIDE_PYTHON = Path(sys.executable).parent


@asynccontextmanager
async def time_skipping() -> AsyncGenerator[WorkflowEnvironment]:
    """One global clock that skips: for one workflow at a time, long spans and reactivation."""
    async with await WorkflowEnvironment.start_time_skipping(
        test_server_existing_path=str(_BESIDE_PYTHON / "temporal-test-server"),
        test_server_startup_timeout=_START_UP,
        data_converter=PYDANTIC,
    ) as environment:
        yield environment


@asynccontextmanager
async def fleet_skipping() -> AsyncGenerator[WorkflowEnvironment]:
    """The full server with a clock per workflow, stepped with ``fast_forward``: for many workflows at the same
    time."""
    settings = {
        "frontend.WorkflowTimeSkippingEnabled": "true",
        "history.timerProcessorMaxTimeShift": '"10ms"',
        # Without it a fast-forward leaps over a run that continued as new.
        "history.workflowIdReuseMinimalInterval": '"0s"',
    }
    async with await WorkflowEnvironment.start_time_skipping_v2(
        ts_config=TimeSkippingConfig(enabled=False),
        data_converter=PYDANTIC,
        dev_server_existing_path=str(_BESIDE_PYTHON / "temporal"),
        dev_server_startup_timeout=_START_UP,
        dev_server_extra_args=[
            word for key, value in settings.items() for word in ("--dynamic-config-value", f"{key}={value}")
        ],
    ) as environment:
        yield environment


@asynccontextmanager
async def full_server(**dynamic_config: str) -> AsyncGenerator[Client]:
    """The full server in real time; keys of the dynamic config with ``__`` for the dot."""
    settings = {key.replace("__", "."): value for key, value in dynamic_config.items()}
    async with throwaway_server(dynamic_config=settings) as address:
        yield await Client.connect(address, data_converter=PYDANTIC)
