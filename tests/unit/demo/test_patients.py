"""The invented data are deterministic, whole and valid."""

import re
from collections import Counter
from collections.abc import Iterator
from decimal import Decimal
from itertools import islice
from typing import Any

import pytest

from fhirserver import demo
from fhirserver.demo.laboratory import filtration
from fhirserver.fhir import validate
from fhirserver.fhir.json import dumps, loads
from fhirserver.fhir.structure import structure, value_set

PATIENTS = 60


def references(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        for key, item in value.items():
            if key in ("reference", "url") and isinstance(item, str):
                yield item
            else:
                yield from references(item)
    elif isinstance(value, list):
        for item in value:
            yield from references(item)


@pytest.fixture(scope="module")
def charts() -> list[dict[str, Any]]:
    return list(demo.patients(PATIENTS, seed=7))


def test_a_patient_does_not_depend_on_how_many_are_made(charts: list[dict[str, Any]]) -> None:
    assert list(demo.patients(3, seed=7)) == charts[:3]
    assert list(demo.patients(2, seed=7, first=5)) == charts[5:7]
    assert next(demo.patients(1, seed=8)) != charts[0]


def test_every_link_leads_to_an_entry_of_the_same_bundle(charts: list[dict[str, Any]]) -> None:
    for bundle in charts:
        full_urls = [entry["fullUrl"] for entry in bundle["entry"]]
        assert len(set(full_urls)) == len(full_urls)
        linked = set(references([entry["resource"] for entry in bundle["entry"]]))
        assert {link for link in linked if not link.startswith("http")} <= set(full_urls)


def test_what_a_chart_needs_is_there(charts: list[dict[str, Any]]) -> None:
    for bundle in charts:
        counts = Counter(entry["resource"]["resourceType"] for entry in bundle["entry"])
        assert counts["Patient"] == 1
        assert counts["Encounter"] >= 1
        assert counts["Observation"] >= 1
        assert bundle["type"] == "transaction"
    sizes = [len(bundle["entry"]) for bundle in charts]
    assert 90 < sum(sizes) / len(sizes) < 220


def test_shared_people_and_places_are_created_once_only(charts: list[dict[str, Any]]) -> None:
    shared = ("Organization", "Location", "Practitioner", "PractitionerRole")
    for entry in (entry for bundle in charts for entry in bundle["entry"]):
        assert entry["request"]["method"] == "POST"
        conditional = entry["resource"]["resourceType"] in shared
        assert ("ifNoneExist" in entry["request"]) == conditional


def test_bundles_without_the_directory_refer_to_it() -> None:
    directory = {entry["request"]["url"] for entry in demo.directory(3)["entry"]}
    for bundle in demo.patients(10, seed=3, self_contained=False):
        full_urls = {entry["fullUrl"] for entry in bundle["entry"]}
        links = set(references([entry["resource"] for entry in bundle["entry"]]))
        assert {link for link in links if not link.startswith("http")} <= full_urls | directory
        assert links & directory


def test_plain_resources_refer_to_earlier_or_same_patient_resources() -> None:
    found = list(demo.resources(10, seed=3))
    names = {f"{resource['resourceType']}/{resource['id']}" for resource in found}
    assert len(names) == len(found)
    relative = re.compile(r"^[A-Z][A-Za-z]+/[A-Za-z0-9.-]{1,64}$")
    links = {link for link in references(found) if not link.startswith("http")}
    assert all(relative.match(link) for link in links)
    assert links <= names


@pytest.mark.parametrize(("scale", "low", "high"), [(0.5, 0.35, 0.75), (1.0, 1.0, 1.0), (4.0, 3.9, 4.1)])
def test_observations_scale(scale: float, low: float, high: float) -> None:
    def count(observations: float) -> int:
        made = demo.resources(20, seed=2, observations=observations)
        return sum(resource["resourceType"] == "Observation" for resource in made)

    assert low <= count(scale) / count(1.0) <= high


def test_numbers_are_exact_and_survive_the_codec() -> None:
    def numbers(value: Any) -> Iterator[object]:
        if isinstance(value, dict):
            for item in value.values():
                yield from numbers(item)
        elif isinstance(value, list):
            for item in value:
                yield from numbers(item)
        elif not isinstance(value, str):
            yield value

    for resource in demo.resources(5):
        assert {type(value) for value in numbers(resource)} <= {int, bool, Decimal}
        assert loads(dumps(resource)) == resource


def test_required_elements_types_and_bindings() -> None:
    """A walk over the structure tables, independent of the server's validator."""
    faults = [fault for resource in demo.resources(PATIENTS, seed=4) for fault in _faults(resource)]
    assert faults == []


def _faults(resource: dict[str, Any]) -> Iterator[str]:
    yield from _object(resource["resourceType"], resource, resource["resourceType"])


def _object(type_name: str, value: dict[str, Any], path: str) -> Iterator[str]:
    found = structure(type_name)
    for element in found.elements.values():
        keys = [key for key, (owner, _) in found.keys.items() if owner is element and key in value]
        if len(keys) > 1:
            yield f"{path}.{element.name}: {keys}"
        if element.min and not keys:
            yield f"{path}.{element.name} is missing"
    for key, item in value.items():
        if key == "resourceType" and found.kind == "resource":
            continue
        if key not in found.keys:
            yield f"{path}.{key} is unknown"
            continue
        element, key_type = found.keys[key]
        if isinstance(item, list) != (element.max is None or element.max > 1):
            yield f"{path}.{key} has the wrong cardinality"
        for part in item if isinstance(item, list) else [item]:
            if element.binding:
                yield from _bound(element.binding, part, f"{path}.{key}")
            if isinstance(part, dict):
                yield from _object(key_type, part, f"{path}.{key}")
                yield from _target(element.targets, part, f"{path}.{key}")
            elif structure(key_type).kind not in ("primitive",):
                yield f"{path}.{key} is {part!r}"


def _bound(url: str, value: Any, path: str) -> Iterator[str]:
    allowed = value_set(url)
    if allowed is None:
        return
    if isinstance(value, dict):
        codings = value.get("coding", [value])
        if not any(coding["code"] in allowed.get(coding["system"], ()) for coding in codings):
            yield f"{path}: {value} is not in {url}"
    elif not any(value in codes for codes in allowed.values()):
        yield f"{path}: {value} is not in {url}"


def _target(targets: tuple[str, ...], value: dict[str, Any], path: str) -> Iterator[str]:
    if targets and "reference" in value and value["reference"].partition("/")[0] not in targets:
        yield f"{path}: {value['reference']} may not stand here"


def test_the_servers_own_validator_accepts_everything() -> None:
    for resource in demo.resources(PATIENTS, seed=6):
        assert validate.issues(loads(dumps(resource))) == []
    for bundle in (demo.directory(6), *demo.patients(5, seed=6), *demo.patients_with_ids(5, seed=6)):
        assert validate.issues(loads(dumps(bundle))) == []


def test_stored_again_nothing_multiplies() -> None:
    for bundle in demo.patients_with_ids(5, seed=6):
        assert bundle["entry"][0]["resource"]["resourceType"] == "Patient"
        for entry in bundle["entry"]:
            resource = entry["resource"]
            url = f"{resource['resourceType']}/{resource['id']}"
            assert entry["request"] == {"method": "PUT", "url": url}


def test_vital_signs_are_plausible() -> None:
    for resource in islice(demo.resources(PATIENTS, seed=5), 20_000):
        if resource["resourceType"] != "Observation" or "component" not in resource:
            continue
        systolic, diastolic = (part["valueQuantity"]["value"] for part in resource["component"])
        assert 60 < diastolic + 15 <= systolic + 1 < 220


def test_filtration_agrees_with_published_values() -> None:
    """CKD-EPI 2021 for creatinine 1.0 mg/dL at fifty: about 92 for men and 69 for women."""
    assert filtration(1.0, 50, female=False) == pytest.approx(91.7, abs=1.0)
    assert filtration(1.0, 50, female=True) == pytest.approx(68.8, abs=1.0)
