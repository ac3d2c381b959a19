"""What comes along with the matches of a page: https://hl7.org/fhir/R4/search.html#include"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from tests.oracle import definitions as d
from tests.oracle import references
from tests.oracle.world import Subject, World


@dataclass(frozen=True, slots=True)
class Include:
    """`_include=source:code:target`; source and code may be `*`."""

    reverse: bool
    iterate: bool
    source: str
    code: str
    target: str | None

    @classmethod
    def of(cls, name: str, value: str) -> Include:
        head, _, modifier = name.partition(":")
        parts = value.split(":")
        source = parts[0]
        code = parts[1] if len(parts) > 1 else "*"
        return cls(head == "_revinclude", bool(modifier), source, code, parts[2] if len(parts) > 2 else None)


def included(world: World, matches: Iterable[str], includes: Iterable[Include]) -> set[str]:
    """The paths of the resources that are added to those of `matches`.

    Without `:iterate` an include starts from the matches alone, with it from what was included, too.
    """
    asked = list(includes)
    found = set(matches)
    start = set(found)
    fresh = set(found)
    while fresh:
        reached: set[str] = set()
        for include in asked:
            sources = fresh if include.iterate else fresh & start
            reached |= {one.path for one in _reached(world, include, sources)}
        fresh = reached - found
        found |= fresh
    return found - start


def _reached(world: World, include: Include, paths: set[str]) -> Iterator[Subject]:
    if include.reverse:
        yield from _referring(world, include, paths)
        return
    for path in paths:
        type_, _, id_ = path.partition("/")
        subject = world.get(type_, id_)
        if subject is not None and include.source in ("*", type_):
            for parameter in _parameters(type_, include.code):
                for target in references.followed(world, subject, parameter):
                    if include.target in (None, target.type):
                        yield target


def _referring(world: World, include: Include, paths: set[str]) -> Iterator[Subject]:
    for type_ in d.TYPES if include.source == "*" else (include.source,):
        for parameter in _parameters(type_, include.code):
            for subject in world.subjects(type_):
                for target in references.followed(world, subject, parameter):
                    if target.path in paths and include.target in (None, target.type):
                        yield subject


def _parameters(type_: str, code: str) -> list[d.Parameter]:
    """The reference parameters that are meant; those that select a resource inside this one lead nowhere."""
    known = d.parameters(type_)
    chosen = known.values() if code == "*" else [known[code]] if code in known else []
    return [one for one in chosen if one.type == "reference"]
