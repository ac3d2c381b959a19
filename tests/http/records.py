"""The record of a patient or an encounter as the definitions of `$everything` describe it, slowly.

Who is in a compartment is told by the CompartmentDefinition over plain JSON, what is referred to by walking
through it; dates and categories are asked of the server's own plain searches, one for each type.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import Any

import httpx

from fhirserver.params.facts import CLINICAL_DATES
from tests.equivalence import paths

Key = tuple[str, str]
Resource = dict[str, Any]
Stored = dict[Key, Resource]

COMPARTMENTS: dict[str, dict[str, list[str]]] = json.loads(
    (paths.ROOT / "conformance/compartments.json").read_text()
)


async def pages(http: httpx.AsyncClient, url: str) -> list[Resource]:
    """The Bundle at a place and those that its next links lead to."""
    found: list[Resource] = []
    while url:
        answer = await http.get(url)
        assert answer.status_code == 200, answer.text
        found.append(answer.json())
        url = link(found[-1], "next") or ""
    return found


def link(bundle: Resource, relation: str) -> str | None:
    return next((one["url"] for one in bundle["link"] if one["relation"] == relation), None)


def keys(bundles: Iterable[Resource], mode: str | None = None) -> list[Key]:
    """Type and id of the entries, in their order."""
    return [
        (one["resource"]["resourceType"], one["resource"]["id"])
        for bundle in bundles
        for one in bundle.get("entry", ())
        if mode in (None, one["search"]["mode"])
    ]


async def stored(http: httpx.AsyncClient) -> Stored:
    """Everything that is current."""
    found = [one["resource"] for page in await pages(http, "/?_count=1000") for one in page["entry"]]
    return {(one["resourceType"], one["id"]): one for one in found}


def members(every: Stored, owner: Key) -> set[Key]:
    """https://hl7.org/fhir/R4/compartmentdefinition.html; the resource is in its own compartment."""
    compartment = COMPARTMENTS[owner[0]]
    found = {owner} & every.keys()
    for key, resource in every.items():
        for code in set(compartment.get(key[0], ())) - {"{def}"}:
            linked = (key[0], code) == ("Patient", "link")
            nodes = _linked(resource) if linked else paths.values(resource, code)
            assert nodes is not None, (key, code)
            if owner in map(paths.target, nodes):
                found.add(key)
    return found


def _linked(patient: Resource) -> list[Any]:
    """Links that do not say that one record took the place of another."""
    merged = ("replaced-by", "replaces")
    return [one["other"] for one in patient.get("link", ()) if one["type"] not in merged]


def referred(every: Stored, of: Iterable[Key]) -> set[Key]:
    """What the resources refer to: by literal references wherever they stand, and URLs of attachments."""
    found = {target for key in of for node in _objects(every[key]) for target in _named(node)}
    return found & every.keys()


def _objects(node: Any) -> Iterator[dict[str, Any]]:
    if isinstance(node, dict):
        yield node
    for inner in node.values() if isinstance(node, dict) else node if isinstance(node, list) else ():
        yield from _objects(inner)


def _named(node: dict[str, Any]) -> Iterator[Key]:
    if (found := paths.target(node)) is not None:
        yield found
    attached = paths.target({"reference": node.get("url")})
    if attached is not None and attached[0] == "Binary":
        yield attached


def whose(resource: Resource) -> Key | None:
    """The patient whose record alone a resource is part of: the only one that can be its `patient`, or its
    `subject` where it has no such parameter."""
    if resource["resourceType"] == "Patient":
        return "Patient", resource["id"]
    code = next((c for c in ("patient", "subject") if paths.parameter(resource["resourceType"], c)), None)
    if code is None:
        return None
    ways = paths.ways(resource["resourceType"], code) or ()
    nodes = paths.values(resource, code) or []
    if any(_repeats(resource, [step.name for step in way if step.name]) for way in ways):
        return None
    found = [target for node in nodes if (target := paths.target(node)) is not None]
    return found[0] if found and found[0][0] == "Patient" else None


def _is_of_others(resource: Resource, patient: Key | None) -> bool:
    """Whether it is of another's record though this one refers to it: of the patient whose it says it is, or
    of whoever it names if it says nothing."""
    own = whose(resource)
    if own is not None:
        return own != patient
    return any(named != patient for node in _objects(resource) for named in _patients(node))


def _patients(node: dict[str, Any]) -> Iterator[Key]:
    """The patients that an object names: by a reference, or as an entry of a Bundle."""
    target, held = paths.target(node), node.get("resource")
    if target is not None and target[0] == "Patient":
        yield target
    if isinstance(held, dict) and held.get("resourceType") == "Patient":
        yield "Patient", held.get("id", "")


def _repeats(node: Any, names: list[str]) -> bool:
    """Whether a way leads through a list."""
    for name in names:
        node = node.get(name) if isinstance(node, dict) else None
        if isinstance(node, list):
            return True
    return False


def updated_after(resource: Resource, since: str) -> bool:
    return datetime.fromisoformat(resource["meta"]["lastUpdated"]) > datetime.fromisoformat(since)


async def touching(
    http: httpx.AsyncClient, owner: Key, found: set[Key], start: str | None, end: str | None
) -> set[Key]:
    """Those of the members that are of care in a time, or have no clinical date: by a search of each type."""
    bounds = [f"{prefix}{day}" for prefix, day in (("ge", start), ("le", end)) if day]
    if not bounds:
        return found
    kept = {key for key in found if key[0] not in CLINICAL_DATES}
    for type_ in sorted({key[0] for key in found} & CLINICAL_DATES.keys()):
        code = CLINICAL_DATES[type_]
        path = f"/{owner[0]}/{owner[1]}/{type_}?_count=1000&"
        kept |= set(keys(await pages(http, path + "&".join(f"{code}={bound}" for bound in bounds))))
        kept |= set(keys(await pages(http, f"{path}{code}:missing=true")))
    return kept & found | ({owner} & found)


async def everything(
    http: httpx.AsyncClient,
    every: Stored,
    owner: Key,
    start: str | None = None,
    end: str | None = None,
    since: str | None = None,
    types: frozenset[str] = frozenset(),
) -> tuple[set[Key], set[Key]]:
    """The record: the members of the compartment, and what else they refer to."""
    compartment = members(every, owner)
    inside = await touching(http, owner, compartment, start, end)
    patient = owner if owner[0] == "Patient" else whose(every[owner])
    fresh = {key for key in every if since is None or updated_after(every[key], since)}
    outside = {
        key
        for key in referred(every, inside) - compartment
        if not _is_of_others(every[key], patient) and (key in fresh or key in referred(every, inside & fresh))
    }
    wanted = {key for key in every if not types or key[0] in types}
    return inside & fresh & wanted, outside & wanted
