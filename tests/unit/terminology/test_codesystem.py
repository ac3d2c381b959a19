"""What stands above and below what in a code system."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fhirserver.terminology.codesystem import CodeSystem, Hierarchy
from fhirserver.terminology.errors import NotEnumerable
from tests.support.terminology import code_system, concept

CODES = "abcdef"
edges = st.lists(st.tuples(st.sampled_from(CODES), st.sampled_from(CODES)), max_size=12)


def reaches(pairs: list[tuple[str, str]], start: str, end: str) -> bool:
    """Whether a walk of at most as many steps as there are codes leads from below to above."""
    frontier = {start}
    for _ in CODES:
        frontier |= {upper for lower, upper in pairs if lower in frontier}
    return end in frontier


@given(edges, st.sampled_from(CODES), st.sampled_from(CODES))
def test_above_and_below_are_what_a_walk_reaches(pairs: list[tuple[str, str]], one: str, other: str) -> None:
    """With several parents and cycles, too."""
    found = Hierarchy(pairs)
    assert (other in found.above(one)) is reaches(pairs, one, other)
    assert (other in found.above(one)) is (one in found.below(other))


NESTED = (concept("a", concept("b", concept("c")), concept("d")), concept("e"))
PARENTS = (
    concept("a"),
    concept("b", parent=("Code", "a")),
    concept("c", parent=("Code", "b")),
    concept("d", parent=("Code", "a")),
    concept("e"),
)
CHILDREN = (concept("a", child=("Code", "b")), concept("b", child=("Code", "c")), concept("c"), concept("e"))
SUBSUMED = (
    concept("a"),
    concept("b", subsumedBy=("Code", "a")),
    concept("c", subsumedBy=("Coding", {"code": "b"})),
)
SUBSUMES: tuple[dict[str, Any], ...] = (
    {
        "code": "a",
        "extension": [
            {"url": "http://hl7.org/fhir/StructureDefinition/codesystem-subsumes", "valueCode": "b"}
        ],
    },
    concept("b", concept("c")),
)
NAMED = (concept("a"), concept("b", up=("Code", "a")), concept("c", up=("Code", "b")))
UP = [{"code": "up", "uri": "http://hl7.org/fhir/concept-properties#parent", "type": "code"}]


@pytest.mark.parametrize(
    ("concepts", "more"),
    [
        (NESTED, {}),
        (PARENTS, {}),
        (CHILDREN, {}),
        (SUBSUMED, {"hierarchyMeaning": "grouped-by"}),
        (SUBSUMES, {}),
        (NAMED, {"property": UP}),
    ],
    ids=["nested", "parent", "child", "subsumedBy", "subsumes", "by URI"],
)
def test_every_way_to_write_a_hierarchy(concepts: tuple[Any, ...], more: dict[str, Any]) -> None:
    found = CodeSystem(code_system(*concepts, **more))
    for hierarchy in (found.hierarchy, found.subsumption):
        assert {"a", "b", "c"} <= hierarchy.below("a")
        assert hierarchy.above("c") == {"a", "b", "c"}
        assert hierarchy.below("c") == {"c"}
        assert hierarchy.below("e") == {"e"}


@pytest.mark.parametrize("meaning", [None, "is-a", "classified-with"])
def test_meanings_under_which_what_is_below_is_the_same_kind(meaning: str | None) -> None:
    found = CodeSystem(code_system(*NESTED, hierarchyMeaning=meaning))
    assert found.subsumption.below("a") == found.hierarchy.below("a") == {"a", "b", "c", "d"}


def test_parts_of_a_whole_are_below_it_but_are_not_of_its_kind() -> None:
    found = CodeSystem(code_system(*NESTED, hierarchyMeaning="part-of"))
    assert found.hierarchy.below("a") == {"a", "b", "c", "d"}
    with pytest.raises(NotEnumerable, match="part-of"):
        assert found.subsumption


def test_a_hierarchy_that_only_groups_says_nothing() -> None:
    found = CodeSystem(code_system(*NESTED, hierarchyMeaning="grouped-by"))
    for name in ("hierarchy", "subsumption"):
        with pytest.raises(NotEnumerable, match="grouped-by"):
            getattr(found, name)
    flat = CodeSystem(code_system(concept("a"), concept("b"), hierarchyMeaning="grouped-by"))
    assert flat.hierarchy.below("a") == {"a"}


def test_case_counts_only_where_the_system_says_so() -> None:
    loose = CodeSystem(code_system(concept("Ab")))
    assert (loose.find("aB"), loose.find("Ab"), loose.find("x")) == ("Ab", "Ab", None)
    strict = CodeSystem(code_system(concept("Ab"), caseSensitive=True))
    assert (strict.find("aB"), strict.find("Ab")) == (None, "Ab")


def test_values_of_properties() -> None:
    found = CodeSystem(
        code_system(
            concept("a", concept("b", size=("Integer", 3), kind=("Code", "x"), old=("Boolean", True))),
            property=[{"code": "old", "uri": "http://hl7.org/fhir/concept-properties#inactive"}],
        )
    )
    assert found.values("b", "concept") == found.values("b", "code") == ("b",)
    assert found.values("b", "display") == ("B",)
    assert found.values("b", "parent") == ("a",)
    assert found.values("a", "child") == ("b",)
    assert found.values("b", "size") == ("3",)
    assert found.values("b", "kind") == ("x",)
    assert found.values("b", "old") == ("true",)
    assert found.values("a", "old") == ("false",)
    assert found.values("a", "kind") == ()
    assert found.is_inactive("b") and not found.is_inactive("a") and not found.is_inactive("z")
