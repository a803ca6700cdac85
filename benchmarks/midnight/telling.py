"""What a person who waits reads meanwhile."""

import sys


def say(sentence: str) -> None:
    """On stderr, so that stdout has the figures alone."""
    print(sentence, file=sys.stderr, flush=True)
