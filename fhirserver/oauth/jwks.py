"""Key sets of clients, fetched from their `jwks_uri`: RFC 7517 section 5.

Kept as long as Cache-Control allows; an unknown kid asks again, but not at every request. What is fetched is
chosen by whoever registers a client, so the address is looked at before anything is sent there.
"""

from __future__ import annotations

import asyncio
import ipaddress
import re
import socket
from dataclasses import dataclass
from time import monotonic
from typing import Any, Final
from urllib.parse import urlsplit

import httpx
import orjson

from fhirserver.oauth.errors import invalid_client

TIMEOUT_S: Final = 5.0
BYTES_MAX: Final = 128 * 1024
KEPT_S: Final = 300.0
KEPT_MAX_S: Final = 3_600.0
AFRESH_S: Final = 60.0
"""How often, at most, an unknown kid makes the server ask again."""
SETS_MAX: Final = 1_024
_MAX_AGE: Final = re.compile(r"(?:^|,)\s*max-age=(\d{1,9})")


@dataclass(frozen=True, slots=True)
class _Kept:
    keys: dict[str, Any]
    fetched: float
    until: float


_sets: dict[str, _Kept] = {}
private_allowed = False
"""Whether addresses that only this network can reach may be asked; set at start from the settings."""


async def fetched(uri: str, *, afresh: bool = False) -> dict[str, Any]:
    """The key set at `uri`, perhaps from memory. Raises invalid_client when it cannot be had."""
    kept = _sets.get(uri)
    clock = monotonic()
    if kept is not None and clock < kept.until and not (afresh and clock - kept.fetched > AFRESH_S):
        return kept.keys
    keys, seconds = await _ask(uri)
    if len(_sets) >= SETS_MAX:
        _sets.clear()
    _sets[uri] = _Kept(keys, clock, clock + seconds)
    return keys


async def _ask(uri: str) -> tuple[dict[str, Any], float]:
    address = await checked_address(uri)
    parts = urlsplit(uri)
    # The address that was looked at is the one that is asked: a name could mean another a moment later.
    host = f"[{address}]" if ":" in address else address
    port = f":{parts.port}" if parts.port else ""
    url = parts._replace(netloc=f"{host}{port}").geturl()
    headers = {"Host": parts.netloc, "Accept": "application/jwk-set+json, application/json"}
    try:
        async with httpx.AsyncClient(timeout=TIMEOUT_S, follow_redirects=False, trust_env=False) as client:
            request = client.build_request("GET", url, headers=headers)
            request.extensions["sni_hostname"] = parts.hostname or ""
            answer = await client.send(request, stream=True)
            body = b""
            async for chunk in answer.aiter_bytes():
                body += chunk
                if len(body) > BYTES_MAX:
                    raise invalid_client("the client's key set is too long")
            if answer.status_code != 200:
                raise invalid_client("the client's jwks_uri does not answer with a key set")
            found = orjson.loads(body)
    except (httpx.HTTPError, ValueError):
        raise invalid_client("the client's jwks_uri does not answer with a key set") from None
    if not isinstance(found, dict) or not isinstance(found.get("keys"), list):
        raise invalid_client("the client's jwks_uri does not answer with a key set")
    age = _MAX_AGE.search(answer.headers.get("cache-control", ""))
    return found, min(float(age[1]) if age else KEPT_S, KEPT_MAX_S)


async def checked_address(uri: str) -> str:
    """An address of the host, all of whose addresses are public. Raises invalid_client."""
    parts = urlsplit(uri)
    if parts.scheme not in (("https", "http") if private_allowed else ("https",)) or not parts.hostname:
        raise invalid_client("a jwks_uri is an https address")
    if parts.username or parts.password:
        raise invalid_client("a jwks_uri carries no user name")
    try:
        found = await asyncio.get_running_loop().getaddrinfo(
            parts.hostname, parts.port or 443, type=socket.SOCK_STREAM
        )
    except OSError:
        raise invalid_client("the host of the jwks_uri is not known") from None
    addresses = [str(one[4][0]).partition("%")[0] for one in found]
    if not private_allowed and not all(ipaddress.ip_address(one).is_global for one in addresses):
        raise invalid_client("the jwks_uri leads to a private address")
    return addresses[0]
