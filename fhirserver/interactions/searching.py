"""What the search layer is given by interactions: limits, and the context of the caller."""

from __future__ import annotations

from functools import lru_cache

from fhirserver.db.sql import Fragment
from fhirserver.fhir import elements
from fhirserver.fhir.dates import micros
from fhirserver.interactions.call import Call, Services
from fhirserver.interactions.headers import Handling
from fhirserver.interactions.spellings import spelled
from fhirserver.params.kinds import Reading
from fhirserver.policy.restriction import Nothing
from fhirserver.search.context import Context
from fhirserver.search.parse import Limits, parse
from fhirserver.search.query import SearchQuery
from fhirserver.search.restrict import permitted
from fhirserver.search.snapshot import Snapshot


@lru_cache(maxsize=8)
def limits_of(services: Services) -> Limits:
    return Limits.of(services.settings, services.own_bases)


def asked(call: Call) -> SearchQuery:
    """The search that the parameters of the call ask for. Raises FhirError."""
    services = call.services
    known = services.definitions.known
    query = parse(
        known.registry,
        limits_of(services),
        call.type,
        call.query,
        "lenient" if call.prefer.handling is Handling.LENIENT else "strict",
        call.compartment,
    )
    if query.elements:
        with_others = query.contained is not None and not query.contained.alone
        elements.check_elements(query.elements, () if with_others else query.types)
    return spelled(query, known.systems)


def asker(call: Call) -> str:
    """Whom a page link belongs to: who asks and, where consents are enforced, for which purpose, since for
    another one other rows are there."""
    restriction = call.restriction
    asking = None if isinstance(restriction, Nothing) else restriction.asking
    return call.principal.id if asking is None else f"{call.principal.id} {asking.purpose}"


def context_of(call: Call, snapshot: Snapshot | None = None) -> Context:
    services = call.services
    return Context(
        services.registry, services.keys, micros(call.now), call.restriction, snapshot, reading_of(services)
    )


@lru_cache(maxsize=8)
def reading_of(services: Services) -> Reading:
    limits = limits_of(services)
    return Reading(limits.zone, limits.own_bases)


def allowed(call: Call, action: str) -> Fragment:
    """Whether the caller may do `action` on the row `r` of the call's type, or of any when it has none."""
    return permitted(context_of(call), call.type, action=action)
