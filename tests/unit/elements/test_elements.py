"""`_summary` and `_elements`: projections of the official examples, and the rules one by one."""

import copy
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fhirserver import errors
from fhirserver.fhir import json
from fhirserver.fhir.elements import SUBSETTED, check_elements, select, summarize
from fhirserver.fhir.structure import STRUCTURES, is_primitive

DATA = Path(__file__).parents[3] / "../shared/data/r4-examples-json"
TAG = {"meta": {"tag": [SUBSETTED]}}
Resource = dict[str, Any]


@pytest.fixture(scope="module")
def examples() -> list[Resource]:
    if not DATA.is_dir():
        pytest.skip("the shared test data has no folder r4-examples-json")
    return [json.loads(path.read_bytes()) for path in sorted(DATA.glob("*.json"))]


def untagged(resource: Any) -> Any:
    """Without the tags SUBSETTED, at any depth."""
    if isinstance(resource, list):
        return [untagged(item) for item in resource if item != SUBSETTED]
    if not isinstance(resource, dict):
        return resource
    found = {key: untagged(value) for key, value in resource.items()}
    return {key: value for key, value in found.items() if key not in ("meta", "tag") or value}


def is_projection(part: Any, whole: Any) -> bool:
    """Whether the part is the whole with properties and array members left out, in order."""
    if isinstance(part, dict) and isinstance(whole, dict):
        return all(key in whole and is_projection(value, whole[key]) for key, value in part.items())
    if isinstance(part, list) and isinstance(whole, list):
        rest = iter(whole)
        return all(any(is_projection(item, candidate) for candidate in rest) for item in part)
    return part == whole


def lacking(node: Resource, original: Resource, type_name: str) -> list[str]:
    """Paths of mandatory elements that the original has and the node has not, at any depth."""
    missing = []
    for key, (element, element_type) in STRUCTURES[type_name].keys.items():
        if element.min > 0 and key in original and key not in node:
            missing.append(f"{type_name}.{key}")
        if (
            key not in node
            or key not in original
            or is_primitive(element_type)
            or element_type in ("Resource", "Extension")
        ):
            continue
        inside, outside = node[key], original[key]
        if isinstance(inside, dict):
            inside, outside = [inside], [outside]
        if len(inside) == len(outside):
            for inner, outer in zip(inside, outside, strict=True):
                missing += lacking(inner, outer, element_type)
    return missing


@pytest.mark.parametrize("mode", ["true", "text", "data"])
def test_every_example_gives_a_projection_with_its_mandatory_elements(
    examples: list[Resource], mode: Any
) -> None:
    for resource in examples:
        before = copy.deepcopy(resource)
        found = summarize(resource, mode)
        assert resource == before
        assert is_projection(untagged(found), untagged(resource)), resource["id"]
        assert lacking(found, resource, resource["resourceType"]) == [], resource["id"]
        assert found["resourceType"] == resource["resourceType"]
        assert found.get("id") == resource.get("id")
        if resource.get("type") not in ("searchset", "history"):
            assert SUBSETTED in found["meta"]["tag"]


def test_selection_of_any_elements_is_a_projection(examples: list[Resource]) -> None:
    @settings(max_examples=100, deadline=None)
    @given(st.data())
    def check(data: st.DataObject) -> None:
        resource = data.draw(st.sampled_from(examples))
        type_name = resource["resourceType"]
        names = data.draw(st.sets(st.sampled_from(sorted(STRUCTURES[type_name].elements)), max_size=4))
        before = copy.deepcopy(resource)
        found = select(resource, names)
        assert resource == before
        assert is_projection(untagged(found), untagged(resource))
        assert lacking(found, resource, type_name) == []
        if resource.get("type") in ("searchset", "history"):
            return
        for key, (element, _) in STRUCTURES[type_name].keys.items():
            if element.name in names and key in resource:
                assert untagged(found.get(key)) == untagged(resource[key])

    check()


def test_false_is_the_identity() -> None:
    resource = {"resourceType": "Basic", "id": "1"}
    assert summarize(resource, "false") is resource


@pytest.mark.parametrize("mode", ["count", "yes", ""])
def test_other_modes_are_refused(mode: Any) -> None:
    with pytest.raises(errors.Invalid, match="_summary"):
        summarize({"resourceType": "Basic"}, mode)


PATIENT = {
    "resourceType": "Patient",
    "id": "p",
    "implicitRules": "http://example.org",
    "language": "en",
    "text": {"status": "generated", "div": "<div>Ann</div>"},
    "contained": [{"resourceType": "Basic", "id": "b"}],
    "extension": [{"url": "e"}],
    "modifierExtension": [{"url": "m"}],
    "active": True,
    "_active": {"id": "a"},
    "name": [{"id": "n", "family": "Ann", "extension": [{"url": "x"}]}, {"extension": [{"url": "y"}]}],
    "maritalStatus": {"text": "S"},
    "link": [{"other": {"reference": "Patient/q"}, "type": "seealso"}],
}


def test_summary_true() -> None:
    assert summarize(PATIENT, "true") == {
        "resourceType": "Patient",
        "id": "p",
        "implicitRules": "http://example.org",
        "modifierExtension": [{"url": "m"}],
        "active": True,
        "name": [{"family": "Ann"}],
        "link": [{"other": {"reference": "Patient/q"}, "type": "seealso"}],
        **TAG,
    }


def test_summary_text() -> None:
    assert summarize(PATIENT, "text") == {
        "resourceType": "Patient",
        "id": "p",
        "implicitRules": "http://example.org",
        "text": PATIENT["text"],
        "modifierExtension": [{"url": "m"}],
        **TAG,
    }
    observation = {
        "resourceType": "Observation",
        "status": "final",
        "code": {"text": "x"},
        "note": [{"text": "n"}],
    }
    assert summarize(observation, "text") == {
        "resourceType": "Observation",
        "status": "final",
        "code": {"text": "x"},
        **TAG,
    }


def test_summary_data() -> None:
    assert summarize(PATIENT, "data") == {**{k: v for k, v in PATIENT.items() if k != "text"}, **TAG}


def test_missing_values_keep_their_reason() -> None:
    reason = {"extension": [{"url": "http://hl7.org/fhir/StructureDefinition/data-absent-reason"}]}
    resource = {
        "resourceType": "Observation",
        "_status": reason,
        "code": {"extension": [{"url": "u"}]},
        "performer": [reason, {"display": "d"}],
    }
    assert summarize(resource, "true") == {
        "resourceType": "Observation",
        "_status": reason,
        "code": {"extension": [{"url": "u"}]},
        "performer": [{"display": "d"}],
        **TAG,
    }


def test_elements_keep_companions_and_all_types_of_a_choice() -> None:
    resource = {
        "resourceType": "Observation",
        "status": "final",
        "_status": {"id": "s"},
        "code": {"text": "c"},
        "valueQuantity": {"unit": "kg"},
        "note": [{"text": "n"}],
    }
    kept = {key: resource[key] for key in ("resourceType", "status", "_status", "code", "valueQuantity")}
    for name in ("value", "value[x]", "valueQuantity", "Observation.value", "Observation.valueQuantity"):
        assert select(resource, [name]) == {**kept, **TAG}
    assert "valueQuantity" not in select(resource, ["valueString"])
    assert "note" not in select(resource, ["Patient.name"])


def test_tag_is_added_once_and_beside_others() -> None:
    other = {"system": "s", "code": "c"}
    resource = {"id": "1", "resourceType": "Basic", "meta": {"versionId": "3", "tag": [other]}, "code": {}}
    found = select(resource, ["code"])
    assert found["meta"] == {"versionId": "3", "tag": [other, SUBSETTED]}
    assert list(found) == ["resourceType", "id", "meta", "code"]
    assert select(found, ["code"]) == found


def bundle(kind: str) -> Resource:
    return {
        "resourceType": "Bundle",
        "type": kind,
        "link": [{"relation": "self", "url": "u"}],
        "entry": [
            {"fullUrl": "1", "resource": PATIENT, "search": {"mode": "match", "score": 1}},
            {"fullUrl": "2", "resource": PATIENT, "search": {"mode": "include"}},
            {"resource": {"resourceType": "OperationOutcome", "issue": []}, "search": {"mode": "outcome"}},
            {"fullUrl": "3", "request": {"method": "DELETE", "url": "Patient/3"}},
        ],
    }


def test_search_bundles_stay_whole_around_their_entries() -> None:
    result = bundle("searchset")
    found = summarize(result, "data")
    short = summarize(PATIENT, "data")
    assert "meta" not in found
    assert found["link"] == result["link"]
    assert [entry.get("resource") for entry in found["entry"]] == [
        short,
        short,
        result["entry"][2]["resource"],
        None,
    ]
    assert found["entry"][0]["search"] == {"mode": "match", "score": 1}


def test_elements_do_not_touch_included_resources() -> None:
    found = select(bundle("searchset"), ["active"])
    assert found["entry"][0]["resource"] == select(PATIENT, ["active"])
    assert found["entry"][1]["resource"] is PATIENT


def test_stored_bundles_are_resources_like_others() -> None:
    document = bundle("document")
    found = summarize(document, "true")
    assert SUBSETTED in found["meta"]["tag"]
    assert found["entry"][0]["resource"] == summarize(PATIENT, "true")
    assert summarize(document, "text") == {"resourceType": "Bundle", "type": "document", **TAG}


def test_unknown_elements_are_named_with_the_nearest() -> None:
    with pytest.raises(errors.Invalid) as caught:
        check_elements(["name", "brthDate", "name.family", "Patient.nam"], ["Patient"])
    assert [issue.diagnostics for issue in caught.value.issues] == [
        "_elements: there is no element 'brthDate' in Patient; did you mean birthDate?",
        "_elements takes elements at the root of a resource only, not 'name.family'",
        "_elements: there is no element 'nam' in Patient; did you mean name?",
    ]


def test_elements_of_any_type_in_the_result_are_known() -> None:
    check_elements(["name", "status", "Encounter.period"], ["Patient", "Observation"])
    check_elements(["birthDate"], [])
    with pytest.raises(errors.Invalid, match="in any of the resource types"):
        check_elements(["birthDate"], ["Encounter", "Observation"])


@given(st.text())
def test_any_name_is_known_or_invalid(name: str) -> None:
    try:
        check_elements([name], ["Patient"])
    except errors.Invalid as error:
        assert error.issues[0].diagnostics.startswith("_elements")
