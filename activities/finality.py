"""Which errors a retry cannot mend."""

from collections.abc import Generator
from contextlib import contextmanager

from temporalio.exceptions import ApplicationError

from ledger.errors import LedgerError


@contextmanager
def refusals_are_final() -> Generator[None]:
    """What the ledger refuses it will refuse again: such an error is typed, named, and not retried.

    Every other error (the database away, a lock timeout) passes as it is and is retried without limit.
    """
    try:
        yield
    except LedgerError as error:
        raise ApplicationError(str(error), type=type(error).__name__, non_retryable=True) from error
