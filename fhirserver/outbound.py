"""Requests to addresses that somebody else chose: looked at before anything is sent there.

Only public addresses are asked, by https, but for networks that the settings name; the address that was
looked at is the one that is connected to, since a name could mean another a moment later.
"""

from __future__ import annotations

import asyncio
import ipaddress
import socket
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

import httpx

from fhirserver.settings import Network

_TRANSLATED: Final = ipaddress.IPv6Network("64:ff9b::/96")
"""IPv4 addresses as seen from a network without IPv4: RFC 6052"""


class Refused(Exception):
    """The address may not be asked, or answered with too much; the text says why."""


@dataclass(frozen=True, slots=True)
class Answer:
    """`headers` by lower-case names; `body` as it came: no content encoding is asked for."""

    status: int
    headers: Mapping[str, str]
    body: bytes


async def get(
    url: str,
    networks: Sequence[Network],
    *,
    accept: str,
    timeout_s: float,
    bytes_max: int,
    received: Callable[[int, int | None], None] = lambda read, total: None,
) -> Answer:
    """GET without following redirects. `received` is told of bytes read, and of how many there will be.

    Raises Refused, TimeoutError after `timeout_s`, and httpx.HTTPError where nothing answers.
    """
    async with asyncio.timeout(timeout_s):
        address = await address_of(url, networks)
        parts = urlsplit(url)
        host = f"[{address}]" if ":" in address else address
        place = parts._replace(netloc=f"{host}:{parts.port}" if parts.port else host).geturl()
        headers = {"Host": parts.netloc, "Accept": accept, "Accept-Encoding": "identity"}
        async with httpx.AsyncClient(timeout=timeout_s, follow_redirects=False, trust_env=False) as client:
            request = client.build_request("GET", place, headers=headers)
            request.extensions["sni_hostname"] = parts.hostname or ""
            answer = await client.send(request, stream=True)
            length = answer.headers.get("content-length", "")
            total = int(length) if length.isdigit() and len(length) < 16 else None
            body = bytearray()
            async for chunk in answer.aiter_raw():
                body += chunk
                if len(body) > bytes_max:
                    raise Refused(f"the answer is longer than {bytes_max} bytes")
                received(len(body), total)
        return Answer(answer.status_code, dict(answer.headers), bytes(body))


async def address_of(url: str, networks: Sequence[Network]) -> str:
    """An address of the host, all of whose addresses may be asked. Raises Refused."""
    parts = urlsplit(url)
    if parts.scheme not in ("https", "http") or not parts.hostname or parts.username is not None:
        raise Refused("it is an https address without user name")
    port = parts.port or (443 if parts.scheme == "https" else 80)
    try:
        found = await asyncio.get_running_loop().getaddrinfo(parts.hostname, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        raise Refused("its host is not known") from None
    addresses = [ipaddress.ip_address(str(one[4][0]).partition("%")[0]) for one in found]
    configured = all(any(one in network for network in networks) for one in addresses)
    if not configured and not all(map(is_public, addresses)):
        raise Refused("it leads to a private address")
    if not configured and parts.scheme != "https":
        raise Refused("it is an https address")
    return str(addresses[0])


def is_public(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> bool:
    """Whether an address is one of the open Internet's, also where another one hides in it."""
    if isinstance(address, ipaddress.IPv6Address):
        hidden = address.ipv4_mapped or address.sixtofour or (address.teredo or (None, None))[1]
        if hidden is not None:
            return is_public(hidden)
        if address in _TRANSLATED:
            return is_public(ipaddress.IPv4Address(int(address) & 0xFFFF_FFFF))
    return address.is_global and not address.is_multicast and not address.is_reserved
