"""All derived tables together: which file each goes to, what must be true of them, how they are written."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .compartments import compartments
from .corrections import corrected, defects
from .invariants import invariants
from .operations import operations
from .search_parameters import pairs, search_parameters
from .snapshots import Snapshots
from .sources import Sources
from .structures import structures
from .terminology import code_systems, concepts
from .terminology import value_sets as composed
from .valuesets import required, value_sets

ROOT = Path(__file__).resolve().parents[2]
CORRECTIONS = ROOT / "search_params" / "corrections.json"
PROFILES = ("profiles-others.json", "extension-definitions.json")
TERMINOLOGY = ("valuesets.json", "v3-codesystems.json", "v2-tables.json")
DEFECTS_SHOWN_MAX = 20

NOT_ENUMERABLE = {
    "http://hl7.org/fhir/ValueSet/currencies",
    "http://hl7.org/fhir/ValueSet/mimetypes",
    "http://hl7.org/fhir/ValueSet/ucum-units",
    "http://loinc.org/vs/LL379-9",
}
"""ISO 4217, BCP 13, UCUM and LOINC are not part of the definitions."""


class TableError(Exception):
    """A derived table is not what the specification says it is."""


@dataclass(frozen=True, slots=True)
class Table:
    """A derived table: its file below the project's root, its value, a line about it for people.

    `depth` is how many levels are broken into lines (one entry per line, for readable diffs).
    """

    path: str
    value: Any
    summary: str
    depth: int = 1

    @property
    def text(self) -> str:
        """The file's content."""
        return "".join(_lines(self.value, self.depth)) + "\n"


def derive(sources: Sources, progress: Callable[[Table], None]) -> list[Table]:
    """All tables; `progress` is told of each when it is ready. Raises TableError."""
    found: list[Table] = []

    def done(table: Table) -> None:
        found.append(table)
        progress(table)

    definitions = list(sources.structure_definitions())
    types = structures(definitions)
    done(Table("conformance/structures.json", types, _check_structures(types)))
    rows = invariants(definitions, types)
    done(Table("conformance/invariants.json", rows, f"{len(rows)} invariants"))

    parameters = search_parameters(sources.bundle("search-parameters.json"))
    done(Table("search_params/r4.json", parameters, _check_parameters(parameters, types)))

    codes = [r for name in TERMINOLOGY for r in sources.bundle(name)]
    sets = value_sets(required(types), codes)
    done(Table("conformance/valuesets.json", sets, _check_value_sets(sets)))
    systems = code_systems(codes)
    done(Table("conformance/terminology/codesystems.json", systems, _check_code_systems(systems)))
    made = composed(codes)
    done(Table("conformance/terminology/valuesets.json", made, _check_composed(made)))

    resources = sources.bundle("profiles-resources.json")
    members = compartments(resources)
    summary = _check_compartments(members, parameters)
    done(Table("conformance/compartments.json", members, summary, depth=2))
    calls = operations(resources)
    done(Table("conformance/operations.json", calls, f"{len(calls)} operations"))

    snapshots = Snapshots()
    for found_in in (definitions, *(sources.bundle(name) for name in PROFILES)):
        snapshots.add(found_in)
    shapes = snapshots.table()
    done(Table("conformance/snapshots.json", shapes, _check_snapshots(shapes), depth=2))
    return found


def _expect(what: str, found: int, expected: int) -> None:
    if found != expected:
        raise TableError(f"{found} {what}, expected {expected}")


def _check_structures(types: dict[str, Any]) -> str:
    """https://hl7.org/fhir/R4/resourcelist.html: 148 types, two of them abstract."""
    resources = {name: entry for name, entry in types.items() if entry["kind"] == "resource"}
    concrete = {name for name, entry in resources.items() if not entry.get("abstract")}
    _expect("concrete resource types", len(concrete), 146)
    _expect("resource types with an endpoint", len(concrete - {"Parameters"}), 145)
    _expect("primitive types", sum(entry["kind"] == "primitive" for entry in types.values()), 20)
    for name, entry in types.items():
        for key, element in entry.get("elements", {}).items():
            unknown = [t for t in (*element["types"], *element.get("targets", ())) if t not in types]
            if unknown:
                raise TableError(f"{name}.{key}: unknown types {unknown}")
    return f"{len(types)} structures, {len(concrete)} concrete resource types"


def _check_parameters(parameters: list[dict[str, Any]], types: dict[str, Any]) -> str:
    """1,375 parameters, 1,706 (base, code) pairs; with our corrections each must work on each base."""
    _expect("search parameters", len(parameters), 1375)
    _expect("type/parameter pairs", len(pairs(parameters)), 1706)
    corrections = json.loads(CORRECTIONS.read_bytes())
    wrong = list(defects(corrected(parameters, corrections), types))
    if wrong:
        raise TableError("\n  ".join(["search parameters that cannot work:", *wrong[:DEFECTS_SHOWN_MAX]]))
    return f"{len(parameters)} parameters, {len(pairs(parameters))} pairs, {len(corrections)} corrected"


def _check_value_sets(sets: dict[str, Any]) -> str:
    """Only those that draw on systems outside the specification may lack their codes."""
    unlisted = {url for url, codes in sets.items() if codes is None}
    if unlisted != NOT_ENUMERABLE:
        raise TableError(f"not enumerable: {sorted(unlisted)}, expected {sorted(NOT_ENUMERABLE)}")
    return f"{len(sets)} value sets, {len(unlisted)} of them not enumerable"


def _check_snapshots(found: dict[str, Any]) -> str:
    """All types, the 44 profiles and the 393 extensions that R4 itself defines."""
    definitions = found["definitions"]
    _expect("definitions with a snapshot", len(definitions), 211 + 44 + 393)
    return f"{len(definitions)} definitions, {len(found['constraints'])} constraints"


def _check_code_systems(systems: dict[str, Any]) -> str:
    """https://hl7.org/fhir/R4/terminologies-systems.html: HL7's own, those of version 2 and version 3 too."""
    _expect("code systems", len(systems), 1063)
    total = sum(len(list(concepts(row["concept"]))) for row in systems.values())
    return f"{len(systems)} code systems, {total} concepts"


def _check_composed(sets: dict[str, Any]) -> str:
    """https://hl7.org/fhir/R4/terminologies-valuesets.html"""
    _expect("value sets", len(sets), 1317)
    return f"{len(sets)} value sets"


def _check_compartments(found: dict[str, Any], parameters: list[dict[str, Any]]) -> str:
    """https://hl7.org/fhir/R4/compartmentdefinition.html: five, each naming only parameters that exist."""
    _expect("compartments", len(found), 5)
    known = pairs(parameters)
    for name, types in found.items():
        named = [(kind, code) for kind, codes in types.items() for code in codes if code != "{def}"]
        unknown = [pair for pair in named if pair not in known]
        if unknown:
            raise TableError(f"compartment {name}: unknown parameters {unknown}")
    return f"{len(found)} compartments, {sum(map(len, found.values()))} memberships"


def _lines(value: Any, depth: int, indent: str = "") -> Iterator[str]:
    """JSON with the outermost `depth` levels broken into lines, the rest compact."""
    if depth == 0 or not value:
        yield json.dumps(value, ensure_ascii=False, separators=(",", ":"))
        return
    opening, closing = "{}" if isinstance(value, dict) else "[]"
    entries = value.items() if isinstance(value, dict) else ((None, item) for item in value)
    inner = indent + (" " if depth > 1 or indent else "")
    separator = f"{opening}\n"
    for key, item in entries:
        yield separator + inner
        if key is not None:
            yield json.dumps(key, ensure_ascii=False) + ": "
        yield from _lines(item, depth - 1, inner)
        separator = ",\n"
    yield f"\n{indent}{closing}"
