"""Expansions as they are shown: pages, what is left out, texts, what stands below what."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fhirserver.errors import TooCostly
from fhirserver.terminology.contains import DEPTH_MAX, Wish, chosen, contains, used
from tests.support.terminology import SET, SYSTEM, code_system, concept, value_set
from tests.unit.terminology.library import terminology

PARENTS = st.dictionaries(st.sampled_from("abcdef"), st.lists(st.sampled_from("abcdef"), max_size=2))


async def shown(wish: Wish, *resources: dict[str, Any]) -> list[dict[str, Any]]:
    service = terminology(*resources)
    expansion, held = await service.expanded(await service.value_set(SET))
    return contains(chosen(expansion, held, wish), wish)


def flat(elements: list[dict[str, Any]]) -> list[str]:
    return [code for one in elements for code in (one["code"], *flat(one.get("contains", [])))]


@settings(max_examples=200, deadline=None)
@given(PARENTS)
async def test_nested_expansions_hold_each_code_once(parents: dict[str, list[str]]) -> None:
    """Whatever stands above what, also in turns; and below a code are only those of which it is a parent."""
    rows = [
        {"code": code, "property": [{"code": "parent", "valueCode": one} for one in parents.get(code, ())]}
        for code in "abcdef"
    ]
    found = await shown(Wish(nested=True), code_system(*rows), value_set({"system": SYSTEM}))
    assert sorted(flat(found)) == list("abcdef")

    def check(element: dict[str, Any]) -> None:
        for one in element.get("contains", ()):
            assert element["code"] in parents[one["code"]]
            check(one)

    for one in found:
        check(one)
        assert one["code"] in {code for code in "abcdef" if not parents.get(code)} or parents[one["code"]]


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 12), st.integers(0, 12))
async def test_pages_are_slices(offset: int, count: int) -> None:
    rows = [concept(f"c{number}") for number in range(10)]
    resources = code_system(*rows), value_set({"system": SYSTEM})
    every = flat(await shown(Wish(), *resources))
    assert every == [f"c{number}" for number in range(10)]
    assert flat(await shown(Wish(offset=offset, count=count), *resources)) == every[offset : offset + count]


async def test_depth() -> None:
    rows = [
        {"code": f"{number}", "property": [{"code": "parent", "valueCode": f"{number + 1}"}]}
        for number in range(DEPTH_MAX + 20)
    ]
    with pytest.raises(TooCostly, match="deep"):
        await shown(Wish(nested=True), code_system(*rows), value_set({"system": SYSTEM}))


async def test_the_texts_of_the_value_set_come_first() -> None:
    own = {"code": "a", "display": "Own", "designation": [{"value": "Other"}]}
    some = value_set({"system": SYSTEM, "concept": [own, {"code": "b"}, {"code": "x"}]})
    found = await shown(Wish(designations=True), code_system(concept("a"), concept("b")), some)
    assert found == [
        {"system": SYSTEM, "code": "a", "display": "Own", "designation": [{"value": "Other"}]},
        {"system": SYSTEM, "code": "b", "display": "B"},
        {"system": SYSTEM, "code": "x"},
    ]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("acut ast", ["1"]),
        ("AST ACUT", ["1"]),
        ("ästh", ["1"]),
        ("ma", ["1", "2"]),
        ("xyz", []),
        ("", ["1", "2", "3"]),
        ("j45", ["3"]),
    ],
)
async def test_texts_are_found_by_the_beginnings_of_words(text: str, expected: list[str]) -> None:
    rows = [
        {"code": "1", "display": "Acute Ásthma, mäßig"},
        {"code": "2", "display": "Other", "designation": [{"language": "de", "value": "Masern"}]},
        {"code": "3", "display": "J45.1"},
    ]
    found = await shown(Wish(text=text), code_system(*rows), value_set({"system": SYSTEM}))
    assert flat(found) == expected


async def test_systems_that_were_used() -> None:
    both = value_set({"system": SYSTEM}, {"system": "urn:x", "version": "1", "concept": [{"code": "1"}]})
    service = terminology(code_system(concept("a"), version="7"), both)
    expansion, held = await service.expanded(await service.value_set(SET))
    assert used(chosen(expansion, held, Wish())) == [f"{SYSTEM}|7", "urn:x|1"]
    assert flat(contains(chosen(expansion, held, Wish(excluded=((SYSTEM, None),))), Wish())) == ["1"]
    assert flat(contains(chosen(expansion, held, Wish(excluded=((SYSTEM, "6"),))), Wish())) == ["a", "1"]
