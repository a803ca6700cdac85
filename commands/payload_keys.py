"""payload-keys new, list: the keys under which Temporal's payloads are encrypted."""

import base64
import secrets

import typer

from commands.output import Column, JsonOption, print_json, print_table
from running.process import now, say
from settings import KEY_BYTES, Settings

app = typer.Typer(
    no_args_is_help=True,
    help="Keys under which everything that goes to Temporal is encrypted. They are in SOFT_STAKING_PAYLOAD_KEYS "
    "and nowhere else; docs/encryption.md says how to turn encryption on and how to rotate.",
)


@app.command()
def new(as_json: JsonOption = False) -> None:
    """Print a new key in the form that SOFT_STAKING_PAYLOAD_KEYS takes. The key is stored nowhere.

    To rotate, add it after the old keys everywhere, and only then move it to the front.

    Example: python starter.py payload-keys new
    """
    key_id = f"{now().date()}-{secrets.token_hex(2)}"
    key = base64.b64encode(secrets.token_bytes(KEY_BYTES)).decode()
    if as_json:
        print_json({"id": key_id, "key": key})
    else:
        print(f"{key_id}:{key}")
        say("It is not shown again. Without it nothing that is encrypted under it can be read.")


@app.command("list")
def list_(as_json: JsonOption = False) -> None:
    """Print the ids of the keys in SOFT_STAKING_PAYLOAD_KEYS and what each is for. A key is never printed."""
    uses = [
        {"id": key_id, "use": "reads" if number else "encrypts and reads"}
        for number, key_id in enumerate(Settings().payload_keys_by_id)
    ]
    if as_json:
        print_json(uses)
    elif uses:
        print_table([Column("id"), Column("use")], [list(use.values()) for use in uses])
    else:
        print("there are no keys, so payloads are not encrypted; make one with: starter.py payload-keys new")
