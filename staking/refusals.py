"""What the rules of a user's day refuse, as sentences for the person who meets them.

The ledger refuses more than these, for reasons of its own: ledger/errors.py.
"""


class LedgerError(Exception):
    """The ledger refuses, and the same request will be refused again: a retry cannot mend it."""


class ContentDiffers(LedgerError):
    """A repeat of a request differs from what was recorded the first time; the message names both."""

    def __init__(self, what: str, *, recorded: object, asked: object) -> None:
        super().__init__(f"{what} was recorded as {recorded}, and is now asked as {asked}")


class NotEnrolled(LedgerError):
    """There is no enrolment to act on."""


class OutOfOrder(LedgerError):
    """A day cannot be closed or credited yet, or cannot be any more."""
