"""Questions about what comes back: order, pages, included resources, parts of resources.

https://hl7.org/fhir/R4/search.html#return
"""

from __future__ import annotations

from collections.abc import Iterator
from random import Random

from tests.oracle import definitions as d
from tests.oracle import ordering
from tests.oracle.chaining import INLINE, Chains, Step
from tests.oracle.including import Include, included
from tests.oracle.judging import Judge, Question, difference
from tests.oracle.matrix import Count
from tests.oracle.pairs import COMMON
from tests.oracle.server import Answer
from tests.oracle.world import World

SORTABLE = ("number", "date", "quantity", "string", "token", "reference", "uri")
FIRST = 40
"""Matches on the page of a sorted search."""
MATCHES_MAX = 12
"""Matches of a search with includes; those of wildcards would be most of the population otherwise."""


# -- _sort


def sorts(world: World, pick: Random) -> Iterator[Question]:
    """Every parameter both ways, pairs of parameters, and parameters of what a reference leads to."""
    for type_ in d.TYPES:
        codes = {code: one for code, one in d.parameters(type_).items() if one.type in SORTABLE}
        for code, parameter in codes.items():
            if code.startswith("_") and type_ not in COMMON:
                continue
            hit = f"{type_} {code}"
            labels = (f"sort by {parameter.type}", f"sort by {code}", hit, code)
            for key in (code, f"-{code}"):
                yield Question(type_, (("_sort", key),), (f"by {parameter.type}",), hit, labels)
        simple = [
            code for code, one in codes.items() if one.type in ("date", "string") and code != "phonetic"
        ]
        if len(simple) > 1:
            keys = [pick.choice(("", "-")) + code for code in pick.sample(simple, min(3, len(simple)))]
            yield Question(type_, (("_sort", ",".join(keys)),), ("by several",), type_)


def sorts_over_references(chains: Chains, pick: Random) -> Iterator[Question]:
    for (type_, code), steps in chains.steps.items():
        if not steps or (type_ == "Bundle" and code in INLINE):
            continue
        target = pick.choice(steps).target.type
        inner = [one.code for one in d.parameters(target).values() if one.type in ("date", "string")]
        inner = [one for one in inner if one != "phonetic"]
        key = f"{pick.choice(('', '-'))}{code}:{target}.{pick.choice(inner)}"
        labels = ("sort over a reference", f"{type_} {code}")
        yield Question(type_, (("_sort", key),), ("over a reference",), f"{type_} {code}", labels)


def in_order(world: World) -> Judge:
    """The first page has what comes first, in the order asked for; what ties may come either way."""

    def judge(question: Question, answer: Answer, count: Count) -> str | None:
        keys = dict(question.criteria)["_sort"].split(",")
        everything = list(world.subjects(question.path))
        wanted = ordering.ranks(world, everything, keys)
        subjects = [world.by_type[question.path][path.partition("/")[2]] for path in answer.paths()]
        found = [ordering.rank(world, subject, keys) for subject in subjects]
        count.telling += len({str(rank[0]) for rank in found}) > 1
        if answer.body["total"] != len(everything) or len(set(subjects)) != min(FIRST, len(everything)):
            return f"{len(subjects)} of {answer.body['total']}"
        pairs = zip(subjects, found, wanted, strict=False)
        return next((f"{one.path}: {has} instead of {want}" for one, has, want in pairs if has != want), None)

    return judge


# -- _include, _revinclude


def includes(chains: Chains, pick: Random) -> Iterator[Question]:
    """Each reference parameter forwards and backwards, of one target type, of all, and iterated."""
    for (type_, code), steps in chains.steps.items():
        if not steps or (type_ == "Bundle" and code in INLINE):
            continue
        hit, labels = f"{type_} {code}", (f"{type_} {code}",)
        if (type_, code) in chains.canonical:
            labels = (*labels, "include by canonical URL")
        some = pick.sample(steps, min(5, len(steps)))
        sources = [step.source.id for step in some]
        target = some[0].target.type
        targets = [step.target.id for step in some if step.target.type == target]
        value = f"{type_}:{code}"
        yield _include(type_, sources, ("_include", value), "_include", hit, labels)
        yield _include(type_, sources, ("_include", f"{value}:{target}"), "_include of a type", hit, labels)
        yield _include(target, targets, ("_revinclude", value), "_revinclude", hit, labels)
        name = pick.choice(("_include:iterate", "_revinclude:iterate"))
        onward = _onward(chains, some[0], name, pick)
        if onward is not None:
            first = ("_include", value) if name.startswith("_include") else ("_revinclude", value)
            start, ids = (type_, sources) if first[0] == "_include" else (target, targets)
            more = ("include iterated", *labels, *onward[1])
            yield _include(start, ids, first, ":iterate", hit, more, (name, onward[0]))
    for type_ in d.TYPES:
        ids = pick.sample(sorted(chains.world.by_type[type_]), min(3, len(chains.world.by_type[type_])))
        yield _include(type_, ids, ("_include", "*"), "_include of all", type_, ("include of all",))
        value = f"{type_}:*"
        yield _include(type_, ids, ("_include", value), "_include of all", type_, ("include of all",))
        yield _include(type_, ids, ("_revinclude", "*"), "_revinclude of all", type_, ("revinclude of all",))


def _onward(chains: Chains, step: Step, name: str, pick: Random) -> tuple[str, tuple[str, ...]] | None:
    """A parameter to go on by from what was included, and its labels."""
    onward = chains.step(step.target.type) if name.startswith("_include") else chains.reverse(step.source)
    if onward is None:
        return None
    key = (onward.source.type, onward.parameter.code)
    by_url = ("include by canonical URL",) if key in chains.canonical else ()
    return f"{key[0]}:{key[1]}", (f"{key[0]} {key[1]}", *by_url)


def _include(
    type_: str,
    ids: list[str],
    include: tuple[str, str],
    row: str,
    hit: str,
    labels: tuple[str, ...],
    *further: tuple[str, str],
) -> Question:
    wanted = ",".join(dict.fromkeys(ids[:MATCHES_MAX]))
    return Question(type_, (("_id", wanted), include, *further), (row,), hit, labels)


def brings(world: World) -> Judge:
    """The matches, and what is included, each once and marked."""

    def judge(question: Question, answer: Answer, count: Count) -> str | None:
        ids = dict(question.criteria)["_id"].split(",")
        matches = {f"{question.path}/{id_}" for id_ in ids}
        asked = [Include.of(name, value) for name, value in question.criteria if "include" in name]
        wanted = included(world, matches, asked)
        count.telling += bool(wanted)
        found = answer.paths("include")
        if len(found) != len(set(found)) or set(found) != wanted:
            extra, lost = sorted(set(found) - wanted), sorted(wanted - set(found))
            return f"includes {len(found)}: {extra[:4]} too many, {lost[:4]} missing"
        return difference(answer, matches)

    return judge
