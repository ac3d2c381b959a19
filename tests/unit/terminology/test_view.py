"""Verdicts without waiting, and code systems that are kept elsewhere than in memory."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest

from fhirserver.terminology.builtin import WithBuiltIn
from fhirserver.terminology.cache import Cache
from fhirserver.terminology.codesystem import CodeSystem
from fhirserver.terminology.concept import Concept
from fhirserver.terminology.hierarchy import Hierarchy
from fhirserver.terminology.service import Terminology
from fhirserver.terminology.system import Filter, Matching, Questions, System
from fhirserver.terminology.verdict import Asked, Membership, Verdict
from fhirserver.terminology.view import LACKING, View
from tests.support.terminology import SET, SYSTEM, code_system, concept, filtered, value_set
from tests.unit.terminology.library import Shelf

TREE = code_system(concept("a", concept("b", concept("c"))), concept("d"), caseSensitive=True)


@dataclass
class Elsewhere:
    """A code system as a table would be: it can be asked only about what it was told to fetch."""

    kept: CodeSystem
    fetched: list[Questions] = field(default_factory=list)

    url = property(lambda self: self.kept.url)
    version = property(lambda self: self.kept.version)
    title = property(lambda self: self.kept.title)
    name = property(lambda self: self.kept.name)
    content = property(lambda self: self.kept.content)
    total = property(lambda self: 1_000_000)
    in_memory = property(lambda self: False)

    async def learn(self, questions: Questions, matching: Matching) -> None:
        self.fetched.append(questions)
        await self.kept.learn(questions, matching)

    def require_enumerable(self) -> None:
        """It lists its codes."""

    def _require(self, code: str, related: bool = False) -> None:
        assert any(
            (one.codes is None or code in one.codes or code.upper() in one.codes)
            and (one.related or not related)
            for one in self.fetched
        ), code

    def find(self, code: str) -> str | None:
        self._require(code)
        return self.kept.find(code)

    def concept(self, code: str) -> Concept:
        self._require(code)
        return self.kept.concept(code)

    def selected(self, filters_: Sequence[Filter]) -> Collection[str]:
        assert any(one.codes is None and tuple(filters_) in one.filters for one in self.fetched)
        return self.kept.selected(filters_)

    def passes(self, code: str, filters_: Sequence[Filter]) -> bool:
        self._require(code)
        assert any(tuple(filters_) in one.filters for one in self.fetched)
        return self.kept.passes(code, filters_)

    def is_inactive(self, code: str) -> bool:
        self._require(code)
        return self.kept.is_inactive(code)

    def is_abstract(self, code: str) -> bool:
        self._require(code)
        return self.kept.is_abstract(code)

    @property
    def hierarchy(self) -> Hierarchy:
        assert any(one.related for one in self.fetched)
        return self.kept.hierarchy

    @property
    def subsumption(self) -> Hierarchy:
        return self.kept.subsumption

    @property
    def structure(self) -> Hierarchy:
        return self.kept.structure


class Loaded(Shelf):
    """A shelf beside which a code system has been loaded into tables."""

    def __init__(self, *resources: dict[str, Any]) -> None:
        super().__init__(resources)
        self.loaded = Elsewhere(CodeSystem(TREE))
        self.asked: list[str] = []

    async def code_system(self, url: str, version: str | None) -> System | None:
        self.asked.append(url)
        return self.loaded if url == SYSTEM else await super().code_system(url, version)


async def run(view: View, library: Any, *asked: tuple[str, str | None, str]) -> tuple[list[Verdict], int]:
    """What a validator does: all questions at once, as often as there is something to learn."""
    for rounds in range(1, 6):
        found = [view.validate(*one) for one in asked]
        if not await view.learn(WithBuiltIn(library)):
            return found, rounds
    raise AssertionError("it never has enough")


async def test_what_is_lacking_is_learnt_between_two_runs() -> None:
    library = Loaded(TREE, value_set(filtered("concept", "is-a", "b"), url="urn:b"))
    view = View()
    first = view.validate("urn:b", SYSTEM, "c")
    assert first.membership is Membership.UNKNOWN
    gender = "http://hl7.org/fhir/ValueSet/administrative-gender"
    questions = [
        ("urn:b", SYSTEM, "c"),
        ("urn:b", SYSTEM, "d"),
        ("urn:no", SYSTEM, "c"),
        (gender, None, "male"),
    ]
    found, rounds = await run(view, library, *questions)
    assert [one.membership.value for one in found] == ["member", "not member", "unknown", "member"]
    assert rounds == 2 and "'urn:no' is not held" in found[2].reason
    again, rounds = await run(view, library, *questions)
    assert (again, rounds) == (found, 1)


async def test_a_system_elsewhere_is_asked_about_each_code_once() -> None:
    library = Loaded(value_set(filtered("concept", "is-a", "b"), url="urn:b"))
    view = View()
    await run(view, library, ("urn:b", SYSTEM, "c"), ("urn:b", SYSTEM, "a"))
    assert [sorted(one.codes or ()) for one in library.loaded.fetched] == [["a", "c"]]
    found, rounds = await run(view, library, ("urn:b", SYSTEM, "b"), ("urn:b", SYSTEM, "c"))
    assert rounds == 2 and all(one.is_member for one in found)
    assert [sorted(one.codes or ()) for one in library.loaded.fetched][1:] == [["b"]]


async def test_value_sets_that_make_no_sense_are_unknown() -> None:
    library = Shelf([value_set({"valueSet": ["urn:b"]}, url="urn:b")])
    (found,), _ = await run(View(), library, ("urn:b", SYSTEM, "c"))
    assert found.membership is Membership.UNKNOWN and "defined by itself" in found.reason


async def test_every_question_to_a_system_elsewhere_is_announced() -> None:
    """Expansion, verdicts, above and below: none asks what was not learnt before."""
    library = Loaded(value_set(filtered("concept", "descendent-of", "a")))
    service = Terminology(WithBuiltIn(library), Cache(), 100)
    found = await service.value_set(SET)
    expansion = await service.codes_of(found)
    assert list(expansion.of(SYSTEM)) == ["b", "c"]
    library.loaded.fetched.clear()
    assert (await service.verdict(found, Asked(SYSTEM, "c"))).is_member
    library.loaded.fetched.clear()
    assert await service.below(SYSTEM, "b") == {"b", "c"}
    assert await service.above(SYSTEM, "b") == {"a", "b"}
    library.loaded.fetched.clear()
    system = await service.code_system(SYSTEM, None)
    assert (await service.verdict_of(system, Asked(SYSTEM, "d"))).display == "D"
    with pytest.raises(AssertionError):
        system.find("b")


async def test_what_is_read_at_once_and_kept_has_an_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever sends a resource names code systems and value sets as they like."""
    library, view = WithBuiltIn(Shelf([])), View()
    names = [f"urn:nowhere:{number}" for number in range(20)]

    def lacking() -> int:
        return sum(view.validate(name, "urn:s", "a").reason == LACKING for name in names)

    assert lacking() == 20
    assert await view.learn(library, 5)
    assert lacking() == 15
    assert await view.learn(library)
    assert lacking() == 0
    monkeypatch.setattr("fhirserver.terminology.view.SETS_MAX", 10)
    view.validate("urn:another", "urn:s", "a")
    assert await view.learn(library)
    assert lacking() == 20
