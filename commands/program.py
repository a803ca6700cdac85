"""program show, apply, check."""

from pathlib import Path
from typing import Annotated, Any

import typer

from commands.entrance import CommandFailed, now, run, the_ledger
from commands.output import Column, JsonOption, print_json, print_table
from ledger.programs import Applied, ProgramVersion, all_versions, apply_program, program_on
from staking.days import day_of
from staking.program import Program, ProgramError, parse_program

app = typer.Typer(no_args_is_help=True, help="The terms of the offer.")
FileArgument = Annotated[Path, typer.Argument(metavar="FILE.toml", help="A program file, such as program.toml.")]
_FILE_BYTES_MAX = 1024 * 1024


def read_program(file: Path) -> Program:
    """The program in a file. Raises CommandFailed, a sentence for every problem."""
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
def show(as_json: JsonOption = False) -> None:
    """Print the program in force today, and what is to come."""

    async def work() -> tuple[ProgramVersion, list[ProgramVersion]]:
        today = day_of(now())
        async with the_ledger() as ledger, ledger.read() as connection:
            in_force = await program_on(connection, today)
            later = [known for known in await all_versions(connection) if known.program.effective_from > today]
            return in_force, later

    in_force, later = run(work())
    if as_json:
        print_json({**_json(in_force), "later": [_json(version) for version in later]})
        return
    _print(in_force)
    for version in later:
        print()
        _print(version)


@app.command()
def apply(file: FileArgument, as_json: JsonOption = False) -> None:
    """Make a program file the program in force from its effective_from on.

    The first may start in the past; a later one must start after today. The same content again changes nothing.
    """
    program = read_program(file)

    async def work() -> Applied:
        async with the_ledger() as ledger:
            return await apply_program(ledger, program, now=now())

    applied = run(work())
    if as_json:
        print_json({"changed": applied.changed, **_json(applied.version)})
    elif applied.changed:
        print(f"program version {applied.version.version} is in force from {program.effective_from}.")
    else:
        print(f"nothing changed: this is program version {applied.version.version} already.")


@app.command()
def check(file: FileArgument, as_json: JsonOption = False) -> None:
    """Check a program file; every problem is reported with its key, nothing is written."""
    program = read_program(file)
    if as_json:
        print_json({"valid": True, **program.model_dump(mode="json")})
    else:
        print(f"{file} is a valid program of {len(program.assets)} assets from {program.effective_from}.")


def _json(version: ProgramVersion) -> dict[str, Any]:
    return {
        "version": version.version,
        "applied_at": version.applied_at,
        **version.program.model_dump(mode="json"),
    }


def _print(version: ProgramVersion) -> None:
    program = version.program
    print(f"program version {version.version}, in force from {program.effective_from}")
    print(f"minimum app version {program.minimum_app_version}")
    print(f"restricted regions  {' '.join(program.restricted_regions) or 'none'}")
    for name, document in program.documents.items():
        print(f"{name.replace('_', ' '):<19} {document}")
    print_table(
        [
            Column("asset"),
            Column("minimum", True),
            Column("cap", True),
            Column("APR", True),
            Column("price USDT", True),
            Column(""),
        ],
        [
            [asset, terms.minimum, terms.cap, terms.apr, terms.reference_price, "paused" if terms.paused else ""]
            for asset, terms in program.assets.items()
        ],
    )
