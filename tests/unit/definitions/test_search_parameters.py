"""The search parameters: complete, as published, and all of them able to work once corrected."""

from typing import Any

import pytest

from conformance.derive.corrections import CorrectionError, corrected, defects
from conformance.derive.paths import Checker, PathError
from conformance.derive.search_parameters import pairs
from fhirserver.fhir import structure as s

Json = dict[str, Any]
BASE = "http://hl7.org/fhir/SearchParameter/"


def test_counts(parameters: list[Json]) -> None:
    assert len(parameters) == len({row["url"] for row in parameters}) == 1375
    assert len(pairs(parameters)) == sum(len(row["base"]) for row in parameters) == 1706
    assert {row["type"] for row in parameters} == {
        "token",
        "reference",
        "string",
        "date",
        "composite",
        "uri",
        "quantity",
        "number",
        "special",
    }
    on_all = {code for base, code in pairs(parameters) if base in ("Resource", "DomainResource")}
    assert on_all == {
        "_content",
        "_id",
        "_lastUpdated",
        "_profile",
        "_query",
        "_security",
        "_source",
        "_tag",
        "_text",
    }
    assert {row["code"] for row in parameters if row["expression"] is None} == {"_content", "_query", "_text"}


def test_bases_and_targets_are_resource_types(parameters: list[Json]) -> None:
    for row in parameters:
        assert set(row["base"]) <= s.RESOURCE_TYPES | {"Resource", "DomainResource"}, row["url"]
        assert set(row.get("target", [])) <= s.RESOURCE_TYPES | {"Resource"}, row["url"]
        assert ("target" in row) <= (row["type"] == "reference"), row["url"]


def test_changes_of_the_package_are_undone(parameters: list[Json]) -> None:
    by_url = {row["url"].removeprefix(BASE): row for row in parameters}
    assert not by_url.keys() & {
        "DeviceDefinition-classification",
        "ServiceRequest-order-detail",
        "DetectedIssue-status",
    }
    assert by_url["clinical-patient"]["target"] == ["Patient", "Group"]
    assert not {"Organization", "CareTeam", "HealthcareService"} & {
        *by_url["MeasureReport-subject"]["target"]
    }


def test_components_name_parameters_of_the_same_base(parameters: list[Json], corrections: list[Json]) -> None:
    by_url = {row["url"]: row for row in parameters}
    composites = [row for row in corrected(parameters, corrections) if row["type"] == "composite"]
    assert len(composites) == 46
    for row in composites:
        assert len(row["component"]) in (2, 3), row["url"]
        for component in row["component"]:
            assert set(row["base"]) <= set(by_url[component["url"]]["base"]), row["url"]
            assert by_url[component["url"]]["type"] != "composite"


def test_every_parameter_works_on_each_of_its_bases(
    parameters: list[Json], corrections: list[Json], table: dict[str, Json]
) -> None:
    assert list(defects(corrected(parameters, corrections), table)) == []


def test_only_what_does_not_work_is_corrected(
    parameters: list[Json], corrections: list[Json], table: dict[str, Json]
) -> None:
    broken = {line.partition(" on ")[0] for line in defects(parameters, table)}
    assert broken == {row["url"].removeprefix(BASE) for row in corrections}


@pytest.mark.parametrize(
    "correction",
    [
        {"url": BASE + "Nothing", "reason": "it is not there", "expression": "Nothing"},
        {"url": BASE + "Patient-active", "expression": "Patient.name"},
        {"url": BASE + "Patient-active", "reason": "no change", "expression": "Patient.active"},
        {"url": BASE + "Patient-active", "reason": "no field"},
    ],
)
def test_a_useless_correction_is_refused(parameters: list[Json], correction: Json) -> None:
    with pytest.raises(CorrectionError):
        corrected(parameters, [correction])


@pytest.mark.parametrize(
    ("expression", "context", "types"),
    [
        ("Observation.value as Quantity", "Observation", {"Quantity"}),
        ("Observation.value.as(string) | Observation.code.text", "Observation", {"string"}),
        ("Patient.name | Observation.code", "Observation", {"CodeableConcept"}),
        ("(Patient.deceased as dateTime)", "Observation", set()),
        ("Condition.onset as Quantity", "Condition", {"Age"}),
        ("Patient.deceased.exists() and Patient.deceased != false", "Patient", {"boolean"}),
        ("Patient.telecom.where(system = 'email' and use = 'home')", "Patient", {"ContactPoint"}),
        ("Observation.subject.where(resolve() is Patient)", "Observation", {"Reference"}),
        ("Bundle.entry[0].resource as Composition", "Bundle", {"Composition"}),
        ("Resource.meta.tag", "Patient", {"Coding"}),
        ("%resource.code.coding", "Observation", {"Coding"}),
        ("Patient.extension('urn:x').value.as(Coding).code", "Patient", {"code"}),
        ("Task.`for`", "Task", {"Reference"}),
    ],
)
def test_checker_finds_types(table: dict[str, Json], expression: str, context: str, types: set[str]) -> None:
    assert Checker(table).types(expression, context, context) == types


@pytest.mark.parametrize(
    "expression",
    [
        "Patient.nothing",
        "Patient.birthDate as Quantity",
        "Patient.name as Nothing",
        "Patient.name.where(nothing = '1')",
        "Patient.name.nothing()",
        "Patient.name.",
        "Patient.name where",
        "(Patient.name",
        "Patient.name[0",
        "Patient.#",
        "Observation.nothing",
        "",
    ],
)
def test_checker_refuses(table: dict[str, Json], expression: str) -> None:
    with pytest.raises(PathError):
        Checker(table).types(expression, "Patient", "Patient")
