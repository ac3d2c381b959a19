"""Requests to addresses that somebody else chose: looked at before anything is sent there.

Only public addresses by https, and the networks that the settings name. The address that was looked at is the
one that is asked, redirects are not followed: https://cwe.mitre.org/data/definitions/918.html
"""

from __future__ import annotations

import asyncio
import ipaddress
import socket
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlsplit

import httpx
import orjson

from fhirserver.settings import Network

TIMEOUT_S: Final = 5.0
BYTES_MAX: Final = 128 * 1024


class Unusable(Exception):
    """Why an address cannot be asked, or what is wrong with its answer; `address` says neither."""


@dataclass(frozen=True, slots=True)
class Reply:
    """A JSON object, or None for anything else, with status and headers."""

    status: int
    headers: Mapping[str, str]
    body: dict[str, Any] | None


@dataclass(frozen=True, slots=True)
class Outbound:
    """`networks` are those, otherwise private, to which an address may lead, by http as well."""

    networks: Sequence[Network] = ()

    async def get(self, uri: str) -> Reply:
        """What is there. Raises Unusable."""
        return await self._send("GET", uri, {})

    async def post(self, uri: str, form: Mapping[str, str], headers: Mapping[str, str]) -> Reply:
        """The answer to a form. Raises Unusable."""
        return await self._send("POST", uri, headers, form)

    async def _send(
        self, method: str, uri: str, headers: Mapping[str, str], form: Mapping[str, str] | None = None
    ) -> Reply:
        try:
            async with asyncio.timeout(TIMEOUT_S):
                return await self._asked(method, uri, headers, form)
        except (httpx.HTTPError, ValueError, TimeoutError):
            raise Unusable("it does not answer as it should") from None

    async def _asked(
        self, method: str, uri: str, headers: Mapping[str, str], form: Mapping[str, str] | None
    ) -> Reply:
        address = await self.address(uri)
        parts = urlsplit(uri)
        # A name could mean another address a moment later, so the request goes to the one that was looked at.
        host = f"[{address}]" if ":" in address else address
        url = parts._replace(netloc=f"{host}:{parts.port}" if parts.port else host).geturl()
        sent = {**headers, "Host": parts.netloc, "Accept": "application/json, application/jwk-set+json"}
        async with httpx.AsyncClient(timeout=TIMEOUT_S, follow_redirects=False, trust_env=False) as client:
            request = client.build_request(method, url, headers=sent, data=form)
            request.extensions["sni_hostname"] = parts.hostname or ""
            answer = await client.send(request, stream=True)
            body = b""
            async for chunk in answer.aiter_bytes():
                body += chunk
                if len(body) > BYTES_MAX:
                    raise Unusable("its answer is too long")
            await answer.aclose()
        return Reply(answer.status_code, answer.headers, _object(body))

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


def _object(body: bytes) -> dict[str, Any] | None:
    try:
        found = orjson.loads(body)
    except ValueError:
        return None
    return found if isinstance(found, dict) else None


def is_public(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> bool:
    """Whether an address is one of the open Internet's, also where another one hides in it."""
    if isinstance(address, ipaddress.IPv6Address):
        hidden = address.ipv4_mapped or address.sixtofour or (address.teredo or (None, None))[1]
        if hidden is not None:
            return is_public(hidden)
        if address in _TRANSLATED:
            return is_public(ipaddress.IPv4Address(int(address) & 0xFFFF_FFFF))
    return address.is_global and not address.is_multicast and not address.is_reserved


_TRANSLATED: Final = ipaddress.IPv6Network("64:ff9b::/96")
"""IPv4 addresses as seen from a network without IPv4: RFC 6052"""
