"""Database URLs, as settings have them: ``sqlite:///FILE`` and ``postgresql://USER@HOST/DATABASE``."""

from sqlalchemy import URL, make_url
from sqlalchemy.exc import ArgumentError

from ledger.database import postgresql, sqlite
from ledger.errors import LedgerUnavailable

_ENCODE = "in a user name or password write @ as %40, : as %3A, / as %2F, # as %23, ? as %3F and % as %25"


def parsed(url: str) -> URL:
    """Raises LedgerUnavailable, without any password, for a text that is not a URL of a supported database."""
    try:
        found = make_url(url)
    except (ArgumentError, ValueError):
        raise not_a_url(url) from None
    if is_sqlite(found):
        return found
    if found.drivername not in ("postgresql", "postgres", postgresql.DRIVER):
        raise LedgerUnavailable(
            f"{found.drivername} is not a database that the ledger knows; "
            "use sqlite:///FILE or postgresql://USER@HOST/DATABASE"
        )
    if "@" in (found.host or "") or ("@" in (found.database or "") and "%40" not in url):
        raise LedgerUnavailable(
            f"{_without_secrets(url)!r} has more than one @, or one in the wrong place: {_ENCODE}"
        )
    return found


def is_sqlite(url: URL) -> bool:
    """Whether a URL is that of a SQLite ledger, rather than of a PostgreSQL one."""
    return url.drivername in ("sqlite", sqlite.DRIVER)


def not_a_url(url: str) -> LedgerUnavailable:
    """The message about a malformed URL."""
    advice = f"; {_ENCODE}" if url.startswith("postgres") else ""
    return LedgerUnavailable(
        f"{_without_secrets(url)!r} is not a database URL such as sqlite:///ledger.db{advice}"
    )


def _without_secrets(url: str) -> str:
    """A malformed URL may have a password anywhere behind its scheme, unless it is the URL of a file."""
    scheme, colon, _ = url.partition(":")
    return url if scheme == "sqlite" or not colon else f"{scheme}:…"
