"""How an entrance runs: one exit code, one sentence for every error, no traceback."""

import asyncio
import signal
import sys
from collections.abc import AsyncGenerator, Coroutine
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any, NoReturn, TypeVar

import typer
from pydantic import ValidationError

from embedded.exiting import exit_process
from embedded.temporal_server import EmbeddedServerError
from ledger.engine import Ledger, open_ledger
from ledger.errors import LedgerError, LedgerUnavailable
from ledger.history_export import ExportError
from settings import Settings
from staking.models import check_user_id
from workflows.client import ServiceError
from workflows.connection import BadConfiguration

_Answer = TypeVar("_Answer")
DONE, FAILED, INTERRUPTED = 0, 1, 130


class CommandFailed(Exception):
    """A command was refused or failed; each of the sentences goes to stderr."""

    def __init__(self, *sentences: str) -> None:
        self.sentences = sentences
        super().__init__("; ".join(sentences))


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
    # A terminated command stops what it started, as an interrupted one does.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    signal.signal(signal.SIGHUP, signal.default_int_handler)
    exit_process(_exit_code(app))


def _exit_code(app: typer.Typer) -> int:
    try:
        code = app(standalone_mode=False)
        return code if isinstance(code, int) else DONE
    except typer.TyperException as error:
        say(error.format_message())
        return error.exit_code
    except CommandFailed as error:
        for sentence in error.sentences:
            say(sentence)
    except _EXPECTED as error:
        say(str(error))
    except ValidationError as error:
        for fault in error.errors():
            key = ".".join(str(part) for part in fault["loc"])
            say(f"{key}: {fault['msg'].removeprefix('Value error, ')}")
    except (KeyboardInterrupt, typer.Abort):
        say("interrupted")
        return INTERRUPTED
    except BrokenPipeError:
        pass
    except Exception as error:
        say(f"unexpected {type(error).__name__}: {' '.join(str(error).split())}")
    return FAILED


def say(sentence: str) -> None:
    """A sentence for a person, on stderr."""
    print(sentence, file=sys.stderr)


def run(work: Coroutine[Any, Any, _Answer]) -> _Answer:
    """Runs a command's asynchronous part to its end."""
    return asyncio.run(work)


def now() -> datetime:
    """The instant at which a command starts; taken once, then passed on."""
    return datetime.now(UTC)


@asynccontextmanager
async def the_ledger() -> AsyncGenerator[Ledger]:
    """The ledger that the settings name."""
    async with open_ledger(Settings().ledger_url) as ledger:
        yield ledger


def user_argument(text: str) -> str:
    """A user id from the command line; wrong usage if malformed."""
    try:
        return check_user_id(text)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None
