"""What becomes of two Patients that are one person, and how each becomes again what it was.

https://build.fhir.org/patient-operation-merge.html
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from fhirserver.errors import Issue
from fhirserver.fhir.structure import STRUCTURES, Resource
from fhirserver.identity.moving import local
from fhirserver.identity.unique import Systems

_APART: Final = frozenset({"resourceType", "id", "meta"})
"""What a merge does not change: labels and tags stay as they are."""


def replaced(source: Resource, target_id: str) -> Resource:
    """The source once the target stands in its place."""
    return _linked({**source, "active": False}, target_id, "replaced-by")


def replacing(target: Resource, source: Resource) -> Resource:
    """The target with the link to the source and, as old, the identifiers that only the source had."""
    identifiers: list[dict[str, Any]] = list(target.get("identifier", ()))
    known = {_key(one) for one in identifiers}
    identifiers += [{**one, "use": "old"} for one in source.get("identifier", ()) if _key(one) not in known]
    merged = {**target, **({"identifier": identifiers} if identifiers else {})}
    return _linked(merged, source["id"], "replaces")


def _linked(patient: Resource, other: str, kind: str) -> Resource:
    reference = f"Patient/{other}"
    links = [one for one in patient.get("link", ()) if one["other"].get("reference") != reference]
    return {**patient, "link": [*links, {"other": {"reference": reference}, "type": kind}]}


def _key(identifier: dict[str, Any]) -> tuple[Any, Any]:
    return identifier.get("system"), identifier.get("value")


def has(patient: Resource, identifier: dict[str, Any], systems: Systems) -> bool:
    """Whether the Patient has an identifier, of its system, by any of its names, where it names one."""
    system = identifier.get("system")
    names = systems.names.get(system, (system,)) if system is not None else ()
    return any(
        one.get("value") == identifier.get("value") and (system is None or one.get("system") in names)
        for one in patient.get("identifier", ())
    )


def is_merged(patient: Resource, target_id: str, own_bases: tuple[str, ...]) -> bool:
    """Whether it still says that the target, and nobody else, stands in its place."""
    said = [link for link in patient.get("link", ()) if link.get("type") == "replaced-by"]
    return (
        patient.get("active") is False
        and len(said) == 1
        and links(patient, "replaced-by", target_id, own_bases)
    )


def links(patient: Resource, kind: str, other: str, own_bases: tuple[str, ...]) -> bool:
    """Whether it has a link of a kind to another Patient."""
    return any(
        one.get("type") == kind
        and local(one["other"].get("reference", ""), own_bases) == (patient["resourceType"], other)
        for one in patient.get("link", ())
    )


# -- back again


@dataclass(frozen=True, slots=True)
class Restored:
    """A Patient without what a merge did to it, with what was edited since; where that is the same element,
    `conflicts` say so."""

    patient: Resource
    conflicts: tuple[Issue, ...]


def restored(before: Resource, after: Resource, now: Resource, back: bool | None) -> Restored:
    """Undo the change from `before` to `after` in `now`, element by element.

    Elements that the merge did not change stay as they are; those that nobody changed since become what they
    were. Of lists, each item is looked at. Where both changed one, `back` says whether it becomes what it was
    before the merge or stays as it is now.
    """
    made, conflicts = _elements(now), list[Issue]()
    old, new = _elements(before), _elements(after)
    for name in sorted(old.keys() | new.keys()):
        was, did, is_ = old.get(name, {}), new.get(name, {}), made.get(name, {})
        if was == did:
            continue
        if is_ == did:
            value = was
        elif all(not one or isinstance(one.get(name), list) for one in (was, did, is_)):
            items, clashes = _items(*(one.get(name, []) for one in (was, did, is_)))
            value = was if clashes and back else {name: items} if items else {}
            conflicts += [_conflict(now, name)] if clashes else []
        elif is_ == was:
            continue
        else:
            conflicts.append(_conflict(now, name))
            value = was if back else is_
        made[name] = value
    patient = {name: now[name] for name in now if name in _APART}
    for values in made.values():
        patient |= values
    return Restored(patient, tuple(conflicts))


def _elements(patient: Resource) -> dict[str, dict[str, Any]]:
    """What it says, by element, with all properties of one, whatever type it has, and what extends it."""
    keys = STRUCTURES[patient["resourceType"]].keys
    found: dict[str, dict[str, Any]] = {}
    for name, value in patient.items():
        plain = name.removeprefix("_")
        if plain not in _APART:
            element = keys[plain][0].name if plain in keys else plain
            found.setdefault(element, {})[name] = value
    return found


def _items(was: list[Any], did: list[Any], is_: list[Any]) -> tuple[list[Any], bool]:
    """A list without what the merge added and with what it took away; whether one that it added may have been
    edited since."""
    added = [one for one in did if one not in was]
    gone = [one for one in was if one not in did]
    kept = [one for one in is_ if one not in added]
    new = [one for one in kept if one not in was and one not in did]
    missing = [one for one in added if one not in is_]
    clashes = any(_same(one, other) for one in missing for other in new)
    return [*kept, *(one for one in gone if one not in kept)], clashes


def _same(one: Any, other: Any) -> bool:
    """Whether an item may be another one, edited: of identifiers and links that is known."""
    if not (isinstance(one, dict) and isinstance(other, dict)):
        return True
    if "other" in one and "other" in other:
        return one["other"].get("reference") == other["other"].get("reference")
    if "value" in one and "value" in other and "system" in one:
        return _key(one) == _key(other)
    return True


def _conflict(patient: Resource, name: str) -> Issue:
    path = f"{patient['resourceType']}.{name}"
    text = (
        f"{path} of {patient['resourceType']}/{patient['id']} was changed by the merge and again since then"
    )
    return Issue("error", "conflict", text, path)
