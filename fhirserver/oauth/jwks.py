"""Key sets of clients, fetched from their `jwks_uri`: RFC 7517 section 5.

Kept as long as Cache-Control allows; an unknown kid asks again, but not at every request. What is fetched is
chosen by whoever registers a client, so the address is looked at before anything is sent there.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from time import monotonic
from typing import Any, Final

import httpx
import orjson

from fhirserver import outbound
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
_ACCEPT: Final = "application/jwk-set+json, application/json"
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
            kept.keys, seconds = await self._ask(uri)
            kept.until = kept.asked + seconds
        except (OAuthError, httpx.HTTPError, ValueError, TimeoutError) as error:
            # What was known stays in use no longer than it was good for.
            kept.keys = kept.keys if monotonic() < kept.until else None
            kept.error = error if isinstance(error, OAuthError) else _unusable()
            kept.until = max(kept.until, kept.asked + FAILED_S)

    async def _ask(self, uri: str) -> tuple[dict[str, Any], float]:
        """The key set, and for how many seconds it is good."""
        try:
            answer = await outbound.get(
                uri, self.networks, accept=_ACCEPT, timeout_s=TIMEOUT_S, bytes_max=BYTES_MAX
            )
        except outbound.Refused as error:
            raise invalid_client(f"the client's jwks_uri is not asked: {error}") from None
        found = orjson.loads(answer.body) if answer.status == 200 else None
        if not isinstance(found, dict) or not isinstance(found.get("keys"), list):
            raise _unusable()
        age = _MAX_AGE.search(answer.headers.get("cache-control", ""))
        return found, min(float(age[1]) if age else KEPT_S, KEPT_MAX_S)


def _unusable() -> OAuthError:
    return invalid_client("the client's jwks_uri does not answer with a key set")
