"""Small profiles and resources, and what is wrong with them."""

from __future__ import annotations

from typing import Any

from fhirserver.fhir.profile.definition import read
from fhirserver.fhir.profile.library import Library
from fhirserver.fhir.profile.terms import BuiltIn
from fhirserver.fhir.profile.validate import examine

Json = dict[str, Any]
MINE = "urn:mine"
UCUM = "http://unitsofmeasure.org"
CORE = "http://hl7.org/fhir/StructureDefinition/"


def profile(*elements: Json, type_: str = "Observation", url: str = MINE, **more: Any) -> Json:
    return {
        "resourceType": "StructureDefinition",
        "url": url,
        "type": type_,
        "kind": "complex-type" if type_ == "Extension" else "resource",
        "baseDefinition": CORE + type_,
        "derivation": "constraint",
        "differential": {"element": [{"path": type_}, *elements]},
        **more,
    }


def element(path: str, **more: Any) -> Json:
    return {"path": path, **more}


def observation(**more: Any) -> Json:
    return {"resourceType": "Observation", "status": "final", "code": {"text": "x"}, **more}


def judged(resource: Json, *definitions: Json, asked: str = MINE) -> list[tuple[str, str]]:
    """Severity and path of each issue but those of information."""
    library = Library(read(one) for one in definitions)
    found = examine(resource, library, BuiltIn(), [asked] if definitions else [])
    return [
        (one.severity, one.expression or "")
        for one in found
        if one.severity != "information"
        and "dom-6" not in one.diagnostics
        and (one.severity, one.code) != ("warning", "not-found")
    ]


def errors(resource: Json, *definitions: Json, asked: str = MINE) -> list[str]:
    return [path for severity, path in judged(resource, *definitions, asked=asked) if severity == "error"]


def coding(code: str, system: str = "urn:s") -> Json:
    return {"coding": [{"system": system, "code": code}]}


def extension(url: str, context: str, *elements: Json, kind: str = "element", **more: Any) -> Json:
    return profile(
        *elements,
        element("Extension.url", fixedUri=url),
        type_="Extension",
        url=url,
        context=[{"type": kind, "expression": context}],
        **more,
    )


def extended(url: str, **value: Any) -> Json:
    return {"url": url, **(value or {"valueString": "x"})}
