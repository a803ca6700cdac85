import pytest
from world import World, at, day

pytestmark = pytest.mark.on_both_databases


async def test_the_worked_example_comes_out_of_the_ledger_to_the_last_digit(world: World) -> None:
    await world.move("ann", "12", "SOL", at("2026-10-01 09:00"))
    await world.enrol("ann", at("2026-10-01 10:00"))
    await world.move("ann", "-3", "SOL", at("2026-10-02 06:00"))
    await world.move("ann", "1.5", "SOL", at("2026-10-02 18:00"))

    await world.snapshot("ann", day("2026-10-01"))
    await world.pay("ann", day("2026-10-02"))
    await world.pay("ann", day("2026-10-03"))

    lines = await world.statement("ann")
    assert [(line.day, line.opening, line.closing, line.average, line.reward) for line in lines] == [
        (day("2026-10-02"), 12_00000000, 10_50000000, 10_12500000, 22191),
        (day("2026-10-03"), 10_50000000, 10_50022191, 10_50022191, 23014),
    ]
