"""What the definitions say about a search parameter on a type: its routes, its values' types, its systems.

All of it is worked out once per parameter and type and kept.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Final

from fhirserver.fhir.fhirpath import compile_expression
from fhirserver.fhir.fhirpath.functions import resolves_to
from fhirserver.fhir.fhirpath.routes import Route, routes
from fhirserver.fhir.structure import ENDPOINT_TYPES, STRUCTURES, Element, structure, value_set
from fhirserver.params.fits import FITS, fitting_routes, program_types
from fhirserver.params.registry import SearchParam, r4

CLINICAL_DATES: Final[Mapping[str, str]] = {
    "AdverseEvent": "date",
    "AllergyIntolerance": "date",
    "AuditEvent": "date",
    "CarePlan": "date",
    "CareTeam": "date",
    "Claim": "created",
    "ClaimResponse": "created",
    "ClinicalImpression": "date",
    "Communication": "sent",
    "CommunicationRequest": "authored",
    "Composition": "date",
    "Condition": "recorded-date",
    "Consent": "date",
    "DetectedIssue": "identified",
    "DeviceRequest": "authored-on",
    "DiagnosticReport": "date",
    "DocumentManifest": "created",
    "DocumentReference": "date",
    "Encounter": "date",
    "EpisodeOfCare": "date",
    "ExplanationOfBenefit": "created",
    "FamilyMemberHistory": "date",
    "Flag": "date",
    "ImagingStudy": "started",
    "Immunization": "date",
    "ImmunizationEvaluation": "date",
    "ImmunizationRecommendation": "date",
    "List": "date",
    "Media": "created",
    "MedicationAdministration": "effective-time",
    "MedicationDispense": "whenprepared",
    "MedicationRequest": "authoredon",
    "MedicationStatement": "effective",
    "NutritionOrder": "datetime",
    "Observation": "date",
    "Procedure": "date",
    "Provenance": "recorded",
    "QuestionnaireResponse": "authored",
    "RequestGroup": "authored",
    "RiskAssessment": "date",
    "ServiceRequest": "authored",
    "SupplyRequest": "date",
    "Task": "authored-on",
    "VisionPrescription": "datewritten",
}
"""The date by which the resources of a type are ordered; types that are not here go by `updated`.

Each is single-valued. The choice is part of the stored format: a change needs a reindex.
"""

UNIONS: Final[Mapping[tuple[str, str], tuple[str, ...]]] = {
    ("Observation", "combo-code"): ("code", "component-code"),
    ("Observation", "combo-data-absent-reason"): ("data-absent-reason", "component-data-absent-reason"),
    ("Observation", "combo-value-concept"): ("value-concept", "component-value-concept"),
    ("Observation", "combo-value-quantity"): ("value-quantity", "component-value-quantity"),
    ("Observation", "combo-code-value-concept"): ("code-value-concept", "component-code-value-concept"),
    ("Observation", "combo-code-value-quantity"): ("code-value-quantity", "component-code-value-quantity"),
}
"""Parameters whose values are those of others together: asked as alternatives, never indexed."""


@lru_cache(maxsize=8_192)
def routes_of(param: SearchParam, resource_type: str) -> tuple[Route, ...] | None:
    """The paths from the resource to the values; None when the expression is more than paths."""
    ways = None if param.expression is None else routes(param.expression, resource_type)
    return ways if ways is None or not param.custom else fitting_routes(param.type, ways)


@lru_cache(maxsize=8_192)
def node_types(param: SearchParam, resource_type: str) -> frozenset[str]:
    """The FHIR types that the values can have; empty when only the data can tell."""
    ways = routes_of(param, resource_type)
    if ways is not None or param.expression is None:
        return frozenset(way[-1].type for way in ways or () if way)
    types = program_types(compile_expression(param.expression, resource_type)) or frozenset()
    return types & FITS[param.type] if param.custom and param.type in FITS else types


INLINE: Final[Mapping[tuple[str, str], str]] = {
    ("Bundle", "composition"): "Composition",
    ("Bundle", "message"): "MessageHeader",
}
"""Parameters whose value is no reference to a stored resource but one within, with the type that it is of.

https://hl7.org/fhir/R4/bundle.html#search: the first entry's, "to search its contents".
"""


def unanswered(param: SearchParam, resource_type: str) -> str | None:
    """Why nothing follows or sorts by a parameter that is defined; None when it can."""
    if param.code in ("_text", "_content"):
        return "searches words and has no value of its own"
    if param.expression is None:
        return "is not supported by this server"
    if (resource_type, param.code) in INLINE:
        return f"is a resource within the Bundle; {param.code}.[parameter] searches its contents"
    return None


@lru_cache(maxsize=8_192)
def is_canonical(param: SearchParam, resource_type: str) -> bool:
    """Whether a reference parameter names what it points at by canonical URL alone."""
    types = node_types(param, resource_type)
    return param.type == "reference" and bool(types) and "Reference" not in types


@lru_cache(maxsize=8_192)
def may_be_canonical(param: SearchParam, resource_type: str) -> bool:
    """Whether some of a reference parameter's values may be canonical URLs."""
    types = node_types(param, resource_type)
    return param.type == "reference" and (not types or bool(types - {"Reference"}))


TARGETS_FEW_MAX: Final = 8
"""Types up to which the rows do not say which of them a reference points at. Part of the stored format."""


@lru_cache(maxsize=8_192)
def is_wide(param: SearchParam, resource_type: str) -> bool:
    """Whether a reference may point at so many types that a chain has to know which to look at."""
    return len(targets(param, resource_type) or ENDPOINT_TYPES) > TARGETS_FEW_MAX


@lru_cache(maxsize=8_192)
def is_single(param: SearchParam, resource_type: str) -> bool:
    """Whether a resource has at most one value: one element, not repeating (its types are a choice)."""
    ways = routes_of(param, resource_type)
    if not ways or any(hop.many for way in ways for hop in way):
        return False
    return len({element_path(way, resource_type) for way in ways}) == 1


@lru_cache(maxsize=8_192)
def is_required(param: SearchParam, resource_type: str) -> bool:
    """Whether every resource has to have the one element that holds the values."""
    ways = routes_of(param, resource_type)
    if ways is None or len(ways) != 1 or len(ways[0]) != 1:
        return False
    element = _element(resource_type, ways[0][0].key)
    return element is not None and element.min > 0


def element_path(way: Route, resource_type: str) -> tuple[str, ...]:
    """The element names of a route, a choice without its type: (`Observation`, `value`)."""
    names = [resource_type]
    for owner, key in _owners(way, resource_type):
        element = _element(owner, key)
        names.append(element.name if element is not None else key)
    return tuple(names)


def _owners(way: Route, resource_type: str) -> Iterable[tuple[str, str]]:
    """Each hop as the type that it starts from and its key."""
    owner = resource_type
    for hop in way:
        yield owner, hop.key
        owner = hop.type


def _element(owner: str, key: str) -> Element | None:
    found = structure(owner).keys.get(key) if owner in STRUCTURES else None
    return found[0] if found else None


@lru_cache(maxsize=8_192)
def targets(param: SearchParam, resource_type: str) -> tuple[str, ...]:
    """The types that the parameter's references can point at; empty for any.

    Narrower than what the parameter states: a criterion such as `resolve() is Patient` and the targets
    of the element itself count as well.
    """
    stated = set() if "Resource" in param.targets else set(param.targets)
    found: set[str] = set()
    for way in routes_of(param, resource_type) or ():
        narrow = _way_targets(way, resource_type)
        if not narrow:
            return tuple(sorted(stated))
        found |= narrow
    stated = stated or found
    return tuple(sorted(found & stated or stated))


def _way_targets(way: Route, resource_type: str) -> set[str]:
    if not way:
        return set()
    for criterion in way[-1].criteria:
        resolved = resolves_to(criterion)
        if resolved is not None:
            return {resolved}
    owner, key = list(_owners(way, resource_type))[-1]
    element = _element(owner, key)
    if element is None:
        return set()
    return set(element.canonical if way[-1].type == "canonical" else element.targets)


@lru_cache(maxsize=8_192)
def implied_systems(param: SearchParam, resource_type: str) -> Mapping[str, str]:
    """Code -> system for `code` elements with a required binding.

    A code's system "is defined in the value set": https://hl7.org/fhir/R4/search.html#token
    """
    return _implied(routes_of(param, resource_type) or (), resource_type)


def part_systems(param: SearchParam, resource_type: str) -> list[Mapping[str, str]]:
    """The same for each component of a composite, whose paths start from the composite's elements."""
    bases = {way[-1].type if way else resource_type for way in routes_of(param, resource_type) or ()}
    return [
        {
            code: system
            for base in sorted(bases)
            for code, system in _implied(routes(component.expression, base) or (), base).items()
        }
        for component in param.components
    ]


def _implied(ways: Iterable[Route], start: str) -> dict[str, str]:
    systems: dict[str, str] = {}
    for way in ways:
        if not way or way[-1].type != "code":
            continue
        owner, key = list(_owners(way, start))[-1]
        element = _element(owner, key)
        codes = value_set(element.binding) if element is not None and element.binding else None
        for system, members in (codes or {}).items():
            for code in members:
                systems.setdefault(code, system)
    return systems


_MIME_TYPES: Final = "http://hl7.org/fhir/ValueSet/mimetypes"


@lru_cache(maxsize=8_192)
def is_mime_type(param: SearchParam, resource_type: str) -> bool:
    """Whether the values are MIME types: https://hl7.org/fhir/R4/search.html#mimetype"""
    return any(
        element is not None and element.binding == _MIME_TYPES
        for element in (_last_element(way, resource_type) for way in routes_of(param, resource_type) or ())
    )


def _last_element(way: Route, resource_type: str) -> Element | None:
    """The element that a route ends in."""
    return _element(*list(_owners(way, resource_type))[-1]) if way else None


@lru_cache(maxsize=256)
def patient_path(resource_type: str) -> tuple[str, ...] | None:
    """The element that alone says whose the resource is, or None when there may be several.

    That of `patient`, or of `subject` where the type has no `patient`, if it holds one reference.
    """
    params = r4().for_type(resource_type)
    param = params.get("patient") or params.get("subject")
    if param is None or param.type != "reference" or not is_single(param, resource_type):
        return None
    ways = routes_of(param, resource_type) or ()
    if all(way[-1].type == "Reference" for way in ways):
        return next((element_path(way, resource_type) for way in ways), None)
    return None


@lru_cache(maxsize=8_192)
def is_patient(param: SearchParam, resource_type: str) -> bool:
    """Whether `resource.ptk` answers the parameter for every reference to a Patient."""
    path = patient_path(resource_type)
    if path is None or param.type != "reference":
        return False
    ways = routes_of(param, resource_type) or ()
    if any(resolves_to(criterion) is None for way in ways for hop in way for criterion in hop.criteria):
        return False
    return bool(ways) and all(element_path(way, resource_type) == path for way in ways)


@lru_cache(maxsize=256)
def presence_bits(resource_type: str) -> Mapping[str, int]:
    """Code -> bit in the presence word, for R4's own parameters. At most 62: a test counts."""
    codes = [code for code, param in r4().for_type(resource_type).items() if param.expression is not None]
    return {code: 1 << position for position, code in enumerate(sorted(codes))}
