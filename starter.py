"""The entrance for people and product services: ``python starter.py COMMAND``, or ``import starter``."""

if __name__ == "__main__":
    from commands.starting import begin

    begin()

import logging
from typing import NoReturn

import typer

from commands import (
    audit,
    codec,
    db,
    demo,
    enrolment,
    entrance,
    events,
    export,
    feed,
    find,
    history,
    imports,
    keys,
    ledger,
    movements,
    operators,
    payload_keys,
    pool,
    program,
    reconcile,
    refused_movements,
    retry,
    rewards,
    serve,
    setup,
    sources,
    tokens,
    webhooks,
)
from commands.arguments import NUMBERS_MAY_BE_NEGATIVE
from contract.answers import End, Receipt, Refusal
from contract.errors import NoAnswer, NotTaken, RequestRefused, ServiceError
from contract.live_status import LiveStatus
from embedded.exiting import exit_process
from ledger.database.engine import Ledger, open_ledger
from ledger.entries import Entry, Recorded
from ledger.errors import (
    AccountFull,
    ContentDiffers,
    InsufficientBalance,
    InTheFuture,
    LedgerError,
    LedgerUnavailable,
    MisspeltAsset,
)
from ledger.movements import deposit, trade, withdraw
from settings import BadConfiguration
from staking.models import Activation, RefusalReason
from staking.money import format_amount, parse_amount
from temporal.client import SoftStakingClient
from temporal.connection import connect

__all__ = [
    "AccountFull",
    "Activation",
    "BadConfiguration",
    "ContentDiffers",
    "End",
    "Entry",
    "InTheFuture",
    "InsufficientBalance",
    "Ledger",
    "LedgerError",
    "LedgerUnavailable",
    "LiveStatus",
    "MisspeltAsset",
    "NoAnswer",
    "NotTaken",
    "Receipt",
    "Recorded",
    "Refusal",
    "RefusalReason",
    "RequestRefused",
    "ServiceError",
    "SoftStakingClient",
    "connect",
    "deposit",
    "exit_process",
    "format_amount",
    "open_ledger",
    "parse_amount",
    "trade",
    "withdraw",
]

app = typer.Typer(
    name="soft-staking",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
    help="Soft Staking: a reward every day on what a user simply holds.\n\n"
    "The Temporal server is named by TEMPORAL_ADDRESS (and the other TEMPORAL_* variables, or temporal.toml), "
    "the ledger by SOFT_STAKING_DATABASE_URL. `python worker.py --dev` starts both on this machine; "
    "`demo` needs neither and shows the whole job.",
    epilog="Exit code: 0 done, 1 refused or failed, 2 wrong usage.",
)
app.command()(demo.demo)
app.command()(enrolment.activate)
app.command()(operators.deactivate)
app.command()(enrolment.status)
app.command()(history.history)
app.command()(rewards.rewards)
app.command("import")(imports.import_)
app.add_typer(imports.app, name="imports")
app.command(context_settings=NUMBERS_MAY_BE_NEGATIVE)(movements.deposit)
app.command(context_settings=NUMBERS_MAY_BE_NEGATIVE)(movements.withdraw)
app.command(context_settings=NUMBERS_MAY_BE_NEGATIVE)(movements.trade)
app.add_typer(refused_movements.app, name="movements")
app.add_typer(sources.app, name="sources")
app.add_typer(events.app, name="events")
app.add_typer(webhooks.app, name="webhooks")
app.command()(feed.feed)
app.add_typer(program.app, name="program")
app.add_typer(pool.app, name="pool")
app.add_typer(ledger.app, name="ledger")
app.command()(reconcile.reconcile)
app.add_typer(export.app, name="export")
app.add_typer(db.app, name="db")
app.add_typer(keys.app, name="keys")
app.add_typer(tokens.app, name="tokens")
app.command()(setup.setup)
app.command("list")(find.list_)
app.command()(find.owed)
app.command()(operators.hold)
app.command()(operators.release)
app.command()(retry.retry)
app.command()(operators.resume)
app.command()(operators.acts)
app.command()(audit.audit)
app.command()(serve.serve)
app.add_typer(payload_keys.app, name="payload-keys")
app.command()(codec.codec)


def main() -> NoReturn:
    """Runs a command and ends the process with its exit code."""
    # A command shows its answer; warnings about repeated steps of the demonstration are left out.
    logging.disable()
    entrance.main(app)


if __name__ == "__main__":
    main()
