"""How a message names a command that is to be typed."""

import shlex


def typed(asset: str) -> str:
    """An asset code as it is typed in a shell, as the first argument of a command."""
    return f"-- {shlex.quote(asset)}" if asset.startswith("-") else shlex.quote(asset)
