"""Another system's balances are held against every balance of the ledger, in either direction."""

from pathlib import Path

import pytest
from world import World, at, units

from ledger.comparing import comparing
from ledger.comparing.balance_file import BalanceFileError
from ledger.comparing.comparing import Compared, Difference, a_comparison
from ledger.feed.sources import tell_complete
from ledger.reading import boundary_balances

BOUNDARY = at("2026-10-02")


def silent(_doing: str, _done: int, _total: int) -> None:
    """Nobody watches."""


async def compare(world: World, folder: Path, *lines: str) -> tuple[Compared, list[Difference]]:
    file = folder / "balances.csv"
    file.write_text("\n".join(["user,asset,balance", *lines]))
    with a_comparison() as comparison:
        compared = await comparison.compare(world.ledger, file, BOUNDARY, silent)
        return compared, list(comparison.differences())


@pytest.fixture
async def two(world: World) -> World:
    """Ann with two assets, bob with one."""
    await world.move("ann", "12", "SOL", at("2026-10-01"))
    await world.move("ann", "5", "ADA", at("2026-10-01"))
    await world.move("bob", "0.5", "SOL", at("2026-10-01"))
    return world


@pytest.mark.on_both_databases
async def test_every_difference_is_found_with_both_numbers(
    two: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(boundary_balances, "_PART", boundary_balances._PART.limit(2))
    monkeypatch.setattr(boundary_balances, "_IN_A_PART", 2)

    compared, found = await compare(
        two, tmp_path, "zoe,SOL,1", "bob,SOL,0.50000000", "ann,SOL,11", "aaa,币安人生,2", "ann,BTC,0"
    )

    assert found == [
        ("aaa", "币安人生", None, units("2")),
        ("ann", "ADA", units("5"), None),
        ("ann", "SOL", units("12"), units("11")),
        ("zoe", "SOL", None, units("1")),
    ]
    assert [difference.units for difference in found] == [units("2"), units("-5"), units("-1"), units("1")]
    assert (compared.in_file, compared.in_ledger, compared.differences) == (5, 3, 4)
    totals = {asset: (each.ledger, each.file, each.differences) for asset, each in compared.totals.items()}
    assert totals == {
        "SOL": (units("12.5"), units("12.5"), 2),
        "ADA": (units("5"), 0, 1),
        "BTC": (0, 0, 0),
        "币安人生": (0, units("2"), 1),
    }


async def test_the_same_balances_in_any_order_and_form_do_not_differ(two: World, tmp_path: Path) -> None:
    file = tmp_path / "balances.csv"
    file.write_bytes(
        b'\xef\xbb\xbfBalance, user,asset\r\n"0.50",bob,"SOL"\r\n\r\n5E0,ann,ADA\r\n12.000000000,ann,SOL'
    )

    with a_comparison() as comparison:
        compared = await comparison.compare(two.ledger, file, BOUNDARY, silent)

    assert (compared.in_file, compared.in_ledger, compared.differences) == (3, 3, 0)


async def test_the_users_beyond_a_difference_are_those_of_whom_any_balance_differs_by_more(
    two: World, tmp_path: Path
) -> None:
    file = tmp_path / "balances.csv"
    file.write_text("user,asset,balance\nann,SOL,12.5\nann,ADA,5\nbob,SOL,-0.00000001\nzoe,SOL,1\n")

    with a_comparison() as comparison:
        await comparison.compare(two.ledger, file, BOUNDARY, silent)

        assert comparison.users_beyond(units("0.5")) == ["bob", "zoe"]
        assert comparison.users_beyond(0) == ["ann", "bob", "zoe"]
        assert comparison.users_beyond(units("1")) == []


async def test_a_balance_that_rewards_raised_above_the_limit_of_movements_is_compared(
    two: World, tmp_path: Path
) -> None:
    file = tmp_path / "balances.csv"
    file.write_text("user,asset,balance\nfull,SOL,90000000000.21917808\n", encoding="utf-8")

    with a_comparison() as comparison:
        compared = await comparison.compare(two.ledger, file, BOUNDARY, silent)

    assert compared.totals["SOL"].file == 9_000_000_000_021_917_808


async def test_sources_that_are_not_complete_through_the_boundary_are_named(two: World, tmp_path: Path) -> None:
    for name, instant in (("late", "2026-10-01 23:59"), ("in time", "2026-10-02")):
        await tell_complete(two.ledger, name.replace(" ", "-"), at(instant), now=at("2026-10-03"))

    compared, _ = await compare(two, tmp_path)

    assert [source.name for source in compared.late_sources] == ["late"]


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"", "FILE is empty; its first line is user,asset,balance"),
        (b"user,asset\nann,SOL\n", "FILE, line 1: there is no column balance, but 'user,asset'; "),
        (b"ann,SOL,1\n", "FILE, line 1: there is no column user or asset or balance, but 'ann,SOL,1'; "),
        (b"user,asset,balance,balance\n", "FILE, line 1: it names a column too many, but "),
        (b"\xff\xfeu\0s\0", "the file is UTF-16 text; save it as CSV in UTF-8"),
        (b"us\xe9r,asset,balance\n", "FILE, line 1: it is not UTF-8 text (byte 3)"),
        (b"H\nann,SOL,1\nann,S\xd6L,1\n", "FILE, line 3: it is not UTF-8 text (byte 6)"),
        (b"H\nann,SOL,0.123456789\n", "FILE, line 2: '0.123456789' has more than 8 decimals"),
        (b"H\nann,SOL,1e99\n", "FILE, line 2: '1e99' is more than 90 billion"),
        (b"H\nann,SOL,many\n", "FILE, line 2: 'many' is not a number"),
        (b"H\nann,SOL,\n", "FILE, line 2: '' is not a number"),
        (b"H\nann,SOL\n", "FILE, line 2: a line has 3 fields, this one has 2"),
        (b"H\nann,SOL,1,000\n", "FILE, line 2: a line has 3 fields, this one has 4"),
        (b"H\nan n,SOL,1\n", "FILE, line 2: 'an n' is not a user id"),
        (b"H\nann,S L,1\n", "FILE, line 2: 'S L' is not an asset code"),
        (b"H\nann,sol,1\n", "FILE, line 2: there is no asset sol: the program has SOL"),
        (b'H\nann,"SOL,1\nbob,SOL,1\n', "FILE, line 2: its quotes are not those of CSV"),
        (b"H\n\nann,SOL,1\nbob,SOL,2\nann,SOL,1\n", "FILE, line 5: user ann's SOL stands on line 3 already"),
        (b"H\n" + b"x" * 3_000_000 + b"\nann,SOL,oops\n", "FILE, line 2: it is longer than 1000 bytes"),
    ],
)
async def test_a_file_that_cannot_be_compared_is_refused_with_the_line(
    two: World, tmp_path: Path, content: bytes, sentence: str
) -> None:
    file = tmp_path / "balances.csv"
    file.write_bytes(content.replace(b"H\n", b"user,asset,balance\n", 1))

    with a_comparison() as comparison, pytest.raises(BalanceFileError) as refused:
        await comparison.compare(two.ledger, file, BOUNDARY, silent)

    assert refused.value.sentences[0].startswith(sentence.replace("FILE", str(file)))


async def test_of_many_bad_lines_the_first_are_named_and_the_others_counted(two: World, tmp_path: Path) -> None:
    with pytest.raises(BalanceFileError) as refused:
        await compare(two, tmp_path, *("ann,SOL,oops" for _ in range(30)))

    assert len(refused.value.sentences) == 22
    assert refused.value.sentences[-2:] == ("and 10 more lines", "nothing was compared")


async def test_an_asset_that_has_accounts_is_no_misspelling(
    two: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def misspelt(_connection: object, _assets: object) -> dict[str, str]:
        return {"ADA": "there is no asset ADA"}

    monkeypatch.setattr(comparing, "misspelt_assets", misspelt)

    compared, _ = await compare(two, tmp_path, "ann,ADA,5", "ann,SOL,12", "bob,SOL,0.5")

    assert compared.differences == 0


@pytest.mark.parametrize(("name", "sentence"), [("", "is a directory"), ("nosuch.csv", "there is no file")])
async def test_what_is_no_file_is_named(two: World, tmp_path: Path, name: str, sentence: str) -> None:
    with a_comparison() as comparison, pytest.raises(BalanceFileError, match=sentence):
        await comparison.compare(two.ledger, tmp_path / name, BOUNDARY, silent)
