from datetime import timedelta

from servers import time_skipping
from world import World, activation

from worker import build_worker
from workflows.client import SoftStakingClient, send_activation


async def test_the_first_reward_is_for_day_two_and_comes_on_day_three(world: World) -> None:
    async with time_skipping() as environment, build_worker(environment.client, world.ledger):
        now = await environment.get_current_time()
        await world.move("ann", "12", "SOL", now - timedelta(hours=1))
        receipt = await send_activation(environment.client, "ann", activation())
        assert receipt.accepted

        await environment.sleep(receipt.first_reward_from - now - timedelta(seconds=2))
        assert await world.statement("ann") == []
        await environment.sleep(timedelta(minutes=1))

        [line] = await world.statement("ann")
        assert line.day == receipt.first_snapshot_at.date()
        assert receipt.first_reward_from <= line.credited_at < receipt.first_reward_until
        end = await SoftStakingClient(environment.client).deactivate("ann")
        assert end.last_accrual_day == line.day
