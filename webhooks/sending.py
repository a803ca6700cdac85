"""One event to one address over HTTP, by the convention of Standard Webhooks.

The address is resolved when the connection is made, and the connection is made to exactly the address that was
tested. So a name that leads to the machine's own network a moment later reaches nothing there.
"""

import base64
import hashlib
import hmac
import http.client
import ipaddress
import secrets
import socket
import ssl
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from ipaddress import IPv4Network, IPv6Network
from urllib.parse import quote, urlsplit

SECRET_PREFIX = "whsec_"
_SECRET_BYTES = 32
TIMEOUT_S = 15
"""For the connection, and for each part of the answer."""
_ANSWER_BYTES_MAX = 16_384
URL_LENGTH_MAX = 2_000


class AddressRefused(Exception):
    """An address to which nothing is sent; the message is a sentence."""


class NotDelivered(Exception):
    """An event that was not taken; the message is a sentence."""


@dataclass(frozen=True)
class Destination:
    """Where events are sent to, read from a URL."""

    url: str
    is_tls: bool
    host: str
    port: int
    target: str
    """Path and query."""


def destination(url: str) -> Destination:
    """Reads a webhook's URL. Raises ValueError, in one sentence, for one to which nothing can be sent."""
    if len(url) > URL_LENGTH_MAX or not url.isascii() or not url.isprintable() or " " in url:
        raise ValueError(f"a URL has at most {URL_LENGTH_MAX} printable ASCII characters and no blank")
    parts = urlsplit(url)
    if parts.scheme not in ("https", "http") or not parts.hostname:
        raise ValueError(f"{url!r} is not a URL such as https://wallet.example/events")
    if parts.username is not None or parts.password is not None or parts.fragment:
        raise ValueError("the URL of a webhook has no user, no password and no fragment")
    is_tls = parts.scheme == "https"
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    return Destination(url, is_tls, parts.hostname, parts.port or (443 if is_tls else 80), target)


def new_secret() -> str:
    """A new secret, as the receiver is given it."""
    return SECRET_PREFIX + base64.b64encode(secrets.token_bytes(_SECRET_BYTES)).decode()


def signature(secret: str, message_id: str, timestamp: int, body: bytes) -> str:
    """The value of the header webhook-signature."""
    key = base64.b64decode(secret.removeprefix(SECRET_PREFIX))
    signed = hmac.new(key, f"{message_id}.{timestamp}.".encode() + body, hashlib.sha256).digest()
    return f"v1,{base64.b64encode(signed).decode()}"


def message_id(event_id: str) -> str:
    """An event's id as a header can carry it."""
    return quote(event_id, safe="/:._-~+@")


class Sender:
    """Sends events to public addresses, and to those of the networks that are allowed."""

    def __init__(self, allowed: Sequence[IPv4Network | IPv6Network]) -> None:
        self._allowed = allowed
        self._tls = ssl.create_default_context()

    def check(self, to: Destination) -> None:
        """Raises AddressRefused or NotDelivered unless something may be sent there now."""
        self._addresses(to)

    def send(self, to: Destination, secret: str, event_id: str, body: bytes, now: datetime) -> None:
        """Sends one event, in a thread of the caller. Raises AddressRefused or NotDelivered unless the answer is a
        2xx. A redirection is not followed."""
        named, timestamp = message_id(event_id), int(now.timestamp())
        headers = {
            "Content-Type": "application/cloudevents+json; charset=utf-8",
            "User-Agent": "soft-staking",
            "webhook-id": named,
            "webhook-timestamp": str(timestamp),
            "webhook-signature": signature(secret, named, timestamp, body),
        }
        connection = http.client.HTTPConnection(to.host, to.port, timeout=TIMEOUT_S)
        try:
            connection.sock = self._connected(to)
            connection.request("POST", to.target, body, headers)
            answer = connection.getresponse()
            answer.read(_ANSWER_BYTES_MAX)
        except (OSError, http.client.HTTPException) as error:
            raise NotDelivered(f"{type(error).__name__}: {error}") from None
        finally:
            connection.close()
        if not 200 <= answer.status < 300:
            raise NotDelivered(f"it answered {answer.status}")

    def _connected(self, to: Destination) -> socket.socket:
        for_all: OSError | None = None
        for address in self._addresses(to):
            try:
                connection = socket.create_connection((address, to.port), timeout=TIMEOUT_S)
            except OSError as error:
                for_all = error
                continue
            try:
                return self._tls.wrap_socket(connection, server_hostname=to.host) if to.is_tls else connection
            except OSError:
                connection.close()
                raise
        assert for_all is not None, "there is at least one address"
        raise for_all

    def _addresses(self, to: Destination) -> list[str]:
        try:
            found = socket.getaddrinfo(to.host, to.port, type=socket.SOCK_STREAM)
        except OSError as error:
            raise NotDelivered(f"{to.host} has no address: {error.strerror}") from None
        addresses = [str(address[0]) for *_, address in found]
        for address in addresses:
            self._check(to, address)
        return list(dict.fromkeys(addresses))

    def _check(self, to: Destination, text: str) -> None:
        address = ipaddress.ip_address(text.partition("%")[0])
        if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
            address = address.ipv4_mapped
        if any(address in network for network in self._allowed if network.version == address.version):
            return
        if not address.is_global or address.is_multicast:
            raise AddressRefused(
                f"{to.host} leads to {address}, which is no public address; if that is meant, allow its network "
                "with SOFT_STAKING_WEBHOOK_NETWORKS"
            )
        if not to.is_tls:
            raise AddressRefused(
                f"{to.url} is not https, without which anybody on the way could read and change it"
            )
