"""The CapabilityStatement: https://hl7.org/fhir/R4/capabilitystatement.html

Each claim is read from what does the work: the table of interactions and their handlers, the search
registry, the settings. What is not wired is not claimed.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cache
from typing import Any, Final

from fhirserver import settings as configuration
from fhirserver.fhir.structure import COMPARTMENTS, ENDPOINT_TYPES, Resource
from fhirserver.interactions.capabilities import searches
from fhirserver.interactions.operations.definitions import EXPLAIN
from fhirserver.interactions.patch import PATCHES
from fhirserver.interactions.table import TABLE, Interaction
from fhirserver.params.registry import Registry, SearchParam
from fhirserver.policy.consent.enforcement import enforcement_of
from fhirserver.policy.restriction import may_be_hidden
from fhirserver.settings import Settings
from fhirserver.store.packages import Announced

FHIR_VERSION: Final = "4.0.1"
FORMATS: Final = ("application/fhir+json", "application/fhir+xml", "json", "xml")
"""What `http.negotiate` offers, and the short names that `_format` takes."""

SYSTEM_CODES: Final[dict[str, tuple[str, ...]]] = {"bundle": ("transaction", "batch")}
"""One row takes both kinds of Bundle; its code can name only one."""

TRIAL_USE: Final = frozenset(
    {
        *("rest.security", "rest.resource.supportedProfile"),
        *("rest.resource.versioning", "rest.resource.readHistory"),
        *("rest.resource.updateCreate", "rest.resource.conditionalCreate", "rest.resource.conditionalRead"),
        *("rest.resource.conditionalUpdate", "rest.resource.conditionalDelete"),
        *("rest.resource.referencePolicy", "rest.resource.searchInclude", "rest.resource.searchRevInclude"),
    }
)
"""The elements used here that R4's StructureDefinition marks as not normative."""

_DEFINITIONS: Final = "http://hl7.org/fhir"
_SECURITY_SERVICES: Final = "http://terminology.hl7.org/CodeSystem/restful-security-service"
_OAUTH_URIS: Final = "http://fhir-registry.smarthealthit.org/StructureDefinition/oauth-uris"
_ENDPOINTS: Final = (
    *(("authorize", "authorize"), ("token", "token"), ("register", "register"), ("manage", "apps")),
    *(("introspect", "introspect"), ("revoke", "revoke")),
)
"""Names of the extension's parts, and of the endpoints:
https://hl7.org/fhir/smart-app-launch/1.0.0/conformance/index.html"""
_REST: Final = (
    "Search parameters, modifiers and values that this server does not know are refused with 400 and the"
    " nearest that it knows; with `Prefer: handling=lenient` unknown parameters are ignored, and the Bundle"
    " says so. `_asOf=<instant>` gives what was current then: on reads for any instant, on searches as far"
    " back as the server keeps the index of earlier versions."
)


@dataclass(frozen=True, slots=True)
class Offer:
    """What the settings and the installed packages say about the claims here."""

    update_create: bool
    conditional_delete: str
    referential_integrity: bool
    cors: bool
    sign_in: bool
    endpoints: tuple[tuple[str, str], ...]
    consents: bool = False
    announced: Announced = field(default_factory=Announced)

    @classmethod
    def of(cls, settings: Settings, announced: Announced | None = None) -> Offer:
        return cls(
            update_create=settings.update_create,
            conditional_delete=settings.conditional_delete,
            referential_integrity=settings.referential_integrity,
            cors=bool(settings.cors_origins) or settings.sign_in,
            sign_in=settings.sign_in,
            endpoints=tuple(
                (name, settings.auth_url(path)) for name, path in _ENDPOINTS if settings.gives_tokens
            ),
            consents=enforcement_of(settings.consent) is not None,
            announced=announced or Announced(),
        )


@cache
def built() -> str:
    """When the software was last changed: the time of its newest file, the same in all its processes."""
    newest = max(path.stat().st_mtime for path in configuration.PACKAGE.rglob("*.py"))
    return datetime.fromtimestamp(int(newest), UTC).isoformat().replace("+00:00", "Z")


@cache
def version() -> str:
    """The version of the software, looked up once."""
    return configuration.version()


def head(base: str) -> Resource:
    """The elements that come first, which alone depend on the base."""
    return {
        "resourceType": "CapabilityStatement",
        "url": f"{base}/metadata",
        "version": version(),
        "name": "FhirServer",
        "title": "FHIR R4 server",
        "status": "active",
        "date": built(),
        "kind": "instance",
        "software": software() | {"releaseDate": built()},
        "implementation": {"description": "FHIR R4 API over PostgreSQL", "url": base},
    }


def software() -> dict[str, str]:
    """CapabilityStatement.software, and TerminologyCapabilities.software."""
    return {"name": "fhirserver", "version": version()}


def tail(offer: Offer, registry: Registry) -> Resource:
    """The elements that follow those of `head`."""
    guides = offer.announced.guides
    return {
        **_instantiates(offer),
        "fhirVersion": FHIR_VERSION,
        "format": list(FORMATS),
        **({"patchFormat": list(PATCHES)} if wired("patch") else {}),
        **({"implementationGuide": list(guides)} if guides else {}),
        "rest": [rest(offer, registry)],
    }


def normative(element: Any, path: str = "") -> Any:
    """`element` without what is not normative."""
    if isinstance(element, list):
        return [normative(item, path) for item in element]
    if not isinstance(element, dict):
        return element
    prefix = f"{path}." if path else ""
    return {
        name: normative(value, prefix + name)
        for name, value in element.items()
        if prefix + name not in TRIAL_USE
    }


def wired(name: str) -> bool:
    """Whether an interaction of the table has a handler."""
    # Imported here: the handlers include the one that serves this statement.
    from fhirserver.interactions.run import HANDLERS

    return name in HANDLERS


def rest(offer: Offer, registry: Registry) -> dict[str, Any]:
    """CapabilityStatement.rest"""
    reverse = searches.reverse_includes(registry)
    return {
        "mode": "server",
        "documentation": _REST,
        "security": security(offer),
        "resource": [resource(offer, registry, name, reverse[name]) for name in sorted(ENDPOINT_TYPES)],
        "interaction": _interactions(row for row in TABLE if row.is_of(None)),
        "searchParam": [
            *map(_search_param, searches.common(registry)),
            *({"name": name, "type": type_} for name, type_ in searches.CONTROLS.items()),
        ],
        "compartment": [
            f"{_DEFINITIONS}/CompartmentDefinition/{name[0].lower()}{name[1:]}"
            for name in sorted(COMPARTMENTS)
        ],
    } | _operations(offer, None)


def security(offer: Offer) -> dict[str, Any]:
    """CapabilityStatement.rest.security"""
    found: dict[str, Any] = {"cors": offer.cors}
    if offer.sign_in:
        uris = [{"url": name, "valueUri": uri} for name, uri in offer.endpoints]
        where = {"extension": [{"url": _OAUTH_URIS, "extension": uris}]} if uris else {}
        return (
            found
            | where
            | {
                "service": [{"coding": [{"system": _SECURITY_SERVICES, "code": "SMART-on-FHIR"}]}],
            }
        )
    return found | {"description": "Nobody signs in here: whoever can reach this address may read and write."}


def resource(offer: Offer, registry: Registry, name: str, reverse: list[str]) -> dict[str, Any]:
    """CapabilityStatement.rest.resource"""
    included = searches.includes(registry, name)
    offered = {row.name for row in TABLE if row.is_of(name) and wired(row.name)}
    described: dict[str, Any] = {
        "type": name,
        "profile": f"{_DEFINITIONS}/StructureDefinition/{name}",
        **_supported(offer, name),
        "interaction": _interactions(row for row in TABLE if row.is_of(name)),
        "versioning": "versioned-update",
        "readHistory": wired("vread"),
        "updateCreate": _update_create(offer, name) and "update" in offered,
        "conditionalCreate": wired("create"),
        "conditionalRead": "full-support" if wired("read") else "not-supported",
        "conditionalUpdate": "update_conditional" in offered,
        "conditionalDelete": offer.conditional_delete if "delete_conditional" in offered else "not-supported",
        "referencePolicy": _reference_policy(offer),
    }
    if wired("search"):
        # An empty list is no list: https://hl7.org/fhir/R4/json.html
        described |= {"searchInclude": ["*", *included]} if included else {}
        described |= {"searchRevInclude": reverse} if reverse else {}
        described["searchParam"] = [*map(_search_param, searches.announced(registry, name))]
    return described | _operations(offer, name)


def _update_create(offer: Offer, name: str) -> bool:
    """Where consents are enforced, nobody chooses the ids of what they may hide."""
    return offer.update_create and not (offer.consents and may_be_hidden(name))


def _instantiates(offer: Offer) -> dict[str, list[str]]:
    """CapabilityStatement.instantiates: what installed packages ask of servers, whichever version it is."""
    found = list(dict.fromkeys(url.partition("|")[0] for url in offer.announced.instantiates))
    return {"instantiates": found} if found else {}


def _supported(offer: Offer, name: str) -> dict[str, list[str]]:
    """CapabilityStatement.rest.resource.supportedProfile; with versions where there are several."""
    versions: dict[str, list[str]] = {}
    for canonical in dict(offer.announced.profiles).get(name, ()):
        versions.setdefault(canonical.partition("|")[0], []).append(canonical)
    listed = [one for url, of in versions.items() for one in (url, *(of if len(of) > 1 else ()))]
    return {"supportedProfile": listed} if listed else {}


def _operations(offer: Offer, name: str | None) -> dict[str, Any]:
    """CapabilityStatement.rest.operation and rest.resource.operation: what stands there, each once. How a
    search was answered is told nobody where consents are enforced."""
    found = {row.operation: None for row in TABLE if row.operation is not None and row.is_of(name)}
    if offer.consents:
        found.pop(EXPLAIN, None)
    if not found or not wired("operation"):
        return {}
    return {
        "operation": [{"name": one.code, "definition": one.url, "documentation": one.title} for one in found]
    }


def _interactions(rows: Iterable[Interaction]) -> list[dict[str, str]]:
    """The codes of the rows that have a handler, each once."""
    codes: dict[str, None] = {}
    for row in rows:
        if row.code is not None and wired(row.name):
            codes |= dict.fromkeys(SYSTEM_CODES.get(row.name, (row.code,)))
    return [{"code": code} for code in codes]


def _reference_policy(offer: Offer) -> list[str]:
    """https://hl7.org/fhir/R4/valueset-reference-handling-policy.html"""
    return ["literal", "logical", *(["enforced"] if offer.referential_integrity else [])]


def _search_param(param: SearchParam) -> dict[str, str]:
    return {"name": param.code, "definition": param.url, "type": param.type}
