"""Each defect gives one issue, with its code, its place, and what would be right."""

import copy
from decimal import Decimal
from typing import Any

import pytest

from fhirserver.fhir import validate
from fhirserver.fhir.xml import from_xml, to_xml

Resource = dict[str, Any]
DIV = '<div xmlns="http://www.w3.org/1999/xhtml">x</div>'
PATIENT: Resource = {
    "resourceType": "Patient",
    "id": "1",
    "text": {"status": "generated", "div": DIV},
    "extension": [{"url": "http://example.org/e", "valueString": "x"}],
    "identifier": [{"system": "http://example.org/mrn", "value": "1"}],
    "active": True,
    "name": [
        {
            "family": "Chalmers",
            "given": ["Peter", "James"],
            "_given": [None, {"extension": [{"url": "http://example.org/e", "valueCode": "x"}]}],
        }
    ],
    "contact": [{"name": {"given": ["A", "B"]}, "gender": "female"}],
    "birthDate": "1974-12-25",
    "_birthDate": {"extension": [{"url": "http://example.org/t", "valueTime": "14:35:45"}]},
    "multipleBirthInteger": 2,
    "generalPractitioner": [{"reference": "Practitioner/1"}],
}
OBSERVATION: Resource = {
    "resourceType": "Observation",
    "status": "final",
    "code": {"coding": [{"system": "http://loinc.org", "code": "15074-8"}]},
    "subject": {"reference": "Patient/1"},
    "effectivePeriod": {"start": "2013-04-02T09:30:10+01:00"},
    "valueQuantity": {"value": Decimal("6.30"), "unit": "mmol/l"},
    "component": [{"code": {"text": "a"}, "valueInteger": 1}],
}
CONDITION: Resource = {
    "resourceType": "Condition",
    "clinicalStatus": {
        "coding": [{"system": "http://terminology.hl7.org/CodeSystem/condition-clinical", "code": "active"}]
    },
    "subject": {"reference": "Patient/1"},
}
MEDICATION_REQUEST: Resource = {
    "resourceType": "MedicationRequest",
    "contained": [
        {"resourceType": "Medication", "id": "m", "manufacturer": {"reference": "#o"}},
        {"resourceType": "Organization", "id": "o", "name": "x"},
    ],
    "status": "active",
    "intent": "order",
    "medicationReference": {"reference": "#m"},
    "subject": {"reference": "Patient/1"},
}
PARAMETERS: Resource = {
    "resourceType": "Parameters",
    "parameter": [{"name": "a", "part": [{"name": "b", "resource": OBSERVATION}]}],
}
BUNDLE: Resource = {
    "resourceType": "Bundle",
    "type": "collection",
    "entry": [{"resource": PATIENT}, {"resource": PARAMETERS}],
}
BASIC: Resource = {"resourceType": "Basic", "id": "b", "code": {"text": "x"}}
EXTENSION: Resource = {"extension": [{"url": "http://example.org/e", "valueCode": "x"}]}
GONE = object()
VALID = [PATIENT, OBSERVATION, CONDITION, MEDICATION_REQUEST, BUNDLE]


@pytest.mark.parametrize("resource", VALID, ids=lambda resource: resource["resourceType"])
def test_the_unspoilt_resources_are_valid(resource: Resource) -> None:
    assert validate.issues(resource) == []
    validate.validate(resource, resource["resourceType"])


def spoilt(resource: Resource, path: str, value: Any) -> Resource:
    """A copy with one place set, or deleted."""
    result: Any = copy.deepcopy(resource)
    place = result
    *steps, last = [int(step) if step.isdigit() else step for step in path.split("/")]
    for step in steps:
        place = place[step]
    if value is GONE:
        del place[last]
    elif isinstance(place, list) and last == len(place):
        place.append(value)
    else:
        place[last] = value
    return result


CASES = [
    # unknown names
    (PATIENT, "nmae", [], "structure", "Patient.nmae", "did you mean 'name'?"),
    (PATIENT, "contact/0/name/givn", ["x"], "structure",
     "Patient.contact[0].name.givn", "did you mean 'given'?"),
    (OBSERVATION, "component/0/resourceType", "x", "structure",
     "Observation.component[0].resourceType", "unknown"),
    (OBSERVATION, "value", 1, "structure", "Observation.value", "value[x] is written as valueQuantity, "),
    (OBSERVATION, "valueDecimal", 1, "structure", "Observation.valueDecimal", "value[x] is written as"),
    (PATIENT, "_name", [{}], "structure", "Patient._name", "unknown element"),
    (PATIENT, "contact/0/_id", {"id": "x"}, "structure", "Patient.contact[0]._id", "unknown element"),
    (PATIENT, "a b", 1, "structure", "Patient", "unknown element 'a b' in Patient"),
    # types of JSON
    (PATIENT, "name", {"family": "x"}, "structure", "Patient.name", "write an array"),
    (PATIENT, "birthDate", ["1974"], "structure", "Patient.birthDate", "does not repeat"),
    (PATIENT, "contact/0/name", ["x"], "structure", "Patient.contact[0].name", "does not repeat"),
    (PATIENT, "contact/0/name", "x", "structure",
     "Patient.contact[0].name", "expected an object of type HumanName"),
    (PATIENT, "name/0", 1, "structure", "Patient.name[0]", "expected an object of type HumanName, not 1"),
    (PATIENT, "birthDate", {"value": "1974"}, "structure", "Patient.birthDate", "not a JSON string"),
    (PATIENT, "active", "true", "value", "Patient.active", "not true or false, unquoted"),
    (PATIENT, "active", 1, "value", "Patient.active", "not true or false"),
    (PATIENT, "multipleBirthInteger", "2", "value", "Patient.multipleBirth.ofType(integer)", "unquoted"),
    (OBSERVATION, "valueQuantity/value", "6.3", "value",
     "Observation.value.ofType(Quantity).value", "unquoted"),
    (OBSERVATION, "valueQuantity/value", True, "value",
     "Observation.value.ofType(Quantity).value", "not of type"),
    # emptiness and null
    (PATIENT, "contact/0/name", {}, "structure", "Patient.contact[0].name", "an empty HumanName"),
    (PATIENT, "contact/0/name", {"id": "x"}, "structure", "Patient.contact[0].name", "an empty HumanName"),
    (PATIENT, "name", [], "structure", "Patient.name", "an empty array"),
    (PATIENT, "contact/0/name/family", "", "value", "Patient.contact[0].name.family", "never empty"),
    (PATIENT, "name/0", None, "structure", "Patient.name[0]", "null is not a value"),
    (PATIENT, "name", None, "structure", "Patient.name", "write an array"),
    (PATIENT, "birthDate", None, "structure", "Patient.birthDate", "null is not a value"),
    (PATIENT, "_birthDate", None, "structure", "Patient.birthDate", "null is not a value"),
    (OBSERVATION, "component/0/_valueInteger", {"id": "x", "nmae": 1}, "structure",
     "Observation.component[0].value.ofType(integer).nmae", "unknown element"),
    # values beside their companions
    (PATIENT, "name/0/_given", [None], "structure", "Patient.name[0].given", "fill up with null"),
    (PATIENT, "name/0/given/0", None, "structure",
     "Patient.name[0].given[0]", "null stands only beside an extension"),
    (PATIENT, "contact/0/name/given/1", None, "structure",
     "Patient.contact[0].name.given[1]", "null stands only"),
    (PATIENT, "contact/0/name/given/1", 5, "value", "Patient.contact[0].name.given[1]", "not a JSON string"),
    (PATIENT, "_deceasedBoolean", {"id": "x"}, "structure",
     "Patient.deceased.ofType(boolean)", "neither a value"),
    (PATIENT, "_gender", {"id": "x"}, "structure", "Patient.gender", "neither a value"),
    (PATIENT, "contact/0/name", {"given": ["A", None], "_given": [None, {"id": "x"}]}, "structure",
     "Patient.contact[0].name.given[1]", "neither a value"),
    (PATIENT, "_birthDate", {}, "structure", "Patient.birthDate", "an empty Element"),
    # element ids
    (PATIENT, "name/0/id", "a b", "value", "Patient.name[0].id", "without spaces"),
    (PATIENT, "name/0/id", "a\tb", "value", "Patient.name[0].id", "without spaces"),
    (PATIENT, "name/0/id", "x" * (1024 * 1024 + 1), "value", "Patient.name[0].id", "at most 1048576"),
    (PATIENT, "extension/0/id", " a", "value", "Patient.extension[0].id", "without spaces"),
    (PATIENT, "_birthDate/id", "a b", "value", "Patient.birthDate.id", "without spaces"),
    # cardinality and choice
    (OBSERVATION, "status", GONE, "required", "Observation.status", "status is required"),
    (OBSERVATION, "component/0/code", GONE, "required", "Observation.component[0].code", "code is required"),
    (MEDICATION_REQUEST, "medicationReference", GONE, "required", "MedicationRequest.medication",
     "one of medicationCodeableConcept, medicationReference"),
    (OBSERVATION, "valueString", "x", "structure",
     "Observation.value", "either valueQuantity or valueString"),
    (OBSERVATION, "_valueString", {"extension": [{"url": "a", "valueCode": "x"}]}, "structure",
     "Observation.value", "either valueQuantity or valueString"),
    # primitives
    (PATIENT, "id", "x" * 65, "value", "Patient.id", "1 to 64 letters"),
    (PATIENT, "id", "a/b", "value", "Patient.id", "1 to 64 letters"),
    (PATIENT, "birthDate", "2021-02-30", "value", "Patient.birthDate", "for example"),
    (PATIENT, "birthDate", "2021-02-29", "value", "Patient.birthDate", "for example"),
    (PATIENT, "birthDate", "1974-13", "value", "Patient.birthDate", "for example"),
    (PATIENT, "birthDate", "1974-12-25T00:00:00Z", "value", "Patient.birthDate", "for example"),
    (OBSERVATION, "effectivePeriod/start", "2013-04-02T09:30", "value",
     "Observation.effective.ofType(Period).start", "2015-02-07T13:28:17-05:00"),
    (OBSERVATION, "effectivePeriod/start", "2013-04-02T09:30:10", "value",
     "Observation.effective.ofType(Period).start", "with time and zone"),
    (OBSERVATION, "issued", "2013-04-02", "value", "Observation.issued", "to the second with zone"),
    (OBSERVATION, "component/0/valueInteger", Decimal("1.0"), "value",
     "Observation.component[0].value.ofType(integer)", "without a fraction"),
    (OBSERVATION, "component/0/valueInteger", 2**31, "value",
     "Observation.component[0].value.ofType(integer)", "32 bits"),
    (OBSERVATION, "component/0/valueInteger", Decimal("1e0"), "value",
     "Observation.component[0].value.ofType(integer)", "without a fraction or an exponent"),
    (PATIENT, "multipleBirthInteger", Decimal("1.0e1"), "value",
     "Patient.multipleBirth.ofType(integer)", "without a fraction or an exponent"),
    (PATIENT, "telecom", [{"value": "1", "rank": Decimal("1e0")}], "value",
     "Patient.telecom[0].rank", "from 1 to 2147483647"),
    (OBSERVATION, "code/coding/0/system", "http://loinc org", "value",
     "Observation.code.coding[0].system", "a URI"),
    (OBSERVATION, "code/coding/0/code", " 1", "value",
     "Observation.code.coding[0].code", "without spaces at its ends"),
    (OBSERVATION, "code/text", "bell\x07", "value", "Observation.code.text", "without control characters"),
    (PATIENT, "photo", [{"data": "A?=="}], "value", "Patient.photo[0].data", "base64"),
    (PATIENT, "photo", [{"data": "AQ ID"}], "value", "Patient.photo[0].data", "base64"),
    # required bindings
    (OBSERVATION, "status", "finl", "code-invalid", "Observation.status", "final"),
    (PATIENT, "contact/0/gender", "f", "code-invalid",
     "Patient.contact[0].gender", "female, male, other, unknown"),
    (CONDITION, "clinicalStatus/coding/0/code", "ill", "code-invalid",
     "Condition.clinicalStatus", "active, "),
    (CONDITION, "clinicalStatus/coding/0/system", "http://x.org", "code-invalid", "Condition.clinicalStatus",
     "http://terminology.hl7.org/CodeSystem/condition-clinical: active, "),
    (CONDITION, "clinicalStatus", {"text": "active"}, "code-invalid",
     "Condition.clinicalStatus", "needs a coding"),
    # extensions
    (PATIENT, "extension/0/valueString", GONE, "required", "Patient.extension[0]", "needs a value[x]"),
    (PATIENT, "extension/0/url", GONE, "required", "Patient.extension[0].url", "url is required"),
    (PATIENT, "extension/0/extension", [{"url": "a", "valueCode": "x"}], "structure",
     "Patient.extension[0]", "not both"),
    (PATIENT, "extension/0/valueCode", "x", "structure", "Patient.extension[0].value", "one value"),
    (PATIENT, "extension/0/valueNumber", 1, "structure",
     "Patient.extension[0].valueNumber", "value[x] is written as"),
    (PATIENT, "extension/0/_url", {"id": "x"}, "structure", "Patient.extension[0]._url", "unknown"),
    # references
    (PATIENT, "generalPractitioner/0/reference", "Patient/1", "value",
     "Patient.generalPractitioner[0].reference", "allowed here: Organization, Practitioner"),
    (PATIENT, "generalPractitioner/0/reference", "https://example.org/fhir/Patient/1/_history/2", "value",
     "Patient.generalPractitioner[0].reference", "refers to Patient"),
    (PATIENT, "generalPractitioner/0/reference", "Practitoner/1", "value",
     "Patient.generalPractitioner[0].reference", "did you mean 'Practitioner'?"),
    (PATIENT, "generalPractitioner/0/reference", "Patient?identifier=1", "value",
     "Patient.generalPractitioner[0].reference", "refers to Patient"),
    (PATIENT, "generalPractitioner/0/reference", "Practitioner/a b", "value",
     "Patient.generalPractitioner[0].reference", "write Organization/123, an absolute URL"),
    (PATIENT, "generalPractitioner/0/reference", "#p", "not-found",
     "Patient.generalPractitioner[0].reference", "no contained resource"),
    (PATIENT, "generalPractitioner/0/type", "Organization", "value",
     "Patient.generalPractitioner[0].type", "'Practitioner/1' refers to Practitioner"),
    (PATIENT, "generalPractitioner/0/type", "http://hl7.org/fhir/StructureDefinition/Organization", "value",
     "Patient.generalPractitioner[0].type", "'Practitioner/1' refers to Practitioner"),
    (PATIENT, "generalPractitioner/0",
     {"reference": "https://example.org/fhir/Practitioner/1/_history/2", "type": "Patient"}, "value",
     "Patient.generalPractitioner[0].type", "refers to Practitioner"),
    (PATIENT, "generalPractitioner/0", {"reference": "Practitioner?identifier=1", "type": "Organization"},
     "value", "Patient.generalPractitioner[0].type", "refers to Practitioner"),
    (OBSERVATION, "subject/type", "Group", "value", "Observation.subject.type", "refers to Patient"),
    (OBSERVATION, "focus", [{"reference": "Patient/1", "type": "Group"}], "value",
     "Observation.focus[0].type", "refers to Patient"),
    # containment
    (MEDICATION_REQUEST, "contained/2", {"resourceType": "Organization", "id": "o", "name": "y"}, "structure",
     "MedicationRequest.contained[2].id", "'o' is the id of another contained resource"),
    (MEDICATION_REQUEST, "contained/2", {"resourceType": "Basic", "id": "m", "code": {"text": "x"}},
     "structure", "MedicationRequest.contained[2].id", "'m' is the id of another"),
    (MEDICATION_REQUEST, "contained/0/id", GONE, "required", "MedicationRequest.contained[0].id", ""),
    (MEDICATION_REQUEST, "contained/1/id", "x", "not-found",
     "MedicationRequest.contained[0].manufacturer.reference", "no contained resource has the id of '#o'"),
    (MEDICATION_REQUEST, "medicationReference/reference", "#o", "not-found",
     "MedicationRequest.medication.ofType(Reference).reference", "allowed here: Medication"),
    (MEDICATION_REQUEST, "contained/0/contained", [BASIC],
     "structure", "MedicationRequest.contained[0].contained[0]", "may not contain"),
    (MEDICATION_REQUEST, "contained/1/nmae", "x", "structure", "MedicationRequest.contained[1].nmae", "name"),
    (MEDICATION_REQUEST, "contained/1/resourceType", "Org", "structure",
     "MedicationRequest.contained[1]", "'Org'"),
    # nested resources
    (BUNDLE, "entry/0/resource/birthDate", "x", "value", "Bundle.entry[0].resource.birthDate", "a date"),
    (BUNDLE, "entry/0/resource/resourceType", GONE, "structure",
     "Bundle.entry[0].resource", "names its type"),
    (BUNDLE, "entry/1/resource/parameter/0/part/0/resource/status", "x", "code-invalid",
     "Bundle.entry[1].resource.parameter[0].part[0].resource.status", "final"),
    (BUNDLE, "contained", [BASIC], "structure",
     "Bundle.contained", "unknown element"),
    (BUNDLE, "entry/0/response", {"status": "1", "outcome": {"resourceType": "OperationOutcome"}}, "required",
     "Bundle.entry[0].response.outcome.issue", "issue is required"),
    # narrative
    (PATIENT, "text/status", GONE, "required", "Patient.text.status", ""),
    (PATIENT, "text/div", "x", "structure", "Patient.text.div", "one <div> element"),
    (PATIENT, "text/div", DIV.replace("x</", "<p>x</"), "structure", "Patient.text.div", "not well-formed"),
    (PATIENT, "text/div", DIV.replace(">x", "><script>x</script>"), "structure",
     "Patient.text.div", "<script>"),
    (PATIENT, "text/_div", {"id": "x"}, "structure", "Patient.text._div", "unknown"),
]  # fmt: skip


@pytest.mark.parametrize(("resource", "path", "value", "code", "expression", "diagnostics"), CASES)
def test_one_defect_gives_one_issue(
    resource: Resource, path: str, value: Any, code: str, expression: str, diagnostics: str
) -> None:
    changed = spoilt(resource, path, value)
    found = validate.issues(changed)
    assert not validate.passes(changed)
    assert [(issue.code, issue.expression) for issue in found] == [(code, expression)]
    assert diagnostics in found[0].diagnostics
    assert found[0].severity == "error"


@pytest.mark.parametrize(
    ("body", "diagnostics"),
    [
        (None, "a resource is a JSON object, not null"),
        ([], "a resource is a JSON object, not an array"),
        ("x", "not 'x'"),
        ({}, 'as in "resourceType": "Patient"'),
        ({"resourceType": "Pateint"}, "'Pateint' is not a resource type of FHIR R4; did you mean 'Patient'?"),
        ({"resourceType": "DomainResource"}, "not a resource type"),
        ({"resourceType": ["Patient"]}, "an array is not a resource type"),
        ({"resourceType": "Observation"}, "the resource is of type Observation, expected Patient"),
    ],
)
def test_what_is_no_resource_of_the_expected_type(body: Any, diagnostics: str) -> None:
    (issue,) = validate.issues(body, "Patient")
    assert diagnostics in issue.diagnostics
    assert not validate.passes(body, "Patient")


def test_a_misspelt_required_element_is_one_defect() -> None:
    resource = spoilt(OBSERVATION, "status", GONE) | {"staus": "final"}
    (issue,) = validate.issues(resource)
    assert issue.expression == "Observation.staus"
    assert "did you mean 'status'?" in issue.diagnostics


def test_several_defects_are_all_reported_in_order() -> None:
    resource = spoilt(spoilt(PATIENT, "birthDate", "x"), "name/0/use", "x") | {"gender": "m"}
    assert [issue.expression for issue in validate.issues(resource)] == [
        "Patient.name[0].use",
        "Patient.birthDate",
        "Patient.gender",
    ]


def test_the_list_of_issues_is_bounded() -> None:
    assert len(validate.issues(PATIENT | {"name": [{"x": 1}] * 500})) == 100


def test_entries_may_be_left_to_the_transaction() -> None:
    bundle = spoilt(BUNDLE, "entry/0/resource/birthDate", "x")
    assert validate.passes(bundle, entries=False)
    assert validate.issues(bundle, entries=False) == []
    assert not validate.passes(bundle)
    for empty in ({}, [], "x", None):
        bundle = spoilt(BUNDLE, "entry/0/resource", empty)
        assert not validate.passes(bundle, entries=False)
        assert len(validate.issues(bundle, entries=False)) == 1


def test_null_aligns_values_with_their_companions() -> None:
    for name in (
        {"given": ["A", None], "_given": [None, {"extension": [{"url": "a", "valueCode": "x"}]}]},
        {"_given": [None, {"extension": [{"url": "a", "valueCode": "x"}]}]},
    ):
        found = validate.issues(PATIENT | {"name": [name]})
        # without values, a companion that is null stands beside nothing
        assert [issue.expression for issue in found] == (
            [] if "given" in name else ["Patient.name[0].given[0]"]
        )
    only = {"_given": [{"extension": [{"url": "a", "valueCode": "x"}]}]}
    validate.validate(PATIENT | {"name": [only]})


@pytest.mark.parametrize(
    "properties",
    [
        {"birthDate": "1970-03-30", "_birthDate": {"id": "bd"}},
        {"gender": "female", "_gender": {"id": "a"}, "name": [{"family": "x", "_family": {"id": "b"}}]},
        {"name": [{"given": ["a"], "_given": [{"id": "x"}]}]},
        {"name": [{"given": ["a", "b", None], "_given": [None, {"id": "x"}, {"id": "y"} | EXTENSION]}]},
        {"extension": [{"url": "http://example.org/e", "valueCode": "x", "_valueCode": {"id": "c"}}]},
        {"name": [{"id": "Patient.name:slice/1_é", "family": "x"}]},
        {"name": [{"id": "x" * 1024 * 1024, "family": "x"}]},
    ],
)
def test_an_element_with_a_value_may_have_an_id(properties: Resource) -> None:
    resource = PATIENT | properties
    assert validate.issues(resource) == []
    validate.validate(resource)
    assert validate.issues(from_xml(to_xml(resource))) == []


def test_contained_resources_of_several_containers_may_share_an_id() -> None:
    entries = [{"resource": MEDICATION_REQUEST}, {"resource": MEDICATION_REQUEST}]
    bundle = BUNDLE | {"entry": entries}
    assert validate.issues(bundle) == []
    assert validate.passes(bundle)


@pytest.mark.parametrize(
    "reference",
    [
        {"reference": "Practitioner/1", "type": "Practitioner"},
        {"reference": "Practitioner/1", "type": "http://hl7.org/fhir/StructureDefinition/Practitioner"},
        {"reference": "http://example.org/fhir/Practitioner/1", "type": "Practitioner"},
        {"reference": "http://example.org/elsewhere", "type": "Practitioner"},
        {"reference": "urn:uuid:c757873d-ec9a-4326-a141-556f43239520", "type": "Practitioner"},
        {"reference": "Practitioner/1", "type": "Resource"},
        {"reference": "Practitioner/1", "type": "http://example.org/fhir/StructureDefinition/Physician"},
        {"identifier": {"value": "1"}, "type": "Organization"},
        {"display": "x", "type": "Organization"},
    ],
)
def test_types_of_references(reference: Resource) -> None:
    resource = spoilt(PATIENT, "generalPractitioner/0", reference)
    assert validate.issues(resource) == []
    validate.validate(resource)


def test_a_required_primitive_may_be_an_extension_alone() -> None:
    absent = {
        "extension": [{"url": "http://hl7.org/fhir/StructureDefinition/data-absent-reason", "valueCode": "x"}]
    }
    validate.validate(spoilt(OBSERVATION, "status", GONE) | {"_status": absent})


@pytest.mark.parametrize(
    "reference",
    [
        "Practitioner/1",
        "Practitioner/1/_history/2",
        "http://example.org/fhir/Practitioner/1",
        "http://example.org/anything?else=1",
        "urn:uuid:c757873d-ec9a-4326-a141-556f43239520",
        "urn:oid:1.2.3",
        "Practitioner?identifier=http://example.org|1",
        "ftp://example.org/Patient/1",
    ],
)
def test_forms_of_literal_references(reference: str) -> None:
    assert validate.issues(spoilt(PATIENT, "generalPractitioner/0/reference", reference)) == []


def test_a_contained_resource_may_refer_to_its_container() -> None:
    resource = spoilt(MEDICATION_REQUEST, "contained/0/ingredient", [{"itemReference": {"reference": "#m"}}])
    assert validate.issues(resource) == []
    assert validate.passes(resource)
    provenance = {
        "resourceType": "Provenance",
        "id": "p",
        "target": [{"reference": "#"}],
        "recorded": "2020-01-01T00:00:00Z",
        "agent": [{"who": {"reference": "Patient/1"}}],
    }
    container = spoilt(MEDICATION_REQUEST, "contained/2", provenance)
    assert validate.issues(container) == []
    assert validate.passes(container)
