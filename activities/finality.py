"""Which errors a retry cannot mend."""

from collections.abc import Generator
from contextlib import contextmanager

from sqlalchemy.exc import IntegrityError
from temporalio.exceptions import ApplicationError, ApplicationErrorCategory

from ledger.errors import LedgerError, LedgerUnavailable


@contextmanager
def refusals_are_final() -> Generator[None]:
    """What the ledger refuses it will refuse again: such an error is typed, named, and not retried.

    Every other error is retried without limit. That of a ledger which is away goes without its causes: with them
    it is longer than Temporal keeps of a step that is being retried, and an operator would not see the reason.
    """
    try:
        yield
    except LedgerError as error:
        # Benign: an answer to someone who asked, which the worker's log need not cry out.
        raise ApplicationError(
            str(error),
            type=type(error).__name__,
            non_retryable=True,
            category=ApplicationErrorCategory.BENIGN,
        ) from error
    except IntegrityError as error:
        sentence = f"the ledger's database refuses: {error.orig}"
        raise ApplicationError(sentence, type=type(error).__name__, non_retryable=True) from None
    except LedgerUnavailable as error:
        raise ApplicationError(str(error), type=LedgerUnavailable.__name__) from None
