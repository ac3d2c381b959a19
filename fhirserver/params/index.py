"""From a resource to everything the index tables hold of it.

One plan per type, made when the type is first written: for each parameter the indexer of its type.
What it writes, `compile` of the same module finds: tests/unit/params and tests/db/search say so.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import tzinfo
from typing import Any, Final

from fhirserver.fhir.keys import Keys
from fhirserver.fhir.structure import COMPARTMENTS
from fhirserver.params import (
    composite,
    date,
    fulltext,
    inline,
    listing,
    mime,
    near,
    number,
    ordering,
    owners,
    phonetic,
    presence,
    quantity,
    reference,
    referenced,
    string,
    token,
    uri,
)
from fhirserver.params.closed import closed_params
from fhirserver.params.entries import ORD_ABSENT, Entries, Node
from fhirserver.params.extract import extractor
from fhirserver.params.facts import (
    CLINICAL_DATES,
    INLINE,
    UNIONS,
    implied_systems,
    is_mime_type,
    part_systems,
    presence_bits,
    unanswered,
)
from fhirserver.params.inline import Run
from fhirserver.params.reference import Resolve
from fhirserver.params.registry import Registry, SearchParam
from fhirserver.params.token import TokenValue
from fhirserver.params.walk import Found
from fhirserver.policy.audit import may_name_others, patients_in_role
from fhirserver.policy.audit.codes import RECEIVED
from fhirserver.policy.consent import compile_consent

Index = Callable[[str, str, dict[str, Any]], Entries]
"""(type, id, resource) -> entries. The resource is valid; its numbers are int and Decimal."""

FORMAT: Final = 7
"""Of all that is written here, hot codes and clinical dates included. Whoever changes what is written for
some resource raises it: a database whose entries have another format must be rebuilt before it is searched.
"""

VERSIONED: Final = frozenset({"url", "version"})
"""The parameters of types that are referred to by canonical URL: together they make `url|version`."""

PATIENT_CODED: Final[Mapping[str, str]] = {"Observation": "code"}
"""Types whose patients can have thousands: a key of `tok` stands for patient and code together."""


def indexer(
    registry: Registry, keys: Keys, own_bases: tuple[str, ...], zone: tzinfo, *, integrity: bool = False
) -> Index:
    """The function that makes entries. `own_bases` are without a slash at the end.

    `integrity`: with an entry for each reference, for referential integrity.
    """
    stored = Registry(
        param for param in registry.params if not all(_is_derived(param, t) for t in param.base)
    )
    resolve = reference.resolver(keys, own_bases)
    full_text = fulltext.mode_of(registry)
    plans: dict[str, Callable[[str, dict[str, Any]], Entries]] = {}

    def index(resource_type: str, id_: str, resource: dict[str, Any]) -> Entries:
        plan = plans.get(resource_type)
        if plan is None:
            within = inline.writer(registry, keys, resource_type, index_within)
            plan = plans[resource_type] = _plan(stored, keys, resolve, zone, resource_type, within)
        entries = plan(id_, resource)
        if full_text != "none":
            entries.words = fulltext.document(keys.tenant, resource_type, resource, full_text)
        if resource_type == "Consent":
            entries.rules = compile_consent(resource, keys.target, zone, own_bases).rules
        return entries

    def index_within(param: SearchParam, inner: Keys, type_: str) -> Run | None:
        return _indexer(param, inner, resolve, zone, type_, True)

    def with_references(resource_type: str, id_: str, resource: dict[str, Any]) -> Entries:
        entries = index(resource_type, id_, resource)
        found = referenced.found_in(keys, own_bases, resource)
        entries.keys.extend(found)
        entries.tok.extend(found)
        return entries

    return with_references if integrity else index


def _is_derived(param: SearchParam, resource_type: str) -> bool:
    """Whether the row, or what other parameters store, answers it already, or nothing ever does."""
    if param.code in presence.ALWAYS or (resource_type, param.code) in UNIONS:
        return True
    if (resource_type, param.code) in INLINE:
        return False
    if unanswered(param, resource_type) is not None:
        return True
    return bool(param.components) and composite.shape_of(param, resource_type) == "conjunction"


def _plan(
    registry: Registry,
    keys: Keys,
    resolve: Resolve,
    zone: tzinfo,
    resource_type: str,
    within: inline.Writer | None,
) -> Callable[[str, dict[str, Any]], Entries]:
    extract = extractor(registry, resource_type)
    steps = {
        code: _step(param, keys, resolve, zone, resource_type)
        for code, param in registry.for_type(resource_type).items()
    }
    start = ORD_ABSENT if resource_type in CLINICAL_DATES else None
    whose = _WHOSE.get(resource_type)
    own = resource_type in COMPARTMENTS
    whole = _of_the_whole(keys, resolve, resource_type)
    coded = PATIENT_CODED.get(resource_type)
    versioned = steps.keys() >= VERSIONED
    listed = listing.indexer(keys, resolve) if resource_type == "List" else None
    closed = closed_params(keys, resource_type, registry.for_type(resource_type))
    together = (_quantities_of_codes(keys, resource_type), phonetic.together(keys, resource_type))

    def plan(id_: str, resource: dict[str, Any]) -> Entries:
        entries = Entries(ord=start)
        entries.keys.append(0)
        found = extract(resource)
        if within is not None:
            within(found, entries)
        for code, nodes in found.items():
            bit, key, run = steps[code]
            entries.word |= bit
            if key is not None:
                entries.keys.append(key)
            if run is not None:
                run(nodes, entries)
        if whose is not None:
            whose(resource, resolve, entries)
        if own:
            entries.compartments.append(keys.target(resource_type, id_))
        for add in whole:
            add(resource, entries)
        if versioned and found.keys() >= VERSIONED:
            uri.put_version(keys, resource_type, "url", found["url"], found["version"], entries)
        if listed is not None:
            listed(resource, entries)
        others = [one.key for one in closed if one.lacks(found)]
        entries.keys.extend(others)  # by which the janitor finds its rows of `tok`
        entries.tok.extend(others)
        for pair in together:
            pair(found, entries)
        if coded is not None and entries.ptk is not None and coded in found:
            entries.tok.extend(_patient_codes(keys, resource_type, entries.ptk, found[coded]))
        entries.keys[0] = entries.word
        _distinct(entries)
        return entries

    return plan


def _of_the_whole(
    keys: Keys, resolve: Resolve, resource_type: str
) -> list[Callable[[dict[str, Any], Entries], None]]:
    """What adds entries that no single parameter makes."""
    found = (
        owners.indexer(keys, resolve, resource_type),
        referenced.movable(keys, resolve, resource_type),
    )
    return [add for add in found if add is not None]


def _quantities_of_codes(keys: Keys, resource_type: str) -> Callable[[Found, Entries], None]:
    """What adds the quantities of a code, in order."""
    paired = [(code, other) for (of, code), other in quantity.PAIRED.items() if of == resource_type]

    def add(found: Found, entries: Entries) -> None:
        for code, other in paired:
            if code in found and other in found:
                entries.qty.extend(quantity.paired_rows(keys, resource_type, code, found[other], found[code]))

    return add


def _keep_apart(patient: dict[str, Any], resolve: Resolve, entries: Entries) -> None:
    """A Patient that was merged with another is not in its compartment, though its link is: who could see one
    of them does not see the other because of it."""
    links = [link for link in patient.get("link", ()) if link.get("type") in ("replaces", "replaced-by")]
    found = [resolve(link["other"]["reference"]) for link in links if "reference" in link["other"]]
    merged = {target for other, target in found if other.type == "Patient"}
    entries.compartments = [target for target in entries.compartments if target not in merged]


def _told_of(event: dict[str, Any], resolve: Resolve, entries: Entries) -> None:
    """Whose record an AuditEvent is about, who may read it: one patient's, not that of who asked. One that
    another system sent must name nobody else."""
    patients = patients_in_role(event)
    is_received = RECEIVED.element() in event.get("meta", {}).get("tag", ())
    alone = len(patients) == 1 and not (is_received and may_name_others(event, patients[0]))
    entries.ptk = (resolve(patients[0])[1] or None) if alone else None


_WHOSE: Final[dict[str, Callable[[dict[str, Any], Resolve, Entries], None]]] = {
    "Patient": _keep_apart,
    "AuditEvent": _told_of,
}
"""Types whose compartments do not follow from references alone."""


def patient_code_key(keys: Keys, resource_type: str, ptk: int, code: str) -> int:
    """The key of `tok` for resources of a patient that carry a folded code.

    Made of the key that the code alone has in the row, so that SQL finds it again from there.
    """
    of = PATIENT_CODED[resource_type]
    return token.key_of(keys, token.FOLDED_SPACE, resource_type, of, TokenValue(None, code)) ^ ptk


def _patient_codes(keys: Keys, resource_type: str, ptk: int, nodes: Sequence[Node]) -> Iterator[int]:
    for node in nodes:
        for _, code in token.pairs(node.value, node.type, {}):
            if code:
                yield patient_code_key(keys, resource_type, ptk, code.casefold())


def _distinct(entries: Entries) -> None:
    """Repeated rows would be repeated results. `keys[0]` is no key and stays where it is."""
    entries.tok = list(dict.fromkeys(entries.tok))
    entries.compartments = list(dict.fromkeys(entries.compartments))
    entries.keys = [entries.keys[0], *dict.fromkeys(entries.keys[1:])]
    for name in ("str", "dat", "qty"):
        rows = getattr(entries, name)
        if len(rows) > 1:
            setattr(entries, name, list(dict.fromkeys(rows)))


_Step = tuple[int, int | None, Run | None]
"""Presence bit, presence key where there is no bit, and what writes the values."""


def _step(param: SearchParam, keys: Keys, resolve: Resolve, zone: tzinfo, resource_type: str) -> _Step:
    bit = presence_bits(resource_type).get(param.code, 0)
    key = None if bit else presence.key_of(keys, resource_type, param.code)
    run = _indexer(param, keys, resolve, zone, resource_type)
    if ordering.is_stored(param, resource_type):
        run = ordering.indexer(keys, resource_type, param.code, run)
    return bit, key, run


def _indexer(
    param: SearchParam,
    keys: Keys,
    resolve: Resolve,
    zone: tzinfo,
    resource_type: str,
    inside: bool = False,
) -> Run | None:
    """What writes the values of a parameter. `inside`: of a resource within the one that the row holds."""
    code = param.code
    match param.type:
        case "token":
            plain = token.indexer(keys, resource_type, code, implied_systems(param, resource_type))
            if is_mime_type(param, resource_type):
                return mime.indexer(keys, resource_type, code, plain)
            return plain
        case "string" if code == phonetic.CODE:
            return phonetic.indexer(keys, resource_type)
        case "string":
            return string.indexer(keys, resource_type, code)
        case "date" if CLINICAL_DATES.get(resource_type) == code and not inside:
            return date.clinical_indexer(keys, resource_type, code, zone)
        case "date":
            return date.indexer(keys, resource_type, code, zone)
        case "number":
            return number.indexer(keys, resource_type, code)
        case "quantity":
            return quantity.indexer(keys, resource_type, code)
        case "uri":
            return uri.indexer(keys, resource_type, code, inside)
        case "reference" if (resource_type, code) in INLINE:
            return None
        case "reference":
            return reference.indexer(keys, param, resource_type, resolve, inside)
        case "composite":
            return composite.indexer(keys, param, resource_type, part_systems(param, resource_type), resolve)
        case "special" if code == "near":
            return near.indexer(keys, resource_type, code)
        case _:
            return None
