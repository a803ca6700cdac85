"""Who sent a request: the peer, unless the peer is a proxy of ours."""

from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address, ip_address

from starlette.requests import HTTPConnection

from settings import Networks

_Address = IPv4Address | IPv6Address


def peer_of(connection: HTTPConnection) -> _Address | None:
    """The address at the other end of the connection; headers are ignored."""
    return _address(connection.client.host) if connection.client else None


def is_in(networks: Networks, address: _Address | None) -> bool:
    return address is not None and any(address in network for network in networks)


def address_of(connection: HTTPConnection, proxies: Networks) -> str:
    """The peer's address, or the one that the configured proxies give; empty if there is none.

    Of X-Forwarded-For only what a trusted proxy wrote is believed: the first address, read from the end, that is
    not a proxy of ours.
    """
    peer = found = peer_of(connection)
    forwarded = ",".join(connection.headers.getlist("x-forwarded-for"))
    hops = [hop.strip() for hop in forwarded.split(",") if hop.strip()]
    while hops and is_in(proxies, found):
        found = _address(hops.pop())
    if found is None or is_in(proxies, found):
        found = peer
    return str(found or "")


@lru_cache(maxsize=4096)
def _address(text: str) -> _Address | None:
    """An address. An IPv4 address that is written as IPv6 becomes IPv4."""
    try:
        address = ip_address(text)
    except ValueError:
        return None
    return (address.ipv4_mapped or address) if isinstance(address, IPv6Address) else address
