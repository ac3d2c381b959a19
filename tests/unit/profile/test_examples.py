"""Published examples by the profiles that they claim, and each broken on purpose.

An example that is itself at fault is named with what is wrong with it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

import pytest

from fhirserver.errors import Issue
from fhirserver.fhir import json
from fhirserver.fhir.profile.library import R4, Library
from fhirserver.fhir.profile.terms import Terms
from fhirserver.fhir.profile.validate import examine
from tests.support.guides import Codes, Package, package
from tests.support.violations import tally

VERSIONS: Final = ("311", "501", "610", "700")
FULL_URL: Final = "Bundle.entry[{}].fullUrl"
AT_FAULT: Final[dict[tuple[str, str], set[str]]] = {
    # a full URL disagrees with the id, https://hl7.org/fhir/R4/bundle-definitions.html#Bundle.entry.fullUrl
    ("311", "Bundle-66c8856b-ba11-4876-8aa8-467aad8c11a2"): {FULL_URL.format(2)},
    ("501", "Bundle-66c8856b-ba11-4876-8aa8-467aad8c11a2"): {FULL_URL.format(2)},
    ("610", "Bundle-66c8856b-ba11-4876-8aa8-467aad8c11a2"): {FULL_URL.format(2)},
    ("610", "Bundle-docref-example-2"): {FULL_URL.format(2)},
    # '/Medication/uscore-med2' is not absolute, as that paragraph demands
    ("311", "Bundle-uscore-mo3"): {FULL_URL.format(1)},
    # 'EQH/..AgME' is not base64
    ("311", "DiagnosticReport-cardiology-report"): {"DiagnosticReport.presentedForm[0].hash"},
    # L/min is not among the units to which R4's vital signs bind components
    ("311", "Observation-satO2-fiO2"): {"Observation.component[0].value.ofType(Quantity)"},
    # a unit with blanks, which not even the braces of UCUM may have
    ("311", "Observation-usg"): {
        "Observation.value.ofType(Quantity).code",
        "Observation.referenceRange[0].low.code",
        "Observation.referenceRange[0].high.code",
    },
    # &reg; is an entity that XML does not have, https://hl7.org/fhir/R4/narrative.html#xhtml
    ("501", "Encounter-example-1"): {"Encounter.text.div"},
    ("501", "Procedure-defib-implant"): {"Procedure.text.div"},
}


def errors(found: list[Issue]) -> set[str]:
    return {issue.expression or "" for issue in found if issue.severity == "error"}


@pytest.fixture(scope="module", params=VERSIONS)
def version(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture(scope="module")
def us_core(version: str, shared_data: Path) -> tuple[Package, Library, Terms]:
    found = package(shared_data / "us-core-igs" / f"us_core_{version}.tgz")
    return found, found.library(), found.terms()


def test_examples_of_us_core(version: str, us_core: tuple[Package, Library, Terms]) -> None:
    found, library, terms = us_core
    asked = {one["url"]: one for one in found.examples.values() if one["resourceType"] == "Questionnaire"}
    wrong = {
        (version, name): errors(examine(example, library, terms, questionnaires=asked))
        for name, example in found.examples.items()
    }
    expected = {key: where for key, where in AT_FAULT.items() if key[0] == version}
    assert {key: where for key, where in wrong.items() if where} == expected


def test_examples_broken_on_purpose(us_core: tuple[Package, Library, Terms]) -> None:
    """At least 97 of 100 are refused with an error at the right place."""
    found = tally(*us_core)
    missed = sum(map(len, found.missed.values()))
    assert found.caught.total() >= 250
    assert found.caught.total() >= 0.97 * (found.caught.total() + missed), found.missed


UNITS_OF_R4: Final[dict[str, int]] = {
    # no units of UCUM: 'ea', 'mEq', 'mcg', 'TAB', 'tbl', 'drop', 'month', 'ml/hr'
    "claim-example-pharmacy-compound": 1,
    "claim-example-pharmacy-medication": 1,
    "document-example-dischargesummary": 1,
    "medicationdispense0309": 1,
    "medicationdispense0313": 2,
    "medicationdispense0318": 1,
    "medicationdispense0324": 1,
    "medicationdispense0327": 1,
    "medicationdispense0328": 1,
    "medicationdispense0329": 1,
    "medicationrequest0304": 1,
    "medicationrequest0319": 1,
    "medicationrequest0322": 2,
    "medicationrequest0325": 1,
    "medicationrequest0326": 1,
    "medicationrequest0328": 1,
    "medicationrequest0329": 1,
    "medicationrequest0334": 1,
    "medicationrequest0335": 1,
    "visionprescription-example-1": 2,
    # no codes of v3-orderableDrugForm, which has them in capitals: 'Tab', 'tab', 'patch', 'Vial'
    "medicationadministration0312": 1,
    "medicationdispense0301": 1,
    "medicationdispense0325": 1,
    "medicationexample0304": 1,
    "medicationexample0309": 2,
    "medicationrequest0313": 1,
    "medicationrequest0327": 2,
    "medicationstatementexample1": 2,
    "medicationstatementexample2": 2,
    "medicationstatementexample3": 1,
    # one of each
    "medicationrequest0314": 2,
}
INVALID_OF_R4: Final[dict[str, int]] = {
    # of 70 characters
    "questionnaireresponse-extensions-QuestionnaireResponse-item-subject.json": 1,
    # DeviceMetric.parent refers to a DeviceDefinition
    "devicemetric-example.json": 1,
    # full URLs that disagree with the ids
    "diagnosticreport-example-lri.json": 16,
    "message-request-link.json": 1,
    "message-response-link.json": 1,
    # modifier extensions that nobody defined
    "basic-example.json": 3,
    "json-edge-cases.json": 2,
    # logical models without a base, against sdf-4
    "definition.json": 1,
    "event.json": 1,
    "fivews.json": 1,
    "request.json": 1,
    # media types with blanks in their parameters
    "endpoint-examples-general-template.json": 6,
    # 'RicardianContract' is no URI
    "contract-example.json": 1,
    "contract-example-ins-policy.json": 1,
    # a part 'uri' of an extension whose parts are 'url' and 'text'
    "diagnosticreport-hla-genetics-results-example.json": 1,
    **{f"{name}.json": count for name, count in UNITS_OF_R4.items()},
}


def test_examples_of_r4(shared_data: Path) -> None:
    wrong: dict[str, int] = {}
    terms = Codes([])
    for file in sorted((shared_data / "r4-examples-json").glob("*.json")):
        found = errors(examine(json.loads(file.read_bytes()), R4, terms, advice=False))
        if found:
            wrong[file.name] = len(found)
    assert wrong == INVALID_OF_R4
