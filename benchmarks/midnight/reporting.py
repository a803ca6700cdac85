"""How a reference's worker reports about its users: by lines on stdout that its parent reads."""

import json
import os
import time

_STDOUT = 1


def report(word: str, user: str) -> None:
    """Reports a word about a user, with the present instant. It is one write, so that lines of several threads do
    not mix."""
    os.write(_STDOUT, json.dumps([word, user, time.time()]).encode() + b"\n")
