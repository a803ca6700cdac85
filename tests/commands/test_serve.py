"""serve: the pages over HTTP, and whose header it believes."""

import signal
import subprocess
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from commandline import CommandLine, Installation, free_ports
from measured import free_address, scraped
from polling import wait_until


def status_of(address: str, **headers: str) -> int:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    try:
        with urllib.request.urlopen(urllib.request.Request(address, headers=named)) as answer:
            return answer.status
    except urllib.error.HTTPError as error:
        return error.code
    except urllib.error.URLError:
        return 0


@contextmanager
def serving(cli: CommandLine, *options: str) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    (port,) = free_ports(1)
    process = cli.start("serve", "--port", str(port), *options)
    try:
        address = f"http://127.0.0.1:{port}"
        wait_until(lambda: status_of(address) or process.poll() is not None, "the pages are served")
        yield address, process
    finally:
        process.kill()
        process.communicate()


def test_the_pages_are_served_to_whom_the_gateway_names_until_the_server_is_stopped(
    installation: Installation, tmp_path: Path
) -> None:
    cli = CommandLine(tmp_path, **installation.variables, SOFT_STAKING_GATEWAY_PEERS="127.0.0.1")
    metrics = free_address()
    with serving(cli, "--metrics", str(metrics)) as (address, process):
        assert status_of(f"{address}/", X_User_Id="ann", X_User_Region="FR") == 200
        assert status_of(f"{address}/") == 401
        # A header must not decide who the peer is.
        assert status_of(f"{address}/", X_User_Id="ann", X_Forwarded_For="203.0.113.9") == 200
        assert status_of(f"{address}/people", X_User_Id="ann") == 404
        assert scraped(metrics).value("soft_staking_http_request_seconds_count", route="/", status="2xx") == 2
        assert [status_of(f"{address}/{path}") for path in ("livez", "readyz")] == [200, 200]
        process.send_signal(signal.SIGTERM)
        out, err = process.communicate()
    assert (process.returncode, out) == (0, "")
    assert f"Pages       {address}" in err
    assert "Traceback" not in err


def test_nobody_is_believed_unless_it_was_configured(cli: CommandLine) -> None:
    with serving(cli) as (address, process):
        assert status_of(f"{address}/", X_User_Id="ann", X_Forwarded_For="127.0.0.1") == 401
        assert status_of(f"{address}/people") == 401
        process.send_signal(signal.SIGINT)
        _, err = process.communicate()
    assert process.returncode == 0
    assert "SOFT_STAKING_GATEWAY_PEERS" in err


def test_if_it_cannot_serve_there_is_one_sentence(
    alone: CommandLine, cli: CommandLine, installation: Installation
) -> None:
    no_server = alone.run("serve", "--timeout", "1")
    taken = cli.run("serve", "--port", str(installation.pages_port))
    no_gateway = cli.run("serve", SOFT_STAKING_GATEWAY_PEERS="gateway.internal")
    no_proxy = cli.run("serve", SOFT_STAKING_TRUSTED_PROXIES="10.0.0.1, proxy.internal")
    no_key = cli.run("serve", SOFT_STAKING_KEY_ENCRYPTION_KEY="c2hvcnQ=")
    metrics_taken = cli.run("serve", "--metrics", f"127.0.0.1:{installation.pages_port}")
    no_address = cli.run("serve", "--metrics", "9464")
    answers = (no_server, taken, no_gateway, no_proxy, no_key, metrics_taken, no_address)
    assert [answer.code for answer in answers] == [1, 1, 2, 2, 1, 1, 2]
    for answer, words in (
        (no_server, "no Temporal server answers at 127.0.0.1:1"),
        (taken, f"Port {installation.pages_port} on 127.0.0.1 cannot be used"),
        (no_gateway, "SOFT_STAKING_GATEWAY_PEERS: 'gateway.internal'"),
        (no_proxy, "SOFT_STAKING_TRUSTED_PROXIES: 'proxy.internal'"),
        (no_key, "SOFT_STAKING_KEY_ENCRYPTION_KEY is no key to encrypt secrets with"),
        (metrics_taken, f"metrics cannot be served at 127.0.0.1:{installation.pages_port}"),
        (no_address, "Invalid value for '--metrics': '9464' is not HOST:PORT such as 127.0.0.1:9464"),
    ):
        assert len(answer.sentences) == 1
        assert answer.err.startswith(words)
