"""Below and above a code, and what is kept."""

from __future__ import annotations

import pytest

from fhirserver.errors import TooCostly
from fhirserver.terminology.cache import Cache
from fhirserver.terminology.errors import NotEnumerable, UnknownDefinition
from tests.support.terminology import SET, SYSTEM, code_system, concept, value_set
from tests.unit.terminology.library import terminology

TREE = code_system(concept("a", concept("B", concept("c"))))


async def test_below_and_above() -> None:
    service = terminology(TREE)
    assert await service.below(SYSTEM, "a") == {"a", "B", "c"}
    assert await service.above(SYSTEM, "b") == {"a", "B"}
    assert await service.below(SYSTEM, "unknown") == {"unknown"}


async def test_systems_that_do_not_answer() -> None:
    with pytest.raises(UnknownDefinition, match="no code system 'urn:x'"):
        await terminology().below("urn:x", "a")
    with pytest.raises(NotEnumerable, match="supplement"):
        await terminology(code_system(content="supplement")).above(SYSTEM, "a")
    with pytest.raises(NotEnumerable, match="has no code 'z'"):
        await terminology(code_system(concept("a"), content="fragment")).below(SYSTEM, "z")
    with pytest.raises(TooCostly, match="3 codes"):
        await terminology(TREE, codes_max=2).below(SYSTEM, "a")
    with pytest.raises(TooCostly, match="3 codes"):
        await terminology(TREE, codes_max=2).above(SYSTEM, "c")


async def test_an_expansion_is_worked_out_once_for_the_same_definitions() -> None:
    service = terminology(TREE, value_set({"system": SYSTEM}))
    found = await service.value_set(SET)
    assert await service.codes_of(found) is await service.codes_of(found)


def test_what_was_not_used_for_longest_is_forgotten() -> None:
    cache = Cache(weight_max=10)
    cache.put("a", 1, 4)
    cache.put("b", 2, 4)
    assert cache.get("a") == 1
    cache.put("c", 3, 4)
    assert (cache.get("a"), cache.get("b"), cache.get("c")) == (1, None, 3)
    assert (len(cache), cache.weight) == (2, 8)
    cache.put("a", 5, 2)
    assert (cache.get("a"), cache.weight) == (5, 6)
    cache.put("d", 4, 11)
    assert cache.get("d") is None and len(cache) == 2
