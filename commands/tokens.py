"""tokens create, list, revoke: the bearer tokens of product services."""

from typing import Annotated, Any

import typer

from commands.arguments import OperatorOption, OptionalReasonOption, wrong_usage
from commands.entrance import the_ledger
from commands.output import Column, JsonOption, instant_text, print_json, print_table
from contract.acts import check_text
from ledger.service_tokens import Scope, ServiceToken, add_token, all_tokens, revoke_token
from running.process import now, run
from web.access.tokens import new_token

app = typer.Typer(
    no_args_is_help=True,
    help="Bearer tokens of product services. A token may ask for every user, within its scopes; "
    "docs/http-api.md says what it may ask.",
)


@wrong_usage
def _name(text: str) -> str:
    return check_text("name", text)


@app.command()
def create(
    name: Annotated[
        str, typer.Argument(metavar="NAME", callback=_name, help="The service that the token is for.")
    ],
    scopes: Annotated[
        list[Scope],
        typer.Option(
            "--scope", help="What the token may do. Repeat the option for each scope.", show_default=False
        ),
    ],
    operator: OperatorOption,
    reason: OptionalReasonOption = None,
    as_json: JsonOption = False,
) -> None:
    """Make a token for a product service. It is printed once; only its hash is stored.

    Example: python starter.py tokens create spot-page --scope read --scope activate
    """
    text, token = new_token(name, scopes, now=now())

    async def work() -> None:
        async with the_ledger() as ledger:
            await add_token(ledger, token, operator=operator, reason=reason)

    run(work())
    if as_json:
        print_json({**_json(token), "token": text})
    else:
        print(f"token:  {text}")
        print("It is not shown again.")


@app.command("list")
def list_(as_json: JsonOption = False) -> None:
    """Print the id of every token that was ever made, the oldest first. Tokens are never printed."""

    async def work() -> list[ServiceToken]:
        async with the_ledger() as ledger, ledger.read() as connection:
            return await all_tokens(connection)

    tokens = run(work())
    if as_json:
        print_json([_json(token) for token in tokens])
    elif tokens:
        print_table(
            [
                Column("id"),
                Column("name", is_prose=True),
                Column("scopes", is_prose=True),
                Column("created", spare=1),
                Column("revoked"),
            ],
            [_row(token) for token in tokens],
        )
    else:
        print("there are no tokens; make one with: starter.py tokens create NAME --scope read")


@app.command()
def revoke(
    token_id: Annotated[str, typer.Argument(metavar="ID", help="The token's id, as tokens list prints it.")],
    operator: OperatorOption,
    reason: OptionalReasonOption = None,
    as_json: JsonOption = False,
) -> None:
    """Revoke a token. It stops working immediately and cannot be used again. A repeat changes nothing."""

    async def work() -> ServiceToken:
        async with the_ledger() as ledger:
            return await revoke_token(ledger, token_id, operator=operator, reason=reason, now=now())

    revoked = run(work())
    if as_json:
        print_json(_json(revoked))
    else:
        assert revoked.revoked_at is not None, "it has just been revoked"
        print(f"{token_id} ({revoked.name}) is revoked since {instant_text(revoked.revoked_at)}.")


def _json(token: ServiceToken) -> dict[str, Any]:
    return {
        "id": token.token_id,
        "name": token.name,
        "scopes": sorted(token.scopes),
        "created_at": token.created_at,
        "revoked_at": token.revoked_at,
    }


def _row(token: ServiceToken) -> list[str]:
    return [
        token.token_id,
        token.name,
        ", ".join(sorted(token.scopes)),
        instant_text(token.created_at),
        instant_text(token.revoked_at) if token.revoked_at else "",
    ]
