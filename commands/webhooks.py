"""webhooks: addresses to which events are sent."""

import secrets
from typing import Annotated, Any

import typer

from commands.arguments import OperatorOption, OptionalReasonOption, ReasonOption, wrong_usage
from commands.entrance import the_ledger
from commands.output import Column, JsonOption, instant_text, print_json, print_table
from contract.events import event_kind
from ledger.events.horizon import readable_through
from ledger.events.webhooks import Webhook, add_webhook, all_webhooks, remove_webhook, replay_webhook, the_webhook
from running.process import CommandFailed, now, run
from running.webhooks import WebhookPost
from settings import Settings
from web.access.key_encryption import KeyEncryption
from webhooks.sending import AddressRefused, NotDelivered, destination, new_secret

app = typer.Typer(
    no_args_is_help=True,
    help="Addresses to which events are sent, signed by the convention of Standard Webhooks: docs/events.md.",
)


@wrong_usage
def _url(text: str) -> str:
    return destination(text).url


@wrong_usage
def _cursor(text: str) -> int:
    if not (text.isascii() and text.isdecimal() and len(text) < 19):
        raise ValueError(f"{text[:40]!r} is no cursor: it is a number that an event has as its cursor")
    return int(text)


IdArgument = Annotated[str, typer.Argument(metavar="ID", help="The webhook's id, as webhooks list prints it.")]


@app.command()
def add(
    url: Annotated[str, typer.Argument(metavar="URL", parser=_url, help="https://…")],
    operator: OperatorOption,
    types: Annotated[
        list[str] | None,
        typer.Option("--type", parser=wrong_usage(event_kind), metavar="TYPE", help="Only this type; repeatable."),
    ] = None,
    after: Annotated[
        int | None,
        typer.Option(parser=_cursor, metavar="CURSOR", help="Begin after this event; left out: with the next."),
    ] = None,
    reason: OptionalReasonOption = None,
    as_json: JsonOption = False,
) -> None:
    """Send events to an address from now on. The secret with which they are signed is shown once.

    Example: python starter.py webhooks add https://wallet.example/events --type reward.credited
    """
    secret, instant = new_secret(), now()
    webhook_id = secrets.token_hex(6)

    async def work() -> Webhook:
        settings = Settings()
        async with the_ledger() as ledger:
            _check_address(settings, url)
            webhook = Webhook(
                webhook_id=webhook_id,
                url=url,
                kinds=[event_kind(kind) for kind in types or ()],
                sealed_secret=KeyEncryption(settings).seal(secret, webhook_id),
                created_at=instant,
                read_through=await readable_through(ledger) if after is None else after,
            )
            await add_webhook(ledger, webhook, operator=operator, reason=reason)
            return webhook

    added = run(work())
    if as_json:
        print_json({**_json(added), "secret": secret})
    else:
        print(f"webhook: {webhook_id}")
        print(f"secret:  {secret}")
        print("The secret is not shown again.")


def _check_address(settings: Settings, url: str) -> None:
    try:
        WebhookPost(settings).check(url)
    except AddressRefused as error:
        raise CommandFailed(str(error)) from None
    except NotDelivered:
        pass  # it may have an address later


@app.command("list")
def list_(as_json: JsonOption = False) -> None:
    """Print the webhooks, how far each is, and what its last failure was; never the secret."""

    async def work() -> list[Webhook]:
        async with the_ledger() as ledger, ledger.read() as connection:
            return await all_webhooks(connection)

    found = run(work())
    if as_json:
        print_json([_json(webhook) for webhook in found])
    elif found:
        print_table(
            [
                Column("id"),
                Column("url", is_prose=True),
                Column("types", is_prose=True, spare=1),
                Column("delivered", is_number=True),
                Column("fails since"),
                Column("because", is_prose=True),
            ],
            [_row(webhook) for webhook in found],
        )
    else:
        print("there are no webhooks; add one with: starter.py webhooks add URL")


@app.command()
def remove(
    webhook_id: IdArgument,
    operator: OperatorOption,
    reason: OptionalReasonOption = None,
    as_json: JsonOption = False,
) -> None:
    """Send nothing more to a webhook, for good. A repeat changes nothing."""

    async def work() -> Webhook:
        async with the_ledger() as ledger:
            return await remove_webhook(ledger, webhook_id, operator=operator, reason=reason, now=now())

    removed = run(work())
    if as_json:
        print_json(_json(removed))
    else:
        print(f"nothing more is sent to {removed.url}")


@app.command("test")
def send_test(webhook_id: IdArgument, as_json: JsonOption = False) -> None:
    """Send an event of the type webhook.test, which tells nothing, and say what came of it."""

    async def work() -> Webhook:
        async with the_ledger() as ledger, ledger.read() as connection:
            return await the_webhook(connection, webhook_id)

    webhook = run(work())
    try:
        WebhookPost(Settings()).send_test(webhook, now())
    except (AddressRefused, NotDelivered) as error:
        raise CommandFailed(f"nothing was delivered to {webhook.url}: {error}") from None
    if as_json:
        print_json({"id": webhook_id, "delivered": True})
    else:
        print(f"{webhook.url} took the event")


@app.command()
def replay(
    webhook_id: IdArgument,
    after: Annotated[
        int,
        typer.Option(parser=_cursor, metavar="CURSOR", help="Everything after this event; 0: all."),
    ],
    operator: OperatorOption,
    reason: ReasonOption,
    as_json: JsonOption = False,
) -> None:
    """Send a webhook everything after a cursor, once more. The events have the ids that they had."""

    async def work() -> Webhook:
        async with the_ledger() as ledger:
            return await replay_webhook(ledger, webhook_id, after, operator=operator, reason=reason, now=now())

    replayed = run(work())
    if as_json:
        print_json(_json(replayed))
    else:
        print(f"{replayed.url} is sent everything after event {after}")


def _json(webhook: Webhook) -> dict[str, Any]:
    return {
        "id": webhook.webhook_id,
        "url": webhook.url,
        "types": list(webhook.kinds),
        "created_at": webhook.created_at,
        "delivered_through": webhook.read_through,
        "failing_since": webhook.failing_since,
        "tries": webhook.tries,
        "last_error": webhook.last_error,
        "removed_at": webhook.removed_at,
    }


def _row(webhook: Webhook) -> list[str]:
    return [
        webhook.webhook_id,
        webhook.url,
        ", ".join(webhook.kinds) or "all",
        str(webhook.read_through),
        instant_text(webhook.failing_since) if webhook.failing_since else "",
        webhook.last_error or "",
    ]
