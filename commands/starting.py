"""How a program begins, before it imports modules that take a while or may be missing.

This module imports only modules that load quickly. It has no syntax that an older Python cannot read, since the
user of an older Python must be able to read which version is needed.
"""

from __future__ import annotations

import os
import signal
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import TracebackType
    from typing import NoReturn

PYTHON_NEEDED = (3, 11)
FAILED, INTERRUPTED = 1, 130


def begin() -> None:
    """Until ``entrance.main`` takes over, an interrupt, a Python that is too old and a missing package each
    give one sentence."""
    if sys.version_info < PYTHON_NEEDED:
        needed, found = ".".join(map(str, PYTHON_NEEDED)), ".".join(map(str, sys.version_info[:2]))
        _end(f"Python {needed} or later is needed, and {sys.executable} is {found}: {_advice()}", FAILED)
    # If interrupts are ignored, as in the background of a shell, they stay ignored.
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, lambda number, frame: _end("interrupted", INTERRUPTED))
    sys.excepthook = _on_exception


def soft_staking() -> NoReturn:
    """The command that is installed beside the interpreter."""
    begin()
    from starter import main

    main()


def _on_exception(kind: type[BaseException], error: BaseException, traceback: TracebackType | None) -> None:
    if isinstance(error, ModuleNotFoundError) and error.name is not None:
        package = error.name.partition(".")[0]
        _end(f"the Python {sys.executable} has no package {package}: {_advice()}", FAILED)
    sys.__excepthook__(kind, error, traceback)


def _advice() -> str:
    script = os.path.basename(sys.argv[0])  # noqa: PTH119
    return f"`make run` sets up .venv with all that is needed, and then .venv/bin/python {script} runs"


def _end(sentence: str, code: int) -> NoReturn:
    os.write(2, f"{sentence}\n".encode())
    os._exit(code)
