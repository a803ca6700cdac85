"""db check, upgrade: the ledger's schema version and this program's."""

import typer
from rich.progress import SpinnerColumn, TextColumn

from commands.output import JsonOption, print_json, progress
from ledger.database.engine import find_schema, upgrade_ledger
from ledger.database.migrations import SCHEMA_VERSION, Schema
from running.process import FAILED, run
from settings import Settings

app = typer.Typer(
    no_args_is_help=True,
    help="The ledger's database. A program works with one schema version only: a SQLite ledger is brought there "
    "when it is opened, a PostgreSQL one by `db upgrade`, which also makes a new one of either kind.",
)


@app.command()
def check(as_json: JsonOption = False) -> None:
    """Say which schema version the ledger has and which this program needs; exit code 1 if they differ."""
    schema = run(find_schema(Settings().ledger_url))
    if as_json:
        print_json(
            {
                "ledger": schema.where,
                "version": schema.version,
                "needed": SCHEMA_VERSION,
                "current": schema.is_current,
            }
        )
    else:
        print(f"{schema}.")
    if not schema.is_current:
        raise typer.Exit(FAILED)


@app.command()
def upgrade(as_json: JsonOption = False) -> None:
    """Bring the ledger to this program's schema version, or make one: a new file, or in an empty database.

    It is one transaction, and a repeat changes nothing. Older programs do not open the ledger any more: stop their
    workers first, and make a backup.
    """

    async def work() -> Schema:
        with progress(SpinnerColumn(), TextColumn("{task.description}")) as shown:
            task = shown.add_task("looking at the ledger")
            return await upgrade_ledger(
                Settings().ledger_url,
                on_version=lambda version: shown.update(task, description=f"making schema version {version}"),
            )

    found = run(work())
    if as_json:
        print_json({"ledger": found.where, "from": found.version, "to": SCHEMA_VERSION})
    elif found.is_current:
        print(f"{found}.")
    elif found.version is None:
        print(f"the ledger {found.where} was made, with schema version {SCHEMA_VERSION}.")
    else:
        print(f"the ledger {found.where} was upgraded from schema version {found.version} to {SCHEMA_VERSION}.")
