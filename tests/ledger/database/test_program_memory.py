"""The terms of past days that an open ledger keeps in memory."""

from datetime import date

from world import LONG_AGO, SHIPPED_PROGRAM

from ledger.database import program_memory
from ledger.database.program_memory import ProgramMemory, ProgramVersion
from staking.days import ONE_DAY

FIRST = date(2026, 10, 1)


def test_it_does_not_grow_with_the_days_of_a_long_life() -> None:
    memory, version = ProgramMemory(), ProgramVersion(1, SHIPPED_PROGRAM, LONG_AGO)
    days = [FIRST + number * ONE_DAY for number in range(3 * program_memory._DAYS_REMEMBERED_MAX)]
    for day in days:
        assert memory.find(day) is None
        memory.keep(day, version)
        assert memory.find(day) is version
    assert sum(memory.find(day) is not None for day in days) <= program_memory._DAYS_REMEMBERED_MAX
