"""reconcile: compare balances of another system with the ledger's, and hold the users who differ."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any

import typer

from commands import bulk
from commands.arguments import (
    WHY,
    BoundaryOption,
    OptionalOperatorOption,
    OptionalReasonOption,
    TellOption,
    TimeoutOption,
    login_name,
    wrong_usage,
)
from commands.entrance import the_ledger
from commands.output import Column, JsonOption, instant_text, lines_done, print_json_with, print_prose, print_table
from contract.acts import Act
from ledger.acts import held_users
from ledger.comparing.balance_file import BalanceFileError
from ledger.comparing.comparing import Compared, Comparison, Difference, Totals, a_comparison
from ledger.database.engine import Ledger
from ledger.reading.statements import known_users
from running.process import FAILED, CommandFailed, run, say
from staking.money import format_amount, parse_amount
from temporal.client import SoftStakingClient
from temporal.connection import connect

_IN_A_STATEMENT = 1_000
_NUMBERS = ("ledger", "file", "difference", "differing")


@wrong_usage
def _threshold(text: str) -> int:
    amount = parse_amount(text)
    if amount < 0:
        raise ValueError(f"{text} is below zero")
    return amount


@dataclass(frozen=True)
class _Holding:
    """Whom to hold, and why."""

    above: int
    """Users are named if one of their balances differs by more than this, in units."""
    act: Act
    is_meant: bool
    """Whether they are held; otherwise they are only shown."""
    timeout: timedelta


def reconcile(
    file: Annotated[
        Path,
        typer.Argument(metavar="BALANCES.csv", help="CSV with the columns user, asset and balance, in UTF-8."),
    ],
    at: BoundaryOption,
    hold_above: Annotated[
        int | None,
        typer.Option(
            parser=_threshold,
            metavar="AMOUNT",
            help="Hold the users of whom a balance differs by more tokens than this. It needs --reason.",
        ),
    ] = None,
    reason: OptionalReasonOption = None,
    operator: OptionalOperatorOption = None,
    tell: TellOption = None,
    yes: Annotated[
        bool, typer.Option("--yes/--dry-run", help="Hold them, or only tell whom it would hold.")
    ] = False,
    timeout: TimeoutOption = 10,
    as_json: JsonOption = False,
) -> None:
    """Compare balances of another system with the ledger's at a boundary. The exit code is 1 if any differs.

    Every difference is printed with both numbers, and the totals of each asset. A balance that only one side has
    is a difference unless it is zero. With --hold-above the users who differ by more are named, and with --yes
    they are held until `release`.

    Example: python starter.py reconcile balances.csv --at 2026-10-02 --hold-above 0.5 --reason "case 4711"
    """
    holding = None
    if hold_above is not None:
        if reason is None:
            raise typer.BadParameter(f"--reason is missing. {WHY}")
        act = Act(operator=operator or login_name(), reason=reason, tell=tell)
        holding = _Holding(hold_above, act, yes, timedelta(seconds=timeout))
    elif yes or reason or operator or tell:
        raise typer.BadParameter("--yes, --reason, --operator and --tell go with --hold-above")

    with a_comparison() as comparison:

        async def work() -> tuple[Compared, list[str]]:
            async with the_ledger() as ledger:
                with lines_done(quiet=as_json) as show:
                    compared = await comparison.compare(ledger, file, at, show)
                whom = await _to_hold(ledger, comparison, holding) if holding else []
            return compared, whom

        try:
            compared, whom = run(work())
        except BalanceFileError as error:
            raise CommandFailed(*error.sentences) from None
        if not as_json:
            _print(file, compared, comparison)
        held = run(_hold(whom, holding)) if holding and holding.is_meant else None
        answer = holding and _holding_json(holding, whom, held)
        if as_json:
            print_json_with(
                {**_json(compared), "hold": answer}, "differences", map(_difference_json, comparison.differences())
            )
        elif holding:
            _print_holding(holding, whom, held)
    if compared.differences:
        raise typer.Exit(FAILED)


async def _to_hold(ledger: Ledger, comparison: Comparison, holding: _Holding) -> list[str]:
    """The users who differ by more. Users who are held already, or who are not in the ledger, are left out."""
    users = comparison.users_beyond(holding.above)
    known: set[str] = set()
    async with ledger.read(takes_long=True) as connection:
        held = await held_users(connection)
        for start in range(0, len(users), _IN_A_STATEMENT):
            known |= await known_users(connection, users[start : start + _IN_A_STATEMENT])
    return [user for user in users if user in known and user not in held]


async def _hold(users: list[str], holding: _Holding) -> bulk.Results:
    client = SoftStakingClient(await connect(timeout=holding.timeout), timeout=holding.timeout)
    return await bulk.for_each("holding", users, lambda user: client.hold(user, holding.act))


def _json(compared: Compared) -> dict[str, Any]:
    return {
        "at": compared.boundary,
        "in_file": compared.in_file,
        "in_ledger": compared.in_ledger,
        "differing": compared.differences,
        "totals": [
            {"asset": asset, **_both(totals.ledger, totals.file), "differing": totals.differences}
            for asset, totals in sorted(compared.totals.items())
        ],
        "late_sources": [source.name for source in compared.late_sources],
    }


def _both(ledger: int, file: int) -> dict[str, str]:
    return {
        "ledger": format_amount(ledger),
        "file": format_amount(file),
        "difference": format_amount(file - ledger),
    }


def _difference_json(difference: Difference) -> dict[str, str | None]:
    both = _both(difference.ledger or 0, difference.file or 0)
    return {"user": difference.user_id, "asset": difference.asset, **both, "missing_in": _missing_in(difference)}


def _missing_in(difference: Difference) -> str | None:
    if difference.ledger is None:
        return "ledger"
    return "file" if difference.file is None else None


def _holding_json(holding: _Holding, whom: list[str], held: bulk.Results | None) -> dict[str, Any]:
    who: dict[str, Any] = {"would": whom} if held is None else {"held": held.done, "failed": held.failed}
    above, act = format_amount(holding.above), holding.act
    return {"above": above, "operator": act.operator, "reason": act.reason, "dry_run": held is None, **who}


def _print(file: Path, compared: Compared, comparison: Comparison) -> None:
    for difference in comparison.differences():
        print(_sentence(difference))
    print_totals(compared.totals)
    when = instant_text(compared.boundary)
    what = f"{compared.in_file} balances of {file} and {compared.in_ledger} of the ledger, just before {when}"
    print_prose(f"{what}: {_counted(compared.differences)}.")
    for source in compared.late_sources:
        say(
            f"the source {source.name} is complete only through {instant_text(source.complete_through)}, so what "
            "happened between then and the boundary may not be in the ledger yet"
        )


def _counted(differences: int) -> str:
    return "1 difference" if differences == 1 else f"{differences or 'no'} differences"


def _sentence(difference: Difference) -> str:
    user, asset, ledger, file = difference
    by = f"{'+' if difference.units > 0 else ''}{format_amount(difference.units)}"
    in_ledger = "nothing" if ledger is None else format_amount(ledger)
    in_file = "nothing" if file is None else format_amount(file)
    return f"{user} {asset}: the ledger has {in_ledger}, the file {in_file} ({by})"


def print_totals(totals: Mapping[str, Totals]) -> None:
    """A row for each asset that either side has."""
    columns = [
        Column("asset"),
        *(Column(name, is_number=True) for name in ("ledger", "file", "difference", "differing")),
    ]
    rows = [
        [asset, *_both(each.ledger, each.file).values(), str(each.differences)]
        for asset, each in sorted(totals.items())
    ]
    if rows:
        columns = [Column("asset"), *(Column(name, is_number=True) for name in _NUMBERS)]
        print_table(columns, rows, title="Totals")


def _print_holding(holding: _Holding, whom: list[str], held: bulk.Results | None) -> None:
    above = f"for a difference above {format_amount(holding.above)}"
    if held is None:
        for user in whom:
            print(user)
        print_prose(f"would hold {bulk.counted(len(whom))} {above}; nothing was done. With --yes they are held.")
        return
    for user, problem in sorted(held.failed.items()):
        say(f"{user}: {problem}")
    if held.not_asked:
        say(f"given up; {bulk.counted(held.not_asked)} are left, whom the same command holds once it is mended")
    print_prose(f"held {bulk.counted(held.done)} {above}.")
