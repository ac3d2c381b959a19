"""Entries of whole resources: the columns of the row, and that every official example can be indexed."""

from __future__ import annotations

from datetime import UTC
from decimal import Decimal
from pathlib import Path
from typing import Any

from fhirserver.fhir import json
from fhirserver.fhir.keys import Keys
from fhirserver.fhir.structure import ENDPOINT_TYPES
from fhirserver.params import string
from fhirserver.params.entries import ORD_ABSENT
from fhirserver.params.facts import CLINICAL_DATES, presence_bits
from fhirserver.params.index import indexer
from fhirserver.params.registry import SearchParam, r4
from fhirserver.params.word import hot_bits

KEYS = Keys(b"k" * 32, 1)
BASES = ("http://here/fhir",)
INDEX = indexer(r4(), KEYS, BASES, UTC)
BIGINT = range(-(2**63), 2**63)

OBSERVATION: dict[str, Any] = {
    "resourceType": "Observation",
    "id": "o",
    "status": "final",
    "category": [{"coding": [{"system": "http://c", "code": "vital-signs"}]}],
    "code": {"coding": [{"system": "http://loinc.org", "code": "1-8"}, {"code": "X"}]},
    "subject": {"reference": "http://here/fhir/Patient/p"},
    "performer": [{"reference": "Practitioner/d"}, {"reference": "Patient/q"}],
    "effectiveDateTime": "2020-05-01",
    "valueQuantity": {
        "value": Decimal("1.5"),
        "unit": "g",
        "system": "http://unitsofmeasure.org",
        "code": "g",
    },
}


def test_the_row_of_an_observation() -> None:
    entries = INDEX("Observation", "o", OBSERVATION)
    day = 86_400_000_000
    assert entries.ptk == KEYS.target("Patient", "p")
    assert entries.ord == entries.d_lo == 18383 * day
    assert entries.d_hi == 18384 * day
    assert set(entries.compartments) == {
        KEYS.target("Patient", "p"),
        KEYS.target("Patient", "q"),
        KEYS.target("Practitioner", "d"),
    }
    present = {code for code, bit in presence_bits("Observation").items() if entries.keys[0] & bit}
    assert present == {
        "category",
        "code",
        "date",
        "patient",
        "performer",
        "status",
        "subject",
        "value-quantity",
    }


def test_the_patient_of_a_resource_needs_no_other_key() -> None:
    target = KEYS.target("Patient", "p")
    entries = INDEX("Observation", "o", OBSERVATION)
    for code in ("patient", "subject"):
        assert KEYS.param("Observation", code) ^ target not in entries.keys
    assert KEYS.param("Observation", "performer") ^ KEYS.target("Patient", "q") in entries.tok


def test_frequent_codes_have_no_index_row() -> None:
    entries = INDEX("Observation", "o", OBSERVATION)
    key = KEYS.of("tok", "Observation", "status", "final")
    assert key in entries.keys
    assert key not in entries.tok
    rare = INDEX("Observation", "o", {**OBSERVATION, "status": "cancelled"})
    assert KEYS.of("tok", "Observation", "status", "cancelled") in rare.tok


def test_frequent_values_are_bits_of_the_word() -> None:
    known = hot_bits("Observation")
    word = INDEX("Observation", "o", OBSERVATION).keys[0]
    hot = {value for value, bit in known.items() if word & bit}
    assert hot == {("status", "final"), ("category", "vital-signs"), ("code", "http://loinc.org|")}
    rare = INDEX("Observation", "o", {**OBSERVATION, "status": "cancelled", "category": []})
    assert {value for value, bit in known.items() if rare.keys[0] & bit} == {("code", "http://loinc.org|")}


def test_a_system_has_an_index_row_where_it_narrows() -> None:
    def rows(resource: dict[str, Any], code: str, system: str) -> tuple[bool, bool]:
        entries = INDEX(resource["resourceType"], "x", resource)
        space = "tok=" if code == "identifier" else "tok"
        key = KEYS.of(space, resource["resourceType"], code, system, "|")
        return key in entries.keys, key in entries.tok

    other = {**OBSERVATION, "code": {"coding": [{"system": "http://own", "code": "1"}]}}
    assert rows(OBSERVATION, "code", "http://loinc.org") == (True, False)
    assert rows(other, "code", "http://own") == (True, True)
    implied = "http://hl7.org/fhir/observation-status"
    assert rows(OBSERVATION, "status", implied) == (True, False)
    patient = {"resourceType": "Patient", "id": "x", "identifier": [{"system": "http://own", "value": "1"}]}
    assert rows(patient, "identifier", "http://own") == (True, True)


def test_what_tok_has_is_found_by_the_keys_of_the_row() -> None:
    """So that the janitor can remove it: by them, or by them and the patient together."""
    entry = [
        {"item": {"reference": "Patient/kept/_history/3"}},
        {"item": {"reference": "Patient/gone"}, "deleted": True},
    ]
    items = {"resourceType": "List", "status": "current", "mode": "working", "entry": entry}
    for resource in (OBSERVATION, items, BUNDLE):
        entries = INDEX(resource["resourceType"], "o", resource)
        of_patient = {key ^ entries.ptk for key in entries.keys[1:]} if entries.ptk is not None else set()
        assert set(entries.tok) <= {*entries.keys[1:], *of_patient}


BUNDLE: dict[str, Any] = {
    "resourceType": "Bundle",
    "type": "document",
    "entry": [
        {
            "resource": {
                "resourceType": "Composition",
                "status": "final",
                "type": {"coding": [{"system": "http://loinc.org", "code": "11488-4"}]},
                "date": "2020",
                "title": "t",
            }
        }
    ],
}


def test_the_word_says_nothing_of_what_is_within() -> None:
    """Its bits are values of the row's own type, whichever type they were met in."""
    empty = INDEX("Bundle", "b", {"resourceType": "Bundle", "type": "document"})
    within = presence_bits("Bundle")["composition"]
    assert INDEX("Bundle", "b", BUNDLE).keys[0] == empty.keys[0] | within


def test_types_without_a_clinical_date_leave_the_order_to_the_database() -> None:
    entries = INDEX("Patient", "p", {"resourceType": "Patient", "id": "p", "birthDate": "1974-12-25"})
    assert entries.ord is None
    assert entries.compartments == [KEYS.target("Patient", "p")]
    undated = INDEX("Observation", "o", {"resourceType": "Observation", "id": "o", "status": "final"})
    assert (undated.ord, undated.d_lo, undated.d_hi) == (ORD_ABSENT, None, None)


def test_only_long_dates_are_stored_apart() -> None:
    short = INDEX("Encounter", "e", {"period": {"start": "2020-01-01", "end": "2020-01-31"}})
    assert short.dat == []
    long = INDEX("Encounter", "e", {"period": {"start": "2020-01-01"}})
    assert [(lo, hi) for _, lo, hi in long.dat] == [(long.d_lo, long.d_hi)]


def test_contained_resources_and_fragments_are_not_indexed() -> None:
    entries = INDEX(
        "Observation",
        "o",
        {
            "status": "final",
            "contained": [{"resourceType": "Patient", "id": "x", "name": [{"family": "hidden"}]}],
            "subject": {"reference": "#x"},
        },
    )
    assert (entries.ptk, entries.tok, entries.str, entries.compartments) == (None, [], [], [])


def test_a_parameter_of_ones_own_has_a_presence_key() -> None:
    own = SearchParam("eye", "token", ("Patient",), "Patient.extension.value.ofType(code)", "urn:eye")
    index = indexer(r4().with_params([own]), KEYS, BASES, UTC)
    patient = {"resourceType": "Patient", "id": "p", "extension": [{"url": "urn:x", "valueCode": "blue"}]}
    assert KEYS.of("present", "Patient", "eye") in index("Patient", "p", patient).keys


def test_every_example_has_entries_that_can_be_stored(shared_data: Path) -> None:
    count = 0
    for path in sorted((shared_data / "r4-examples-json").glob("*.json")):
        resource = json.loads(path.read_bytes())
        type_ = resource["resourceType"]
        if type_ not in ENDPOINT_TYPES:
            continue
        count += 1
        entries = INDEX(type_, resource.get("id", "x"), resource)
        assert (entries.ord is None) is (type_ not in CLINICAL_DATES)
        numbers = [*entries.keys, *entries.tok, *entries.compartments, entries.ord or 0, entries.ptk or 0]
        assert all(number in BIGINT for number in numbers)
        for row in (*entries.dat, *((key, 0, 0) for key, *_ in (*entries.str, *entries.qty))):
            assert all(number in BIGINT for number in row)
        assert all(lo < hi for _, lo, hi in entries.dat)
        assert all(len(text) <= string.VALUE_LENGTH_MAX and "\0" not in text for _, text in entries.str)
        for rows in (
            entries.tok,
            entries.str,
            entries.dat,
            entries.qty,
            entries.keys[1:],
            entries.compartments,
        ):
            assert len(set(rows)) == len(rows)
    assert count > 2_000
