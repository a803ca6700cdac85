"""keys create, list, revoke: the keys of users' own programs."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from commands.arguments import OperatorOption, OptionalReasonOption, UserArgument, user_argument
from commands.enrolment import documents_in_force
from commands.entrance import the_ledger
from commands.output import JsonOption, instant_text, print_json, print_prose
from ledger.api_keys import (
    ApiKey,
    KeyKind,
    Profile,
    add_key,
    all_keys,
    profile_of_latest_enrolment,
    revoke_key,
)
from running.process import CommandFailed, now, run, say
from settings import Settings
from staking.models import Activation

app = typer.Typer(
    no_args_is_help=True,
    help="Keys with which users' own programs sign their requests; a key belongs to one user. "
    "What they can ask is in docs/http-api.md.",
)


def _user(text: str | None) -> str | None:
    return None if text is None else user_argument(text)


@app.command()
def create(
    user: UserArgument,
    operator: OperatorOption,
    ed25519: Annotated[
        Path | None,
        typer.Option(metavar="PUBKEY.pem", help="A public Ed25519 key. Requests are signed with its private key."),
    ] = None,
    rsa: Annotated[
        Path | None, typer.Option(metavar="PUBKEY.pem", help="The same, with an RSA key of 2048 bits or more.")
    ] = None,
    read_only: Annotated[
        bool, typer.Option("--read-only", help="The key may read, and may not start or stop earning.")
    ] = False,
    region: Annotated[
        str | None,
        typer.Option(help="ISO 3166-1 or 3166-2 code that activations with this key carry, such as FR."),
    ] = None,
    accept_terms: Annotated[
        bool, typer.Option("--accept-terms", help="The user accepted every document in its version in force.")
    ] = False,
    reason: OptionalReasonOption = None,
    as_json: JsonOption = False,
) -> None:
    """Make a key for a user's own programs: an HMAC key with a secret, or a key for the user's own public key.

    The secret is shown once. Activations with this key use the region and the accepted documents that are kept
    with it. What you do not give is taken from the user's latest enrolment.

    Example: python starter.py keys create 1001 --region FR --accept-terms
    """
    if ed25519 and rsa:
        raise typer.BadParameter("choose --ed25519 or --rsa, not both")
    if region is not None:
        region = Activation(region=region, channel="api").region
    created_at = now()
    file = ed25519 or rsa
    kind = KeyKind.ED25519 if ed25519 else KeyKind.RSA if rsa else KeyKind.HMAC
    public_key = _read_public_key(kind, file) if file else None

    async def work() -> tuple[ApiKey, str | None, Mapping[str, str]]:
        async with the_ledger() as ledger:
            async with ledger.read() as connection:
                latest = await profile_of_latest_enrolment(connection, user)
            accepted = await documents_in_force(ledger, created_at) if accept_terms else latest.documents
            key, secret = _new_key(
                user,
                now=created_at,
                region=region or latest.region,
                kind=kind,
                public_key=public_key,
                read_only=read_only,
            )
            await add_key(ledger, key, accepted, operator=operator, reason=reason)
            return key, secret, accepted

    key, secret, documents = run(work())
    if as_json:
        print_json({**_json(key), "secret": secret, "documents": documents})
    else:
        _print_new(key, secret)
    if not read_only:
        _warn_of_gaps(Profile(key.region, documents))


def _read_public_key(kind: KeyKind, file: Path) -> str:
    # Imported here, since importing cryptography takes longer than many commands.
    from web.access.signatures import NotAPublicKey, check_public_key

    try:
        return check_public_key(kind, file.read_bytes())
    except OSError as error:
        raise CommandFailed(f"{file} cannot be read: {error.strerror}") from None
    except NotAPublicKey as error:
        raise CommandFailed(f"{file}: {error}") from None


def _new_key(user: str, **content: Any) -> tuple[ApiKey, str | None]:
    from web.access.key_encryption import KeyEncryption  # as above
    from web.access.keys import new_key

    return new_key(user, KeyEncryption(Settings()), **content)


def _print_new(key: ApiKey, secret: str | None) -> None:
    print(f"key:     {key.api_key}")
    if secret is not None:
        print(f"secret:  {secret}")
        print("The secret is not shown again.")


def _warn_of_gaps(profile: Profile) -> None:
    if profile.region is None:
        say("no region is known, so this key cannot activate; make one with --region if it should")
    if not profile.documents:
        say("no documents are accepted, so this key cannot activate; make one with --accept-terms if it should")


@app.command("list")
def list_(
    user: Annotated[
        str | None, typer.Option("--user", metavar="USER", callback=_user, help="Only keys of this user.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Print every key that was ever made, the oldest first. Secrets are never printed."""

    async def work() -> list[ApiKey]:
        async with the_ledger() as ledger, ledger.read() as connection:
            return await all_keys(connection, user)

    keys = run(work())
    if as_json:
        print_json([_json(key) for key in keys])
    elif keys:
        for key in keys:
            print(key.api_key)
            print_prose(f"    {_described(key)}")
    else:
        print("there are no keys; make one with: starter.py keys create USER --region FR --accept-terms")


@app.command()
def revoke(
    key: Annotated[str, typer.Argument(metavar="KEY", help="The key, as keys list prints it.")],
    operator: OperatorOption,
    reason: OptionalReasonOption = None,
    as_json: JsonOption = False,
) -> None:
    """Revoke a key. It stops working immediately and cannot be used again. A repeat changes nothing."""

    async def work() -> ApiKey:
        async with the_ledger() as ledger:
            return await revoke_key(ledger, key, operator=operator, reason=reason, now=now())

    revoked = run(work())
    if as_json:
        print_json(_json(revoked))
    else:
        assert revoked.revoked_at is not None, "it has just been revoked"
        print(f"{key} of user {revoked.user_id} is revoked since {instant_text(revoked.revoked_at)}.")


def _json(key: ApiKey) -> dict[str, Any]:
    return {
        "key": key.api_key,
        "user": key.user_id,
        "kind": key.kind.value,
        "read_only": key.read_only,
        "region": key.region,
        "created_at": key.created_at,
        "revoked_at": key.revoked_at,
    }


def _described(key: ApiKey) -> str:
    may = "may look" if key.read_only else "may look and set"
    region = f", region {key.region}" if key.region else ""
    revoked = f", revoked {instant_text(key.revoked_at)}" if key.revoked_at else ""
    return f"user {key.user_id}, {key.kind}, {may}{region}, made {instant_text(key.created_at)}{revoked}"
