"""Asset codes that look like one of the program: refused before an account is opened under one."""

from collections.abc import Collection, Iterable

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncConnection

from ledger.database.schema import program_versions
from ledger.errors import MisspeltAsset
from staking.program import Program, other_spelling


async def misspelt_assets(connection: AsyncConnection, assets: Iterable[str]) -> dict[str, str]:
    """A sentence for each asset that differs only in case or width from one of a program version, also of versions
    to come.

    Any other asset outside the program is allowed, since soft staking rewards only some of an exchange's assets.
    """
    asked = sorted(assets)
    if not asked:
        return {}
    contents = await connection.scalars(select(program_versions.c.content))
    of_programs = {asset for content in contents for asset in Program.model_validate_json(content).assets}
    return {asset: sentence for asset in asked if (sentence := misspelt(asset, of_programs))}


async def check_spelling(connection: AsyncConnection, assets: Iterable[str]) -> None:
    """Raises MisspeltAsset for the first of the assets that misspelt_assets names."""
    for sentence in (await misspelt_assets(connection, assets)).values():
        raise MisspeltAsset(sentence)


def misspelt(asset: str, assets: Collection[str]) -> str | None:
    """The sentence for an asset that differs only in case or width from a known one; None for any other."""
    right = other_spelling(asset, assets)
    if right is None:
        return None
    how = "case" if right.casefold() == asset.casefold() else "each character"
    return f"there is no asset {asset}: the program has {right}, and asset codes are distinguished by {how}"
