"""The values that R4's own search parameters find in plain JSON, read off the published expressions.

Independent of the server's FHIRPath: the expressions are cut at their bars and dots and walked over
dictionaries. What is no such path is said to be unknown (None), so that nobody takes it for "no value".
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
ABSTRACT = ("Resource", "DomainResource")
_STEP = re.compile(
    r"(?P<name>[a-z]\w*)"
    r"|where\(resolve\(\) is (?P<target>\w+)\)"
    r"|where\((?P<key>\w+)\s*=\s*'(?P<equals>[^']*)'\)"
    r"|(?:as|ofType)\((?P<cast>\w+)\)"
)


@dataclass(frozen=True)
class Step:
    """One hop: into an element, to those references that point at a type, or to one type of a choice."""

    name: str | None = None
    target: str | None = None
    equals: tuple[str, str] | None = None
    cast: str | None = None


@cache
def published() -> dict[str, dict[str, dict[str, Any]]]:
    """Type (abstract ones too) -> code -> SearchParameter, as R4 publishes it."""
    found: dict[str, dict[str, dict[str, Any]]] = {}
    for row in json.loads((ROOT / "search_params/r4.json").read_text()):
        for base in row["base"]:
            found.setdefault(base, {})[row["code"]] = row
    return found


def parameter(resource_type: str, code: str) -> dict[str, Any] | None:
    """The search parameter of a type by its code, inherited ones too."""
    return next(
        (p[code] for base in (resource_type, *ABSTRACT) if code in (p := published().get(base, {}))), None
    )


@cache
def ways(resource_type: str, code: str) -> tuple[tuple[Step, ...], ...] | None:
    """The paths of a parameter on a type; None when the expression is more than paths, or absent."""
    row = parameter(resource_type, code)
    if row is None or "expression" not in row:
        return None
    found = [way for part in _alternatives(row["expression"]) if (way := _way(part, resource_type)) != ()]
    return None if not found or None in found else tuple(way for way in found if way)


def _alternatives(expression: str) -> list[str]:
    """Cut at the bars outside of parentheses."""
    parts, depth = [""], 0
    for char in expression:
        depth += (char == "(") - (char == ")")
        if char == "|" and depth == 0:
            parts.append("")
        else:
            parts[-1] += char
    return [part.strip() for part in parts]


def _way(text: str, resource_type: str) -> tuple[Step, ...] | None:
    """One alternative; () when it is about another type, None when it cannot be understood."""
    if text.startswith("(") and text.endswith(")"):
        text = text[1:-1].strip()
    cast = re.fullmatch(r"(.*) as (\w+)", text)
    if cast:
        text = f"{cast[1]}.as({cast[2]})"
    first, _, rest = text.partition(".")
    if first not in (resource_type, *ABSTRACT):
        return () if re.fullmatch(r"[A-Z]\w+", first) else None
    found: list[Step] = []
    for part in re.split(r"\.(?![^()]*\))", rest):
        step = _STEP.fullmatch(part)
        if step is None:
            return None
        equals = (step["key"], step["equals"]) if step["key"] else None
        found.append(Step(step["name"], step["target"], equals, step["cast"]))
    return tuple(found)


def values(resource: dict[str, Any], code: str) -> list[Any] | None:
    """What the parameter finds in a resource; None when its expression cannot be followed here."""
    found = ways(resource["resourceType"], code)
    if found is None:
        return None
    return [node for way in found for node in _walk([resource], way)]


def _walk(nodes: list[Any], way: tuple[Step, ...]) -> list[Any]:
    for index, step in enumerate(way):
        if step.target is not None:
            nodes = [node for node in nodes if points_at(node, step.target)]
        elif step.equals is not None:
            key, wanted = step.equals
            nodes = [node for node in nodes if isinstance(node, dict) and node.get(key) == wanted]
        elif step.name is not None:
            cast = way[index + 1].cast if index + 1 < len(way) else None
            nodes = [found for node in nodes for found in _children(node, step.name, cast)]
    return nodes


def _children(node: Any, name: str, cast: str | None) -> Iterator[Any]:
    """An element, or the chosen type of a choice: `value` is `valueQuantity`, `valueString`, ..."""
    if not isinstance(node, dict):
        return
    if name in node:
        chosen = [node[name]]
    else:
        chosen = [
            value
            for key, value in node.items()
            if key.startswith(name)
            and key[len(name) : len(name) + 1].isupper()
            and cast
            in (None, key[len(name) :], key[len(name) : len(name) + 1].lower() + key[len(name) + 1 :])
        ]
    for value in chosen:
        yield from value if isinstance(value, list) else [value]


# -- references

BASE = "http://test/fhir"
_LOCAL = re.compile(
    rf"(?:{re.escape(BASE)}/)?(?P<type>[A-Z][A-Za-z]+)/(?P<id>[A-Za-z0-9\-.]{{1,64}})(?:/_history/[^#]+)?(?:#.*)?"
)


def target(node: Any) -> tuple[str, str] | None:
    """Type and id of what a Reference names by a literal of this server; None for every other."""
    literal = node.get("reference") if isinstance(node, dict) else None
    found = _LOCAL.fullmatch(literal) if isinstance(literal, str) else None
    return (found["type"], found["id"]) if found else None


def points_at(node: Any, resource_type: str) -> bool:
    found = target(node)
    return found is not None and found[0] == resource_type
