"""How a process that used the Temporal SDK ends."""

import contextlib
import logging
import os
import sys
from typing import NoReturn


def exit_process(code: int) -> NoReturn:
    """End this process with `code` immediately: buffered output is written, but no `finally` or `atexit` runs.

    The SDK's native threads may still call into Python while the interpreter takes itself down. The process then
    aborts in `PyGILState_Release` (exit 134 or 139) after all its work was done:
    https://github.com/temporalio/sdk-python/issues/300. Leaving without that teardown keeps the exit code true.
    """
    logging.shutdown()
    for stream in (sys.stdout, sys.stderr):
        # A reader that went away (`| head`) must not change the code.
        with contextlib.suppress(OSError, ValueError):
            stream.flush()
    os._exit(code)
