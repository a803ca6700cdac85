"""webhooks: added with a secret that is shown once, listed, tested, replayed and removed."""

import threading
from collections.abc import Generator
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
from commandline import CommandLine
from world import ROOT

WHY = ("--operator", "olga", "--reason", "a test")


class _Endpoint(BaseHTTPRequestHandler):
    taken = 0

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        type(self).taken += 1
        self.send_response(204)
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # it is called so there
        pass


@pytest.fixture
def url() -> Generator[str]:
    server = HTTPServer(("127.0.0.1", 0), _Endpoint)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/events"
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def shell(alone: CommandLine) -> CommandLine:
    alone.environment["SOFT_STAKING_WEBHOOK_NETWORKS"] = "127.0.0.0/8"
    alone.json("program", "apply", str(ROOT / "program.toml"))
    return alone


def test_a_webhook_is_added_listed_tested_replayed_and_removed(shell: CommandLine, url: str) -> None:
    assert "there are no webhooks" in shell.run("webhooks", "list").out

    added = shell.json("webhooks", "add", url, "--type", "reward.credited", "--operator", "olga")

    assert added["secret"].startswith("whsec_")
    assert added["delivered_through"] == 1  # it begins with what comes
    (listed,) = shell.json("webhooks", "list")
    assert listed == {name: value for name, value in added.items() if name != "secret"}
    assert added["secret"] not in shell.run("webhooks", "list").out
    assert shell.run("webhooks", "test", added["id"]).out == f"{url} took the event\n"
    assert _Endpoint.taken == 1
    assert shell.json("webhooks", "replay", added["id"], "--after", "0", *WHY)["delivered_through"] == 0
    assert shell.run("webhooks", "remove", added["id"], *WHY).out == f"nothing more is sent to {url}\n"
    assert shell.json("webhooks", "list") == []
    acts = [act["act"] for act in shell.json("acts")]
    assert acts == ["program_apply", "webhook_add", "webhook_replay", "webhook_remove"]
    assert shell.run("audit").code == 0


def test_what_cannot_be_sent_to_is_refused(shell: CommandLine) -> None:
    refused = shell.run("webhooks", "add", "https://10.0.0.1/x", "--operator", "olga")
    assert (refused.code, "no public address" in refused.err) == (1, True)
    assert shell.run("webhooks", "add", "ftp://a.example", "--operator", "olga").code == 2
    assert shell.run("webhooks", "add", "https://192.0.2.1/x", "--type", "reward", "--operator", "olga").code == 2
    assert shell.run("webhooks", "replay", "none", "--after", "0", *WHY).code == 1
    assert shell.run("webhooks", "test", "none").code == 1
    assert shell.json("webhooks", "list") == []


def test_a_test_that_is_not_taken_says_why(shell: CommandLine, url: str) -> None:
    added = shell.json("webhooks", "add", url, "--operator", "olga")
    del shell.environment["SOFT_STAKING_WEBHOOK_NETWORKS"]
    refused = shell.run("webhooks", "test", added["id"])
    assert (refused.code, "no public address" in refused.err) == (1, True)
