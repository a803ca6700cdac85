"""payload-keys and codec: a key is made, the list says what each key is for, and plain text is shown to those who
may read it."""

import json
import signal
import urllib.error
import urllib.request

import pytest
from commandline import CommandLine, free_ports
from polling import wait_until

from commands.codec import is_loopback
from settings import Settings


def test_each_new_key_is_one_that_the_setting_takes_and_is_kept_nowhere(nowhere: CommandLine) -> None:
    first, second = (nowhere.run("payload-keys", "new") for _ in range(2))
    keys = [answer.out.strip() for answer in (first, second)]

    assert len(Settings(payload_keys=",".join(keys)).payload_keys_by_id) == 2
    assert (first.code, len(first.sentences)) == (0, 1)
    assert [*nowhere.folder.iterdir()] == []


def test_the_list_says_which_key_encrypts_and_shows_none(alone: CommandLine) -> None:
    made = [alone.json("payload-keys", "new") for _ in range(2)]
    setting = ",".join(f"{one['id']}:{one['key']}" for one in made)

    listed = alone.run("payload-keys", "list", "--json", SOFT_STAKING_PAYLOAD_KEYS=setting)
    shown = alone.run("payload-keys", "list", SOFT_STAKING_PAYLOAD_KEYS=setting)

    assert listed.json == [
        {"id": made[0]["id"], "use": "encrypts and reads"},
        {"id": made[1]["id"], "use": "reads"},
    ]
    assert not [one for one in made if one["key"] in listed.out + shown.out]
    assert "payloads are not encrypted" in alone.run("payload-keys", "list").out


KEY = f"2026:{'A' * 43}="


@pytest.mark.parametrize(("arguments", "status"), [((), 200), (("--host", "0.0.0.0"), 401)])
def test_the_codec_serves_this_machine_and_asks_for_a_token_wherever_it_can_be_reached_from_elsewhere(
    alone: CommandLine, arguments: tuple[str, ...], status: int
) -> None:
    (port,) = free_ports(1)
    alone.environment["SOFT_STAKING_PAYLOAD_KEYS"] = KEY
    made = alone.run("tokens", "create", "temporal-ui", "--scope", "decode", "--json").json["token"]
    process = alone.start("codec", "--port", str(port), *arguments)

    def answered(**headers: str) -> int:
        address = f"http://127.0.0.1:{port}/decode"
        try:
            with urllib.request.urlopen(urllib.request.Request(address, data=b"{}", headers=headers)) as answer:
                assert json.load(answer) == {}
                return answer.status
        except urllib.error.HTTPError as error:
            return error.code
        except urllib.error.URLError:
            return 0

    try:
        assert wait_until(answered, "the codec answers") == status
        assert answered(Authorization=f"Bearer {made}") == 200
        process.send_signal(signal.SIGTERM)
        out, err = process.communicate()
    finally:
        process.kill()
    assert (process.returncode, out) == (0, "")
    assert "Codec       http://" in err


@pytest.mark.parametrize(
    ("host", "is_this_machine"),
    [
        *(("127.0.0.1", True), ("127.8.8.8", True), ("::1", True), ("localhost", True)),
        *(("0.0.0.0", False), ("::", False), ("10.0.0.8", False), ("localhost.example.com", False), ("", False)),
    ],
)
def test_only_loopback_is_this_machine(host: str, is_this_machine: bool) -> None:
    assert is_loopback(host) is is_this_machine


def test_what_hinders_the_codec_is_one_sentence(alone: CommandLine) -> None:
    no_keys = alone.run("codec")
    no_origin = alone.run("codec", "--origin", "*", SOFT_STAKING_PAYLOAD_KEYS=KEY)
    path = alone.run("codec", "--origin", "http://127.0.0.1:8233/", SOFT_STAKING_PAYLOAD_KEYS=KEY)

    assert [answer.code for answer in (no_keys, no_origin, path)] == [1, 2, 2]
    assert "SOFT_STAKING_PAYLOAD_KEYS" in no_keys.err
    for answer in (no_origin, path):
        assert "is not an origin such as" in answer.err
    assert [len(answer.sentences) for answer in (no_keys, no_origin, path)] == [1, 1, 1]
