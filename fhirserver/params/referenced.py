"""An entry for every literal reference of a resource, for referential integrity.

https://hl7.org/fhir/R4/http.html#integrity. Search parameters cover not all references.
"""

from __future__ import annotations

from fhirserver.fhir.keys import Keys
from fhirserver.fhir.links import holders
from fhirserver.fhir.reference import parse
from fhirserver.fhir.structure import Resource


def key_of(keys: Keys, resource_type: str, id_: str) -> int:
    """The key of `tok` for what refers to a resource in whatever element."""
    return keys.of("referenced") ^ keys.target(resource_type, id_)


def found_in(keys: Keys, own_bases: tuple[str, ...], resource: Resource) -> list[int]:
    """The keys of everything that the resource refers to, each once, sorted."""
    found: set[int] = set()
    for holder in holders(resource):
        reference = parse(holder["reference"], own_bases)
        if reference.is_local and reference.type and reference.id:
            found.add(key_of(keys, reference.type, reference.id))
    return sorted(found)
