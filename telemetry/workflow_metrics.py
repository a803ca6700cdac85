"""What an operator watches in Temporal's lists, as metrics."""

import asyncio
import logging
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from temporalio.client import Client
from temporalio.common import MetricMeter

from contract.errors import ServiceError
from temporal.visibility import failing_user_count

READ_EVERY_S = 60
_READ_WITHIN_S = 30
_log = logging.getLogger("soft_staking.workflows")


@asynccontextmanager
async def watching_workflows(client: Client, meter: MetricMeter) -> AsyncGenerator[None]:
    """Shows how many users' workflow tasks fail, which it asks Temporal again and again, until the context is
    left."""
    task = asyncio.create_task(_watch(client, meter))
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def _watch(client: Client, meter: MetricMeter) -> None:
    failing = meter.create_gauge("soft_staking_failing_users", "Users whose workflow task fails again and again")
    while True:
        try:
            async with asyncio.timeout(_READ_WITHIN_S):
                failing.set(await failing_user_count(client))
        except (ServiceError, TimeoutError):
            # The gauge keeps its last value.
            _log.warning("the users whose workflow task fails could not be counted", exc_info=True)
        except Exception:
            _log.exception("the users whose workflow task fails could not be counted")
        await asyncio.sleep(READ_EVERY_S)
