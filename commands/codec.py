"""codec: plain text for Temporal's web UI and command line."""

import re
from contextlib import AsyncExitStack
from ipaddress import ip_address
from typing import TYPE_CHECKING, Annotated

import typer

from commands.entrance import the_ledger
from running.process import CommandFailed, now, run, say, stop_signal
from settings import DEFAULT_CODEC_PORT, LOOPBACK, Settings
from temporal.encryption import PayloadEncryption

if TYPE_CHECKING:
    pass

DEFAULT_ORIGINS = ["http://127.0.0.1:8233", "http://localhost:8233"]
_ORIGIN = re.compile(r"https?://[a-z0-9.-]+(:[0-9]{1,5})?|https?://\[[0-9a-f:]+\](:[0-9]{1,5})?")


def _origins(origins: list[str]) -> list[str]:
    for origin in origins:
        if not _ORIGIN.fullmatch(origin):
            raise typer.BadParameter(f"{origin[:64]!r} is not an origin such as https://temporal.example.com")
    return origins


def codec(
    host: Annotated[str, typer.Option(help="Address to listen on.")] = LOOPBACK,
    port: Annotated[
        int, typer.Option(min=1, max=65535, metavar="PORT", help="Port to listen on.")
    ] = DEFAULT_CODEC_PORT,
    origins: Annotated[
        list[str],
        typer.Option(
            "--origin",
            callback=_origins,
            help="The origin of a web UI that may ask. Repeat the option for each one.",
        ),
    ] = DEFAULT_ORIGINS,
    require_token: Annotated[
        bool,
        typer.Option(
            "--require-token", help="Ask for a token on loopback too, because a proxy passes requests on."
        ),
    ] = False,
) -> None:
    """Decrypt payloads for Temporal's web UI and the `temporal` command, until it is stopped (Ctrl-C or SIGTERM).

    It has the keys in SOFT_STAKING_PAYLOAD_KEYS. On loopback it serves whoever is on this machine; on any other
    address a caller needs a bearer token with the scope decode, which is read from the ledger.
    """
    # Imported here, since importing FastAPI would take a third of the time of every other command.
    from web.access.bearer import Anyone, Bearers
    from web.codec import create_codec_app
    from web.server import serving

    needs_token = require_token or not is_loopback(host)

    async def work() -> None:
        stop = stop_signal()
        settings = Settings()
        if not (keys := settings.payload_keys_by_id):
            raise CommandFailed(
                "payloads are not encrypted, so there is nothing to decrypt: set SOFT_STAKING_PAYLOAD_KEYS to the "
                "keys that the workers have"
            )
        async with AsyncExitStack() as stack:
            callers = Anyone(now, settings)
            if needs_token:
                callers = Bearers(await stack.enter_async_context(the_ledger()), now, settings)
            app = create_codec_app(PayloadEncryption(keys), callers, origins)
            address = await stack.enter_async_context(serving(app, host=host, port=port))
            say(f"Codec       {address}; Ctrl-C stops it")
            say(f"Reads it    {'a token with the scope decode' if needs_token else 'whoever is on this machine'}")
            await stop.wait()

    run(work())


def is_loopback(host: str) -> bool:
    """Whether an address can be reached from this machine alone."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
