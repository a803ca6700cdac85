"""A ledger that is restored from a backup, and knows less than the workflow."""

import sqlite3
from contextlib import closing
from datetime import timedelta
from pathlib import Path

from faults.story import content
from staking_service import a_service
from world import LONG_AGO, World

from ledger.database.engine import open_ledger
from staking.days import ONE_DAY, day_of, end_of


async def test_days_since_the_backup_are_paid_again_with_the_same_numbers(world: World, tmp_path: Path) -> None:
    backup = tmp_path / "backup.db"
    async with a_service(world) as service:
        await service.start_worker(forgetful=True)
        await service.deposit()
        receipt = await service.activate()
        first_day = day_of(receipt.first_snapshot_at)
        await service.skip_to(end_of(first_day) + timedelta(minutes=1))
        await service.credited_through(first_day)
        with closing(sqlite3.connect(tmp_path / "ledger.db")) as connection:
            connection.execute(f"VACUUM INTO '{backup}'")
        await service.skip_to(end_of(first_day + 2 * ONE_DAY) + timedelta(minutes=1))
        lost = await service.credited_through(first_day + 2 * ONE_DAY)
        await service.stop_worker_at_rest()

        async with open_ledger(f"sqlite:///{backup}", clock=lambda: LONG_AGO) as restored:
            service.world = World(restored)
            await service.start_worker()
            await service.skip_to(end_of(first_day + 3 * ONE_DAY))
            await service.reaches_state("blocked")
            status = await service.client.status("ann")
            assert status is not None
            assert status.blocked is not None
            assert f"{first_day + 2 * ONE_DAY} is not closed for user ann" in status.blocked.message
            assert [line.day for line in await service.statement()] == [first_day]

            await service.client.retry("ann")
            assert await service.activate() == receipt
            paid = await service.credited_through(first_day + 3 * ONE_DAY)

            assert content(paid[:3]) == content(lost)
            assert await service.audit_is_clean()
            await service.stop_worker_at_rest()
