"""Whose a resource is that R4 puts into nobody's compartment: by what it refers to.

docs/explanation/consent.md, https://hl7.org/fhir/R4/binary-definitions.html#Binary.securityContext
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from fhirserver.fhir.keys import Keys
from fhirserver.fhir.links import holders
from fhirserver.fhir.structure import Resource
from fhirserver.params.entries import Entries
from fhirserver.params.reference import Resolve
from fhirserver.policy.restriction import FOLLOWING, REFERRING


def indexer(keys: Keys, resolve: Resolve, resource_type: str) -> Callable[[Resource, Entries], None] | None:
    """What adds to the compartments of a resource those of whoever it is about; None for types that R4 says
    it of, and for those that are nobody's.

    Nothing but consents looks at them: `policy.restriction` has the types that lie in a compartment.
    """
    if resource_type in FOLLOWING:
        return _follower(keys, resolve)
    if resource_type not in REFERRING:
        return None

    def refer(resource: Resource, entries: Entries) -> None:
        for holder in holders(resource):
            found, target = resolve(holder["reference"])
            if target and found.type == "Patient":
                entries.compartments.append(target)
        entries.compartments.extend(_within(keys, resolve, resource))

    return refer


def leader_key(keys: Keys, type_: str) -> int:
    """What a row of `FOLLOWING` has among its keys that names a resource of a type."""
    return keys.of("led by", type_)


def _follower(keys: Keys, resolve: Resolve) -> Callable[[Resource, Entries], None]:
    nowhere = keys.of("nowhere")

    def follow(resource: Resource, entries: Entries) -> None:
        """The one resource that is named, and its type; one that cannot be found here is nowhere."""
        if "securityContext" not in resource:
            return
        literal = resource["securityContext"].get("reference")
        found, target = (None, 0) if literal is None else resolve(literal)
        entries.compartments.append(target or nowhere)
        if target and found is not None and found.type is not None:
            entries.keys.append(leader_key(keys, found.type))

    return follow


def _within(keys: Keys, resolve: Resolve, resource: Resource) -> Iterator[int]:
    """The Patients that a Bundle holds, however deep: in a Bundle or in Parameters in it, as the outcome of a
    response. Who has no id has the `fullUrl`: https://hl7.org/fhir/R4/bundle-definitions.html#Bundle.entry.fullUrl

    Contained resources have ids of their own: https://hl7.org/fhir/R4/references.html#contained
    """
    stack: list[Any] = [resource]
    while stack:
        current = stack.pop()
        if current.__class__ is list:
            stack.extend(one for one in current if one.__class__ is dict)
            continue
        if current.get("resourceType") == "Patient" and "id" in current:
            yield keys.target("Patient", current["id"])
        if "fullUrl" in current:
            found, target = resolve(current["fullUrl"])
            if target and found.type == "Patient":
                yield target
        stack.extend(
            child
            for name, child in current.items()
            if name != "contained" and (child.__class__ is dict or child.__class__ is list)
        )
