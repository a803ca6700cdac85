"""The interpreter's garbage collection, which takes long with a million lines in memory."""

import gc
from collections.abc import Generator
from contextlib import contextmanager


@contextmanager
def left_alone() -> Generator[None]:
    """Switches garbage collection off meanwhile. Lines are in no cycles, and looking through all of them again and
    again takes as long as making them."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()
