"""Snapshots made of differentials, against those that US Core and R4 publish.

What differs is explained, difference by difference: every one must fall under a reason, and each reason must
still be needed.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from fhirserver.fhir.profile.definition import Row, read
from fhirserver.fhir.profile.library import R4, Library, Unusable
from fhirserver.fhir.profile.snapshot import Missing, Unmade, with_snapshot
from tests.support.guides import package

VERSIONS = ("311", "501", "610", "700")
SDC = "us-core-questionnaireresponse"
Difference = tuple[str, str, Any, Any]


def differences(made: tuple[Row, ...], published: tuple[Row, ...]) -> Iterator[Difference]:
    """(id, field, ours, theirs); `element` where one has an element that the other has not."""
    ours, theirs = {row["id"]: row for row in made}, {row["id"]: row for row in published}
    for id_ in ours.keys() | theirs.keys():
        if id_ not in ours or id_ not in theirs:
            yield id_, "element", id_ in ours, id_ in theirs
            continue
        for field in ours[id_].keys() | theirs[id_].keys():
            mine, other = (_comparable(field, rows[id_].get(field)) for rows in (ours, theirs))
            if mine != other:
                yield id_, field, mine, other
    assert [id_ for id_ in ours if id_ in theirs] == [id_ for id_ in theirs if id_ in ours]


def _comparable(field: str, value: Any) -> Any:
    if value is None:
        return None
    match field:
        case "constraint":
            return {one["key"] for one in value}
        case "slicing":
            return {"ordered": False, **value}
        case "contentReference":
            return value.rpartition("#")[2]
        case "type" if value == [{"code": "id"}]:
            return [{"code": "string"}]  # Resource.id: later publishers write the type that the text says
        case _:
            return value


def reason(version: str, profile: str, difference: Difference) -> str | None:
    """Why a difference is none of ours."""
    id_, field, mine, other = difference
    if field == "element" and mine and ":" in id_:
        return "slices have what is said of the element they divide, unfolded types included"
    if (
        ":" in id_
        and field in ("mustSupport", "binding", "constraint", "type", "slicing")
        and not _is_choice(id_)
    ):
        return "slices inherit what the same differential says of the element they divide"
    if _is_choice(id_) and field in ("type", "slicing", "element", "min", "mustSupport", "binding"):
        return "a type's own name within a slice, or optional, narrows the choice in older publishers"
    if ".extension." in id_ and field == "element":
        return "the publisher unfolds parts of extensions that are forbidden"
    if profile == "us-core-patient" and version == "311" and field == "binding":
        return "an extension has no code that could be bound"
    if field == "contentReference" and ":" in str(other):
        return "a content reference goes to the element, not to one of its slices"
    return None


def _is_choice(id_: str) -> bool:
    return "[x]" in id_


@pytest.fixture(scope="module")
def archives(shared_data: Path) -> Path:
    return shared_data / "us-core-igs"


@pytest.mark.parametrize("version", VERSIONS)
def test_every_difference_from_the_published_snapshots_has_a_reason(version: str, archives: Path) -> None:
    definitions = package(archives / f"us_core_{version}.tgz")
    library = definitions.library()
    same, reasons = 0, Counter[str]()
    for resource in definitions.of("StructureDefinition"):
        if resource["id"] == SDC:
            continue
        made = with_snapshot(read(resource, differential=True), library.find)
        found = list(differences(made.elements, read(resource).elements))
        same += not found
        for one in found:
            why = reason(version, resource["id"], one)
            assert why is not None, (resource["id"], one)
            reasons[why] += 1
    assert same >= 0.6 * (len(definitions.of("StructureDefinition")) - 1), (same, reasons)


@pytest.mark.parametrize("version", VERSIONS[1:])
def test_what_builds_upon_a_package_that_is_missing_waits_for_it(version: str, archives: Path) -> None:
    definitions = package(archives / f"us_core_{version}.tgz")
    (resource,) = (one for one in definitions.of("StructureDefinition") if one["id"] == SDC)
    with pytest.raises(Missing, match="sdc-questionnaireresponse"):
        with_snapshot(read(resource, differential=True), definitions.library().find)


# -- by hand


def definition(*elements: Row, **more: Any) -> Any:
    return read(
        {
            "resourceType": "StructureDefinition",
            "url": "urn:mine",
            "type": "Observation",
            "kind": "resource",
            "baseDefinition": "http://hl7.org/fhir/StructureDefinition/Observation",
            "derivation": "constraint",
            "differential": {"element": list(elements)},
            **more,
        }
    )


def snapshot(*elements: Row, **more: Any) -> dict[str, Row]:
    made = with_snapshot(definition(*elements, **more), R4.find)
    return {row["id"]: row for row in made.elements}


def test_ids_are_made_of_paths_and_slices() -> None:
    rows = snapshot(
        {"path": "Observation.category", "slicing": {"discriminator": [{"type": "value", "path": "coding"}]}},
        {"path": "Observation.category", "sliceName": "a", "min": 1},
        {"path": "Observation.category.text", "min": 1},
        {"path": "Observation.category", "sliceName": "b"},
        {"path": "Observation.category.text", "max": "0"},
    )
    assert rows["Observation.category:a"]["min"] == 1
    assert rows["Observation.category:a.text"]["min"] == 1
    assert rows["Observation.category:b.text"]["max"] == "0"
    assert "Observation.category.text" not in rows


def test_a_slice_of_a_slice_begins_as_that() -> None:
    rows = snapshot(
        {"path": "Observation.component", "slicing": {"rules": "open"}},
        {"path": "Observation.component", "sliceName": "a", "max": "3", "slicing": {"rules": "open"}},
        {"path": "Observation.component.value[x]", "min": 1},
        {"path": "Observation.component", "sliceName": "a/b"},
    )
    assert rows["Observation.component:a/b"]["max"] == "3"
    assert rows["Observation.component:a/b.value[x]"]["min"] == 1


def test_children_come_from_types_profiles_and_content_references() -> None:
    rows = snapshot(
        {"path": "Observation.subject.identifier.system", "min": 1},
        {"path": "Observation.component.referenceRange.low", "min": 1},
        {"path": "Observation.referenceRange.low.value", "min": 1},
    )
    assert rows["Observation.subject.identifier.system"]["base"]["path"] == "Identifier.system"
    assert rows["Observation.component.referenceRange.low"]["min"] == 1
    assert rows["Observation.component.referenceRange.high"]["min"] == 0
    assert rows["Observation.referenceRange.low.comparator"]["max"] == "0"  # of SimpleQuantity


def test_constraints_add_up_and_say_whose_they_are() -> None:
    mine = {"key": "my-1", "severity": "error", "human": "x", "expression": "true"}
    rows = snapshot({"path": "Observation", "constraint": [mine]})
    by_key = {one["key"]: one["source"].rpartition("/")[2] for one in rows["Observation"]["constraint"]}
    assert by_key["my-1"] == "urn:mine"
    assert by_key["obs-6"] == "Observation"
    assert by_key["dom-2"] == "DomainResource"


@pytest.mark.parametrize(
    ("element", "why"),
    [
        ({"path": "Observation.nose"}, "no element"),
        ({"path": "Patient.name"}, "does not begin with Observation"),
        ({"path": "Observation.value[x].unit"}, "which one is meant"),
        ({"path": "Observation.value[x]", "type": [{"code": "Patient"}]}, "is no Patient"),
        ({"path": "Observation.issued", "type": [{"code": "dateTime"}]}, "is no dateTime"),
        ({"path": "Observation.status", "min": 0}, "a minimum of 0"),
        ({"path": "Observation.status", "max": "*"}, "a maximum of *"),
        ({"path": "Observation.issued", "min": 2}, "cannot be there"),
        ({"path": "Observation.status", "max": "0"}, "cannot be there"),
        *(({"path": "Observation.note", "max": most}, "neither a number") for most in ("x", "-1", "9" * 99)),
    ],
)
def test_what_has_no_place(element: Row, why: str) -> None:
    with pytest.raises(Unmade, match=why):
        snapshot(element)


def test_slices_within_slices_do_not_grow_without_end() -> None:
    path, elements = "Observation", []
    for name in ("component", "code", "coding", "extension", "extension", "extension", "extension"):
        path = f"{path}.{name}"
        elements.append(path)
    rows = [{"path": one, "sliceName": f"s{number}"} for one in reversed(elements) for number in range(12)]
    with pytest.raises(Unmade, match="grows beyond"):
        snapshot(*rows)


def test_what_builds_upon_itself() -> None:
    mine = definition(baseDefinition="urn:mine")
    with pytest.raises(Unmade, match="upon itself"):
        with_snapshot(mine, lambda _: mine)


def test_a_profile_may_lie_in_itself() -> None:
    """Parts of an extension that are that extension again, and what is said of them."""
    url = "urn:mine"
    parts: list[Row] = [
        {"path": "Extension", "constraint": [{"key": "x-1", "severity": "error", "human": "x"}], "max": "7"},
        {
            "path": "Extension.extension",
            "sliceName": "inner",
            "type": [{"code": "Extension", "profile": [url]}],
        },
        {"path": "Extension.extension.url", "fixedUri": url},
        {"path": "Extension.url", "fixedUri": url},
    ]
    base = {"type": "Extension", "baseDefinition": "http://hl7.org/fhir/StructureDefinition/Extension"}
    mine = definition(*parts, **base)
    made = with_snapshot(mine, lambda asked: mine if asked == url else R4.find(asked))
    rows = {row["id"]: row for row in made.elements}
    inner = rows["Extension.extension:inner"]
    assert inner["max"] == "7" and "x-1" in {one["key"] for one in inner["constraint"]}
    assert rows["Extension.extension:inner.url"]["fixedUri"] == url


def test_profiles_that_lie_in_each_other() -> None:
    resources = {
        url: definition(
            {"path": "Observation.contained", "type": [{"code": "Resource", "profile": [other]}]}, url=url
        )
        for url, other in (("urn:a", "urn:b"), ("urn:b", "urn:a"))
    }
    made = with_snapshot(resources["urn:a"], lambda asked: resources.get(asked) or R4.find(asked))
    assert len(made.elements) > 30


def test_the_types_of_r4_stay() -> None:
    url = "http://hl7.org/fhir/StructureDefinition/Patient"
    mine = definition(url=url, type="Patient", snapshot={"element": [{"path": "Patient", "id": "Patient"}]})
    assert Library([mine]).find(url) is R4.find(url)


def test_snapshots_that_lack_what_they_must_say() -> None:
    deep = [{"path": ".".join(["Observation", *["component"] * number])} for number in range(200)]
    for elements in (
        [{"path": "Observation"}, {"path": "Observation.note"}],
        [{"path": "Observation.note"}],
        deep,
    ):
        given = definition(snapshot={"element": elements}, url="urn:base")
        mine = definition({"path": "Observation.note", "min": 1}, baseDefinition="urn:base")
        library = Library([given, mine])
        for one in (given, mine):
            with suppress(Unusable):
                library.plan(one.url)
