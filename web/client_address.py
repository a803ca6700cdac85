"""Whom a request is from: the peer, unless the peer is a proxy of ours."""

from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address, ip_address

from starlette.requests import HTTPConnection

from settings import Networks

_Address = IPv4Address | IPv6Address


def peer_of(connection: HTTPConnection) -> _Address | None:
    """The address at the other end of the connection; what a header says of it is not asked."""
    return _address(connection.client.host) if connection.client else None


def is_in(networks: Networks, address: _Address | None) -> bool:
    return address is not None and any(address in network for network in networks)


def address_of(connection: HTTPConnection, proxies: Networks) -> str:
    """The peer's address, or the one that the configured proxies say; empty where there is none.

    Of X-Forwarded-For only what a trusted proxy wrote is believed: read from its end, the first address that is no
    proxy of ours.
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
    """An address; an IPv4 one that is written as IPv6 is the IPv4 one."""
    try:
        address = ip_address(text)
    except ValueError:
        return None
    return (address.ipv4_mapped or address) if isinstance(address, IPv6Address) else address
