"""TerminologyCapabilities: https://hl7.org/fhir/R4/terminologycapabilities.html"""

from __future__ import annotations

from functools import cache
from typing import Any, Final

from fhirserver.fhir.structure import Resource
from fhirserver.interactions.capabilities import searches
from fhirserver.interactions.capabilities.statement import built, software, version
from fhirserver.interactions.operations.terminology import EXPAND
from fhirserver.params.registry import Registry
from fhirserver.terminology import official
from fhirserver.terminology.grammars import grammars

_NAMES: Final = frozenset({"url", "valueSet"})
"""Inputs of $expand that say what is expanded, not how."""


def head(base: str) -> Resource:
    """The elements that come first, which alone depend on the base."""
    return {
        "resourceType": "TerminologyCapabilities",
        "url": f"{base}/metadata?mode=terminology",
        "version": version(),
        "name": "FhirServerTerminology",
        "title": "Terminology of the FHIR R4 server",
        "status": "active",
        "date": built(),
        "description": (
            "The code systems listed here are held by every server: those of HL7, currencies, countries, time"
            " zones, and units, media types, languages and URIs by their grammar. So are the CodeSystem and"
            " ValueSet resources that are stored, which come first. $expand, $validate-code, $lookup and"
            " $subsumes go by both; $translate and $closure are not offered."
        ),
        "kind": "instance",
        "software": software(),
        "implementation": {"description": "FHIR R4 API over PostgreSQL", "url": base},
    }


def tail(registry: Registry) -> Resource:
    """The elements that follow those of `head`; `codeSearch` tells what ValueSet?code= looks at."""
    searched = any(param.code == "code" for param in searches.announced(registry, "ValueSet"))
    return {
        "lockedDate": False,
        "codeSystem": _code_systems(),
        "expansion": {
            "hierarchical": True,
            "paging": True,
            "incomplete": False,
            "parameter": [
                {"name": one.name, "documentation": one.documentation}
                for one in EXPAND.inputs
                if one.name not in _NAMES
            ],
            "textFilter": "Words, each of which begins a word of the code or of one of its texts.",
        },
        **({"codeSearch": "explicit"} if searched else {}),
        "validateCode": {"translations": True},
    }


@cache
def _code_systems() -> list[dict[str, Any]]:
    """Those that every server holds; what is stored beside them can be searched for."""
    found: list[dict[str, Any]] = []
    for url, its in sorted(official.versions()):
        described: dict[str, Any] = {"uri": url}
        if its is not None:
            described["version"] = [{"code": its, "isDefault": True}]
        found.append(described | {"subsumption": url not in grammars()})
    return found
