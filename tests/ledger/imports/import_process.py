"""A process that imports a file, or undoes an import: ``import_process.py URL WORK FILE KILL``.

It writes parts of 20 movements, and a line on stdout after each part. KILL is the number of the part in the middle
of which it kills itself, before the balances are written; with 0 it never does.
"""

import asyncio
import os
import signal
import sys
from itertools import count
from pathlib import Path

from sqlalchemy import event
from world import BY_A_TEST, at

from ledger.database.engine import Ledger, open_ledger
from ledger.imports import importing, records
from ledger.imports.history_export import parse_export
from ledger.imports.importing import import_export
from ledger.imports.records import undo_import

NOW = at("2026-10-05")
PART = 20


def kill_itself_in(ledger: Ledger, part: int) -> None:
    parts = count(1)

    def kill(_connection: object, _cursor: object, statement: str, *_: object) -> None:
        if statement.startswith("UPDATE accounts") and next(parts) == part:
            os.kill(os.getpid(), signal.SIGKILL)

    event.listen(ledger._engine.sync_engine, "before_cursor_execute", kill)


def say(done: int) -> None:
    sys.stdout.write(f"{done}\n")
    sys.stdout.flush()


def say_if_written(doing: str, done: int) -> None:
    if doing == "importing":
        say(done)


async def main(url: str, work: str, file: str, part: int) -> None:
    importing.PART_ENTRIES = records.PART_ENTRIES = PART
    async with open_ledger(url, clock=lambda: NOW) as ledger:
        kill_itself_in(ledger, part)
        if work == "undo":
            await undo_import(
                ledger,
                1,
                reason="wrong zone",
                operator="zoe",
                now=NOW,
                on_progress=lambda done, _: say(done),
            )
        else:
            export = parse_export(Path(file).read_bytes())  # noqa: ASYNC240  # nothing else runs here
            await import_export(ledger, export, now=NOW, by=BY_A_TEST, on_progress=say_if_written)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4])))
