"""What is particular: lists, filters, contained resources, texts, places, named queries."""

import math
from collections.abc import Iterator
from random import Random
from typing import Any

import pytest

from tests.oracle import contained, filtering, fulltext, pairs
from tests.oracle import definitions as d
from tests.oracle.chaining import Chains, many
from tests.oracle.evaluate import Search
from tests.oracle.folding import PHONETIC
from tests.oracle.forms import Forms
from tests.oracle.judging import Judge, Question, compare, difference, is_lasting
from tests.oracle.matrix import Count, settle
from tests.oracle.references import link
from tests.oracle.server import Answer, Server


def _found(wanted: dict[Question, set[str]]) -> Judge:
    """Judges by sets that were worked out beforehand."""

    def judge(question: Question, answer: Answer, count: Count) -> str | None:
        count.telling += bool(wanted[question]) and is_lasting(question)
        return difference(answer, wanted[question])

    return judge


def test_lists(server: Server, search: Search) -> None:
    """https://hl7.org/fhir/R4/search.html#list; an entry marked as deleted is not on the list."""
    wanted: dict[Question, set[str]] = {}
    for subject in search.world.subjects("List"):
        entries = [one for one in subject.resource.get("entry", ()) if not one.get("deleted")]
        items: list[str] = [entry["item"].get("reference", "") for entry in entries]
        links = [link(text, search.world.base) for text in items]
        for type_ in sorted({one.type for one in links if one.type and one.base is None} | {"Patient"}):
            inside = {one.id for one in links if one.type == type_ and one.base is None}
            question = Question(type_, (("_list", subject.id),), ("_list",), subject.path, ("_list",))
            wanted[question] = {f"{type_}/{id_}" for id_ in inside & search.world.by_type[type_].keys()}
    matrix = compare(server, _found(wanted), list(wanted))
    settle("lists", matrix.table("searched", hit="lists"))


def _filters(search: Search, pick: Random) -> Iterator[tuple[str, str, filtering.Filter]]:
    """(type, kind, filter): each operator, and joined, negated and chained ones."""
    chains = Chains(search.world, pick)
    for type_ in d.TYPES:
        plain: list[filtering.Test] = []
        for parameter in d.parameters(type_).values():
            for operator in filtering.OPERATORS.get(parameter.type, ()):
                if parameter.code.startswith("_") or parameter.code == PHONETIC or pick.random() > 0.2:
                    continue
                made = filtering.draw(search, type_, parameter, operator, pick)
                if made is not None:
                    plain.append(made)
                    yield type_, f"{parameter.type} {operator}", made
        if len(plain) > 2:
            one, other, third = (pick.choice(plain) for _ in "123")
            yield type_, "and", filtering.Joined("and", one, other)
            yield type_, "or, not", filtering.Joined("or", one, filtering.Negated(other))
            yield type_, "and in or", filtering.Joined("or", one, filtering.Joined("and", other, third))
        step = chains.step(type_)
        if step is not None and (type_, step.parameter.code) not in chains.canonical:
            yield from _through(search, type_, step.parameter.code, step.target.type, pick)


def _through(
    search: Search, type_: str, through: str, target: str, pick: Random
) -> Iterator[tuple[str, str, filtering.Filter]]:
    codes = [one for one in d.parameters(target).values() if one.type in ("string", "date", "token")]
    codes = [one for one in codes if one.code != PHONETIC]
    tests = [filtering.draw(search, target, pick.choice(codes), "eq", pick) for _ in range(4)]
    one, other, *_ = [*(test for test in tests if test is not None), None, None]
    if one is not None:
        yield type_, "path of two", filtering.Test(one.code, one.operator, one.value, through)
        if other is not None:
            yield type_, "path with a filter", filtering.Test(one.code, "eq", one.value, through, other)


def _labels(search: Search, type_: str, tree: filtering.Filter) -> tuple[str, ...]:
    found = ["_filter"]
    for leaf in filtering.leaves(tree):
        found += [f"_filter {leaf.operator}", leaf.code]
        if leaf.through is not None:
            codes = [leaf.code, *(one.code for one in filtering.leaves(leaf.of))] if leaf.of else [leaf.code]
            found += [f"{type_} {leaf.through}", *many(d.parameters(type_)[leaf.through], *codes)]
    return tuple(found)


def test_filters(server: Server, search: Search) -> None:
    """https://hl7.org/fhir/R4/search_filter.html"""
    wanted: dict[Question, set[str]] = {}
    for type_, kind, tree in _filters(search, Random("filters")):
        labels = _labels(search, type_, tree)
        question = Question(type_, (("_filter", str(tree)),), (kind,), type_, labels)
        wanted[question] = {
            subject.path
            for subject in search.world.subjects(type_)
            if filtering.passes(search, subject, tree)
        }
    matrix = compare(server, _found(wanted), list(wanted))
    settle("filters", matrix.table("filter", hit="types"))


def test_contained(server: Server, search: Search) -> None:
    """https://hl7.org/fhir/R4/search.html#contained"""
    pick = Random("contained")
    wanted: dict[Question, set[str]] = {}
    for type_ in d.TYPES:
        inside = search.world.contained(type_)
        if not inside:
            continue
        codes = [one for one in d.parameters(type_).values() if one.type not in ("special", "composite")]
        codes = [one for one in codes if one.code != "_lastUpdated"]  # what is contained has none of its own
        for which in ("true", "both"):
            for given in ("container", "contained"):
                parameter = pick.choice(codes)
                made = Forms(search.world, type_, parameter, pick, inside).any()
                name, value = (made.name, made.value) if made else ("_id:missing", "false")
                controls = (("_contained", which), ("_containedType", given))
                labels = ("_contained", *(pairs.labels(type_, parameter, made) if made else ()))
                question = Question(type_, ((name, value), *controls), (f"{which}, {given}",), type_, labels)
                wanted[question] = set(contained.matches(search, type_, [(name, value)], which, given))
    matrix = compare(server, _contained(wanted), list(wanted))
    settle("contained", matrix.table("_contained, _containedType", hit="types"))


def _contained(wanted: dict[Question, set[str]]) -> Judge:
    """A contained resource is told by its fullUrl: `[base]/[container]#[id]`."""

    def judge(question: Question, answer: Answer, count: Count) -> str | None:
        count.telling += bool(wanted[question])
        found = [entry["fullUrl"].removeprefix("http://test/fhir/") for entry in answer.entries]
        if sorted(found) != sorted(wanted[question]):
            return f"{sorted(found)[:5]} instead of {sorted(wanted[question])[:5]}"
        return None

    return judge


def _words(pick: Random, texts: list[list[str]]) -> fulltext.Words:
    text = pick.choice([text for text in texts if text])
    text = [word for word in text if word not in ("and", "or", "not")] or ["nothing"]
    start = pick.randrange(len(text))
    match pick.randrange(3):
        case 0:
            return fulltext.Words(tuple(text[start : start + 2]))
        case 1:
            return fulltext.Words((text[start][: pick.randint(1, 4)],), True)
    return fulltext.Words((text[start],))


@pytest.mark.parametrize("name", ["_text", "_content"])
def test_words(server: Server, search: Search, name: str) -> None:
    """https://hl7.org/fhir/R4/search.html#text"""
    pick = Random(name)
    wanted: dict[Question, set[str]] = {}
    for type_ in d.TYPES:
        if name == "_text" and not d.is_a(type_, "DomainResource"):
            continue
        said = fulltext.narrative if name == "_text" else fulltext.content
        known = {
            subject.path: [fulltext.words(text) for text in said(subject.resource)]
            for subject in search.world.subjects(type_)
        }
        spoken = [texts for texts in known.values() if any(texts)]
        for word in ("", "", "AND", "OR", "NOT") if spoken else ():
            tree: fulltext.Query = _words(pick, pick.choice(spoken))
            if word:
                tree = fulltext.Joined(word, tree, _words(pick, pick.choice(spoken)))
            question = Question(type_, ((name, str(tree)),), (name, word or "plain"), type_, (name,))
            wanted[question] = {path for path, texts in known.items() if fulltext.matches(texts, tree)}
    matrix = compare(server, _found(wanted), list(wanted))
    settle(name, matrix.table("parameter", "words", hit="types"))


def _distance_km(one: dict[str, Any], latitude: float, longitude: float) -> float:
    """On a sphere: https://hl7.org/fhir/R4/location.html#search"""
    here, there = math.radians(float(one["latitude"])), math.radians(latitude)
    step = math.sin((there - here) / 2) ** 2
    turn = math.radians(longitude - float(one["longitude"]))
    return (
        2 * 6371.0 * math.asin(math.sqrt(step + math.cos(here) * math.cos(there) * math.sin(turn / 2) ** 2))
    )


def _is_a_place(position: dict[str, Any]) -> bool:
    return "latitude" in position and abs(position["latitude"]) <= 90 and abs(position["longitude"]) <= 180


def test_places(server: Server, search: Search) -> None:
    """`near`; what lies within a hundredth of the distance is left out of the question."""
    pick = Random("places")
    placed = {
        subject.path: subject.resource["position"]
        for subject in search.world.subjects("Location")
        if _is_a_place(subject.resource.get("position", {}))
    }
    wanted: dict[Question, set[str]] = {}
    while len(wanted) < 60:
        start = pick.choice(list(placed.values()))
        latitude = max(-90.0, min(90.0, float(start["latitude"]) + pick.choice((0, 0.01, -3, 20))))
        longitude = (float(start["longitude"]) + pick.choice((0, 0.01, 3, 170)) + 180) % 360 - 180
        radius, unit = pick.choice(
            (("1", "km"), ("50", "km"), ("1000", "km"), ("500", "m"), ("12000", ""), ("19000", "km"))
        )
        limit = float(radius) / (1000 if unit == "m" else 1)
        away = {path: _distance_km(position, latitude, longitude) for path, position in placed.items()}
        if any(abs(distance - limit) < limit / 100 for distance in away.values()):
            continue
        value = f"{latitude:.6f}|{longitude:.6f}|{radius}" + (f"|{unit}" if unit else "")
        question = Question("Location", (("near", value),), (f"near, {unit or 'no unit'}",), "Location")
        wanted[question] = {path for path, distance in away.items() if distance < limit}
    matrix = compare(server, _found(wanted), list(wanted))
    settle("places", matrix.table("searched", hit="types"))
