"""Which resources a search finds, by the packages' own expressions and the words of the specification.

Slow and independent of the server: FHIRPath by fhirpathpy, comparisons by the oracle of the search tests.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from typing import Any

import fhirpathpy
from fhirpathpy.models import models

from tests.db.search import oracle
from tests.uscore.packages import Definition, Resource

PREFIXES = ("eq", "ne", "gt", "lt", "ge", "le", "sa", "eb", "ap")
_RESOLVED = re.compile(r"\.where\(resolve\(\) is (\w+)\)$")
_BEGINNING, _END = datetime(1, 1, 1, tzinfo=UTC), datetime(9999, 12, 31, tzinfo=UTC)
_FAMILY = ("name", "family")


@dataclass(frozen=True, slots=True)
class Clause:
    """`name=value`; for a chain, `then` is the parameter of the resource that is referred to."""

    param: Definition
    value: str
    name: str = ""
    then: Definition | None = None

    @property
    def pair(self) -> tuple[str, str]:
        return self.name or self.param.code, self.value


class Literal:
    """The resources of a server as plain JSON, and what a search of them must find."""

    def __init__(self, resources: Sequence[Resource], base: str, now: datetime) -> None:
        self.base = base
        self.now = now
        self.by_type: dict[str, list[Resource]] = {}
        self.by_path: dict[str, Resource] = {}
        for resource in resources:
            self.by_type.setdefault(resource["resourceType"], []).append(resource)
            self.by_path[path_of(resource)] = resource
        self._values: dict[tuple[str, str, str], list[Any]] = {}

    def of(self, resource_type: str) -> list[Resource]:
        return self.by_type.get(resource_type, [])

    def found(self, resource_type: str, clauses: Sequence[Clause]) -> list[Resource]:
        """Those for which every clause holds."""
        return [one for one in self.of(resource_type) if all(self.holds(clause, one) for clause in clauses)]

    def values(self, param: Definition, resource: Resource) -> list[Any]:
        """What the parameter's expression yields: strings, booleans and the JSON of complex types."""
        key = param.base, param.expression, path_of(resource)
        if key not in self._values:
            evaluate, pointed = _compiled(param)
            found = [value for value in evaluate(resource) if value is not None]
            if pointed is not None:
                found = [one for one in found if f"{pointed}/" in one.get("reference", "")]
            if param.type == "date":
                found = [one for one in found if one not in strings(resource)]
            self._values[key] = found
        return self._values[key]

    def holds(self, clause: Clause, resource: Resource) -> bool:
        """Whether one of the clause's values, which commas separate, fits one of the resource's."""
        if clause.then is not None:
            inner = Clause(clause.then, clause.value)
            targets = [self.target(one) for one in self.values(clause.param, resource)]
            return any(
                target is not None
                and target["resourceType"] == inner.param.base
                and self.holds(inner, target)
                for target in targets
            )
        found = self.values(clause.param, resource)
        asked = [part.replace("\\,", ",") for part in re.split(r"(?<!\\),", clause.value)]
        return any(self._fits(clause.param, one, value) for one in asked for value in found)

    def target(self, reference: Resource) -> Resource | None:
        return self.by_path.get(relative(reference.get("reference", ""), self.base))

    def _fits(self, param: Definition, asked: str, value: Any) -> bool:
        match param.type:
            case "token":
                exact = param.code == "_id"
                return any(oracle.token_holds(asked, *pair) for pair in pairs(value, exact))
            case "string":
                return any(oracle.string_holds("", asked, *text) for text in texts(value, param.code))
            case "date":
                prefix = asked[:2] if asked[:2] in PREFIXES else ""
                return oracle.date_holds(prefix, asked.removeprefix(prefix), span(value), self.now)
            case "reference":
                return self._refers(asked, value)
        raise AssertionError(param.type)

    def _refers(self, asked: str, value: Any) -> bool:
        if isinstance(value, str):  # a canonical
            return asked == value or asked == value.partition("|")[0]
        target = relative(value.get("reference", ""), self.base)
        return relative(asked, self.base) in (target, target.rpartition("/")[2])


@cache
def _compiled(param: Definition) -> tuple[Callable[[Resource], list[Any]], str | None]:
    """The evaluator of a parameter's expression, and the type that its references must be of.

    fhirpathpy knows neither abstract types nor `resolve()`.
    """
    path = re.sub(r"^Resource\b", param.base, param.expression)
    resolved = _RESOLVED.search(path)
    path = _RESOLVED.sub("", path)
    return fhirpathpy.compile(path, models["r4"]), resolved and resolved[1]


def strings(resource: Resource) -> list[str]:
    """The values of choice elements that are strings: no dates, even if they look like it."""
    return [value for name, value in resource.items() if name.endswith("String")]


def path_of(resource: Resource) -> str:
    return f"{resource['resourceType']}/{resource['id']}"


def relative(reference: str, base: str) -> str:
    """A reference without the server's base and without a version."""
    return reference.removeprefix(f"{base}/").partition("/_history")[0]


def pairs(value: Any, exact: bool = False) -> Iterator[tuple[str | None, str | None, bool]]:
    """System, code and whether case counts, of anything that a token parameter looks at."""
    match value:
        case bool():
            yield None, str(value).lower(), False
        case str():
            yield None, value, exact
        case {"coding": codings}:
            yield from ((one.get("system"), one.get("code"), False) for one in codings)
        case {"value": text}:
            yield value.get("system"), text, True
        case {"code": code}:
            yield value.get("system"), code, False


def texts(value: Any, code: str) -> Iterator[tuple[str, bool]]:
    """The strings of a value, and whether each is a family name, which is found by its parts."""
    if isinstance(value, str):
        yield value, code in _FAMILY[1:]
    else:
        for name, part in value.items():
            if name in ("use", "period", "type", "extension"):
                continue
            for text in part if isinstance(part, list) else [part]:
                yield text, name == "family" and code in _FAMILY


def span(value: Any) -> oracle.Range:
    """The range of a date or a Period."""
    if isinstance(value, str):
        return oracle.date_range(value)
    low = oracle.date_range(value["start"]).lo if "start" in value else _BEGINNING
    high = oracle.date_range(value["end"]).hi if "end" in value else _END
    return oracle.Range(low, high, False)
