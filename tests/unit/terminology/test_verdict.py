"""Verdicts on single codes: against the slow reading, and that what is unknown is neither yes nor no."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fhirserver.errors import Invalid
from fhirserver.terminology.verdict import Asked, Membership, Verdict
from tests.support.terminology import SET, SYSTEM, code_system, concept, filtered, value_set
from tests.unit.terminology.library import codes, terminology
from tests.unit.terminology.slow import INNER, OTHER, ROWS, SYSTEMS, THIRD, member, sets_of

MEMBER, NOT_MEMBER, UNKNOWN = Membership.MEMBER, Membership.NOT_MEMBER, Membership.UNKNOWN


async def verdict(*resources: Any, code: str = "a", system: str | None = SYSTEM, **more: Any) -> Verdict:
    service = terminology(*SYSTEMS, *resources)
    return await service.verdict(await service.value_set(SET), Asked(system, code, **more))


drawn = (sets_of(SET, INNER, THIRD), sets_of(INNER), sets_of(THIRD, INNER))


@settings(max_examples=300, deadline=None)
@given(*drawn)
async def test_membership(outer: dict[str, Any], inner: dict[str, Any], third: dict[str, Any]) -> None:
    sets = {one["url"]: one for one in (outer, inner, third)}
    for system, rows in ROWS.items():
        for code in {row[0] for row in rows}:
            found = await verdict(*sets.values(), code=code, system=system)
            assert found.membership is (MEMBER if member(outer, system, code, sets) else NOT_MEMBER), found


@settings(max_examples=200, deadline=None)
@given(*drawn, st.sampled_from([SYSTEM, OTHER]))
async def test_what_is_hidden_makes_answers_unknown_but_never_wrong(
    outer: dict[str, Any], inner: dict[str, Any], third: dict[str, Any], hidden: str
) -> None:
    """With a code system taken away, every yes and no is the one that there was with it; what it does not
    concern is answered as before."""
    sets = {one["url"]: one for one in (outer, inner, third)}
    service = terminology(*(one for one in SYSTEMS if one["url"] != hidden), *sets.values())
    value_set_ = await service.value_set(SET)
    for system, rows in ROWS.items():
        for code in {row[0] for row in rows}:
            found = await service.verdict(value_set_, Asked(system, code))
            if found.membership is UNKNOWN:
                assert system == hidden and found.unknown == hidden and "is unknown" in found.reason
            elif "inactive" not in str(sets):
                assert found.is_member is member(outer, system, code, sets)


@settings(max_examples=100, deadline=None)
@given(sets_of(SET))
async def test_the_same_as_the_expansion(outer: dict[str, Any]) -> None:
    expanded = await codes(terminology(*SYSTEMS, outer))
    for system in (SYSTEM, OTHER):
        for code in "abcdefz":
            found = await verdict(outer, code=code, system=system)
            assert found.is_member is (code in expanded.get(system, ()))


# -- by example


SCT = "http://snomed.info/sct"


async def test_systems_that_are_not_held() -> None:
    both = value_set({"system": SCT}, {"system": SYSTEM})
    assert (await verdict(both)).is_member
    assert (await verdict(both, code="nothing")).membership is NOT_MEMBER
    found = await verdict(both, code="1", system=SCT)
    assert (found.membership, found.unknown) == (UNKNOWN, SCT) and SCT in found.reason
    listed = value_set({"system": SCT, "concept": [{"code": "1", "display": "One"}]})
    found = await verdict(listed, code="1", system=SCT, display="one")
    assert found.is_member and found.display == "One" and found.display_right
    assert (await verdict(listed, code="2", system=SCT)).membership is NOT_MEMBER


async def test_excluding_what_is_not_held() -> None:
    some = value_set({"system": SYSTEM}, exclude=[{"valueSet": ["urn:nowhere"]}])
    found = await verdict(some)
    assert (found.membership, found.unknown) == (UNKNOWN, "urn:nowhere")
    assert (await verdict(some, code="nothing")).membership is NOT_MEMBER
    other = value_set({"system": SYSTEM}, exclude=[{"system": SCT}])
    assert (await verdict(other)).is_member


async def test_parts_of_systems() -> None:
    part = code_system(concept("x"), url="urn:part", content="fragment")
    some = value_set({"system": "urn:part"})
    assert (await verdict(part, some, code="x", system="urn:part")).is_member
    assert (await verdict(part, some, code="y", system="urn:part")).membership is UNKNOWN


async def test_filters_that_nobody_understands() -> None:
    some = value_set(filtered("own-filter", "=", "x"), {"system": OTHER})
    found = await verdict(some)
    assert found.membership is UNKNOWN and "own-filter" in found.reason
    assert (await verdict(some, system=OTHER)).is_member


async def test_codes_without_a_system() -> None:
    found = await verdict(value_set({"system": SYSTEM}), code="c", system=None)
    assert (found.is_member, found.system, found.display) == (True, SYSTEM, "C")
    both = value_set({"system": SYSTEM}, {"system": OTHER})
    ambiguous = await verdict(both, code="a", system=None)
    assert ambiguous.membership is NOT_MEMBER and "needs a system" in ambiguous.reason
    assert (await verdict(both, code="z", system=None)).system == OTHER
    assert (await verdict(both, code="nothing", system=None)).membership is NOT_MEMBER


async def test_displays() -> None:
    named = {"code": "a", "display": "Anton", "designation": [{"language": "nl", "value": "Antoon"}]}
    some = value_set({"system": SYSTEM, "concept": [named]})
    for right in ("Anton", " anton", "ANTOON", "A"):
        found = await verdict(some, display=right)
        assert found.display_right is True and found.reason == "" and found.display == "Anton"
    wrong = await verdict(some, display="Berta")
    assert wrong.is_member and wrong.display_right is False and "'Anton' is" in wrong.reason
    assert (await verdict(some)).display_right is None
    assert (await verdict(some, language="nl")).display == "Antoon"


async def test_abstract_codes_are_for_those_who_ask_for_them() -> None:
    group = code_system(concept("g", concept("x"), notSelectable=("Boolean", True)), url="urn:g")
    some = value_set({"system": "urn:g"})
    found = await verdict(group, some, code="g", system="urn:g")
    assert found.membership is NOT_MEMBER and found.is_abstract and "abstract" in found.reason
    assert (await verdict(group, some, code="g", system="urn:g", abstract=True)).is_member
    assert (await verdict(group, some, code="x", system="urn:g")).is_member


async def test_value_sets_within_themselves() -> None:
    with pytest.raises(Invalid, match="defined by itself"):
        await verdict(value_set({"valueSet": [INNER]}), value_set({"valueSet": [SET]}, url=INNER))
