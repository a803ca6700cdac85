"""Any printable text without blanks is an asset code, and means the same asset everywhere."""

import unicodedata

import pytest
from asset_codes import CODES, DAYS, with_all
from world import World, at, units

from ledger.corrections import adjust
from ledger.errors import MisspeltAsset
from ledger.movements import deposit, trade

pytestmark = pytest.mark.on_both_databases


async def test_an_asset_with_any_code_is_rewarded_and_the_audit_proves_it(world: World) -> None:
    await with_all(world)
    paid = {line.asset for line in await world.statement("ann") if line.reward > 0}
    assert paid == set(CODES)
    audit = await world.audit(now=at("2026-10-04"))
    assert audit.is_clean, [breach.what for check in audit.checks for breach in check.breaches]


async def test_codes_are_ordered_by_their_bytes(world: World) -> None:
    await with_all(world)
    lines = [line.asset for line in await world.statement("ann") if line.day == DAYS[0]]
    assert lines == sorted(lines, key=str.encode)
    stored = [asset for (asset,) in await world.sql("SELECT DISTINCT asset FROM accounts ORDER BY asset")]
    assert stored == sorted(stored, key=str.encode)


async def test_a_code_is_one_asset_whichever_way_its_characters_are_composed(world: World) -> None:
    whole, parts = (unicodedata.normalize(form, "CAFÉ") for form in ("NFC", "NFD"))
    assert whole != parts
    now = at("2026-10-01")
    first = await deposit(world.ledger, "ann", whole, 5, idempotency_key="d", now=now)
    again = await deposit(world.ledger, "ann", parts, 5, idempotency_key="d", now=now)
    assert again.entry.entry_id == first.entry.entry_id
    await world.import_lines(f"ann,2026-10-01 10:00:00,Spot,Deposit,{parts},1,")
    await adjust(world.ledger, "ann", parts, 7, reason="a test", operator="tests", now=now)
    assert await world.balances("ann") == {whole: units("1") + 12}
    with pytest.raises(ValueError, match="for itself"):
        await trade(world.ledger, "ann", whole, 1, parts, 1, idempotency_key="t", now=now)


@pytest.mark.parametrize("code", ["sol", "ＳＯＬ", "SOL\N{VARIATION SELECTOR-16}", "S\N{HANGUL FILLER}OL"])
async def test_what_looks_like_an_asset_of_the_program_is_a_mistake(world: World, code: str) -> None:
    with pytest.raises(MisspeltAsset, match="the program has SOL"):
        await deposit(world.ledger, "ann", code, 5, idempotency_key="d", now=at("2026-10-01"))
