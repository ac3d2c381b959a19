"""Single interactions through the door: https://hl7.org/fhir/R4/http.html"""

from typing import Any

import httpx
import pytest

pytestmark = pytest.mark.asyncio(loop_scope="module")

Http = httpx.AsyncClient
FHIR_JSON = "application/fhir+json;charset=utf-8"


def patient(**more: Any) -> dict[str, Any]:
    return {"resourceType": "Patient", "name": [{"family": "Müller", "given": ["Åsa"]}], **more}


def without_server_meta(resource: dict[str, Any]) -> dict[str, Any]:
    meta = {k: v for k, v in resource.get("meta", {}).items() if k not in ("versionId", "lastUpdated")}
    return {k: v for k, v in resource.items() if k not in ("id", "meta")} | ({"meta": meta} if meta else {})


async def created(http: Http, resource: dict[str, Any]) -> dict[str, Any]:
    response = await http.post(f"/{resource['resourceType']}", json=resource)
    assert response.status_code == 201, response.text
    return response.json()


async def test_create_gives_id_version_and_location(http: Http) -> None:
    response = await http.post(
        "/Patient", json=patient(id="mine", meta={"versionId": "7", "lastUpdated": "2001-01-01T00:00:00Z"})
    )
    assert response.status_code == 201
    made = response.json()
    assert made["id"] != "mine" and made["meta"]["versionId"] == "1"
    assert without_server_meta(made) == patient()
    assert response.headers["location"] == f"http://test/fhir/Patient/{made['id']}/_history/1"
    assert response.headers["etag"] == 'W/"1"'
    assert response.headers["content-type"] == FHIR_JSON
    assert len(made["meta"]["lastUpdated"]) == len("2026-01-01T00:00:00.000000Z")


async def test_read_vread_and_history_show_every_version(http: Http) -> None:
    made = await created(http, patient())
    path = f"/Patient/{made['id']}"
    second = (await http.put(path, json={**made, "gender": "female"})).json()
    assert second["meta"]["versionId"] == "2"
    assert (await http.get(path)).json() == second
    assert (await http.get(f"{path}/_history/1")).json() == made
    assert (await http.delete(path)).status_code == 204
    assert (await http.get(path)).status_code == 410
    assert (await http.get(f"{path}/_history/3")).status_code == 410
    assert (await http.get(f"{path}/_history/2")).json() == second
    bundle = (await http.get(f"{path}/_history")).json()
    assert bundle["type"] == "history"
    assert [entry["request"]["method"] for entry in bundle["entry"]] == ["DELETE", "PUT", "POST"]
    assert [entry.get("resource") for entry in bundle["entry"]] == [None, second, made]
    again = await http.put(path, json=made)
    assert again.status_code == 201 and again.json()["meta"]["versionId"] == "4"


@pytest.mark.parametrize(
    ("path", "status", "code"),
    [
        ("/Patient/unknown", 404, "not-found"),
        ("/Patient/unknown/_history/1", 404, "not-found"),
        ("/Patient/unknown/_history", 404, "not-found"),
        ("/Patientt/1", 404, "not-found"),
        ("/patient/1", 404, "not-found"),
        ("/Parameters/1", 404, "not-found"),
        ("/Patient/1/2/3/4/5/6/7", 404, "not-found"),
        ("/Patient/" + "x" * 65, 404, "not-found"),
        ("/Patient/%2F", 404, "not-found"),
        ("/nothing", 404, "not-found"),
    ],
)
async def test_what_is_not_there_is_an_outcome(http: Http, path: str, status: int, code: str) -> None:
    response = await http.get(path)
    assert response.status_code == status
    assert response.json()["resourceType"] == "OperationOutcome"
    assert response.json()["issue"][0]["code"] == code


async def test_vread_takes_only_the_spelling_given_out(http: Http) -> None:
    made = await created(http, patient())
    for spelling in ("01", "+1", "1.0", "99999999999", "²", "0", "-1"):
        assert (await http.get(f"/Patient/{made['id']}/_history/{spelling}")).status_code == 404, spelling


async def test_conditional_read(http: Http) -> None:
    made = await http.post("/Patient", json=patient())
    path = f"/Patient/{made.json()['id']}"
    assert (await http.get(path, headers={"If-None-Match": 'W/"1"'})).status_code == 304
    assert (await http.get(path, headers={"If-None-Match": 'W/"2", W/"1"'})).status_code == 304
    assert (await http.get(path, headers={"If-None-Match": 'W/"2"'})).status_code == 200
    modified = made.headers["last-modified"]
    assert (await http.get(path, headers={"If-Modified-Since": modified})).status_code == 304
    assert (
        await http.get(path, headers={"If-Modified-Since": "Mon, 01 Jan 2001 00:00:00 GMT"})
    ).status_code == 200


async def test_head_is_get_without_a_body(http: Http) -> None:
    made = await created(http, patient())
    head, get = [await http.request(m, f"/Patient/{made['id']}") for m in ("HEAD", "GET")]
    assert head.status_code == 200 and head.content == b""
    assert head.headers["content-length"] == get.headers["content-length"]
    assert head.headers["etag"] == get.headers["etag"]


async def test_update_requires_the_id_of_the_path(http: Http) -> None:
    for body in (patient(), patient(id="other")):
        response = await http.put("/Patient/this", json=body)
        assert response.status_code == 400
        assert response.json()["issue"][0]["expression"] == ["Patient.id"]
    assert (
        await http.put("/Patient/this", json={"resourceType": "Observation", "id": "this"})
    ).status_code == 400


async def test_update_creates_under_the_clients_id(http: Http) -> None:
    response = await http.put("/Patient/chosen", json=patient(id="chosen"))
    assert response.status_code == 201 and response.json()["meta"]["versionId"] == "1"
    assert response.headers["location"].endswith("/Patient/chosen/_history/1")


async def test_if_match(http: Http) -> None:
    made = await created(http, patient())
    path = f"/Patient/{made['id']}"
    body = {**made, "active": True}
    stale = await http.put(path, json=body, headers={"If-Match": 'W/"2"'})
    assert stale.status_code == 412 and stale.json()["resourceType"] == "OperationOutcome"
    assert (await http.put(path, json=body, headers={"If-Match": 'W/"1"'})).status_code == 200
    assert (await http.delete(path, headers={"If-Match": 'W/"1"'})).status_code == 412
    assert (await http.put(path, json=body, headers={"If-Match": "what is this"})).status_code == 400
    patched = await http.patch(
        path,
        content=b'[{"op":"replace","path":"/active","value":false}]',
        headers={"If-Match": 'W/"1"', "Content-Type": "application/json-patch+json"},
    )
    assert patched.status_code == 412
    assert (
        await http.put("/Patient/nobody", json=patient(id="nobody"), headers={"If-Match": 'W/"1"'})
    ).status_code == 412


async def test_identical_update_makes_no_version(http: Http) -> None:
    made = await created(
        http,
        {
            "resourceType": "Observation",
            "status": "final",
            "code": {"text": "x"},
            "valueQuantity": {"value": 1.5},
        },
    )
    path = f"/Observation/{made['id']}"
    assert (await http.put(path, json=made)).json()["meta"] == made["meta"]
    text = (await http.get(path)).text.replace("1.5", "1.50")
    changed = await http.put(path, content=text, headers={"Content-Type": "application/fhir+json"})
    assert changed.json()["meta"]["versionId"] == "2", "1.50 has another precision than 1.5"


async def test_security_labels_survive_an_update_that_does_not_name_them(http: Http) -> None:
    label = {"system": "http://terminology.hl7.org/CodeSystem/v3-Confidentiality", "code": "R"}
    made = await created(http, patient(meta={"security": [label], "tag": [{"code": "t"}]}))
    updated = await http.put(f"/Patient/{made['id']}", json=patient(id=made["id"]))
    assert updated.json()["meta"]["security"] == [label]
    assert "tag" not in updated.json()["meta"]
    removed = await http.patch(
        f"/Patient/{made['id']}",
        content=b'[{"op":"remove","path":"/meta/security"}]',
        headers={"Content-Type": "application/json-patch+json"},
    )
    assert "security" not in removed.json()["meta"]


@pytest.mark.parametrize(
    ("prefer", "kind"),
    [
        ("return=minimal", None),
        ("return=representation", "Patient"),
        ("return=OperationOutcome", "OperationOutcome"),
        ("", "Patient"),
    ],
)
async def test_prefer_return(http: Http, prefer: str, kind: str | None) -> None:
    response = await http.post("/Patient", json=patient(), headers={"Prefer": prefer})
    assert response.status_code == 201 and "location" in response.headers
    assert (response.json()["resourceType"] if response.content else None) == kind


async def test_delete_of_nothing_is_no_error(http: Http) -> None:
    assert (await http.delete("/Patient/never-was")).status_code == 204
    outcome = await http.delete("/Patient/never-was", headers={"Prefer": "return=OperationOutcome"})
    assert outcome.status_code == 200 and outcome.json()["resourceType"] == "OperationOutcome"


async def test_method_not_allowed_names_what_is(http: Http) -> None:
    response = await http.delete("/Patient/1/_history/1")
    assert response.status_code == 405 and "GET" in response.headers["allow"]
    assert response.json()["resourceType"] == "OperationOutcome"


async def test_formats(http: Http) -> None:
    made = await created(http, patient())
    path = f"/Patient/{made['id']}"
    for accept in (
        "application/fhir+xml",
        "application/xml",
        "application/fhir+json;q=0.1, application/fhir+xml",
    ):
        response = await http.get(path, headers={"Accept": accept})
        assert response.content.startswith(b"<"), accept
    assert (await http.get(path, params={"_format": "xml"})).text.startswith("<")
    for accept in ("*/*", "text/html", "application/json", ""):
        assert (await http.get(path, headers={"Accept": accept})).json() == made, accept
    refused = await http.get(path, headers={"Accept": "image/png"})
    assert refused.status_code == 406 and refused.json()["resourceType"] == "OperationOutcome"
    unread = await http.post("/Patient", content=b"a,b", headers={"Content-Type": "text/csv"})
    assert unread.status_code == 415
    not_found = await http.get("/Patient/none", headers={"Accept": "application/fhir+xml"})
    assert not_found.status_code == 404 and b"<OperationOutcome" in not_found.content


async def test_xml_in_and_out(http: Http) -> None:
    body = (
        b'<Patient xmlns="http://hl7.org/fhir"><active value="true"/><birthDate value="1970-03"/></Patient>'
    )
    response = await http.post(
        "/Patient",
        content=body,
        headers={"Content-Type": "application/fhir+xml", "Accept": "application/fhir+json"},
    )
    assert without_server_meta(response.json()) == {
        "resourceType": "Patient",
        "active": True,
        "birthDate": "1970-03",
    }


async def test_pretty_summary_and_elements(http: Http) -> None:
    made = await created(http, patient(photo=[{"url": "http://a"}], birthDate="1970-01-01"))
    path = f"/Patient/{made['id']}"
    assert (await http.get(path, params={"_pretty": "true"})).text.count("\n") > 3
    summary = (await http.get(path, params={"_summary": "true"})).json()
    assert "photo" not in summary and summary["meta"]["tag"][0]["code"] == "SUBSETTED"
    elements = (await http.get(path, params={"_elements": "birthDate"})).json()
    assert elements["birthDate"] == "1970-01-01" and "name" not in elements
    assert (await http.get(path, params={"_summary": "nonsense"})).status_code == 400


@pytest.mark.parametrize(
    "number", ["1.50", "1.0E2", "1e-5", "0.000000000000000000001", "100000000000000000000.10", "-0.0"]
)
async def test_numbers_keep_their_digits(http: Http, number: str) -> None:
    text = (
        '{"resourceType":"Observation","status":"final","code":{"text":"x"},'
        f'"valueQuantity":{{"value":{number}}}}}'
    )
    made = await http.post("/Observation", content=text, headers={"Content-Type": "application/fhir+json"})
    assert made.status_code == 201, made.text
    read = (await http.get(f"/Observation/{made.json()['id']}")).text
    from decimal import Decimal

    from fhirserver.fhir import json

    value = json.loads(read.encode())["valueQuantity"]["value"]
    assert Decimal(value).as_tuple() == Decimal(number).as_tuple()


async def test_patch(http: Http) -> None:
    made = await created(http, patient())
    path, headers = f"/Patient/{made['id']}", {"Content-Type": "application/json-patch+json"}
    good = await http.patch(path, content=b'[{"op":"add","path":"/gender","value":"male"}]', headers=headers)
    assert (
        good.status_code == 200
        and good.json()["gender"] == "male"
        and good.json()["meta"]["versionId"] == "2"
    )
    for body, status in [
        (b'[{"op":"add","path":"/gender","value":"blue"}]', 400),
        (b'[{"op":"test","path":"/gender","value":"female"}]', 422),
        (b'[{"op":"replace","path":"/id","value":"else"}]', 400),
        (b'[{"op":"replace","path":"/resourceType","value":"Group"}]', 400),
        (b'{"op":"add"}', 400),
    ]:
        response = await http.patch(path, content=body, headers=headers)
        assert response.status_code == status, (body, response.text)
    assert (await http.get(path)).json() == good.json()
    assert (await http.patch("/Patient/none", content=b"[]", headers=headers)).status_code == 404


async def test_binary_keeps_its_bytes(http: Http) -> None:
    body = bytes(range(256))
    made = await http.post(
        "/Binary",
        content=body,
        headers={"Content-Type": "application/pdf", "Accept": "application/fhir+json"},
    )
    assert made.status_code == 201
    path = f"/Binary/{made.json()['id']}"
    native = await http.get(path, headers={"Accept": "application/pdf"})
    assert native.content == body and native.headers["content-type"] == "application/pdf"
    as_fhir = (await http.get(path, headers={"Accept": "application/fhir+json"})).json()
    assert as_fhir["contentType"] == "application/pdf"
    put = await http.put(
        path, content=b"new", headers={"Content-Type": "text/plain", "X-Security-Context": "Patient/1"}
    )
    assert put.status_code == 200
    read = (await http.get(path, headers={"Accept": "application/fhir+json"})).json()
    assert read["securityContext"] == {"reference": "Patient/1"} and read["meta"]["versionId"] == "2"


async def test_own_absolute_references_become_relative(http: Http) -> None:
    made = await created(
        http,
        {
            "resourceType": "Observation",
            "status": "final",
            "code": {"text": "x"},
            "subject": {"reference": "http://127.0.0.1:8080/fhir/Patient/1"},
            "performer": [{"reference": "http://elsewhere.org/fhir/Patient/1"}],
        },
    )
    assert made["subject"]["reference"] == "Patient/1"
    assert made["performer"][0]["reference"] == "http://elsewhere.org/fhir/Patient/1"


async def test_defects_are_located_and_change_nothing(http: Http) -> None:
    before = (await http.get("/Patient", params={"_summary": "count"})).json()["total"]
    response = await http.post("/Patient", json=patient(nmae="x", gender="blue"))
    assert response.status_code == 400
    issues = {issue["expression"][0]: issue for issue in response.json()["issue"]}
    assert "name" in issues["Patient.nmae"]["diagnostics"]
    assert "female" in issues["Patient.gender"]["diagnostics"]
    assert (await http.get("/Patient", params={"_summary": "count"})).json()["total"] == before


@pytest.mark.parametrize(
    "criteria", ["identifier=http://a|{}", "?identifier=http://a|{}", "Patient?identifier=http://a|{}"]
)
async def test_criteria_of_a_conditional_create_in_their_usual_spellings(http: Http, criteria: str) -> None:
    value = str(abs(hash(criteria)))
    body = patient(identifier=[{"system": "http://a", "value": value}])
    headers = {"If-None-Exist": criteria.format(value)}
    assert [(await http.post("/Patient", json=body, headers=headers)).status_code for _ in range(2)] == [
        201,
        200,
    ]
