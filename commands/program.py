"""program show, apply, check, pause, resume, diff."""

import re
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Annotated, Any

import typer
from pydantic import JsonValue

from commands.arguments import (
    NewOption,
    OperatorOption,
    OptionalReasonOption,
    ReasonOption,
    day_argument,
    wrong_usage,
)
from commands.empty_pools import (
    empty_pools,
    empty_pools_if_there_is_a_ledger,
    objection_to_resuming,
    unfunded_json,
    unfunded_warning,
)
from commands.entrance import the_ledger
from commands.output import Column, JsonOption, print_fields, print_json, print_prose, print_table
from contract.acts import Act
from ledger.pools import Unfunded
from ledger.programs import (
    Applied,
    InForce,
    ProgramVersion,
    Switched,
    all_versions,
    apply_program,
    in_force_on,
    no_objection,
    no_program_on,
    switch_assets,
    timetable,
)
from running.process import CommandFailed, now, run, say
from staking.days import ONE_DAY, day_of
from staking.program import Difference, Program, ProgramError, check_asset_code, differences, parse_program

app = typer.Typer(no_args_is_help=True, help="The terms of the offer.")
FileArgument = Annotated[Path, typer.Argument(metavar="FILE.toml", help="A program file, such as program.toml.")]


@wrong_usage
def _asset_codes(text: list[str]) -> list[str]:
    return [check_asset_code(code) for code in text]


AssetsArgument = Annotated[
    list[str], typer.Argument(metavar="ASSET", callback=_asset_codes, help="Program assets, such as SOL.")
]
FromOption = Annotated[
    date | None,
    typer.Option(
        "--from",
        parser=day_argument,
        metavar="DAY",
        help="First day (UTC); by default the first whose terms can still change.",
    ),
]
UnfundedOption = Annotated[
    bool,
    typer.Option("--unfunded", help="Do it even if the pool of an asset that begins to earn is empty."),
]
SideArgument = Annotated[
    str | None,
    typer.Argument(metavar="[VERSION|DAY|FILE.toml]", help="A version number, a day (UTC) or a program file."),
]
_FILE_BYTES_MAX = 1024 * 1024


def read_program(file: Path) -> Program:
    """The program in a file. Raises CommandFailed, with a sentence for every problem."""
    try:
        if file.stat().st_size > _FILE_BYTES_MAX:
            raise CommandFailed(f"{file} is larger than 1 MB, and a program file has at most 262,144 characters")
        text = file.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        raise CommandFailed(f"{file} is not UTF-8 text; a program file is TOML") from None
    except OSError as error:
        raise CommandFailed(f"the program file {file} cannot be read: {error.strerror}") from None
    try:
        return parse_program(text)
    except ProgramError as error:
        raise CommandFailed(*(f"{file}: {problem}" for problem in error.problems)) from None


@app.command()
def show(
    on: Annotated[
        date | None,
        typer.Option(
            "--on", parser=day_argument, metavar="DAY", help="Any day (UTC): only the terms in force on it."
        ),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Print the program in force today and the programs to come, or the program in force on a day."""
    day = on or day_of(now())
    spans = timetable(run(_known_versions()))
    in_force = _in_force_on(spans, day)
    later = [span for span in spans if span.first_day > day]
    if as_json:
        print_json({**_span_json(in_force), "later": [_span_json(span) for span in later]})
        return
    _print(in_force)
    for span in later if on is None else []:
        print()
        _print(span)


@app.command()
def apply(
    file: FileArgument,
    operator: OperatorOption,
    new: NewOption = False,
    reason: OptionalReasonOption = None,
    allow_unfunded: UnfundedOption = False,
    as_json: JsonOption = False,
) -> None:
    """Make a program file the program in force from its effective_from on.

    The first program may start in the past; a later one must start after today. The same content again changes
    nothing. A later program that adds an asset whose pool is empty is refused without --unfunded, since every user
    who holds that asset would have to wait for all rewards.
    """
    program = read_program(file)

    async def work() -> tuple[Applied, list[Unfunded]]:
        async with the_ledger(new=new) as ledger:
            pools = await empty_pools(ledger, program)
            applied = await apply_program(
                ledger,
                program,
                operator=operator,
                reason=reason,
                now=now(),
                objection=no_objection if allow_unfunded else pools.refuse_new_ones,
            )
            return applied, pools.unfunded

    applied, empty = run(work())
    if as_json:
        answer = {"changed": applied.changed, "resumed": applied.resumed, "unfunded": unfunded_json(empty)}
        print_json({**answer, **_json(applied.version)})
        return
    if empty:
        say(unfunded_warning(empty))
    if applied.changed:
        print(f"program version {applied.version.version} is in force from {program.effective_from}.")
        if applied.resumed:
            print(f"It resumes what was paused until then: {', '.join(applied.resumed)}.")
    else:
        print(f"nothing changed: this is program version {applied.version.version} already.")


@app.command()
def check(file: FileArgument, as_json: JsonOption = False) -> None:
    """Check a program file. Every problem is reported with its key, and nothing is written.

    If there is a ledger, assets whose pool is empty are named.
    """
    program = read_program(file)
    empty = run(empty_pools_if_there_is_a_ledger(program))
    if as_json:
        print_json({"valid": True, "unfunded": unfunded_json(empty), **program.model_dump(mode="json")})
        return
    print(f"{file} is a valid program of {len(program.assets)} assets from {program.effective_from}.")
    if empty:
        say(unfunded_warning(empty))


@app.command()
def pause(
    assets: AssetsArgument,
    reason: ReasonOption,
    operator: OperatorOption,
    first_day: FromOption = None,
    as_json: JsonOption = False,
) -> None:
    """Pause assets from a day on: they earn nothing (outcome paused) until they are resumed.

    They are also paused in every program version to come. The day must not have begun.
    """
    act = Act(operator=operator, reason=reason)
    _switch(assets, first_day, act, paused=True, allow_unfunded=True, as_json=as_json)


@app.command()
def resume(
    assets: AssetsArgument,
    reason: ReasonOption,
    operator: OperatorOption,
    first_day: FromOption = None,
    allow_unfunded: UnfundedOption = False,
    as_json: JsonOption = False,
) -> None:
    """Resume paused assets from a day on, which must not have begun.

    An asset whose pool is empty is refused without --unfunded, since its holders would have to wait for all
    rewards.
    """
    act = Act(operator=operator, reason=reason)
    _switch(assets, first_day, act, paused=False, allow_unfunded=allow_unfunded, as_json=as_json)


def _switch(
    assets: list[str], first_day: date | None, act: Act, *, paused: bool, allow_unfunded: bool, as_json: bool
) -> None:
    async def work() -> Switched:
        async with the_ledger() as ledger:
            objection = no_objection
            if not allow_unfunded:
                objection = await objection_to_resuming(ledger, assets, first_day or day_of(now()) + ONE_DAY)
            return await switch_assets(
                ledger,
                assets,
                paused=paused,
                operator=act.operator,
                reason=act.reason,
                first_day=first_day,
                now=now(),
                objection=objection,
            )

    switched = run(work())
    if as_json:
        print_json(
            {
                "changed": bool(switched.versions),
                "assets": assets,
                "paused": paused,
                "from": switched.first_day,
                "versions": [
                    {"version": version.version, "effective_from": version.program.effective_from}
                    for version in switched.versions
                ],
            }
        )
        return
    state = f"{' and '.join(assets)} {'is' if len(assets) == 1 else 'are'} {'paused' if paused else 'not paused'}"
    if not switched.versions:
        print(f"nothing changed: {state} from {switched.first_day} on already.")
        return
    print(f"{state} from {switched.first_day} on.")
    for version in switched.versions:
        print(f"program version {version.version} is in force from {version.program.effective_from}.")


@app.command()
def diff(
    before: SideArgument = None,
    after: SideArgument = None,
    as_json: JsonOption = False,
) -> None:
    """Print every difference between two programs, by key. The exit code is 0 in both cases.

    A day means the version in force on it. One argument is compared with the program in force today. Without an
    argument, the program in force today is compared with the last one to come.

    Example: python starter.py program diff program.toml
    """
    first, second = (before, after) if after is not None else (None, before)
    sides = [_named(first) if first is not None else day_of(now()), None if second is None else _named(second)]
    versions = [] if all(isinstance(side, Path) for side in sides) else run(_known_versions())
    old, new = (_side(side, versions) for side in sides)
    found = differences(old.program, new.program)
    if as_json:
        print_json([{"key": each.key, "before": each.before, "after": each.after} for each in found])
        return
    if found:
        print(f"{old.name} -> {new.name}")
        for each in found:
            print(_sentence(each))
    else:
        print(f"no difference: {old.name} and {new.name} say the same.")
    if versions and (empty := run(empty_pools_if_there_is_a_ledger(new.program, only_new=True))):
        say(unfunded_warning(empty))


@dataclass(frozen=True)
class _Side:
    """A program that is compared, and its name for people."""

    name: str
    program: Program


def _named(text: str) -> int | date | Path:
    """What an argument names: a version, a day, or a file."""
    if re.fullmatch(r"[0-9]{1,9}", text):
        return int(text)
    return day_argument(text) if re.fullmatch(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", text) else Path(text)


def _side(named: int | date | Path | None, versions: list[ProgramVersion]) -> _Side:
    if isinstance(named, Path):
        return _Side(str(named), read_program(named))
    if isinstance(named, int):
        version = next((version for version in versions if version.version == named), None)
        if version is None:
            raise CommandFailed(f"there is no program version {named}; {len(versions)} were applied so far")
        return _Side(f"version {named}", version.program)
    spans = timetable(versions)
    last = spans[-1].version if spans and named is None else None
    version = last or _in_force_on(spans, named or day_of(now())).version
    return _Side(f"version {version.version}", version.program)


async def _known_versions() -> list[ProgramVersion]:
    async with the_ledger() as ledger, ledger.read() as connection:
        return await all_versions(connection)


def _in_force_on(spans: list[InForce], day: date) -> InForce:
    found = in_force_on(spans, day)
    if found is None:
        raise no_program_on(day)
    return found


def _sentence(difference: Difference) -> str:
    key, before, after = difference.key, difference.before, difference.after
    if before is None or after is None:
        said = after if before is None else before
        what = "added" if before is None else "removed"
        return f"{key} {what}" if key.endswith(f".{said}") else f"{key} {what}: {_text(said)}"
    return f"{key} {_text(before)} -> {_text(after)}"


def _text(value: JsonValue) -> str:
    """A value as a person reads it: an asset's terms in a row, true and false as a program file has them."""
    if isinstance(value, dict):
        return ", ".join(f"{key} {_text(inner)}" for key, inner in value.items())
    return str(value).lower() if isinstance(value, bool) else str(value)


def _span_json(span: InForce) -> dict[str, Any]:
    return {**_json(span.version), "effective_until": span.last_day}


def _json(version: ProgramVersion) -> dict[str, Any]:
    return {
        "version": version.version,
        "applied_at": version.applied_at,
        **version.program.model_dump(mode="json"),
    }


def _print(span: InForce) -> None:
    program = span.version.program
    until = f"to {span.last_day}" if span.last_day else "on"
    paused = [asset for asset, terms in program.assets.items() if terms.paused]
    print_prose(f"program version {span.version.version}, in force from {program.effective_from} {until}")
    print_fields(
        {
            "minimum app version": program.minimum_app_version,
            "restricted regions": " ".join(program.restricted_regions) or "none",
            **{name.replace("_", " "): document for name, document in program.documents.items()},
            "paused": " ".join(paused) or "none",
        }
    )
    print_table(
        [
            Column("asset"),
            Column("minimum", True),
            Column("cap", True),
            Column("APR", True),
            Column("price USDT", True, spare=1),
            Column("paused"),
        ],
        [
            [asset, terms.minimum, terms.cap, terms.apr, terms.reference_price, "yes" if terms.paused else ""]
            for asset, terms in program.assets.items()
        ],
    )
