"""From which origins browser apps may call: those of approved clients.

A preflight says nothing of the client, so every approved client's origin is allowed; what the app may see is
decided by its token. https://hl7.org/fhir/smart-app-launch/STU2.2/app-launch.html#considerations-for-cross-origin-resource-sharing-cors-support
"""

from __future__ import annotations

from time import monotonic
from typing import Final
from urllib.parse import urlsplit

from fhirserver.db.pool import Pool

KEPT_S: Final = 10.0
"""How long a client that is approved no more may still call from a browser."""
AFRESH_S: Final = 0.5
"""How often, at most, an unknown origin makes the server look again."""


class Origins:
    """The origins of approved clients, remembered for a moment."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._known: frozenset[str] = frozenset()
        self._asked = float("-inf")

    async def __call__(self, origin: str) -> bool:
        """Whether an approved client has a redirect_uri of this origin."""
        age = monotonic() - self._asked
        if age > KEPT_S or (origin not in self._known and age > AFRESH_S):
            self._asked = monotonic()
            self._known = await self._read()
        return origin in self._known

    async def _read(self) -> frozenset[str]:
        async with self._pool.acquire() as connection:
            rows = await connection.fetch(
                "SELECT DISTINCT jsonb_array_elements_text(metadata->'redirect_uris') AS uri"
                " FROM auth.client WHERE status = 'approved'"
            )
        return frozenset(origin for row in rows if (origin := origin_of(row["uri"])))


def origin_of(uri: str) -> str:
    """Scheme, host and port as a browser writes them: RFC 6454 section 6.1; empty for other schemes."""
    parts = urlsplit(uri)
    if parts.scheme not in ("https", "http") or not parts.hostname:
        return ""
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    usual = {"https": 443, "http": 80}[parts.scheme]
    return f"{parts.scheme}://{host}" + ("" if parts.port in (None, usual) else f":{parts.port}")
