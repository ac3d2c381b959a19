"""Which modifiers each parameter has, and how their values are written."""

from __future__ import annotations

from datetime import UTC
from typing import Any

import pytest

from fhirserver.errors import Invalid
from fhirserver.fhir.keys import Keys
from fhirserver.fhir.structure import ENDPOINT_TYPES
from fhirserver.params import facts, kinds, mime, modifiers, reference, uri
from fhirserver.params.condition import UnsupportedModifier
from fhirserver.params.hierarchy import HIERARCHIES, hierarchies
from fhirserver.params.index import indexer
from fhirserver.params.kinds import Reading
from fhirserver.params.registry import SearchParam, r4
from fhirserver.params.token import TypedValue, ValueSetValue

REGISTRY = r4()
BASES = ("http://here/fhir",)
CODES = {"not", "in", "not-in", "above", "below", "missing"}


def param(resource_type: str, code: str) -> SearchParam:
    found = REGISTRY.get(resource_type, code)
    assert found is not None, (resource_type, code)
    return found


def read(resource_type: str, code: str, modifier: str | None, text: str) -> Any:
    found = param(resource_type, code)
    modifiers.check(found, resource_type, modifier)
    return kinds.parse(found, resource_type, modifier, text, Reading(UTC, BASES))


@pytest.mark.parametrize(
    ("resource_type", "code", "expected"),
    [
        ("Observation", "code", CODES),
        ("Patient", "gender", CODES),
        ("Observation", "_tag", CODES),
        ("Group", "value", CODES),
        ("Patient", "identifier", {"not", "of-type", "missing"}),
        ("Patient", "active", {"not", "missing"}),
        ("Patient", "telecom", {"not", "missing"}),
        ("Patient", "_id", {"not", "missing"}),
        ("DocumentReference", "contenttype", CODES),
        ("Observation", "patient", {"a resource type", "identifier", "missing"}),
        ("Procedure", "location", {"a resource type", "identifier", "missing", "above", "below"}),
        ("Task", "focus", {"a resource type", "identifier", "missing", "above", "below"}),
        ("MeasureReport", "measure", {"a resource type", "missing", "below"}),
        ("ValueSet", "url", {"above", "below", "missing"}),
        ("Patient", "_profile", {"above", "below", "missing"}),
        ("Patient", "birthdate", {"missing"}),
    ],
)
def test_what_fits_the_values_of_a_parameter(resource_type: str, code: str, expected: set[str]) -> None:
    found = modifiers.supported(param(resource_type, code), resource_type)
    assert set(found) - {"text"} == expected


def test_of_every_parameter_something_is_said() -> None:
    for resource_type in sorted(ENDPOINT_TYPES):
        for found in REGISTRY.for_type(resource_type).values():
            known = modifiers.supported(found, resource_type)
            assert set(known) <= set(modifiers.BY_TYPE[found.type])
            assert "missing" in known


@pytest.mark.parametrize(
    ("resource_type", "code", "modifier", "text"),
    [
        ("Patient", "gender", "nto", "did you mean :not?"),
        ("Patient", "gender", "Not", "did you mean :not?"),
        ("Patient", "gender", "not_in", "did you mean :not-in?"),
        ("Patient", "gender", "bellow", "did you mean :below?"),
        ("Patient", "identifier", "ofType", "did you mean :of-type?"),
        ("Patient", "identifier", "otype", "did you mean :of-type?"),
        ("Patient", "identifier", "below", "supported: :not, :text, :of-type, :missing"),
        ("Observation", "subject", "Pateint", "did you mean :Patient?"),
        ("Observation", "patient", "Group", "supported: a resource type, :identifier, :missing"),
        ("MeasureReport", "measure", "identifier", "supported: a resource type, :below, :missing"),
        ("Patient", "birthdate", "exact", "supported: :missing"),
        ("ValueSet", "url", "contains", "supported: :above, :below, :missing"),
    ],
)
def test_what_does_not_fit_is_refused_with_what_would(
    resource_type: str, code: str, modifier: str, text: str
) -> None:
    with pytest.raises(UnsupportedModifier) as caught:
        modifiers.check(param(resource_type, code), resource_type, modifier)
    assert text in str(caught.value) and f":{modifier} is not supported on '{code}'" in str(caught.value)
    assert (caught.value.status, caught.value.code) == (400, "not-supported")


def test_a_wild_modifier_has_no_neighbour() -> None:
    with pytest.raises(UnsupportedModifier) as caught:
        modifiers.check(param("Patient", "gender"), "Patient", "xyzzy" * 100)
    assert "did you mean" not in str(caught.value)


# -- forms of values


@pytest.mark.parametrize(
    ("resource_type", "code", "modifier", "text", "expected"),
    [
        ("Condition", "code", "in", "http://vs|1.0", ValueSetValue("http://vs|1.0")),
        ("Condition", "code", "in", "http://vs\\|1\\,0", ValueSetValue("http://vs|1,0")),
        ("Condition", "code", "not-in", "ValueSet/x", ValueSetValue("ValueSet/x")),
        ("Patient", "identifier", "of-type", "urn:t|MR|1 2", TypedValue("urn:t", "MR", "1 2")),
        ("Patient", "identifier", "of-type", "urn:t|MR|1\\|2", TypedValue("urn:t", "MR", "1|2")),
    ],
)
def test_values(resource_type: str, code: str, modifier: str, text: str, expected: object) -> None:
    assert read(resource_type, code, modifier, text) == expected


@pytest.mark.parametrize(
    ("resource_type", "code", "modifier", "text", "said"),
    [
        ("Condition", "code", "in", "my-codes", "ValueSet/[id]"),
        ("Condition", "code", "below", "http://snomed.info/sct|", "system|code"),
        ("Condition", "code", "above", "|a", "system|code"),
        ("Patient", "identifier", "of-type", "urn:t|MR", "system|code|value"),
        ("Patient", "identifier", "of-type", "urn:t||1", "system|code|value"),
        ("Patient", "identifier", "of-type", "|MR|1", "system|code|value"),
        ("Patient", "identifier", "of-type", "urn:t|MR|1|2", "system|code|value"),
        ("ValueSet", "url", "below", "urn:oid:1.2", "URLs"),
        ("ValueSet", "url", "above", "URN:uuid:1", "URLs"),
        ("ValueSet", "url", "below", "ur", "URLs"),
        ("ValueSet", "url", "below", "http://" + "x" * 600, "600 characters"),
        ("Procedure", "location", "below", "Location/1/_history/2", "take the resource itself"),
        ("Observation", "subject", None, "Pateint/1", "did you mean Patient/1?"),
        ("Observation", "subject", None, "patient/1", "did you mean Patient/1?"),
        ("Observation", "subject", None, "Patient/1/Observation/2", "not an id, Type/id or URL"),
        ("Observation", "subject", None, "two words", "not an id, Type/id or URL"),
        ("Observation", "subject", None, "#a", "not an id, Type/id or URL"),
        ("Observation", "subject", None, "Patient?name=x", "is a search"),
        ("Observation", "subject", "Patient", "Group/1", "not a reference to the type Patient"),
        ("Observation", "subject", "Patient", "urn:uuid:1", "does not say of what type"),
        ("MeasureReport", "measure", None, "Maesure/1", "did you mean Measure/1?"),
    ],
)
def test_values_of_the_wrong_form(
    resource_type: str, code: str, modifier: str | None, text: str, said: str
) -> None:
    with pytest.raises(Invalid) as caught:
        read(resource_type, code, modifier, text)
    assert said in str(caught.value)


# -- hierarchies


@pytest.mark.parametrize(
    ("resource_type", "code"), [(of, code) for of, codes in HIERARCHIES.items() for code in codes]
)
def test_a_hierarchy_is_made_of_references_to_the_same_type(resource_type: str, code: str) -> None:
    found = param(resource_type, code)
    assert found.type == "reference" and not facts.is_canonical(found, resource_type)
    assert resource_type in facts.targets(found, resource_type)
    assert not facts.is_patient(found, resource_type)
    assert hierarchies(found, resource_type)[resource_type] == code


def test_references_from_elsewhere_go_by_the_first_hierarchy() -> None:
    assert hierarchies(param("Procedure", "location"), "Procedure") == {"Location": "partof"}
    assert hierarchies(param("Procedure", "based-on"), "Procedure") == {"CarePlan": "part-of"}
    assert hierarchies(param("CarePlan", "based-on"), "CarePlan") == {"CarePlan": "based-on"}
    assert set(hierarchies(param("Task", "focus"), "Task")) == set(HIERARCHIES)
    assert hierarchies(param("Observation", "code"), "Observation") == {}


# -- parts of values


def test_beginnings() -> None:
    assert list(reference.beginnings("1.2.3-beta")) == ["1", "1.2", "1.2.3", "1.2.3-beta"]
    assert list(reference.beginnings("20")) == ["20"]
    assert len(list(reference.beginnings("1." * 500_000))) < 40
    assert uri.beginnings("http:/a") == ["http:/", "http:/a"]
    assert uri.beginnings("x:") == ["x:"]
    assert mime.base("Text/XML ; charset=UTF-8") == "text/xml"


def test_a_long_canonical_costs_no_more_keys_than_a_short_one() -> None:
    index = indexer(REGISTRY, Keys(b"x" * 16, 1), BASES, UTC)
    report = {"resourceType": "MeasureReport", "id": "1", "measure": "http://m|" + "1." * 100_000}
    assert len(index("MeasureReport", "1", report).keys) < 60


def test_an_identifier_without_type_or_value_is_found_by_no_type() -> None:
    index = indexer(REGISTRY, Keys(b"x" * 16, 1), BASES, UTC)
    types = {"coding": [{"code": "MR"}, {"system": "urn:t"}, {}]}
    for one in ({"type": types, "value": "1"}, {"type": {"text": "-"}, "value": "1"}):
        plain = index("Patient", "1", {"resourceType": "Patient", "identifier": [{"value": "1"}]})
        found = index("Patient", "1", {"resourceType": "Patient", "identifier": [one]})
        assert found.keys == plain.keys
