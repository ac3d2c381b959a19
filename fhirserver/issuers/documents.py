"""JSON documents that others publish, such as key sets (RFC 7517 section 5), remembered for a while.

Kept as long as Cache-Control allows; who needs what is not in there may ask afresh, but not at every request.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from time import monotonic
from typing import Any, Final

from fhirserver.outbound import Outbound, Unusable

KEPT_S: Final = 300.0
KEPT_MAX_S: Final = 3_600.0
AFRESH_S: Final = 60.0
"""How often, at most, something unknown makes the server ask again."""
FAILED_S: Final = 10.0
"""How long an address that did not answer is left alone."""
DOCUMENTS_MAX: Final = 1_024
_MAX_AGE: Final = re.compile(r"(?:^|,)\s*max-age=(\d{1,9})")


@dataclass(slots=True)
class _Kept:
    """What is known of one address; times are those of the monotonic clock."""

    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    document: dict[str, Any] | None = None
    error: Unusable | None = None
    asked: float = 0.0
    until: float = 0.0


@dataclass(frozen=True, slots=True)
class Documents:
    """Documents by address; `is_one` tells whether an object is one of the kind."""

    outbound: Outbound
    is_one: Callable[[dict[str, Any]], bool]
    _kept: dict[str, _Kept] = field(default_factory=dict)

    async def fetched(self, uri: str, *, afresh: bool = False) -> dict[str, Any]:
        """The document at `uri`, perhaps from memory. Raises Unusable when it cannot be had."""
        if uri not in self._kept and len(self._kept) >= DOCUMENTS_MAX:
            self._kept.clear()
        kept = self._kept.setdefault(uri, _Kept())
        async with kept.lock:
            clock = monotonic()
            if clock >= kept.until or (afresh and clock - kept.asked > AFRESH_S):
                await self._refresh(uri, kept)
        if kept.document is None:
            raise kept.error or _unusable()
        return kept.document

    async def _refresh(self, uri: str, kept: _Kept) -> None:
        kept.asked = monotonic()
        try:
            kept.document, seconds = await self._ask(uri)
            kept.until = kept.asked + seconds
        except Unusable as error:
            # What was known stays in use no longer than it was good for.
            kept.document = kept.document if monotonic() < kept.until else None
            kept.error = error
            kept.until = max(kept.until, kept.asked + FAILED_S)

    async def _ask(self, uri: str) -> tuple[dict[str, Any], float]:
        """The document, and for how many seconds it is good."""
        reply = await self.outbound.get(uri)
        document = reply.document() if reply.status == 200 else None
        if document is None or not self.is_one(document):
            raise _unusable()
        age = _MAX_AGE.search(reply.headers.get("cache-control", ""))
        return document, min(float(age[1]) if age else KEPT_S, KEPT_MAX_S)


def is_key_set(document: dict[str, Any]) -> bool:
    """RFC 7517 section 5"""
    return isinstance(document.get("keys"), list)


def _unusable() -> Unusable:
    return Unusable("it does not answer as it should")
