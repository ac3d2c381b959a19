"""What the static tables claim about R4's parameters, checked against the definitions."""

from __future__ import annotations

import pytest

from fhirserver.fhir.structure import ENDPOINT_TYPES
from fhirserver.params import facts
from fhirserver.params.composite import shape_of
from fhirserver.params.facts import routes_of
from fhirserver.params.registry import SearchParam, r4
from fhirserver.params.word import hot_bits

REGISTRY = r4()


def param(resource_type: str, code: str) -> SearchParam:
    found = REGISTRY.get(resource_type, code)
    assert found is not None, (resource_type, code)
    return found


@pytest.mark.parametrize(("resource_type", "code"), facts.CLINICAL_DATES.items())
def test_a_clinical_date_is_one_date(resource_type: str, code: str) -> None:
    found = param(resource_type, code)
    assert found.type == "date"
    assert facts.is_single(found, resource_type)


@pytest.mark.parametrize(("union", "parts"), facts.UNIONS.items())
def test_a_union_finds_what_its_parts_find(union: tuple[str, str], parts: tuple[str, ...]) -> None:
    of, code = union
    whole = param(of, code)
    assert {param(of, part).type for part in parts} == {whole.type}
    if whole.type != "composite":
        found = {way for part in parts for way in routes_of(param(of, part), of) or ()}
        assert found == set(routes_of(whole, of) or ())
        return
    own, component = (param(of, part) for part in parts)
    bases = {way for one in (own, component) for way in routes_of(one, of) or ()}
    assert bases == set(routes_of(whole, of) or ())
    expressions = [tuple(c.expression for c in one.components) for one in (whole, own, component)]
    assert len(set(expressions)) == 1


def test_a_code_in_a_composite_implies_its_system() -> None:
    """https://hl7.org/fhir/R4/search.html#token: the system of a code is defined in the value set."""
    system = "http://hl7.org/fhir/document-relationship-type"
    relation, target = facts.part_systems(param("DocumentReference", "relationship"), "DocumentReference")
    assert relation["replaces"] == system and target == {}
    assert facts.part_systems(param("Observation", "code-value-quantity"), "Observation") == [{}, {}]


def test_presence_and_hot_values_fit_into_one_word() -> None:
    for resource_type in ENDPOINT_TYPES:
        bits = [*facts.presence_bits(resource_type).values(), *hot_bits(resource_type).values()]
        assert len(set(bits)) == len(bits) <= 63
        assert all(bit.bit_count() == 1 and bit < 2**63 for bit in bits)


def test_every_composite_of_r4_can_be_stored() -> None:
    missing = [
        (resource_type, found.code)
        for resource_type in ENDPOINT_TYPES
        for found in REGISTRY.for_type(resource_type).values()
        if found.type == "composite" and shape_of(found, resource_type) is None
    ]
    assert missing == []


@pytest.mark.parametrize(
    ("resource_type", "path"),
    [
        ("Observation", ("Observation", "subject")),
        ("Condition", ("Condition", "subject")),
        ("AllergyIntolerance", ("AllergyIntolerance", "patient")),
        ("Coverage", ("Coverage", "beneficiary")),
        ("Task", ("Task", "for")),
        ("Appointment", None),
        ("Provenance", None),
        ("Account", None),
        ("Person", None),
        ("AuditEvent", None),
        ("Organization", None),
    ],
)
def test_one_element_says_whose_a_resource_is(resource_type: str, path: tuple[str, ...] | None) -> None:
    assert facts.patient_path(resource_type) == path


def test_both_patient_and_subject_are_answered_by_the_patient_key() -> None:
    assert facts.is_patient(param("Observation", "patient"), "Observation")
    assert facts.is_patient(param("Observation", "subject"), "Observation")
    assert not facts.is_patient(param("Observation", "performer"), "Observation")


def test_targets_are_those_that_the_expression_leaves() -> None:
    assert facts.targets(param("Observation", "patient"), "Observation") == ("Patient",)
    assert facts.targets(param("AllergyIntolerance", "patient"), "AllergyIntolerance") == ("Patient",)
    assert set(facts.targets(param("Observation", "subject"), "Observation")) == {
        "Group",
        "Device",
        "Patient",
        "Location",
    }


def test_codes_have_the_systems_of_their_value_sets() -> None:
    systems = facts.implied_systems(param("Patient", "gender"), "Patient")
    assert systems["male"] == "http://hl7.org/fhir/administrative-gender"
    assert facts.implied_systems(param("Observation", "code"), "Observation") == {}
