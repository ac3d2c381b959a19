"""Code systems and value sets, short to write."""

from __future__ import annotations

from typing import Any

SYSTEM = "http://example.org/cs"
SET = "http://example.org/vs"


def code_system(*concepts: dict[str, Any], url: str = SYSTEM, **more: Any) -> dict[str, Any]:
    return {
        "resourceType": "CodeSystem",
        "url": url,
        "status": "active",
        "content": "complete",
        "concept": list(concepts),
        **more,
    }


def concept(code: str, *children: dict[str, Any], **properties: Any) -> dict[str, Any]:
    """A concept; properties are given as `name=("Code", "x")`, the type of the value and the value."""
    found: dict[str, Any] = {"code": code, "display": code.upper()}
    if properties:
        found["property"] = [
            {"code": name, f"value{type_}": value} for name, (type_, value) in properties.items()
        ]
    return found | ({"concept": list(children)} if children else {})


def value_set(*include: dict[str, Any], url: str = SET, **more: Any) -> dict[str, Any]:
    """A value set; `exclude` and `inactive` go into its definition."""
    compose: dict[str, Any] = {"include": list(include)}
    for name in ("exclude", "inactive"):
        if name in more:
            compose[name] = more.pop(name)
    return {"resourceType": "ValueSet", "url": url, "status": "active", "compose": compose, **more}


def filtered(property_: str, op: str, value: str, system: str = SYSTEM) -> dict[str, Any]:
    """An include with one filter."""
    return {"system": system, "filter": [{"property": property_, "op": op, "value": value}]}
