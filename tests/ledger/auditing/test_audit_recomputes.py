"""The audit recomputes numbers, within SQL if 64 bits are enough and otherwise outside it."""

from pathlib import Path
from typing import cast

import pytest
from tamperings.acting import ANN_SOL_2
from world import SHIPPED_PROGRAM, World, a_world, at, breaches_of, day, program_with, tamper, units

from benchmarks.generated_ledger import FIRST_DAY, Size, generate
from ledger.pools import fund_pool
from staking.days import start_of
from staking.money import MAX_ACCOUNT_UNITS
from staking.program import AssetTerms
from staking.rewards import FORMULAS, Formula

pytestmark = pytest.mark.on_both_databases

D1, D2 = day("2026-10-01"), day("2026-10-02")


async def test_sums_beyond_64_bits_are_audited(full: World) -> None:
    for number in range(4):
        await full.move(f"user{number}", "90000000000", "SOL", at("2026-10-01"))
        await full.move(f"user{number}", "-90000000000", "SOL", at("2026-10-02"))
        await full.move(f"user{number}", "90000000000", "SOL", at("2026-10-03"))
    await full.import_lines(
        *["ann,2026-10-01 00:00:00,Spot,Deposit,SOL,90000000000,"] * 3,
        *["ann,2026-10-01 00:00:00,Spot,Withdraw,SOL,-90000000000,"] * 2,
    )
    await fund_pool(full.ledger, "SOL", MAX_ACCOUNT_UNITS, operator="tests", now=at("2026-10-01"))
    assert breaches_of(await full.audit()) == []


@pytest.fixture
def formula_2(monkeypatch: pytest.MonkeyPatch) -> None:
    """A formula with another divisor, which applies to no day of the worlds here."""

    def by_360(average: int, terms: AssetTerms) -> int:
        numerator, denominator = terms.apr_ratio
        return min(average, terms.cap_units) * numerator // (denominator * 360)

    monkeypatch.setitem(cast(dict[int, Formula], FORMULAS), 2, by_360)


@pytest.mark.usefixtures("formula_2")
async def test_rewards_of_the_first_formula_are_proved_by_it_after_there_is_another(rich: World) -> None:
    assert breaches_of(await rich.audit()) == []


@pytest.mark.usefixtures("formula_2")
async def test_each_reward_is_proved_by_the_formula_that_it_names(rich: World, tmp_path: Path) -> None:
    tamper(tmp_path, f"UPDATE rewards SET formula = 2 WHERE {ANN_SOL_2}")
    assert breaches_of(await rich.audit()) == [
        "rules 3, 4 and 12: user ann's SOL reward for 2026-10-02 is 0.00021369 (earned); an average of 9.75000000 "
        "gives 0.00021666 (earned) by formula 2"
    ]


@pytest.mark.usefixtures("formula_2")
async def test_a_reward_that_agrees_with_its_formula_is_no_breach(world: World) -> None:
    await world.move("ann", "9.75", "SOL", at("2026-10-01 09:00"))
    await world.enrol("ann", at("2026-10-01 10:00"))
    await world.snapshot("ann", D1)
    computed = await world.compute(await world.snapshot("ann", D2))
    lines = [line.model_copy(update={"formula": 2, "reward": units("0.00021666")}) for line in computed.lines]
    await world.credit("ann", computed.model_copy(update={"lines": lines}))
    assert [line.formula for line in await world.statement("ann")] == [2]
    assert breaches_of(await world.audit()) == []


async def test_a_generated_ledger_is_clean_and_only_days_with_movements_leave_sql(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    async with a_world(
        tmp_path_factory.mktemp("generated"), clock=lambda: start_of(FIRST_DAY), program=None
    ) as world:
        size = Size(users=60, days=12)
        await generate(world.ledger, size, SHIPPED_PROGRAM)
        found = await world.audit(size.now)
        ((within_days,),) = await world.sql(
            """SELECT count(*) FROM accounts a JOIN postings p ON p.account_id = a.account_id
               JOIN snapshots s ON s.user_id = a.user_id AND s.asset = a.asset
                               AND s.day = p.effective_at / 86400000000
               WHERE EXISTS (SELECT 1 FROM postings q WHERE q.account_id = p.account_id
                             AND q.effective_at / 86400000000 = s.day AND q.effective_at % 86400000000 <> 0)"""
        )

    assert breaches_of(found) == []
    assert found.postings > 4000
    assert (found.owed_users, found.owed_days) == (2, 4)
    recomputed = {check.promise: check.recomputed for check in found.checks if check.recomputed}
    assert recomputed == {"every snapshot follows from its opening and that day's postings": within_days}
    assert within_days < found.postings / 5


async def test_rewards_whose_products_pass_64_bits_are_computed_outside_sql(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    folder = tmp_path_factory.mktemp("large")
    terms = {"SOL": {"cap": "90000000000", "apr": "0.123456789012345678"}, "ADA": {"apr": "0.000000000000000003"}}
    async with a_world(folder, program=program_with(**terms)) as world:
        await world.move("ann", "80000000000", "SOL", at("2026-10-01 09:00"))
        await world.move("ann", "700000", "ADA", at("2026-10-01 09:00"))
        await world.fund("SOL", "80000000000")
        await world.enrol("ann", at("2026-10-01 10:00"))
        await world.snapshot("ann", D1)
        await world.pay("ann", D2)
        clean = await world.audit()
        tamper(folder, "UPDATE rewards SET outcome = 'capped'")
        broken = await world.audit()

    assert breaches_of(clean) == []
    assert [check.recomputed for check in clean.checks if "average and terms" in check.promise] == [2]
    assert breaches_of(broken) == [
        "rules 3, 4 and 12: user ann's ADA reward for 2026-10-02 is 0.00000000 (capped); an average of "
        "700000.00000000 gives 0.00000000 (rounded_to_zero) by formula 1",
        "rules 3, 4 and 12: user ann's SOL reward for 2026-10-02 is 27059022.24928124 (capped); an average of "
        "80000000000.00000000 gives 27059022.24928124 (earned) by formula 1",
    ]
