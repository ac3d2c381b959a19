"""References moved and moved back, without a server."""

from copy import deepcopy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fhirserver.fhir.links import holders, localize
from fhirserver.identity.merging import replaced, replacing, restored
from fhirserver.identity.moving import Moves, at, located, redirected
from fhirserver.identity.origins import Fact, Unclear, returned, traced

BASES = ("http://test/fhir",)
SOURCE, TARGET = ("Patient", "s"), ("Patient", "t")
NAMES = ("Patient/s", "Patient/t", "Patient/s/_history/2", "Patient/u", "#a", "http://test/fhir/Patient/s")
REFERENCES = st.sampled_from(NAMES).map(lambda text: {"reference": text})
VALUES = st.recursive(
    REFERENCES | st.just("Patient/s") | st.just(1),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("abc"), inner, min_size=1, max_size=3)
    ),
    max_leaves=12,
)
RESOURCES = st.dictionaries(st.sampled_from(("x", "y", "z")), VALUES, max_size=3).map(
    lambda parts: {"resourceType": "Basic", **parts}
)


def moved(resource: dict[str, Any]) -> Any:
    return redirected(resource, "b", SOURCE, "t", BASES)


@given(RESOURCES)
def test_every_reference_moves_and_moves_back(resource: dict[str, Any]) -> None:
    before = deepcopy(resource)
    made = moved(resource)
    assert resource == before, "what is given stays as it is"
    texts = [holder["reference"] for holder in holders(resource)]
    if made is None:
        assert not any("Patient/s" in text for text in texts)
        return
    after, move = made
    assert not any("Patient/s" in holder["reference"] for holder in holders(after))
    assert len(move.places) == sum("Patient/s" in text for text in texts)
    back = returned(after, traced([(after, [Fact("m", move.places)])]), "m", SOURCE, None)
    assert back is not None
    localize(before, BASES)
    assert back[0] == before


@given(RESOURCES)
def test_pointers_lead_to_what_they_name(resource: dict[str, Any]) -> None:
    found = list(located(resource))
    assert len(found) == len(holders(resource))
    for pointer, holder in found:
        assert at(resource, pointer) is holder


@given(RESOURCES, RESOURCES, st.none() | st.booleans())
def test_no_reference_is_made_or_lost_by_going_back(
    resource: dict[str, Any], edited: dict[str, Any], back: bool | None
) -> None:
    made, later = moved(resource), moved(edited)
    if made is None or later is None:
        return
    now = later[0]
    origins = traced([(made[0], [Fact("m", made[1].places)]), (now, [])])
    try:
        result = returned(now, origins, "m", SOURCE, back)
    except Unclear:
        assert back is None
        return
    if result is None:
        return
    pairs = list(zip(located(now), located(result[0]), strict=True))
    for (place, was), (same, is_) in pairs:
        assert place == same
        assert was == is_ or was["reference"] == "Patient/t"
    assert sum(was != is_ for (_, was), (_, is_) in pairs) == len(result[1]) > 0


@pytest.mark.parametrize("type_", ["AuditEvent", "Bundle", "Linkage"])
def test_what_stays(type_: str) -> None:
    resource = {"resourceType": type_, "x": {"reference": "Patient/s"}}
    assert moved(resource) is None
    assert Moves({SOURCE: "t"}).followed(resource, "b", BASES) == (resource, [])


def test_nothing_comes_to_refer_to_itself() -> None:
    target = {
        "resourceType": "Patient",
        "id": "t",
        "link": [{"other": {"reference": "Patient/s"}, "type": "seealso"}],
    }
    assert redirected(target, "t", SOURCE, "t", BASES) is None
    other = {"resourceType": "Patient", "link": [{"other": {"reference": "Patient/s"}, "type": "replaces"}]}
    assert redirected(other, "u", SOURCE, "t", BASES) is None
    other["link"][0]["type"] = "refer"
    assert redirected(other, "u", SOURCE, "t", BASES) is not None


def test_one_after_the_other() -> None:
    moves = Moves({("Patient", "a"): "b", ("Patient", "b"): "c"})
    assert moves.of(("Patient", "a")) == "c" and moves.of(("Patient", "c")) is None
    resource = {
        "resourceType": "Basic",
        "subject": {"reference": "Patient/a"},
        "x": {"reference": "Patient/b"},
    }
    made, steps = moves.followed(resource, "z", BASES)
    assert {holder["reference"] for holder in holders(made)} == {"Patient/c"}
    versions = [(made, [Fact(step.source[1], step.places) for step in steps])]
    for step in reversed(steps):
        back = returned(versions[-1][0], traced(versions), step.source[1], step.source, None)
        assert back is not None
        versions.append((back[0], [Fact(step.source[1], back[1], back=True)]))
    assert versions[-1][0] == resource


ITEMS = st.lists(
    st.sampled_from("abcdef").map(lambda value: {"system": "s", "value": value}), max_size=4, unique_by=str
)


@given(ITEMS, ITEMS, st.sampled_from((None, "male", "female")), st.sampled_from((None, "male", "female")))
def test_two_patients_merged_and_restored(
    mine: list[Any], theirs: list[Any], gender: str | None, later: str | None
) -> None:
    source = {"resourceType": "Patient", "id": "s", **({"identifier": mine} if mine else {})}
    target = {"resourceType": "Patient", "id": "t", **({"identifier": theirs} if theirs else {})}
    target |= {"gender": gender} if gender else {}
    away, stays = replaced(source, "t"), replacing(target, source)
    values = [one["value"] for one in stays.get("identifier", ())]
    assert sorted(values) == sorted({one["value"] for one in [*mine, *theirs]})
    edited = {name: value for name, value in stays.items() if name != "gender"} | (
        {"gender": later} if later else {}
    )
    made = restored(target, stays, edited, None)
    assert made.conflicts == ()
    assert made.patient == {k: v for k, v in target.items() if k != "gender"} | (
        {"gender": later} if later else {}
    )
    assert restored(source, away, away, None).patient == source
