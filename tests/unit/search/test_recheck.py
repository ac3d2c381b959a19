"""Looking at the values of a match again."""

from __future__ import annotations

from typing import Any

import pytest

from fhirserver.params.registry import r4
from fhirserver.search.parse import Limits, parse
from fhirserver.search.recheck import holds

BASES = ("http://here/fhir",)

PATIENT: dict[str, Any] = {
    "resourceType": "Patient",
    "id": "1",
    "meta": {"profile": ["http://p|1"]},
    "identifier": [{"system": "urn:a", "value": "X"}, {"value": "y"}],
    "gender": "male",
    "generalPractitioner": [{"reference": "http://here/fhir/Practitioner/d/_history/2"}],
    "managingOrganization": {"identifier": {"system": "urn:o", "value": "1"}},
    "link": [{"other": {"reference": "http://there/Patient/1"}, "type": "seealso"}],
}


@pytest.mark.parametrize(
    ("param", "expected"), [("url=http://q", True), ("url=http://q|2", True), ("url=http://q|1", False)]
)
def test_a_canonical_url_may_be_asked_for_with_its_version(param: str, expected: bool) -> None:
    asked = parse(r4(), Limits(own_bases=BASES), "Questionnaire", [tuple(param.split("="))])  # type: ignore[list-item]
    questionnaire = {"resourceType": "Questionnaire", "id": "1", "url": "http://q", "version": "2"}
    assert holds(asked, r4(), BASES, questionnaire) is expected


@pytest.mark.parametrize(
    ("param", "expected"),
    [
        ("identifier=urn:a|X", True),
        ("identifier=urn:a|x", False),
        ("identifier=urn:a|", True),
        ("identifier=|y", True),
        ("identifier=|X", False),
        ("identifier=z,y", True),
        ("identifier:not=y", False),
        ("identifier:not=z", True),
        ("gender=MALE", True),
        ("gender=http://hl7.org/fhir/administrative-gender|male", True),
        ("gender=urn:other|male", False),
        ("_profile=http://p", True),
        ("_profile=http://p|1", True),
        ("_profile=http://p|2", False),
        ("general-practitioner=d", True),
        ("general-practitioner=Practitioner/d/_history/2", True),
        ("general-practitioner=Practitioner/d/_history/3", False),
        ("general-practitioner=Organization/d", False),
        ("organization:identifier=urn:o|1", True),
        ("organization:identifier=urn:o|2", False),
        ("link=http://there/Patient/1", True),
        ("link=Patient/1", False),
        ("_filter=identifier eq urn:a|x", True),
        ("_filter=identifier eq urn:b|x", False),
        ("_filter=identifier ne y and identifier ne x", True),
        ("_filter=gender ne male", False),
        ("_filter=not (gender eq male)", False),
        ("_filter=not (gender eq female and identifier eq y)", True),
        ("_filter=gender eq female or identifier eq z", False),
        ("_filter=gender eq female or birthdate eq 1900", True),
        ("_filter=not (birthdate eq 1900)", True),
        ("_filter=general-practitioner re Practitioner/e", False),
        ("birthdate=1900", True),
        ("name=not-looked-at", True),
    ],
)
def test_holds(param: str, expected: bool) -> None:
    name, _, value = param.partition("=")
    query = parse(r4(), Limits(own_bases=BASES), "Patient", [(name, value)])
    assert holds(query, r4(), BASES, PATIENT) is expected
