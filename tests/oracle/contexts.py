"""Searches of compartments, of several types, and of all: https://hl7.org/fhir/R4/search.html#Introduction"""

from __future__ import annotations

from collections.abc import Iterator
from random import Random

from tests.oracle import definitions as d
from tests.oracle.evaluate import Search
from tests.oracle.forms import Forms
from tests.oracle.judging import Expect, Question
from tests.oracle.pairs import labels
from tests.oracle.references import followed

EACH = 2
"""Compartments of a kind that are asked for each type."""


def within(search: Search, pick: Random) -> Iterator[Question]:
    """`[compartment]/[id]/[type]` for each type that a compartment has, with a criterion and without."""
    for name in d.COMPARTMENTS:
        for type_ in sorted(d.COMPARTMENTS[name]):
            if type_ not in d.TYPES:
                continue
            filled = _members(search, name, type_) or sorted(search.world.by_type[name])
            for id_ in pick.sample(filled, min(EACH, len(filled))):
                path = f"{name}/{id_}/{type_}"
                yield Question(path, (), (f"{name} compartment",), f"{name} {type_}")
                codes = sorted(set(d.parameters(type_)) - {"near"})
                parameter = d.parameters(type_)[pick.choice(codes)]
                made = Forms(search.world, type_, parameter, pick).any()
                if made is not None:
                    criteria = ((made.name, made.value),)
                    more = labels(type_, parameter, made)
                    yield Question(path, criteria, (f"{name} compartment",), f"{name} {type_}", more)
        yield Question(f"{name}/g1/*", (), (f"{name} compartment, all types",), name)


def _members(search: Search, name: str, type_: str) -> list[str]:
    """The ids of the compartments of a kind that have resources of a type."""
    found = {
        target.id
        for code in d.COMPARTMENTS[name][type_]
        if code != "{def}"
        for subject in search.world.subjects(type_)
        for target in followed(search.world, subject, d.parameters(type_)[code])
        if target.type == name
    }
    return sorted(found)


def across(search: Search, pick: Random) -> Iterator[Question]:
    """Several types by what they have in common, and all types."""
    for code, parameter in sorted(d.parameters("Resource").items()):
        for _ in range(3):
            made = Forms(search.world, pick.choice(d.TYPES), parameter, pick).any()
            if made is None:
                continue
            criterion = (made.name, made.value)
            more = labels("Resource", parameter, made)
            yield Question("", (criterion,), ("all types",), code, more)
            chosen = ",".join(pick.sample(d.TYPES, 3))
            yield Question("", (("_type", chosen), criterion), ("several types",), code, more)
    for code in ("identifier", "date", "patient", "status", "url", "name", "code"):
        types = [type_ for type_ in d.TYPES if code in d.parameters(type_)]
        for _ in range(4):
            chosen = pick.sample(types, 3)
            same = {d.parameters(type_)[code].type for type_ in chosen}
            made = Forms(search.world, chosen[0], d.parameters(chosen[0])[code], pick).any()
            if made is not None and len(same) == 1:
                criteria = (("_type", ",".join(chosen)), (made.name, made.value))
                more = labels(chosen[0], d.parameters(chosen[0])[code], made)
                yield Question("", criteria, ("several types",), code, more)


def anywhere(search: Search) -> Expect:
    """What a search in any context finds."""

    def expect(question: Question) -> tuple[set[str], int]:
        criteria = [pair for pair in question.criteria if pair[0] != "_type"]
        wanted = dict(question.criteria).get("_type")
        parts = question.path.split("/")
        inside = (parts[0], parts[1]) if len(parts) == 3 else None
        last = parts[-1]
        types = wanted.split(",") if wanted else d.TYPES if last in ("", "*") else [last]
        found: set[str] = set()
        for type_ in types:
            ids = search.all_of(type_, criteria)
            if inside is not None:
                ids &= search.compartment(*inside, type_)
            found |= {f"{type_}/{id_}" for id_ in ids}
        return found, sum(len(search.world.by_type[type_]) for type_ in types)

    return expect
