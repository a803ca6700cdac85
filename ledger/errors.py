"""What the ledger refuses, as sentences for the person who meets them."""

# These are defined in staking/, since the rules of a user's day raise them.
from staking.refusals import ContentDiffers as ContentDiffers
from staking.refusals import LedgerError as LedgerError
from staking.refusals import NotEnrolled as NotEnrolled
from staking.refusals import OutOfOrder as OutOfOrder


class InsufficientBalance(LedgerError):
    """I2: an account would fall below zero."""


class AccountFull(LedgerError):
    """An account would hold more than 90 billion."""


class Superseded(LedgerError):
    """The request comes from a run after whose recall another run has recalled the user's state."""


class LedgerRestored(LedgerError):
    """The ledger has less than the run that asks has seen: it was restored from a backup."""


class NoProgram(LedgerError):
    """No program version is in force."""


class ProgramRefused(LedgerError):
    """I7: a program version cannot be applied."""


class BackDatingRefused(LedgerError):
    """An activation cannot be dated back to the requested instant."""


class UnknownAsset(LedgerError):
    """An asset is in no version of the program."""


class MisspeltAsset(UnknownAsset):
    """An asset differs from a known one only in case, in the width of its characters, or in what nobody sees."""


class InTheFuture(LedgerError):
    """The given instant of a movement is later than now."""


class UnknownEntry(LedgerError):
    """There is no journal entry with that id."""


class WrongOwner(LedgerError):
    """A journal entry is not of the user or the pool that was named with it."""


class NotReversible(LedgerError):
    """A journal entry cannot be reversed."""


class UnknownKey(LedgerError):
    """There is no such key of a user's programs."""


class UnknownToken(LedgerError):
    """There is no such token of a product service."""


class UnknownImport(LedgerError):
    """There is no import with that number."""


class UnknownMovement(LedgerError):
    """A movement is not among the refused ones."""


class UnknownSource(LedgerError):
    """There is no source with that name."""


class UnknownWebhook(LedgerError):
    """There is no webhook with that id."""


class UnknownCursor(LedgerError):
    """There is no event with the number after which events were asked for."""


class LedgerUnavailable(Exception):
    """The database cannot be opened, read or written just now; a retry may mend it."""


class ClockIsWrong(LedgerUnavailable):
    """This machine's clock differs from the database's, so what it writes would count from a wrong instant."""
