"""What is searched: official examples, Synthea, US Core, generated edge cases, and a few by hand.

The same resources, in the same order, in every run.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from random import Random
from typing import Any

from fhirserver.fhir import json
from tests.oracle import definitions as d
from tests.oracle.byhand import BY_HAND
from tests.oracle.expressions import Node, evaluate
from tests.oracle.generated import Maker, inert

Resource = dict[str, Any]
_URN = "urn:uuid:"
BASE = "http://test/fhir"
SHARED = Path(__file__).parents[3] / "shared/data"
BYTES_MAX = 100_000
"""Larger examples would take longer to send than to search."""
EVERY = {"ValueSet": 6, "CodeSystem": 6, "StructureDefinition": 8}
"""Of these the examples have hundreds that differ little: one in so many is taken."""
INVALID = {"DeviceMetric/example"}
PATIENTS = ("Luigi_Wiegand", "Denny_Bins", "Blake_Eichmann", "practitionerInformation")
US_CORE = ("uscore_bundle_patient_85", "uscore_bundle_patient_907", "uscore_bundle_patient_908")
GENERATED, GENERATED_MAX, VALUES_MIN = 8, 200, 3
"""So many of each type, and further ones for parameters of which fewer have a value than the last."""
URLS = {type_: [f"http://canonical.example/{type_}/{index}" for index in range(3)] for type_ in d.CANONICAL}


@cache
def population() -> tuple[tuple[str, Resource], ...]:
    """(source, resource), no resource twice."""
    found: dict[tuple[str, str], tuple[str, Resource]] = {}
    for source, resources in (
        ("official examples", examples()),
        ("Synthea", bundled("synthea-r4", PATIENTS)),
        ("US Core", bundled("us-core-patients", US_CORE)),
        ("generated", generated(20260726)),
        ("by hand", BY_HAND),
    ):
        for resource in resources:
            found[resource["resourceType"], resource["id"]] = (source, resource)
    return tuple(found.values())


def examples() -> Iterator[Resource]:
    seen: Counter[str] = Counter()
    for path in sorted((SHARED / "r4-examples-json").glob("*.json")):
        if path.stat().st_size > BYTES_MAX:
            continue
        resource = json.loads(path.read_bytes())
        type_, id_ = resource["resourceType"], resource.get("id", "")
        seen[type_] += 1
        fits = type_ in d.TYPES and 0 < len(id_) <= 64 and f"{type_}/{id_}" not in INVALID
        if fits and seen[type_] % EVERY.get(type_, 1) == 0:
            yield inert(resource)


def bundled(folder: str, names: tuple[str, ...]) -> Iterator[Resource]:
    """The resources of transaction Bundles, with ids of their own and references to these."""
    for path in sorted((SHARED / folder).glob("*.json")):
        if not path.name.startswith(names):
            continue
        text = path.read_text(encoding="utf-8")
        paths: dict[str, str] = {}
        for entry in json.loads(text.encode())["entry"]:
            resource = entry["resource"]
            paths[entry["fullUrl"]] = f"{resource['resourceType']}/{entry['fullUrl'].removeprefix(_URN)}"
        for entry in json.loads(_linked(text, paths).encode())["entry"]:
            yield entry["resource"] | {"id": entry["fullUrl"].partition("/")[2]}


def _linked(text: str, paths: dict[str, str]) -> str:
    return re.sub(_URN + '[^"]+', lambda found: paths.get(found[0], found[0]), text)


def generated(seed: int) -> Iterator[Resource]:
    known = {type_: [f"g{index}" for index in range(GENERATED)] for type_ in d.TYPES}
    maker = Maker(known, URLS, BASE)
    for type_ in d.TYPES:
        pick = Random(f"{seed} {type_}")
        lacking = dict.fromkeys(set(d.parameters(type_)) - {"_lastUpdated"}, VALUES_MIN)
        for index in range(GENERATED_MAX):
            made = maker.resource(pick, type_, f"g{index}")
            helps = [code for code in lacking if _has_value(made, code)]
            if index < GENERATED or helps:
                lacking.update((code, lacking[code] - 1) for code in helps)
                yield made
            lacking = {code: count for code, count in lacking.items() if count > 0}
            if not lacking and index >= GENERATED:
                break


def _has_value(resource: Resource, code: str) -> bool:
    expression = d.parameters(resource["resourceType"])[code].expression or ""
    return bool(evaluate(expression, Node(resource, resource["resourceType"]), resource))
