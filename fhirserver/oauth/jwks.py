"""Key sets of clients, fetched from their `jwks_uri`: RFC 7517 section 5.

Kept as long as Cache-Control allows; an unknown kid asks again, but not at every request. What is fetched is
chosen by whoever registers a client, so the address is looked at before anything is sent there.
"""

from __future__ import annotations

import asyncio
import ipaddress
import re
import socket
from collections.abc import Sequence
from dataclasses import dataclass, field
from time import monotonic
from typing import Any, Final
from urllib.parse import urlsplit

import httpx
import orjson

from fhirserver.oauth.errors import OAuthError, invalid_client
from fhirserver.settings import Network

TIMEOUT_S: Final = 5.0
BYTES_MAX: Final = 128 * 1024
KEPT_S: Final = 300.0
KEPT_MAX_S: Final = 3_600.0
AFRESH_S: Final = 60.0
"""How often, at most, an unknown kid makes the server ask again."""
FAILED_S: Final = 10.0
"""How long an address that did not answer is left alone."""
SETS_MAX: Final = 1_024
_MAX_AGE: Final = re.compile(r"(?:^|,)\s*max-age=(\d{1,9})")


@dataclass(slots=True)
class _Kept:
    """What is known of one address; times are those of the monotonic clock."""

    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    keys: dict[str, Any] | None = None
    error: OAuthError | None = None
    asked: float = 0.0
    until: float = 0.0


@dataclass(frozen=True, slots=True)
class KeySets:
    """Key sets by address. `networks` are those, otherwise private, that an address may lead to."""

    networks: Sequence[Network] = ()
    _kept: dict[str, _Kept] = field(default_factory=dict)

    async def fetched(self, uri: str, *, afresh: bool = False) -> dict[str, Any]:
        """The key set at `uri`, perhaps from memory. Raises invalid_client when it cannot be had."""
        if uri not in self._kept and len(self._kept) >= SETS_MAX:
            self._kept.clear()
        kept = self._kept.setdefault(uri, _Kept())
        async with kept.lock:
            clock = monotonic()
            if clock >= kept.until or (afresh and clock - kept.asked > AFRESH_S):
                await self._refresh(uri, kept)
        if kept.keys is None:
            raise kept.error or _unusable()
        return kept.keys

    async def _refresh(self, uri: str, kept: _Kept) -> None:
        kept.asked = monotonic()
        try:
            async with asyncio.timeout(TIMEOUT_S):
                kept.keys, seconds = await self._ask(uri)
            kept.until = kept.asked + seconds
        except (OAuthError, httpx.HTTPError, ValueError, TimeoutError) as error:
            # What was known stays in use no longer than it was good for.
            kept.keys = kept.keys if monotonic() < kept.until else None
            kept.error = error if isinstance(error, OAuthError) else _unusable()
            kept.until = max(kept.until, kept.asked + FAILED_S)

    async def _ask(self, uri: str) -> tuple[dict[str, Any], float]:
        """The key set, and for how many seconds it is good."""
        address = await self.address(uri)
        parts = urlsplit(uri)
        # The address that was looked at is the one that is asked: a name could mean another a moment later.
        host = f"[{address}]" if ":" in address else address
        url = parts._replace(netloc=f"{host}:{parts.port}" if parts.port else host).geturl()
        headers = {"Host": parts.netloc, "Accept": "application/jwk-set+json, application/json"}
        async with httpx.AsyncClient(timeout=TIMEOUT_S, follow_redirects=False, trust_env=False) as client:
            request = client.build_request("GET", url, headers=headers)
            request.extensions["sni_hostname"] = parts.hostname or ""
            answer = await client.send(request, stream=True)
            body = b""
            async for chunk in answer.aiter_bytes():
                body += chunk
                if len(body) > BYTES_MAX:
                    raise invalid_client("the client's key set is too long")
        found = orjson.loads(body) if answer.status_code == 200 else None
        if not isinstance(found, dict) or not isinstance(found.get("keys"), list):
            raise _unusable()
        age = _MAX_AGE.search(answer.headers.get("cache-control", ""))
        return found, min(float(age[1]) if age else KEPT_S, KEPT_MAX_S)

    async def address(self, uri: str) -> str:
        """An address of the host, all of whose addresses may be asked. Raises invalid_client."""
        parts = urlsplit(uri)
        if parts.scheme not in ("https", "http") or not parts.hostname or parts.username is not None:
            raise invalid_client("a jwks_uri is an https address without user name")
        port = parts.port or (443 if parts.scheme == "https" else 80)
        try:
            found = await asyncio.get_running_loop().getaddrinfo(
                parts.hostname, port, type=socket.SOCK_STREAM
            )
        except (OSError, UnicodeError):
            raise invalid_client("the host of the jwks_uri is not known") from None
        addresses = [ipaddress.ip_address(str(one[4][0]).partition("%")[0]) for one in found]
        configured = all(any(one in network for network in self.networks) for one in addresses)
        if not configured and not all(map(is_public, addresses)):
            raise invalid_client("the jwks_uri leads to a private address")
        if not configured and parts.scheme != "https":
            raise invalid_client("a jwks_uri is an https address")
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


_TRANSLATED: Final = ipaddress.IPv6Network("64:ff9b::/96")
"""IPv4 addresses as seen from a network without IPv4: RFC 6052"""


def _unusable() -> OAuthError:
    return invalid_client("the client's jwks_uri does not answer with a key set")
