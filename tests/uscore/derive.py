"""From what a package demands to searches with values: those of resources that the server holds.

For every parameter and combination witnesses are looked for: resources that have a value for each of its
codes. Their values make the searches, so that there is something to find.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from tests.db.search.oracle import date_range
from tests.uscore.literal import Clause, Literal, Resource, pairs, relative, texts
from tests.uscore.packages import Definition, Demands

ALTERNATIVES_MAX = 3
NEAR = {"lt": 1, "le": 1, "eb": 1, "gt": -1, "ge": -1, "sa": -1, "ne": -1}
"""Comparison -> days from the date of a resource to one that it finds."""


@dataclass(frozen=True, slots=True)
class Search:
    """A search of a type; `codes` are the parameters it is made for, `shape` what it is meant to show.

    Of each shape at least one search finds something.
    """

    type: str
    codes: tuple[str, ...]
    shape: str
    clauses: tuple[Clause, ...]

    @property
    def params(self) -> tuple[tuple[str, str], ...]:
        return tuple(clause.pair for clause in self.clauses)


def searches(demands: Demands, chart: Literal) -> Iterator[Search]:
    """All searches of a type; for codes without a witness none."""
    singles = [(param.code,) for param in (*demands.params, *demands.more)]
    for codes in [*singles, *demands.combinations]:
        params = [demands.param(code) for code in codes]
        for number, witness in enumerate(witnesses(params, chart)):
            yield from _of_witness(demands.type, params, witness, chart, in_all_forms=number == 0)


def unwitnessed(demands: Demands, chart: Literal) -> set[tuple[str, ...]]:
    """Parameters and combinations for which no resource of the data has values."""
    asked = [*((param.code,) for param in (*demands.params, *demands.more)), *demands.combinations]
    return {codes for codes in asked if not witnesses([demands.param(code) for code in codes], chart)}


def witnesses(params: Sequence[Definition], chart: Literal) -> list[Resource]:
    """Two resources that have a value for each parameter, as far apart as the charts have them.

    Open periods come last: nothing is equal to them, and nothing after them.
    """
    found = [
        resource
        for resource in chart.of(params[0].base)
        if all(any(True for _ in forms(param, resource, chart)) for param in params)
    ]
    found.sort(key=lambda one: any(is_open(value) for param in params for value in chart.values(param, one)))
    return found if len(found) < 2 else [found[0], found[-1]]


def is_open(value: Any) -> bool:
    """Whether it is a Period with one end."""
    return isinstance(value, dict) and ("start" in value) != ("end" in value)


def _of_witness(
    resource_type: str,
    params: Sequence[Definition],
    witness: Resource,
    chart: Literal,
    *,
    in_all_forms: bool,
) -> Iterator[Search]:
    """One search with plain values, one with all OR lists, and each parameter in its other forms."""
    codes = tuple(param.code for param in params)
    plain = [Clause(param, next(forms(param, witness, chart))) for param in params]
    yield Search(resource_type, codes, "plain", tuple(plain))
    lists = [
        Clause(param, alternatives(param, witness, chart)) if param.multiple_or else clause
        for param, clause in zip(params, plain, strict=True)
    ]
    yield Search(resource_type, codes, "lists", tuple(lists))
    for index, param in enumerate(params if in_all_forms else ()):
        for shape, *changed in variants(param, witness, chart):
            clauses = (*plain[:index], *changed, *plain[index + 1 :])
            yield Search(resource_type, codes, f"{param.code} {shape}", clauses)


Variant = tuple[str, *tuple[Clause, ...]]


def variants(param: Definition, witness: Resource, chart: Literal) -> Iterator[Variant]:
    """What may stand for the plain clause: a shape and its clauses."""
    first, *others = forms(param, witness, chart)
    for value in others:
        yield "spelling", Clause(param, value)
    if param.multiple_or:
        yield "or", Clause(param, alternatives(param, witness, chart))
    if param.type == "date":
        yield from _compared(param, witness, chart)
    elif param.multiple_and:
        yield "and", Clause(param, first), Clause(param, alternatives(param, witness, chart))
    for chained in param.chains:
        yield from _chained(param, chained, witness, chart)


def _compared(param: Definition, witness: Resource, chart: Literal) -> Iterator[Variant]:
    """Each comparator with the date itself, with the day of it, and with a moment that it lies beyond."""
    date = written(chart.values(param, witness)[0])
    for prefix in param.comparators:
        if prefix == "ap" and param.code == "_lastUpdated":
            continue  # a tenth of the time since a write of this moment is over before the answer
        yield prefix, Clause(param, prefix + date)
        yield prefix, Clause(param, prefix + date[:10])
        if prefix == "eq":
            yield prefix, Clause(param, prefix + date[:4])
        if prefix in NEAR:
            yield prefix, Clause(param, prefix + moved(date, NEAR[prefix]))
    if param.multiple_and:
        yield "between", Clause(param, "ge" + moved(date, -1)), Clause(param, "le" + moved(date, 1))


def forms(param: Definition, resource: Resource, chart: Literal) -> Iterator[str]:
    """The spellings of the resource's first value that find it, the plainest first."""
    for value in chart.values(param, resource):
        made = [spelling.replace(",", "\\,") for spelling in _spellings(param, value, chart)]
        if made:
            yield from dict.fromkeys(made)
            return


def _spellings(param: Definition, value: Any, chart: Literal) -> list[str]:
    match param.type:
        case "token":
            return _tokens(value, param.code == "_id")
        case "string":
            found = [text for text, _ in texts(value, param.code)]
            return [*found, *(text[:3].upper() for text in found)]
        case "date":
            return _dates(value)
        case "reference":
            return _references(value, chart)
    raise AssertionError(param.type)


def _tokens(value: Any, case_counts: bool) -> list[str]:
    found: list[str] = []
    for system, code, exact in pairs(value, case_counts):
        if code:
            found += [code] if exact else [code, code.upper()]
        if system:
            found += [f"{system}|{code or ''}", f"{system}|"]
        elif code and not isinstance(value, str | bool):
            found.append(f"|{code}")
    return found


def _dates(value: Any) -> list[str]:
    """The date and what it begins with; of a Period, which no part of it contains, all since its start."""
    if isinstance(value, str):
        return [value, *(value[:size] for size in (10, 7, 4) if len(value) > size)]
    return [f"ge{value['start']}"] if "start" in value else [f"le{value['end']}"]


def written(value: Any) -> str:
    """A date as the resource has it; of a Period its start."""
    return value if isinstance(value, str) else value.get("start") or value["end"]


def _references(value: Any, chart: Literal) -> list[str]:
    if isinstance(value, str):
        return [value, value.partition("|")[0]]
    path = relative(value.get("reference", ""), chart.base)
    return [path.rpartition("/")[2], path, f"{chart.base}/{path}"] if "/" in path else []


def alternatives(param: Definition, witness: Resource, chart: Literal) -> str:
    """The witness's value among others that the data has, with commas."""
    mine = next(forms(param, witness, chart))
    all_of_them = [next(forms(param, one, chart), None) for one in chart.of(param.base) if one is not witness]
    others = [one for one in dict.fromkeys(all_of_them) if one is not None and one != mine]
    return ",".join([*others[:ALTERNATIVES_MAX], mine])


def _chained(param: Definition, code: str, witness: Resource, chart: Literal) -> Iterator[Variant]:
    """`practitioner.name` and `practitioner:Practitioner.name`; the inner parameter is the target's own."""
    for reference in chart.values(param, witness):
        target = chart.target(reference)
        if target is None:
            continue
        path = "identifier" if code == "identifier" else "name"
        inner = _inner(target["resourceType"], code, path)
        for value in forms(inner, target, chart):
            for name in (param.code, f"{param.code}:{target['resourceType']}"):
                yield f"chain {code}", Clause(param, value, f"{name}.{code}", inner)


def _inner(resource_type: str, code: str, path: str) -> Definition:
    kind = "token" if path == "identifier" else "string"
    return Definition("", resource_type, code, kind, f"{resource_type}.{path}", None, False, False, (), ())


def moved(date: str, days: int) -> str:
    """A date some days from the beginning of another, to the second."""
    return (date_range(date).lo + timedelta(days=days)).strftime("%Y-%m-%dT%H:%M:%SZ")
