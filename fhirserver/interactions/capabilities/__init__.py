"""capabilities: https://hl7.org/fhir/R4/http.html#capabilities

The statements are made once for each base and mode and served as the same bytes.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Final

from fhirserver.db.pool import Connection
from fhirserver.errors import Invalid, NotSupported
from fhirserver.fhir import json
from fhirserver.fhir.structure import Resource
from fhirserver.fhir.suggest import nearest
from fhirserver.interactions.call import Answer, Call
from fhirserver.interactions.capabilities import statement, terminology
from fhirserver.interactions.capabilities.packed import Packed, Tail, join
from fhirserver.interactions.capabilities.statement import Offer
from fhirserver.interactions.headers import Handling, etags
from fhirserver.params.registry import Registry

MODES: Final = ("full", "normative", "terminology")
_PARAMETERS: Final = ("mode", "_format", "_pretty", "_summary", "_elements")
_HEADS: Final[dict[str, Callable[[str], Resource]]] = {
    "full": statement.head,
    "normative": statement.head,
    "terminology": terminology.head,
}


async def capabilities_in_bundle(_: Connection, call: Call) -> Answer:
    """As an entry of a batch or transaction, whose connection it does not need."""
    return capabilities(call)


def capabilities(call: Call) -> Answer:
    """200 with the statement of the mode, or 304 when the caller has it."""
    services = call.services
    known = services.definitions.known
    offer = Offer.of(services.settings, known.announced)
    found = document(offer, known.registry, call.base, _mode(call))
    headers = {"ETag": found.etag, "Cache-Control": "no-cache", "Vary": "Accept, Accept-Encoding"}
    if call.if_none_match is not None and _has(call.if_none_match, found.etag):
        return Answer(304, None, headers)
    return Answer(200, found.body, headers, gzip=found.gzip)


def _mode(call: Call) -> str:
    """`mode`, by default `full`; raises Invalid, and NotSupported for parameters that mean nothing here."""
    given: dict[str, str] = {}
    for name, value in call.query:
        if name not in _PARAMETERS and call.prefer.handling is not Handling.LENIENT:
            near = nearest(name, _PARAMETERS) or _PARAMETERS
            raise NotSupported(f"metadata has no parameter {name[:64]!r}; it has {', '.join(near)}")
        if name == "mode" and name in given:
            raise Invalid("mode stands twice")
        given[name] = value
    mode = given.get("mode", "full")
    if mode not in MODES:
        raise Invalid(f"mode is one of {', '.join(MODES)}, not {mode[:40]!r}")
    return mode


def _has(if_none_match: str, etag: str) -> bool:
    named = etags(if_none_match, "If-None-Match")
    return named is not None and named.match(etag.removeprefix('W/"').removesuffix('"'))


@lru_cache(maxsize=16)
def document(offer: Offer, registry: Registry, base: str, mode: str) -> Packed:
    """The statement as bytes; kept for the latest bases, of which there is nearly always one."""
    # The tail is an object too: without its opening brace it continues the head.
    return join(json.dumps(_HEADS[mode](base))[:-1] + b",", _tail(offer, registry, mode))


@lru_cache(maxsize=8)
def _tail(offer: Offer, registry: Registry, mode: str) -> Tail:
    if mode == "terminology":
        return Tail.of(json.dumps(terminology.tail(registry))[1:])
    whole = statement.tail(offer, registry)
    return Tail.of(json.dumps(statement.normative(whole) if mode == "normative" else whole)[1:])
