"""Value sets read slowly and literally, code by code, and all sorts of them to read."""

from __future__ import annotations

import re
from typing import Any

from hypothesis import strategies as st

from tests.support.terminology import SYSTEM, code_system, concept, value_set

OTHER = "http://example.org/other"
SYSTEMS = [
    code_system(
        concept(
            "a",
            concept("b", concept("c", kind=("Code", "x"))),
            concept("d", kind=("Code", "y"), inactive=("Boolean", True)),
        ),
        concept("e", concept("f", parent=("Code", "b"), kind=("Code", "x")), kind=("Code", "d")),
    ),
    code_system(
        concept("a"), concept("z", concept("b")), url=OTHER, property=[{"code": "kind", "type": "code"}]
    ),
]

# -- the slow reading


def _walk(concepts: list[dict[str, Any]], parent: str | None = None) -> list[tuple[str, str | None, Any]]:
    return [
        row
        for one in concepts
        for row in [(one["code"], parent, one), *_walk(one.get("concept", []), one["code"])]
    ]


ROWS = {system["url"]: _walk(system["concept"]) for system in SYSTEMS}


def _is_a(system: str, code: str, other: str) -> bool:
    """Whether `code` is `other` or stands below it."""
    if code == other:
        return True
    parents = [parent for known, parent, _ in ROWS[system] if known == code and parent]
    parents += [
        value for known, _, _ in ROWS[system] if known == code for value in _values(system, code, "parent")
    ]
    return any(_is_a(system, parent, other) for parent in parents)


def _values(system: str, code: str, name: str) -> list[str]:
    if name in ("concept", "code"):
        return [code]
    one = next(row for known, _, row in ROWS[system] if known == code)
    found = [entry for entry in one.get("property", []) if entry["code"] == name]
    return [str(v).lower() for entry in found for k, v in entry.items() if k.startswith("value")]


def _passes(system: str, code: str, one: dict[str, str]) -> bool:
    values, wanted = _values(system, code, one["property"]), one["value"]
    match one["op"]:
        case "=":
            return wanted in values
        case "is-a":
            return any(_is_a(system, value, wanted) for value in values)
        case "descendent-of":
            return any(_is_a(system, value, wanted) and value != wanted for value in values)
        case "is-not-a":
            return not any(_is_a(system, value, wanted) for value in values)
        case "generalizes":
            return any(_is_a(system, wanted, value) for value in values)
        case "in":
            return any(value in wanted.split(",") for value in values)
        case "not-in":
            return not any(value in wanted.split(",") for value in values)
        case "exists":
            return bool(values) is (wanted == "true")
        case "regex":
            return any(re.fullmatch(wanted, value) for value in values)
    raise AssertionError(one)


def _in_part(part: dict[str, Any], system: str, code: str, sets: dict[str, Any], inactive: bool) -> bool:
    if "system" in part:
        if part["system"] != system:
            return False
        if not inactive and "true" in _values(system, code, "inactive"):
            return False
        if "concept" in part and code not in [one["code"] for one in part["concept"]]:
            return False
        if not all(_passes(system, code, one) for one in part.get("filter", ())):
            return False
    return all(member(sets[url], system, code, sets) for url in part.get("valueSet", ()))


def member(value_set: dict[str, Any], system: str, code: str, sets: dict[str, Any]) -> bool:
    compose = value_set["compose"]
    inactive = compose.get("inactive", True)
    return any(_in_part(part, system, code, sets, inactive) for part in compose["include"]) and not any(
        _in_part(part, system, code, sets, inactive) for part in compose.get("exclude", ())
    )


# -- what is asked

filters = st.builds(
    lambda property_, op, value: {"property": property_, "op": op, "value": value},
    st.sampled_from(["concept", "code"]),
    st.sampled_from(["is-a", "descendent-of", "is-not-a", "generalizes", "=", "in", "not-in", "regex"]),
    st.sampled_from(["a", "b"]),
) | st.sampled_from(
    [
        {"property": "kind", "op": "=", "value": "x"},
        {"property": "kind", "op": "exists", "value": "true"},
        {"property": "kind", "op": "exists", "value": "false"},
        {"property": "kind", "op": "in", "value": "x,y"},
        {"property": "kind", "op": "not-in", "value": "y,d"},
        {"property": "kind", "op": "regex", "value": "[xy]"},
        {"property": "kind", "op": "is-a", "value": "a"},
        {"property": "kind", "op": "is-not-a", "value": "a"},
    ]
)
wholes = st.fixed_dictionaries({"system": st.sampled_from([SYSTEM, OTHER])})
listed = st.builds(
    lambda system, named: {"system": system, "concept": [{"code": code} for code in named]},
    st.sampled_from([SYSTEM, OTHER]),
    st.lists(st.sampled_from("abcdefz"), min_size=1, max_size=4),
)
by_filter = st.builds(
    lambda system, some: {"system": system, "filter": some},
    st.sampled_from([SYSTEM, OTHER]),
    st.lists(filters, min_size=1, max_size=2),
)
INNER = "http://example.org/inner"
THIRD = "http://example.org/third"


def parts(*sets: str) -> st.SearchStrategy[dict[str, Any]]:
    plain = wholes | listed | by_filter
    if not sets:
        return plain
    named = st.lists(st.sampled_from(sets), min_size=1, max_size=2)
    both = st.builds(lambda part, urls: {**part, "valueSet": urls}, plain, named)
    return plain | both | st.builds(lambda urls: {"valueSet": urls}, named)


def sets_of(url: str, *others: str) -> st.SearchStrategy[dict[str, Any]]:
    made = st.lists(parts(*others), min_size=1, max_size=3)
    return st.builds(
        lambda include, exclude, inactive: value_set(
            *include, url=url, **({"exclude": exclude} if exclude else {}), inactive=inactive
        ),
        made,
        st.lists(parts(*others), max_size=2),
        st.booleans(),
    )
