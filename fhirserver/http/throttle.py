"""How often an address may ask, before anything else is done for it.

Clients that have signed in are counted in the pipeline, where it is known who they are.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from functools import lru_cache
from typing import Final

from starlette.types import ASGIApp, Receive, Scope, Send

from fhirserver.errors import TooMany
from fhirserver.http.base import is_trusted, local
from fhirserver.http.bodies import ErrorResponse
from fhirserver.policy.rates import Kind, Rates
from fhirserver.settings import Network

ADDRESS_KEY: Final = "address"
"""Key of scope["state"]: who is counted, for doors that count more closely."""
PEER_KEY: Final = "peer"
"""Key of scope["state"]: the address that a request comes from, for `interactions.call.Origin`."""

_EXEMPT: Final = frozenset({"/livez", "/readyz", "/metrics"})
_CLOSER: Final[dict[str, Kind]] = {
    **dict.fromkeys(("/auth/sign-in", "/auth/totp", "/auth/forgot", "/auth/reset", "/auth/join"), "sign-in"),
    **dict.fromkeys(("/auth/token", "/auth/introspect", "/auth/revoke"), "token"),
    "/auth/register": "registration",
}
"""Where secrets can be tried and clients made, by POST."""
_NETWORK_BITS: Final = 64
"""Of an IPv6 address: one host has all of the rest (RFC 6177)."""


class Throttle:
    """Answers 429 to an address that asks too often, and tells the app who it is."""

    def __init__(
        self, app: ASGIApp, rates: Rates, trusted: Sequence[Network], error_response: ErrorResponse
    ) -> None:
        self.app = app
        self.rates = rates
        self.trusted = tuple(trusted)
        self.error_response = error_response

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["path"] not in _EXEMPT:
            state = scope.setdefault("state", {})
            peer = state[PEER_KEY] = peer_of(scope, self.trusted)
            who = state[ADDRESS_KEY] = _counted(peer)
            try:
                self.rates.take("address", who)
                if scope["method"] == "POST" and (kind := _CLOSER.get(local(scope["path"]))):
                    self.rates.take(kind, who)
            except TooMany as error:
                await self.error_response(error, scope)(scope, receive, send)
                return
        await self.app(scope, receive, send)


def address(scope: Scope, trusted: Sequence[Network]) -> str:
    """Who is counted for the request."""
    return _counted(peer_of(scope, trusted))


def peer_of(scope: Scope, trusted: Sequence[Network]) -> str:
    """Where the request comes from: the nearest address that is not a trusted proxy's.

    Further to the left in X-Forwarded-For stands what anybody can write.
    """
    client = scope.get("client")
    peer = client[0] if client else ""
    if is_trusted(peer, trusted):
        sent = b",".join(value for key, value in scope["headers"] if key == b"x-forwarded-for")
        for hop in reversed([part.strip() for part in sent.decode("latin-1").split(",") if part.strip()]):
            peer = hop
            if not is_trusted(hop, trusted):
                break
    return peer[:64]


@lru_cache(maxsize=4096)
def _counted(peer: str) -> str:
    """The address, of IPv6 the network; what is none counts as it stands."""
    try:
        found = ipaddress.ip_address(peer)
    except ValueError:
        return peer[:64]
    if isinstance(found, ipaddress.IPv6Address):
        if found.ipv4_mapped is not None:
            return str(found.ipv4_mapped)
        return str(ipaddress.ip_network((found, _NETWORK_BITS), strict=False))
    return str(found)
