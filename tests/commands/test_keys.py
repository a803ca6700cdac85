"""keys and tokens: how they are made, shown once, listed and revoked."""

import stat

import pytest
from commandline import CommandLine
from web_api import ED25519_KEY, RSA_KEY, PrivateKey, private_pem, public_pem
from world import ROOT, SHIPPED_PROGRAM


@pytest.fixture
def offering(alone: CommandLine) -> CommandLine:
    """A ledger of its own with the shipped program."""
    assert alone.run("program", "apply", str(ROOT / "program.toml")).code == 0
    return alone


def test_a_key_is_made_with_a_secret_that_is_shown_once(offering: CommandLine) -> None:
    made = offering.json("keys", "create", "1001", "--region", "fr", "--accept-terms")

    assert len(made["key"]) == len(made["secret"]) == 64
    assert (made["key"] + made["secret"]).isalnum()
    assert (made["user"], made["kind"], made["read_only"], made["region"]) == ("1001", "hmac", False, "FR")
    assert made["documents"] == SHIPPED_PROGRAM.documents
    (listed,) = offering.json("keys", "list")
    assert listed == {name: value for name, value in made.items() if name not in ("secret", "documents")}
    assert made["secret"] not in offering.run("keys", "list").out
    data = offering.folder / "data"
    assert not [file for file in data.iterdir() if made["secret"].encode() in file.read_bytes()]
    assert stat.S_IMODE((data / "key-encryption.key").stat().st_mode) == 0o600


def test_a_person_reads_that_the_secret_is_not_shown_again(offering: CommandLine) -> None:
    answer = offering.run("keys", "create", "1001", "--region", "FR", "--accept-terms")

    assert (answer.code, answer.err) == (0, "")
    assert [line.split(":")[0] for line in answer.out.splitlines()] == [
        "key",
        "secret",
        "The secret is not shown again.",
    ]
    assert "user 1001, hmac, may look and set, region FR, made " in offering.run("keys", "list").out


@pytest.mark.parametrize(("kind", "key"), [("rsa", RSA_KEY), ("ed25519", ED25519_KEY)])
def test_a_key_is_made_for_a_public_key_without_a_secret(
    offering: CommandLine, kind: str, key: PrivateKey
) -> None:
    file = offering.write("public.pem", public_pem(key))

    made = offering.json("keys", "create", "1001", f"--{kind}", file, "--region", "FR", "--read-only")

    assert (made["kind"], made["secret"], made["read_only"]) == (kind, None, True)
    assert not (offering.folder / "data" / "key-encryption.key").exists()


def test_a_private_key_is_not_taken(offering: CommandLine) -> None:
    file = offering.write("private.pem", private_pem(ED25519_KEY))

    answer = offering.run("keys", "create", "1001", "--ed25519", file)

    assert (answer.code, answer.out) == (1, "")
    assert answer.sentences == [
        "private.pem: this is a private key, which nobody but its owner should see; give the public key"
    ]


@pytest.mark.parametrize(
    ("arguments", "code", "sentence"),
    [
        (["1001", "--rsa", "none.pem"], 1, "none.pem cannot be read: No such file or directory"),
        (["1001", "--rsa", "a.pem", "--ed25519", "b.pem"], 2, "choose --ed25519 or --rsa, not both"),
        (["a b"], 2, "'a b' is not a user id"),
        (["1001", "--region", "France"], 2, "region: 'FRANCE' is not an ISO 3166-1 or 3166-2 code"),
    ],
)
def test_a_request_that_makes_no_key_is_answered_in_one_sentence(
    alone: CommandLine, arguments: list[str], code: int, sentence: str
) -> None:
    answer = alone.run("keys", "create", *arguments)

    assert (answer.code, answer.out, len(answer.sentences)) == (code, "", 1)
    assert sentence in answer.err


def test_a_missing_or_malformed_encryption_key_is_named(alone: CommandLine) -> None:
    answer = alone.run("keys", "create", "1001", SOFT_STAKING_KEY_ENCRYPTION_KEY="c2hvcnQ=")

    assert (answer.code, answer.out, len(answer.sentences)) == (1, "", 1)
    assert "SOFT_STAKING_KEY_ENCRYPTION_KEY is no key to encrypt secrets with" in answer.err
    assert alone.json("keys", "list") == []


def test_a_key_that_cannot_activate_says_so(alone: CommandLine) -> None:
    looks = alone.run("keys", "create", "1001", "--read-only")
    sets = alone.run("keys", "create", "1001")

    assert (looks.code, looks.err) == (0, "")
    assert sets.code == 0
    assert [sentence.split(",")[0] for sentence in sets.sentences] == [
        "no region is known",
        "no documents are accepted",
    ]


def test_a_revoked_key_stays_listed_and_a_repeat_changes_nothing(offering: CommandLine) -> None:
    made = offering.json("keys", "create", "1001", "--region", "FR", "--accept-terms")
    offering.json("keys", "create", "1002", "--region", "FR", "--accept-terms")

    revoked = offering.json("keys", "revoke", made["key"])

    assert revoked["revoked_at"] is not None
    assert offering.json("keys", "revoke", made["key"]) == revoked
    assert offering.json("keys", "list", "--user", "1001") == [revoked]
    assert offering.run("keys", "revoke", "unknown").sentences == [
        "there is no such key; the keys are listed by: starter.py keys list"
    ]


def test_a_token_is_shown_once_and_listed_by_its_id(alone: CommandLine) -> None:
    made = alone.json("tokens", "create", "spot page", "--scope", "read", "--scope", "activate")

    assert made["token"].startswith(f"sst_{made['id']}_")
    assert (made["name"], made["scopes"]) == ("spot page", ["activate", "read"])
    (listed,) = alone.json("tokens", "list")
    assert listed == {name: value for name, value in made.items() if name != "token"}
    assert made["token"] not in alone.run("tokens", "list").out
    data = alone.folder / "data"
    assert not [file for file in data.iterdir() if made["token"].encode() in file.read_bytes()]
    revoked = alone.json("tokens", "revoke", made["id"])
    assert alone.json("tokens", "revoke", made["id"]) == revoked == alone.json("tokens", "list")[0]


@pytest.mark.parametrize(
    ("arguments", "code", "sentence"),
    [
        (["create", "spot"], 2, "Missing option '--scope'"),
        (["create", "spot", "--scope", "write"], 2, "'write' is not one of 'read', 'activate', 'deactivate'"),
        (["create", "", "--scope", "read"], 2, "the name has 1 to 500 characters"),
        (["revoke", "unknown"], 1, "there is no such token"),
    ],
)
def test_a_request_that_makes_no_token_is_answered_in_a_sentence(
    alone: CommandLine, arguments: list[str], code: int, sentence: str
) -> None:
    answer = alone.run("tokens", *arguments)

    assert (answer.code, answer.out) == (code, "")
    assert sentence in answer.err


def test_an_empty_ledger_says_how_to_begin(alone: CommandLine) -> None:
    assert "keys create USER" in alone.run("keys", "list").out
    assert "tokens create NAME" in alone.run("tokens", "list").out


def test_who_made_and_revoked_keys_and_tokens_is_among_the_acts_once_each(offering: CommandLine) -> None:
    who = ("--operator", "zoe", "--reason", "ticket 4711")
    key = offering.json("keys", "create", "1001", "--region", "FR", "--accept-terms", *who)["key"]
    token = offering.json("tokens", "create", "spot-page", "--scope", "read", *who)["id"]
    for _ in range(2):
        offering.json("keys", "revoke", key, *who)
        offering.json("tokens", "revoke", token, "--operator", "max")

    _, *acts = offering.json("acts", "--all")
    assert [(act["act"], act["user"], act["subject"], act["operator"], act["reason"]) for act in acts] == [
        ("key_create", "1001", f"key {key}", "zoe", "ticket 4711"),
        ("token_create", None, f"token spot-page ({token})", "zoe", "ticket 4711"),
        ("key_revoke", "1001", f"key {key}", "zoe", "ticket 4711"),
        ("token_revoke", None, f"token spot-page ({token})", "max", None),
    ]
    assert offering.json("audit")["clean"] is True
