"""Requests to addresses that somebody else chose: looked at before anything is sent there.

Only public addresses by https, and the networks that the settings name. The address that was looked at is the
one that is asked, since a name could mean another a moment later, and redirects are not followed:
https://cwe.mitre.org/data/definitions/918.html
"""

from __future__ import annotations

import asyncio
import ipaddress
import socket
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlsplit

import httpx
import orjson

from fhirserver.settings import Network

_JSON: Final = "application/json, application/jwk-set+json"
_TRANSLATED: Final = ipaddress.IPv6Network("64:ff9b::/96")
"""IPv4 addresses as seen from a network without IPv4: RFC 6052"""

Received = Callable[[int, int | None], None]
"""Told of bytes read, and of how many there will be."""


class Unusable(Exception):
    """Why an address cannot be asked, or what is wrong with its answer; `address` says neither."""


class Unanswered(Unusable):
    """Nothing came back in time, or nothing that is HTTP; the cause says which."""


def _silent(read: int, total: int | None) -> None:
    """Nobody looks."""


@dataclass(frozen=True, slots=True)
class Bounds:
    """What an answer may be and take."""

    accept: str = _JSON
    timeout_s: float = 5.0
    bytes_max: int = 128 * 1024
    received: Received = _silent


BOUNDS: Final = Bounds()
"""Those of documents about keys and issuers."""


@dataclass(frozen=True, slots=True)
class Reply:
    """`headers` by lower-case names; `body` as it came: no content encoding is asked for."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    def document(self) -> dict[str, Any] | None:
        """The JSON object that the body is; None for anything else."""
        try:
            found = orjson.loads(self.body)
        except ValueError:
            return None
        return found if isinstance(found, dict) else None


@dataclass(frozen=True, slots=True)
class Outbound:
    """`networks` are those, otherwise private, to which an address may lead, by http as well."""

    networks: Sequence[Network] = ()

    async def get(self, uri: str, bounds: Bounds | None = None) -> Reply:
        """What is there. Raises Unusable."""
        return await self._send("GET", uri, {}, None, bounds or BOUNDS)

    async def post(self, uri: str, form: Mapping[str, str], headers: Mapping[str, str]) -> Reply:
        """The answer to a form. Raises Unusable."""
        return await self._send("POST", uri, headers, form, BOUNDS)

    async def _send(
        self,
        method: str,
        uri: str,
        headers: Mapping[str, str],
        form: Mapping[str, str] | None,
        bounds: Bounds,
    ) -> Reply:
        try:
            async with asyncio.timeout(bounds.timeout_s):
                return await self._asked(method, uri, headers, form, bounds)
        except (httpx.HTTPError, httpx.InvalidURL, OSError, ValueError) as error:
            raise Unanswered("it does not answer as it should") from error

    async def _asked(
        self,
        method: str,
        uri: str,
        headers: Mapping[str, str],
        form: Mapping[str, str] | None,
        bounds: Bounds,
    ) -> Reply:
        address = await self.address(uri)
        parts = urlsplit(uri)
        host = f"[{address}]" if ":" in address else address
        url = parts._replace(netloc=f"{host}:{parts.port}" if parts.port else host).geturl()
        # What is packed could unpack to any length.
        sent = {**headers, "Host": parts.netloc, "Accept": bounds.accept, "Accept-Encoding": "identity"}
        async with httpx.AsyncClient(
            timeout=bounds.timeout_s, follow_redirects=False, trust_env=False
        ) as client:
            request = client.build_request(method, url, headers=sent, data=form)
            request.extensions["sni_hostname"] = parts.hostname or ""
            answer = await client.send(request, stream=True)
            body = await _body(answer, bounds)
            await answer.aclose()
        return Reply(answer.status_code, dict(answer.headers), body)

    async def address(self, uri: str) -> str:
        """An address of the host, all of whose addresses may be asked. Raises Unusable."""
        try:
            parts = urlsplit(uri)
            port = parts.port or (443 if parts.scheme == "https" else 80)
        except ValueError:
            raise Unusable("it is no address") from None
        if parts.scheme not in ("https", "http") or not parts.hostname or parts.username is not None:
            raise Unusable("it is no https address without user name")
        try:
            found = await asyncio.get_running_loop().getaddrinfo(
                parts.hostname, port, type=socket.SOCK_STREAM
            )
        except (OSError, UnicodeError):
            raise Unusable("its host is not known") from None
        addresses = [ipaddress.ip_address(str(one[4][0]).partition("%")[0]) for one in found]
        configured = all(any(one in network for network in self.networks) for one in addresses)
        if not configured and not all(map(is_public, addresses)):
            raise Unusable("it leads to a private address")
        if not configured and parts.scheme != "https":
            raise Unusable("it is no https address")
        return str(addresses[0])


async def _body(answer: httpx.Response, bounds: Bounds) -> bytes:
    length = answer.headers.get("content-length", "")
    total = int(length) if length.isdigit() and len(length) < 16 else None
    body = bytearray()
    async for chunk in answer.aiter_raw():
        body += chunk
        if len(body) > bounds.bytes_max:
            raise Unusable(f"its answer is longer than {bounds.bytes_max} bytes")
        bounds.received(len(body), total)
    return bytes(body)


def is_public(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> bool:
    """Whether an address is one of the open Internet's, also where another one hides in it."""
    if isinstance(address, ipaddress.IPv6Address):
        hidden = address.ipv4_mapped or address.sixtofour or (address.teredo or (None, None))[1]
        if hidden is not None:
            return is_public(hidden)
        if address in _TRANSLATED:
            return is_public(ipaddress.IPv4Address(int(address) & 0xFFFF_FFFF))
    return address.is_global and not address.is_multicast and not address.is_reserved
