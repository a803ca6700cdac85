"""Whom a request is from: the peer, unless the peer is a proxy of ours."""

from collections.abc import Callable
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network

from starlette.requests import Request

_Network = IPv4Network | IPv6Network


class NotAnAddress(ValueError):
    """A setting names something that is no address or network; the message is a sentence."""


def address_finder(trusted_proxies: str) -> Callable[[Request], str]:
    """What finds a request's address: the peer's, or the one that the configured proxies say.

    Of X-Forwarded-For only what a trusted proxy wrote is believed: read from its end, the first address that is no
    proxy of ours. Raises NotAnAddress for a setting that cannot be read.
    """
    proxies = _networks(trusted_proxies)

    def find(request: Request) -> str:
        peer = request.client.host if request.client else ""
        if not proxies or not _is_in(proxies, peer):
            return peer
        forwarded = ",".join(request.headers.getlist("x-forwarded-for"))
        hops = [hop.strip() for hop in forwarded.split(",") if hop.strip()]
        for hop in reversed(hops):
            if not _is_in(proxies, hop):
                return hop if _is_address(hop) else peer
        return peer

    return find


def _networks(text: str) -> list[_Network]:
    try:
        return [ip_network(part.strip(), strict=False) for part in text.split(",") if part.strip()]
    except ValueError as error:
        raise NotAnAddress(
            f"SOFT_STAKING_TRUSTED_PROXIES must be addresses or networks with a comma between: {error}"
        ) from None


def _is_in(networks: list[_Network], text: str) -> bool:
    return _is_address(text) and any(ip_address(text) in network for network in networks)


def _is_address(text: str) -> bool:
    try:
        ip_address(text)
    except ValueError:
        return False
    return True
