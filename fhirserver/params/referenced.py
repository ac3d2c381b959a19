"""Entries for literal references that no search parameter covers.

https://hl7.org/fhir/R4/http.html#integrity: for referential integrity every reference has one. Without it,
those to what can be merged have one, so that all that refers to it is found.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

from fhirserver.fhir.keys import Keys
from fhirserver.fhir.links import holders
from fhirserver.fhir.reference import parse
from fhirserver.fhir.structure import Resource
from fhirserver.identity.moving import STAYING, TYPES
from fhirserver.params.entries import Entries
from fhirserver.params.reference import Resolve, salt_of
from fhirserver.params.registry import r4


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


def movable(keys: Keys, resolve: Resolve, resource_type: str) -> Callable[[Resource, Entries], None] | None:
    """What adds entries for the references to types that can be merged, where the resource is not found by
    others; None for types whose references stay. Called when all others are made."""
    if resource_type in STAYING:
        return None
    salts = covering(keys, resource_type)
    own = _salt(keys, resource_type)

    def add(resource: Resource, entries: Entries) -> None:
        there: set[int] | None = None
        for holder in holders(resource):
            found, target = resolve(holder["reference"])
            if target and found.type in TYPES and target != entries.ptk:
                if there is None:
                    there = set(entries.keys)
                if there.isdisjoint([salt ^ target for salt in salts]):
                    entries.keys.append(own ^ target)
                    entries.tok.append(own ^ target)

    return add


@lru_cache(maxsize=4_096)
def covering(keys: Keys, resource_type: str) -> tuple[int, ...]:
    """What a target is combined with in the keys by which R4's own parameters find what refers to it."""
    params = r4().for_type(resource_type).values()
    return tuple(salt_of(keys, resource_type, param.code) for param in params if param.type == "reference")


def moving_keys(keys: Keys, resource_type: str, target: int) -> list[int]:
    """The keys of `tok` under which all rows of a type are that refer to a target that can be merged, but for
    those whose patient it is (`ptk`)."""
    return [salt ^ target for salt in (*covering(keys, resource_type), _salt(keys, resource_type))]


def _salt(keys: Keys, resource_type: str) -> int:
    return keys.of("movable", resource_type)
