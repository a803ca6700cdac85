"""Assets that earn under a program and whose pool is empty. Commands that apply a program name them, before any
user waits."""

from dataclasses import dataclass
from datetime import date
from typing import Any

from commands.bulk import counted
from commands.entrance import the_ledger
from ledger.database.engine import Ledger, find_schema
from ledger.errors import LedgerUnavailable
from ledger.pools import Unfunded, unfunded
from ledger.programs import Objection, all_versions, in_force_on, no_objection, timetable
from running.process import CommandFailed, now
from running.shell import typed
from settings import Settings
from staking.days import day_of
from staking.program import Program


@dataclass(frozen=True)
class EmptyPools:
    """The assets that earn under a program and cannot be paid."""

    first_day: date
    unfunded: list[Unfunded]
    new: frozenset[str]
    """The assets that earn under it and under no program in force or to come. Empty for the first program."""
    fundable: frozenset[str]
    """The assets of all programs so far. Only these have a pool that can be funded."""

    def refuse_new_ones(self) -> None:
        """Raises CommandFailed, with a sentence for each asset."""
        if self.new_ones:
            raise CommandFailed(*(self._refusal(each) for each in self.new_ones))

    @property
    def new_ones(self) -> list[Unfunded]:
        """The empty pools of assets in which nothing was earned before."""
        return [each for each in self.unfunded if each.asset in self.new]

    def _refusal(self, each: Unfunded) -> str:
        asset = each.asset
        who = "1 user who holds" if each.users == 1 else f"{each.users or 'all'} users who hold"
        way_out = f"starter.py pool fund {typed(asset)} AMOUNT"
        way_out = (
            f"fund it with: {way_out}; or go on with --unfunded"
            if asset in self.fundable
            else f"go on with --unfunded, and before that day fund it with: {way_out}"
        )
        return (
            f"the {asset} pool is empty, and {asset} earns from {self.first_day} on: {who} enough of it would "
            f"wait for all their rewards, in every asset; {way_out}"
        )


async def empty_pools(ledger: Ledger, program: Program) -> EmptyPools:
    """The empty pools of a program, compared with the programs in force today or to come."""
    async with ledger.read(takes_long=True) as connection:
        versions = await all_versions(connection)
        today = day_of(now())
        current = [span for span in timetable(versions) if span.last_day is None or span.last_day >= today]
        earns_already = {asset for span in current for asset in span.version.program.earning}
        return EmptyPools(
            first_day=program.effective_from,
            unfunded=await unfunded(connection, program.earning),
            new=frozenset(program.earning.keys() - earns_already) if versions else frozenset(),
            fundable=frozenset(asset for version in versions for asset in version.program.assets),
        )


async def objection_to_resuming(ledger: Ledger, assets: list[str], first_day: date) -> Objection:
    """The empty pools of assets that would earn from a day on."""
    async with ledger.read() as connection:
        at_first = in_force_on(timetable(await all_versions(connection)), first_day)
    if at_first is None:
        return no_objection  # The ledger itself refuses such a day.
    resumed = at_first.version.program.with_paused(assets, paused=False)
    pools = await empty_pools(ledger, resumed.model_copy(update={"effective_from": first_day}))
    return pools.refuse_new_ones


async def empty_pools_if_there_is_a_ledger(program: Program, *, only_new: bool = False) -> list[Unfunded]:
    """The empty pools of a program, or only those of assets in which nothing was earned before. This makes no
    ledger."""
    try:
        if not (await find_schema(Settings().ledger_url)).is_current:
            return []
        async with the_ledger() as ledger:
            pools = await empty_pools(ledger, program)
        return pools.new_ones if only_new else pools.unfunded
    except LedgerUnavailable:
        return []  # A file can be checked without a ledger.


def unfunded_json(empty: list[Unfunded]) -> list[dict[str, Any]]:
    """The JSON for machines."""
    return [{"asset": each.asset, "users": each.users} for each in empty]


def unfunded_warning(empty: list[Unfunded]) -> str:
    """One sentence for people."""
    pools = "the pool of" if len(empty) == 1 else "the pools of"
    names = ", ".join(f"{each.asset} ({counted(each.users)})" if each.users else each.asset for each in empty)
    return (
        f"nothing is in {pools} {names}: whoever earns in such an asset waits for all rewards until its pool is "
        f"funded, with: starter.py pool fund {typed(empty[0].asset)} AMOUNT"
        f"{'' if len(empty) == 1 else ', and so on'}"
    )
