"""Where metrics are served, and the sentence if they cannot be served."""

import pytest
from measured import free_address, scraped
from temporalio.runtime import Runtime

from settings import BadConfiguration
from telemetry.address import Address
from telemetry.runtime import start_runtime


@pytest.fixture(autouse=True)
def own_runtime_again():
    before = Runtime.default()
    yield
    Runtime.set_default(before, error_if_already_set=False)


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [
        ("127.0.0.1:9464", "127.0.0.1", 9464),
        ("0.0.0.0:1", "0.0.0.0", 1),
        ("localhost:65535", "localhost", 65535),
        ("[::1]:9464", "::1", 9464),
    ],
)
def test_an_address_is_a_host_and_a_port(text: str, host: str, port: int) -> None:
    address = Address.parse(text)
    assert (address.host, address.port) == (host, port)
    assert str(address) == text


@pytest.mark.parametrize("text", ["", "9464", ":9464", "host", "host:", "host:0", "host:65536", "::1:9464", "h:٣"])
def test_a_text_that_is_no_address_is_refused_with_a_sentence(text: str) -> None:
    with pytest.raises(ValueError, match="HOST:PORT such as"):
        Address.parse(text)


def test_each_of_several_processes_has_the_next_port() -> None:
    base = Address.parse("[::]:65530")
    assert [str(base.of_process(index)) for index in (0, 1, 5)] == ["[::]:65530", "[::]:65531", "[::]:65535"]
    with pytest.raises(BadConfiguration, match="process 6 would listen at port 65536"):
        base.of_process(6)


def test_a_host_may_have_a_name() -> None:
    address = Address("localhost", free_address().port)
    start_runtime(address).metric_meter.create_counter("soft_staking_tries").add(3)
    assert scraped(address).value("soft_staking_tries_total") == 3


@pytest.mark.parametrize("host", ["127.0.0.1", "192.0.2.1", "no-such-host.invalid"])
def test_an_address_that_cannot_be_used_is_one_sentence(host: str) -> None:
    taken = free_address()
    start_runtime(taken)
    with pytest.raises(
        BadConfiguration, match=rf"^metrics cannot be served at {host}:{taken.port} \(.+\): stop .+"
    ):
        start_runtime(Address(host, taken.port))
