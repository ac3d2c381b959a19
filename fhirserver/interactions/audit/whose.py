"""Whose records resources are, and which of them the event of a patient may name.

A resource is the record of those in whose compartment it is, https://hl7.org/fhir/R4/compartmentdefinition-patient.html:
who is merely mentioned in another's record, as in a Consent that shuts them out, must not learn of it. Of a
type that no compartment says anything about, all whom it names count.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from functools import cache
from typing import Any, Final

import orjson

from fhirserver.fhir.reference import parse
from fhirserver.fhir.structure import RESOURCE_TYPES, Resource
from fhirserver.params.extract import extractor_of
from fhirserver.params.registry import compartment_params, r4
from fhirserver.policy.audit import patients_in_role
from fhirserver.policy.restriction import FOLLOWING, OWNED, RECORDED, REFERRING, in_compartment

_MENTION: Final = re.compile(rb'"Patient(?:/|","id":")([A-Za-z0-9.\-]{1,64})')
_PATIENT: Final = '"Patient'
"""With what every reference to one begins, and the type of one that is held."""
BEGINNING: Final = b'{"resourceType":"Bundle","entry":['
"""What makes a Bundle of entries that begin, as `owners_in` reads them."""
_HOLDERS: Final = frozenset({"Bundle", "Parameters"})
"""Types that are about whatever is in them."""


def mentioned(text: bytes) -> list[str]:
    """The Patients that JSON of this server's names, as references or because it holds them."""
    return [f"Patient/{id_.decode()}" for id_ in dict.fromkeys(_MENTION.findall(text))]


def is_about(text: bytes, patients: Collection[str]) -> bool:
    """Whether JSON of this server's is about nobody but `patients`, `Patient/1` and so on, as far as that is
    said without reading it: of a Patient that something holds, the id may stand anywhere."""
    found = _MENTION.findall(text)
    all_named = len(found) == text.count(_PATIENT.encode())
    return all_named and all(f"Patient/{id_.decode()}" in patients for id_ in set(found))


def owners_of(type_: str, id_: str, content: str | None) -> list[str]:
    """Whose record a stored resource is; `content` as `Version` has it, None of a deletion."""
    if type_ != "Patient" and not (content and _PATIENT in content):
        return []
    found: Any = orjson.loads(content) if content else {}
    return owners({"resourceType": type_, "id": id_, **found})


def owners_in(body: bytes | None, *, begins: bool = False) -> list[str]:
    """Whose records the resources in an answer are. `begins`: further entries of a Bundle follow. All whom it
    names, if it cannot be read."""
    if not body or _PATIENT.encode() not in body:
        return []
    try:
        return owners(orjson.loads(body + b"]}" if begins else body))
    except orjson.JSONDecodeError:
        return mentioned(body)


def owners(resource: Resource) -> list[str]:
    """Whose record a resource is: `Patient/1` and so on, each once."""
    return list(dict.fromkeys(_owners(resource)))


def _owners(resource: Resource) -> Iterator[str]:
    type_ = resource["resourceType"]
    if type_ in _HOLDERS:
        for one in _held(resource):
            yield from _owners(one)
    elif type_ in RECORDED:
        yield from patients_in_role(resource)
    elif (extract := _extractor(type_)) is not None:
        if type_ == "Patient" and "id" in resource:
            yield f"Patient/{resource['id']}"
        merged = _merged(resource) if type_ == "Patient" else ()
        for nodes in extract(resource).values():
            yield from (one for one in _patients(node.value for node in nodes) if one not in merged)
    else:
        yield from mentioned(orjson.dumps(resource))


def _held(holder: Resource) -> Iterator[Resource]:
    """The resources in a Bundle, an outcome of a response among them, in Parameters and in parts of these, in
    their order."""
    stack: list[Any] = [holder]
    while stack:
        current = stack.pop()
        if current is not holder and "resourceType" in current:
            yield current
            continue
        children = current if current.__class__ is list else current.values()
        stack += [one for one in children if one.__class__ is dict or one.__class__ is list][::-1]


@cache
def _extractor(type_: str) -> Callable[[Resource], Mapping[str, Any]] | None:
    """What finds the references by which a type is in compartments of patients; None where nothing says so.

    By R4's own parameters: what can be redefined must not decide it.
    """
    codes = compartment_params("Patient", type_) or (("patient",) if type_ in OWNED else ())
    params = [r4().for_type(type_).get(code) for code in codes if type_ in RESOURCE_TYPES]
    return extractor_of(tuple(one for one in params if one is not None), type_) if codes else None


def _patients(references: Iterable[Any]) -> Iterator[str]:
    for one in references:
        found = parse(one["reference"], ()) if isinstance(one, dict) and "reference" in one else None
        if found is not None and found.is_local and found.type == "Patient":
            yield f"Patient/{found.id}"


def _merged(patient: Resource) -> set[str]:
    """Whom a Patient was merged with: they are not in its compartment, as `params.index` has it."""
    links = [one["other"] for one in patient.get("link", ()) if one["type"] in ("replaces", "replaced-by")]
    return set(_patients(links))


def as_told(patient: str, path: str) -> str:
    """`path`, or only its type if it is not for the patient to know: another Patient, what is about many of
    them, or nobody's record. What stands in the place of a version and is none is not told."""
    type_, _, rest = path.partition("/")
    instance, _, version = path.partition("/_history/")
    path = path if version.isdecimal() else instance
    if type_ == "Patient":
        return path if f"Patient/{rest.partition('/')[0]}" == patient else type_
    return path if type_ in _BEYOND or in_compartment("Patient", type_) else type_


_BEYOND: Final = REFERRING | FOLLOWING
"""Types that are in no compartment and somebody's record all the same."""
