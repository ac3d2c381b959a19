"""What the search layer is given by interactions: limits, and the context of the caller."""

from __future__ import annotations

from functools import lru_cache

from fhirserver.fhir.dates import micros
from fhirserver.interactions.call import Call, Services
from fhirserver.search.context import Context
from fhirserver.search.parse import Limits


@lru_cache(maxsize=8)
def limits_of(services: Services) -> Limits:
    return Limits.of(services.settings, services.own_bases)


def context_of(call: Call, snapshot: str | None = None) -> Context:
    services = call.services
    return Context(services.registry, services.keys, micros(call.now), call.restriction, snapshot)
