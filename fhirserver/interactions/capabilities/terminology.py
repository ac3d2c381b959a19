"""TerminologyCapabilities: https://hl7.org/fhir/R4/terminologycapabilities.html

Code systems and value sets are stored and searched like any resource; there are no operations on them.
"""

from __future__ import annotations

from fhirserver.fhir.structure import Resource
from fhirserver.interactions.capabilities import searches
from fhirserver.interactions.capabilities.statement import built, software, version
from fhirserver.params.registry import Registry


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
            "Resources are checked against R4's required value sets that can be listed. CodeSystem, ValueSet"
            " and ConceptMap are stored and searched; $expand, $lookup, $validate-code, $subsumes, $translate"
            " and $closure are not offered."
        ),
        "kind": "instance",
        "software": software(),
        "implementation": {"description": "FHIR R4 API over PostgreSQL", "url": base},
    }


def tail(registry: Registry) -> Resource:
    """The elements that follow those of `head`; `codeSearch` tells what ValueSet?code= looks at."""
    searched = any(param.code == "code" for param in searches.announced(registry, "ValueSet"))
    return {"lockedDate": False} | ({"codeSearch": "explicit"} if searched else {})
