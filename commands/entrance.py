"""How a program runs: with one exit code, one sentence for every error, and no traceback."""

import signal
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import NoReturn

import typer
from pydantic import ValidationError

from commands.help import command_of
from contract.errors import ServiceError
from embedded.exiting import exit_process
from embedded.temporal_server import EmbeddedServerError
from ledger.database.engine import Ledger, make_ledger, open_ledger
from ledger.errors import LedgerError, LedgerUnavailable
from ledger.imports.history_export import ExportError
from running.process import DONE, FAILED, INTERRUPTED, WRONG_USAGE, CommandFailed, say, stop_signals
from settings import BadConfiguration, Settings, faults_of_settings

_EXPECTED = (
    CommandFailed,
    ServiceError,
    LedgerError,
    LedgerUnavailable,
    ExportError,
    EmbeddedServerError,
    BadConfiguration,
)


def main(app: typer.Typer) -> NoReturn:
    """Runs the app and ends the process with 0 done, 1 refused or failed, 2 wrong usage."""
    # If a terminal cannot show a character, it shows the character's number and not nothing.
    if reconfigure := getattr(sys.stdout, "reconfigure", None):
        reconfigure(errors="backslashreplace")
    # A command that is terminated stops what it started, as one that is interrupted does.
    for number in stop_signals():
        signal.signal(number, signal.default_int_handler)
    exit_process(_exit_code(app))


def _exit_code(app: typer.Typer) -> int:
    try:
        code = command_of(app)(standalone_mode=False)
        sys.stdout.flush()
        if code == INTERRUPTED:
            raise KeyboardInterrupt
        return code if isinstance(code, int) else DONE
    except typer.TyperException as error:
        say(error.format_message().replace("Value error, ", ""))
        return error.exit_code
    except CommandFailed as error:
        for sentence in error.sentences:
            say(sentence)
    except _EXPECTED as error:
        say(str(error))
    except ValidationError as error:
        for sentence in _faults(error):
            say(sentence)
        return WRONG_USAGE
    except (KeyboardInterrupt, typer.Abort):
        say("interrupted")
        return INTERRUPTED
    except (BrokenPipeError, SystemExit):
        pass  # the reader went away (`| head`), for which typer has an exit of its own
    except Exception as error:
        say(f"unexpected {type(error).__name__}: {' '.join(str(error).split())}")
    return FAILED


def _faults(error: ValidationError) -> list[str]:
    if error.title == Settings.__name__:
        return faults_of_settings(error)
    return [
        f"{'.'.join(str(part) for part in fault['loc'])}: {fault['msg'].removeprefix('Value error, ')}"
        for fault in error.errors()
    ]


@asynccontextmanager
async def the_ledger(*, new: bool = False) -> AsyncGenerator[Ledger]:
    """Opens the ledger that the settings name; with ``new`` it is made if there is none. After a command has
    written, it says to which ledger."""
    url = Settings().ledger_url
    made = new and await make_ledger(url)
    async with open_ledger(url) as ledger:
        if made:
            say(f"made the ledger {ledger.where}")
        yield ledger
        if ledger.has_written:
            say(f"written to the ledger {ledger.where}")
