"""Variables, hooks, the clock, messages, and where results are."""

from datetime import UTC, datetime

import pytest

from fhirserver.fhir.fhirpath import Environment, FHIRPathError, Node, compile_expression, compile_located

NOTHING = Environment()
PATIENT = {
    "resourceType": "Patient",
    "id": "p",
    "contained": [{"resourceType": "Organization", "id": "o", "name": "Clinic"}],
    "managingOrganization": {"reference": "#o"},
    "generalPractitioner": [{"reference": "Practitioner/1"}],
    "name": [
        {"given": ["Ann", None, "Bea"], "_given": [None, {"extension": [{"url": "u", "valueCode": "n"}]}]}
    ],
    "maritalStatus": {"coding": [{"system": "s", "code": "M"}]},
    "modifierExtension": [{"url": "http://x.example/not", "valueBoolean": True}],
}
BUNDLE = {
    "resourceType": "Bundle",
    "entry": [
        {"fullUrl": "urn:uuid:1", "resource": {"resourceType": "Patient", "id": "a", "active": True}},
        {"fullUrl": "http://x.example/Group/7", "resource": {"resourceType": "Group", "id": "7"}},
        {"resource": {"resourceType": "Observation", "subject": {"reference": "urn:uuid:1"}}},
        {"resource": {"resourceType": "Observation", "subject": {"reference": "Group/7"}}},
    ],
}


def nodes(expression: str, environment: Environment = NOTHING, resource: dict = PATIENT) -> list[Node]:
    type_ = resource["resourceType"]
    program = compile_expression(expression, type_, variables=frozenset(environment.variables))
    return program.evaluate(resource, type_, environment=environment)


def values(expression: str, environment: Environment = NOTHING, resource: dict = PATIENT) -> list:
    return [node.value for node in nodes(expression, environment, resource)]


def test_variables():
    given = Environment(variables={"n": [Node(2, "System.Integer")], "us-zip": []})
    assert values("%n + 1 | %`us-zip`", given) == [3]
    assert values("%`vs-gender` | %'ext-birth' | %vs-x", given) == [
        "http://hl7.org/fhir/ValueSet/gender",
        "http://hl7.org/fhir/StructureDefinition/birth",
        "http://hl7.org/fhir/ValueSet/x",
    ]


def test_variables_that_an_expression_defines():
    assert values("defineVariable('a', 1 + 1).select(%a + 1)") == [3]
    assert values("name.given.defineVariable('g').select(%g.count())") == [3, 3, 3]
    assert values("(1 | 2).select(defineVariable('x', $this * 2).select(%x))") == [2, 4]
    with pytest.raises(FHIRPathError, match="%x is not defined"):
        values("(1 | 2).select(defineVariable('x', $this)).select(%x)")


def test_resources_around():
    program = compile_expression("%resource.id | %rootResource.id | %context.name", "Organization")
    inner, whole = Node(PATIENT["contained"][0], "Organization"), Node(PATIENT, "Patient")
    found = program.evaluate_node(inner, inner, Environment(root_resource=whole))
    assert [node.value for node in found] == ["o", "p", "Clinic"]


def test_resolve():
    assert values("managingOrganization.resolve().name") == ["Clinic"]
    assert values("generalPractitioner.resolve() is Practitioner") == [True]
    subjects = "entry.resource.ofType(Observation).subject.resolve()"
    assert values(f"{subjects}.active", resource=BUNDLE) == [True]
    assert values(f"{subjects}.id", resource=BUNDLE) == ["a", "7"]
    asked: list[str] = []

    def resolve(node: Node, literal: str) -> Node | None:
        asked.append(literal)
        return Node({"resourceType": "Practitioner", "id": "1", "gender": "other"}, "Practitioner")

    assert values("generalPractitioner.resolve().gender", Environment(resolve=resolve)) == ["other"]
    assert values("generalPractitioner.reference.resolve().gender", Environment(resolve=resolve)) == ["other"]
    assert asked == ["Practitioner/1", "Practitioner/1"]
    assert values("generalPractitioner.resolve()", Environment(resolve=lambda node, literal: None)) == []


def test_terminology():
    known = Environment(
        member_of=lambda node, url: url == "http://in" or (None if url == "http://?" else False)
    )
    assert values("maritalStatus.memberOf('http://in')", known) == [True]
    assert values("maritalStatus.memberOf('http://out')", known) == [False]
    assert values("maritalStatus.memberOf('http://?')", known) == []
    with pytest.raises(FHIRPathError, match=r"memberOf\(\) needs a terminology, .*character 15"):
        values("maritalStatus.memberOf('http://in')")
    assert values("maritalStatus.subsumes(maritalStatus)") == [True]
    assert values("maritalStatus.coding.first().subsumedBy(maritalStatus)") == [True]
    turned = Environment(subsumes=lambda one, other: one.type == "CodeableConcept")
    assert values("maritalStatus.subsumes(name.given.first())", turned) == [True]
    assert values("maritalStatus.subsumedBy(name.given.first())", turned) == [False]


def test_profiles():
    r4 = "http://hl7.org/fhir/StructureDefinition/"
    assert values(f"conformsTo('{r4}Patient') and conformsTo('{r4}DomainResource')") == [True]
    assert values(f"name.first().conformsTo('{r4}Address')") == [False]
    with pytest.raises(FHIRPathError, match="not known"):
        values("conformsTo('http://x.example/profile')")
    assert values("conformsTo('http://x')", Environment(conforms_to=lambda node, url: True)) == [True]
    given = Environment(
        element_definition=lambda node: Node({"path": node.type}, "ElementDefinition"),
        slice=lambda found, url, name: found[:1],
    )
    assert values("name.elementDefinition().path", given) == ["HumanName"]
    assert values("name.given.slice('http://x', 'first')", given) == ["Ann"]
    for call in ("elementDefinition()", "slice('http://x', 'a')"):
        with pytest.raises(FHIRPathError, match="not at hand"):
            values(f"name.{call}")


def test_modifier_extensions():
    assert values("checkModifiers('http://x.example/not').id") == ["p"]
    with pytest.raises(FHIRPathError, match=r"http://x.example/not is not among those known"):
        values("checkModifiers('http://x.example/other')")


def test_the_clock_stands_still():
    now = datetime(2020, 2, 29, 12, 30, 15, 250_000, UTC)
    given = Environment(now=now)
    assert values("now() | today() | timeOfDay()", given) == [
        "2020-02-29T12:30:15.250Z", "2020-02-29", "12:30:15.250",
    ]  # fmt: skip
    long = "(" + "|".join(map(str, range(200))) + ")"
    assert values(f"{long}.select(now()).distinct().count()") == [1]
    assert values("now() > today() - 2 days and now() > @2020-01-01T00:00:00Z") == [True]


def test_trace():
    told: list[tuple[str, list]] = []
    given = Environment(trace=lambda name, found: told.append((name, [node.value for node in found])))
    assert values("name.given.trace('a', length()).count()", given) == [3]
    assert values("id.trace('b')", given) == ["p"]
    assert told == [("a", [3, 3]), ("b", ["p"])]
    assert values("id.trace('b')") == ["p"]  # nobody listens


def test_values_of_primitives():
    assert values("name.given.select(hasValue())") == [True, False, True]
    assert values("name.hasValue() | (4 'mg').hasValue()") == [False]
    found = nodes("name.given.first().getValue()")
    assert [tuple(node) for node in found] == [("Ann", "System.String")]


@pytest.mark.parametrize(
    ("div", "holds"),
    [
        ("<p>text</p>", True),
        ("<img src='#a'/>", True),
        ("<a href='https://x.example'>x</a>", True),
        (" ", False),
        ("<script>1</script>", False),
        ("<p onclick='x()'>a</p>", False),
        ("<a href=' java\nscript:x()'>a</a>", False),
        ("<form>a</form>", False),
        ("<iframe src='x'>a</iframe>", False),
        ("<p>", False),
        ("&x;", False),
        ("<?php x ?>a", False),
    ],
)
def test_html_checks(div: str, holds: bool):
    text = f'<div xmlns="http://www.w3.org/1999/xhtml">{div}</div>'
    resource = {"resourceType": "Patient", "text": {"status": "generated", "div": text}}
    assert values("text.`div`.htmlChecks()", resource=resource) == [holds]
    assert values("text.`div`.htmlChecks()") == []


def test_html_of_another_kind():
    for text in ("<div>a</div>", '<!DOCTYPE div><div xmlns="http://www.w3.org/1999/xhtml">a</div>', ""):
        resource = {"resourceType": "Patient", "text": {"status": "generated", "div": text}}
        assert values("text.`div`.htmlChecks()", resource=resource) == [False]


@pytest.mark.parametrize(
    ("expression", "paths"),
    [
        ("name.given", ["Patient.name[0].given[0]", "Patient.name[0].given[1]", "Patient.name[0].given[2]"]),
        ("Patient", ["Patient"]),
        ("name.given.extension.value", ["Patient.name[0].given[1].extension[0].value"]),
        ("descendants().where($this = 'Bea')", ["Patient.name[0].given[2]"]),
        ("repeat(children()).ofType(Coding)", ["Patient.maritalStatus.coding[0]"]),
        ("extension('u') | id", ["Patient.id"]),
        ("id & ''", [None]),
        ("%resource.id", ["Patient.id"]),
    ],
)
def test_places(expression: str, paths: list[str | None]):
    found = compile_located(expression, "Patient").evaluate(PATIENT, "Patient")
    assert [None if node.place is None else node.place.path for node in found] == paths
