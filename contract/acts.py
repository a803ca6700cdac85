"""What operators do to a user, and which texts they may give. Instants are UTC."""

from staking.models import REASON_LENGTH_MAX, Instant, Model, Reason


class Act(Model):
    """Who acts as an operator, and why."""

    operator: Reason
    reason: Reason
    """For colleagues, never for the user."""
    tell: Reason | None = None
    """For the user."""


class Hold(Model):
    """An operator's hold: the user's loop stops before its next step until the hold is released."""

    held_at: Instant
    operator: str
    reason: str
    """For colleagues, never for the user."""
    tell: str | None = None
    """For the user."""


def check_text(what: str, text: str) -> str:
    """A reason or an operator's name as it came. Raises ValueError unless it is 1 to 500 characters of text."""
    if not 1 <= len(text) <= REASON_LENGTH_MAX or text.isspace():
        raise ValueError(f"the {what} has 1 to {REASON_LENGTH_MAX} characters, this one has {len(text.strip())}")
    if not all(character.isprintable() or character.isspace() for character in text):
        raise ValueError(f"the {what} has characters that are no text")
    return text


def check_words(operator: str, reason: str | None, tell: str | None = None) -> None:
    """Raises ValueError if one of them is given and is not text."""
    for what, words in (("operator", operator), ("reason", reason), ("text for the user", tell)):
        if words is not None:
            check_text(what, words)
