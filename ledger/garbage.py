"""The interpreter's search for garbage, which a million lines make long."""

import gc
from collections.abc import Generator
from contextlib import contextmanager


@contextmanager
def left_alone() -> Generator[None]:
    """Nothing is searched meanwhile: lines are in no cycles, and looking through all of them again and again takes
    as long as making them."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()
