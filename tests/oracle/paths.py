"""Which elements the search parameters look at, so that generated resources have them."""

from __future__ import annotations

import re
from functools import cache

from tests.oracle import definitions as d

_PATH = re.compile(r"(?:%resource|[A-Z]\w+)(?:\.\w+)+")
_CALL = re.compile(r"\.(?:where\((?:resolve\(\) is \w+|\w+=\'[^\']*\')\)|exists\(\)|as\(\w+\))|\[\d+\]")


@cache
def wanted() -> frozenset[tuple[str, str]]:
    """(structure, element) of every step of every expression; `system` of a telecom searched by it too."""
    found: set[tuple[str, str]] = set()
    for base, parameter in d.pairs():
        for expression in _spelt_out(base, parameter):
            for path in _PATH.findall(_CALL.sub("", expression)):
                found.update(_steps(path))
            if inner := re.search(r"where\((\w+)=", expression):
                found.update(_steps(_CALL.sub("", expression.partition(".where")[0]) + "." + inner[1]))
    return frozenset(found)


def _spelt_out(base: str, parameter: d.Parameter) -> list[str]:
    """The branches of an expression, and those of a composite's parts from where they start."""
    branches = [branch.strip() for branch in (parameter.expression or "").split("|")]
    for part in parameter.parts:
        for inner in part.expression.split("|"):
            relative = inner.strip().replace("%resource", base)
            absolute = relative.startswith(base)
            branches += [relative] if absolute else [f"{start}.{relative}" for start in branches[:2]]
    return branches


def _steps(path: str) -> list[tuple[str, str]]:
    type_, *names = path.split(".")
    found: list[tuple[str, str]] = []
    for name in names:
        found.append((type_, name))
        kinds = [kind for element, kind in d.elements(type_).values() if element == name]
        if not kinds:
            break
        type_ = kinds[0]
    return found
