"""$fhirpath through the door, in the form of the FHIRPath Lab."""

import json
import uuid
from typing import Any

import httpx
import pytest

from fhirserver.fhir.validate import issues
from tests.http.support import Http, created, observation, patient, put

pytestmark = pytest.mark.asyncio(loop_scope="module")

PATIENT: dict[str, Any] = {
    "resourceType": "Patient",
    "id": "x",
    "name": [{"family": "Smith", "given": ["Ann", "Bea"]}, {"family": "Jones"}],
    "contact": [{"gender": "other"}],
    "text": {"status": "generated", "div": '<div xmlns="http://www.w3.org/1999/xhtml">a</div>'},
    "birthDate": "1970",
    "_birthDate": {"extension": [{"url": "u", "valueCode": "n"}]},
}
PATH = "http://fhir.forms-lab.com/StructureDefinition/resource-path"
JSON_VALUE = "http://fhir.forms-lab.com/StructureDefinition/json-value"


def asked(expression: str, resource: Any = PATIENT, **more: Any) -> dict[str, Any]:
    """The body of a request; `more` are strings."""
    given = [{"name": "expression", "valueString": expression}]
    given += [{"name": name, "valueString": value} for name, value in more.items()]
    if resource is not None:
        given.append({"name": "resource", "resource": resource})
    return {"resourceType": "Parameters", "parameter": given}


async def results(http: Http, body: dict[str, Any], path: str = "/$fhirpath") -> list[dict[str, Any]]:
    response = await http.post(path, json=body)
    assert response.status_code == 200, response.text
    answer = response.json()
    assert not issues(answer) and answer["parameter"][0]["name"] == "parameters"
    return [one for one in answer["parameter"] if one["name"] == "result"]


def refusal(response: httpx.Response) -> tuple[int, str]:
    return response.status_code, response.json()["issue"][0]["diagnostics"]


def at(path: str) -> list[dict[str, Any]]:
    return [{"url": PATH, "valueString": path}]


async def test_results_have_type_value_and_place(http: Http) -> None:
    (found,) = await results(http, asked("name.given | (1 + 1) | 4 'mg' | birthDate | contact.gender"))
    assert found["part"] == [
        {"name": "string", "valueString": "Ann", "extension": at("Patient.name[0].given[0]")},
        {"name": "string", "valueString": "Bea", "extension": at("Patient.name[0].given[1]")},
        {"name": "integer", "valueInteger": 2},
        {
            "name": "Quantity",
            "valueQuantity": {"value": 4, "unit": "mg", "system": "http://unitsofmeasure.org", "code": "mg"},
        },
        {
            "name": "date",
            "valueDate": "1970",
            "_valueDate": {"extension": [{"url": "u", "valueCode": "n"}]},
            "extension": at("Patient.birthDate"),
        },
        {"name": "code", "valueCode": "other", "extension": at("Patient.contact[0].gender")},
    ]


async def test_what_value_x_cannot_hold(http: Http) -> None:
    (found,) = await results(http, asked("contact | '' | @2015-01-01T10 | type() | %resource"))
    contact, empty, hour, info, resource = found["part"]
    assert contact["name"] == "Patient.contact"
    assert {e["url"]: e["valueString"] for e in contact["extension"]} == {
        PATH: "Patient.contact[0]",
        JSON_VALUE: '{"gender":"other"}',
    }
    assert empty == {"name": "empty-string"}
    assert hour["name"] == "dateTime" and hour["extension"][0]["valueString"] == '"2015-01-01T10"'
    assert json.loads(info["extension"][0]["valueString"])["name"] == "Patient"
    assert resource["name"] == "Patient" and resource["resource"] == PATIENT


async def test_context_variables_and_trace(http: Http) -> None:
    body = asked("given.trace('g').count() + %n", context="name")
    body["parameter"].append({"name": "variables", "part": [{"name": "n", "valueInteger": 10}]})
    first, second = await results(http, body)
    assert first["valueString"] == "Patient.name[0]" and second["valueString"] == "Patient.name[1]"
    assert first["part"] == [
        {"name": "integer", "valueInteger": 12},
        {
            "name": "trace",
            "valueString": "g",
            "part": [
                {"name": "string", "valueString": "Ann", "extension": at("Patient.name[0].given[0]")},
                {"name": "string", "valueString": "Bea", "extension": at("Patient.name[0].given[1]")},
            ],
        },
    ]
    assert second["part"] == [{"name": "integer", "valueInteger": 10}, {"name": "trace", "valueString": "g"}]


async def test_the_answer_says_what_was_evaluated(http: Http) -> None:
    answer = (await http.post("/Patient/$fhirpath", json=asked("name.family"))).json()
    about = {part["name"]: part for part in answer["parameter"][0]["part"]}
    assert about["evaluator"]["valueString"].startswith("fhirserver ")
    assert about["expression"]["valueString"] == "name.family"
    assert about["resource"]["resource"] == PATIENT
    assert about["expectedReturnType"]["valueString"] == "string"


async def test_levels_and_methods(http: Http) -> None:
    id_ = uuid.uuid4().hex
    await put(http, patient(id=id_, active=True))
    url = f"/Patient/{id_}/$fhirpath"
    for response in (
        await http.get(url, params={"expression": "active"}),
        await http.post(url, json=asked("active", None)),
    ):
        assert response.json()["parameter"][1]["part"][0]["valueBoolean"] is True
        assert response.headers["cache-control"] == "no-store"
    sums = await http.get("/$fhirpath", params={"expression": "1 + 1", "_format": "xml"})
    assert sums.status_code == 200 and '<valueInteger value="2"/>' in sums.text
    assert (await http.get("/Patient/$fhirpath", params={"expression": "name"})).status_code == 200
    for path, body, status in (
        (url, asked("active"), 400),
        ("/Observation/$fhirpath", asked("status"), 400),
        ("/Patient/none/$fhirpath", asked("active", None), 404),
        ("/$fhirpath", {"resourceType": "Parameters"}, 400),
    ):
        assert (await http.post(path, json=body)).status_code == status
    await http.delete(f"/Patient/{id_}")
    assert (await http.get(url, params={"expression": "active"})).status_code == 410


@pytest.mark.parametrize(
    ("expression", "text"),
    [
        ("name.gven", "expression: HumanName has no element 'gven'; did you mean given? (at character 6)"),
        ("name.frist()", "did you mean first()"),
        ("name.given.single()", "single() found 2 items (at character 12)"),
        ("1 +", "unexpected end of the expression"),
        ("%nothing", "%nothing is not defined"),
        ("slice('http://x', 'y')", "not at hand"),
    ],
)
async def test_wrong_expressions_say_where(http: Http, expression: str, text: str) -> None:
    status, diagnostics = refusal(await http.post("/$fhirpath", json=asked(expression)))
    assert status == 400 and text in diagnostics


async def test_limits(http: Http) -> None:
    ten = "(1|2|3|4|5|6|7|8|9|10)"
    for expression in (
        f"{ten}.select({ten}).select({ten}).select({ten}).select({ten}).select({ten})",
        f"'{'x' * 5_000}'.matches('(x+x+)+y')",
    ):
        status, diagnostics = refusal(await http.post("/$fhirpath", json=asked(expression)))
        assert status == 400 and ("steps" in diagnostics or "items" in diagnostics or "long" in diagnostics)


async def test_resolve_reads_the_server(http: Http) -> None:
    one, other = uuid.uuid4().hex, uuid.uuid4().hex
    await put(
        http, patient(id=one, gender="other", managingOrganization={"reference": f"Organization/{other}"})
    )
    await put(http, {"resourceType": "Organization", "id": other, "name": "Clinic"})
    await put(http, observation(f"Patient/{one}", id=other))
    expression = "subject.resolve().select(gender | managingOrganization.resolve().name)"
    url = f"/Observation/{other}/$fhirpath"
    found = (await http.get(url, params={"expression": expression})).json()["parameter"][1]
    assert [part.get("valueCode", part.get("valueString")) for part in found["part"]] == ["other", "Clinic"]
    nothing = asked("subject.resolve()", observation("Patient/nobody"))
    assert (await results(http, nothing)) == [{"name": "result"}]


async def test_value_sets_and_hierarchies(http: Http) -> None:
    system, url = f"http://x.example/{uuid.uuid4().hex}", f"http://x.example/vs/{uuid.uuid4().hex}"
    codes = [{"code": "a", "concept": [{"code": "b"}]}, {"code": "c"}]
    whole = {"resourceType": "CodeSystem", "url": system, "status": "active", "content": "complete"}
    await put(http, {**whole, "id": uuid.uuid4().hex, "hierarchyMeaning": "is-a", "concept": codes})
    compose = {"include": [{"system": system, "concept": [{"code": "a"}]}]}
    value_set = {"resourceType": "ValueSet", "id": uuid.uuid4().hex, "url": url, "status": "active"}
    await put(http, {**value_set, "compose": compose})
    coded = [{"system": system, "code": code} for code in ("a", "b", "c")]
    resource = observation(code={"coding": coded})

    async def answer(expression: str) -> list[Any]:
        (found,) = await results(http, asked(expression, resource))
        return [part["valueBoolean"] for part in found.get("part", ())]

    assert await answer(f"code.coding.select(memberOf('{url}'))") == [True, False, False]
    assert await answer(f"code.memberOf('{url}')") == [True]
    assert await answer("code.memberOf('http://x.example/unheard-of')") == []
    assert await answer("code.coding[0].subsumes(%resource.code.coding[1])") == [True]
    assert await answer("code.coding[1].subsumedBy(%resource.code.coding[0])") == [True]
    assert await answer("code.coding[1].subsumes(%resource.code.coding[2])") == [False]


async def test_announced(http: Http) -> None:
    rest = (await http.get("/metadata")).json()["rest"][0]
    assert "fhirpath" in {one["name"] for one in rest["operation"]}
    definition = (await http.get("/OperationDefinition/fhirpath")).json()
    assert definition["code"] == "fhirpath" and not issues(definition)


class TestConformsTo:
    """By the profiles that the server holds, of R4 and of its own."""

    R4 = "http://hl7.org/fhir/StructureDefinition/"

    @pytest.mark.parametrize(
        ("expression", "value"),
        [
            (f"conformsTo('{R4}DomainResource')", True),
            (f"conformsTo('{R4}Observation')", False),
            (f"name.first().conformsTo('{R4}HumanName')", True),
            (f"contact.first().conformsTo('{R4}HumanName')", False),
            (f"conformsTo('{R4}bp')", False),
        ],
    )
    async def test_r4s_own(self, http: Http, expression: str, value: bool) -> None:
        (found,) = await results(http, asked(expression))
        assert found["part"] == [{"name": "boolean", "valueBoolean": value}]

    async def test_invariants_count(self, http: Http) -> None:
        """pat-1 wants details of a contact."""
        for contact, value in (({"gender": "other"}, False), ({"name": {"text": "a"}}, True)):
            person = {"resourceType": "Patient", "contact": [contact]}
            (found,) = await results(http, asked(f"conformsTo('{self.R4}Patient')", person))
            assert found["part"] == [{"name": "boolean", "valueBoolean": value}]

    async def test_a_profile_and_a_value_set_of_ones_own(self, http: Http) -> None:
        base = f"http://example.org/{uuid.uuid4().hex}"
        codes = {"system": "http://hl7.org/fhir/administrative-gender", "concept": [{"code": "other"}]}
        needed = {"strength": "required", "valueSet": f"{base}/others"}
        profile = {
            "resourceType": "StructureDefinition",
            "url": f"{base}/profile",
            "name": "Others",
            "status": "active",
            "kind": "resource",
            "abstract": False,
            "type": "Patient",
            "baseDefinition": f"{self.R4}Patient",
            "derivation": "constraint",
            "differential": {
                "element": [{"id": "Patient.gender", "path": "Patient.gender", "min": 1, "binding": needed}]
            },
        }
        held = {"resourceType": "ValueSet", "url": f"{base}/others", "status": "active"}
        await created(http, {**held, "compose": {"include": [codes]}})
        await created(http, profile)
        for gender, value in (("other", True), ("female", False), (None, False)):
            person = {"resourceType": "Patient", "gender": gender}
            resource = {key: one for key, one in person.items() if one is not None}
            (found,) = await results(http, asked(f"conformsTo('{base}/profile')", resource))
            assert found["part"] == [{"name": "boolean", "valueBoolean": value}], gender
        entries = [{"resource": {"resourceType": "Patient", "gender": one}} for one in ("other", "female")]
        bundle = {"resourceType": "Bundle", "type": "collection", "entry": entries}
        (found,) = await results(
            http, asked(f"entry.resource.where(conformsTo('{base}/profile')).gender", bundle)
        )
        assert [one["valueCode"] for one in found["part"]] == ["other"]

    async def test_one_that_is_not_held_is_refused(self, http: Http) -> None:
        response = await http.post("/$fhirpath", json=asked("conformsTo('http://example.org/nowhere')"))
        assert refusal(response)[0] == 400 and "is not known here" in refusal(response)[1]

    async def test_judging_too_much(self, http: Http) -> None:
        many = {"resourceType": "Patient", "name": [{"family": str(n)} for n in range(1_001)]}
        response = await http.post(
            "/$fhirpath", json=asked(f"name.where(conformsTo('{self.R4}HumanName'))", many)
        )
        assert "1000 judgements" in refusal(response)[1]
