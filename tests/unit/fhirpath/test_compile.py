"""Compiled expressions: results, types, and what is refused before it runs."""

from decimal import Decimal

import pytest

from fhirserver.fhir.fhirpath import FHIRPathError, Node, compile_expression
from fhirserver.fhir.fhirpath.equality import distinct, unlike

OBSERVATION = {
    "resourceType": "Observation",
    "id": "o1",
    "status": "final",
    "_status": {"extension": [{"url": "http://x.example/why", "valueString": "because"}]},
    "contained": [
        {"resourceType": "Patient", "id": "p", "active": True},
        {"resourceType": "Group", "id": "g"},
    ],
    "code": {"coding": [{"system": "s", "code": "a"}, {"system": "s", "code": "b"}]},
    "subject": {"reference": "#p"},
    "performer": [
        {"reference": "Practitioner/1"},
        {"reference": "http://elsewhere.example/fhir/Organization/2/_history/1"},
        {"type": "Patient", "identifier": {"value": "x"}},
        {"display": "somebody"},
        {"reference": "#g"},
        {"reference": "urn:uuid:1", "type": "CareTeam"},
    ],
    "valueQuantity": {"value": Decimal("1.0"), "unit": "mg"},
    "component": [
        {"code": {"text": "x"}, "valueString": "one"},
        {"code": {"text": "y"}, "valueQuantity": {"value": 1}},
        {"code": {"text": "x"}},
    ],
}
PATIENT = {
    "resourceType": "Patient",
    "deceasedBoolean": False,
    "name": [{"given": ["Ann", None], "_given": [None, {"extension": [{"url": "u", "valueCode": "n"}]}]}],
    "telecom": [{"system": "phone", "value": "1"}, {"system": "email", "value": "2"}, {"value": "3"}],
    "multipleBirthInteger": 1,
}


def results(expression: str, resource: dict) -> list[tuple]:
    type_ = resource["resourceType"]
    return [tuple(node) for node in compile_expression(expression, type_).evaluate(resource, type_)]


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("Observation.id", [("o1", "id")]),
        ("Resource.id", [("o1", "id")]),
        ("DomainResource.id", [("o1", "id")]),
        ("Patient.id", []),
        ("id", [("o1", "id")]),
        ("code.coding.code", [("a", "code"), ("b", "code")]),
        ("code.coding[1].code", [("b", "code")]),
        ("code.coding[7]", []),
        ("value", [(OBSERVATION["valueQuantity"], "Quantity")]),
        ("value.value", [(Decimal("1.0"), "decimal")]),
        ("(value as Quantity).unit", [("mg", "string")]),
        ("value.as(Period)", []),
        ("component.value.ofType(string)", [("one", "string")]),
        ("component.value as FHIR.Quantity", [({"value": 1}, "Quantity")]),
        ("component.code.text", [("x", "string"), ("y", "string"), ("x", "string")]),
        ("component.code.text | component.code.text", [("x", "string"), ("y", "string")]),
        ("component.where(code.text = 'x').value", [("one", "string")]),
        ("component.where(code.text = 'x')[1].code.text", [("x", "string")]),
        ("component.where(value.exists()).code.text", [("x", "string"), ("y", "string")]),
        ("component.where(value.exists().not()).code.text", [("x", "string")]),
        ("component.value.where($this is Quantity)", [({"value": 1}, "Quantity")]),
        ("component.exists(code.text = 'z')", [(False, "System.Boolean")]),
        ("value.value = 1", [(True, "System.Boolean")]),
        ("value.value != 1.00", [(False, "System.Boolean")]),
        ("value.unit = 1", [(False, "System.Boolean")]),
        ("issued = 1", []),
        ("issued = 1 and false", [(False, "System.Boolean")]),
        ("issued = 1 or true", [(True, "System.Boolean")]),
        ("issued = 1 and true", []),
        ("true and status", [(True, "System.Boolean")]),
        ("code.coding.code = ('a' | 'b')", [(True, "System.Boolean")]),
        ("code.coding.code = 'a'", [(False, "System.Boolean")]),
        ("status is code", [(True, "System.Boolean")]),
        ("status is string", [(True, "System.Boolean")]),
        ("status is uri", [(False, "System.Boolean")]),
        ("issued is instant", []),
        ("status.extension('http://x.example/why').value", [("because", "string")]),
        ("status.extension('other')", []),
        ("contained.active", [(True, "boolean")]),
        ("contained.where($this is Patient).id", [("p", "id")]),
        ("%resource.id | %context.id", [("o1", "id")]),
        ("component.where(%resource.status = 'final').value.ofType(string)", [("one", "string")]),
        ("code.coding.where(system = %ucum)", []),
        ("subject.resolve() is Patient", [(True, "System.Boolean")]),
        ("subject.where(resolve() is Group)", []),
        ("performer.where(resolve() is Practitioner).reference", [("Practitioner/1", "string")]),
        ("performer.where(resolve() is Patient).type", [("Patient", "uri")]),
        ("performer.where(resolve() is Group).reference", [("#g", "string")]),
        ("performer.where(resolve() is CareTeam).reference", [("urn:uuid:1", "string")]),
        ("performer.where(resolve() is Resource)[3]", [({"reference": "#g"}, "Reference")]),
        ("{}", []),
        ("{} | status", [("final", "code")]),
    ],
)
def test_observation(expression: str, expected: list[tuple]):
    assert results(expression, OBSERVATION) == expected


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("name.given", [("Ann", "string"), (None, "string")]),
        ("name.given.extension.value", [("n", "code")]),
        ("telecom.where(system='email').value", [("2", "string")]),
        ("Patient.deceased.exists() and Patient.deceased != false", [(False, "System.Boolean")]),
        ("multipleBirth = 1", [(True, "System.Boolean")]),
        ("multipleBirth = true", [(False, "System.Boolean")]),
        ("(multipleBirth as integer) | deceased", [(1, "integer"), (False, "boolean")]),
    ],
)
def test_patient(expression: str, expected: list[tuple]):
    assert results(expression, PATIENT) == expected


def test_subtypes():
    condition = {"resourceType": "Condition", "onsetAge": {"value": 3}}
    assert results("Condition.onset as Quantity", condition) == [({"value": 3}, "Age")]
    assert results("Condition.onset.as(Age)", condition) == [({"value": 3}, "Age")]
    assert results("Condition.onset.ofType(Duration)", condition) == []
    concept_map = {"resourceType": "ConceptMap", "sourceCanonical": "http://x"}
    assert results("ConceptMap.source as uri", concept_map) == [("http://x", "canonical")]


def test_inline_resources_have_the_type_that_they_state():
    bundle = {"resourceType": "Bundle", "entry": [{"resource": OBSERVATION}, {"resource": PATIENT}]}
    assert results("Bundle.entry[0].resource", bundle) == [(OBSERVATION, "Observation")]
    assert results("Bundle.entry.resource.ofType(Patient).telecom[0].value", bundle) == [("1", "string")]
    assert results("entry.resource.status", bundle) == [("final", "code")]


def test_component_expressions_see_the_whole_resource():
    program = compile_expression("%resource.status", "Observation.component", "Observation")
    found = program.evaluate(
        OBSERVATION["component"][0], "Observation.component", Node(OBSERVATION, "Observation")
    )
    assert [tuple(node) for node in found] == [("final", "code")]


@pytest.mark.parametrize(
    ("expression", "message"),
    [
        ("Observation.nothing", "Observation has no element 'nothing'"),
        ("Observation.valueQuantity", "has no element 'valueQuantity'"),
        ("Observation.value.as(DateTime)", None),
        ("value as Nonsense", "there is no type 'Nonsense'"),
        ("value as System.Patient", "there is no type"),
        (
            "code.coding.frist()",
            r"there is no function frist\(\); did you mean first\(\)\? \(at character 13\)",
        ),
        ("where()", "takes 1 argument"),
        ("exists(1, 2)", "takes 0 to 1 argument"),
        ("component.where(nothing = 1)", "Observation.component has no element"),
        ("component.where(cod.text = 1)", "did you mean code"),
        ("%nothing", "%nothing is not defined"),
        ("%resorce", r"did you mean %resource"),
        ("@2015-02-30", "'2015-02-30' is no Date"),
        ("2147483648", "Integers go to 2147483647"),
        ("value as Quantty", "did you mean Quantity"),
        ("value.as('Quantity')", "must be the name of a type"),
        ("'\\uD83E'", "surrogate"),
        ("defineVariable('a', 1).defineVariable('a', 2)", "%a is defined already"),
        ("(defineVariable('a', 1) | 2).select(%a)", "%a is not defined"),
        ("id" + ".extension" * 1_200, "nested too deeply"),
    ],
)
def test_refused_when_compiled(expression: str, message: str | None):
    if message is None:  # DateTime is a type of System, which no FHIR element has
        assert results(expression, OBSERVATION) == []
        return
    with pytest.raises(FHIRPathError, match=message):
        compile_expression(expression, "Observation")


@pytest.mark.parametrize(
    ("expression", "message"),
    [
        ("subject.resolve().name", "only its type is known"),
        ("subject.resolve().where(active)", "only the type"),
        ("effective > now()", r"now\(\) has no place in what is indexed"),
        ("today()", "has no place"),
        ("code.memberOf('http://x')", "its result can change"),
        ("conformsTo('http://x')", "its result can change"),
        ("%given", "is not defined"),
    ],
)
def test_refused_in_what_is_indexed(expression: str, message: str):
    with pytest.raises(FHIRPathError, match=message):
        compile_expression(expression, "Observation", indexed=True)


def test_is_takes_one_value():
    program = compile_expression("code.coding is Coding", "Observation")
    with pytest.raises(FHIRPathError, match="one value"):
        program.evaluate(OBSERVATION, "Observation")


def test_distinct_is_by_value_for_short_and_long_lists():
    values = [
        {"a": 1, "b": [1, 2]},
        {"b": [1, 2], "a": 1},
        {"a": 1, "b": [2, 1]},
        1,
        True,
        Decimal("1.0"),
        "1",
        [1],
    ]
    nodes = [Node(value, "x") for value in values]
    expected = [values[0], values[2], 1, True, "1", [1]]
    for remove in (distinct, unlike):
        assert [node.value for node in remove(nodes)] == expected
        assert [node.value for node in remove(nodes * 9)] == expected
