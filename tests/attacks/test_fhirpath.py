"""Expressions and patches by expression: no way to see or change what is not one's own."""

import json
from typing import Any

import pytest

from tests.attacks.world import LABEL, World, observation

pytestmark = pytest.mark.asyncio(loop_scope="module")

AS_FHIR = {"content_type": "application/fhir+json"}


def asked(expression: str, resource: Any = None) -> dict[str, Any]:
    given: list[dict[str, Any]] = [{"name": "expression", "valueString": expression}]
    if resource is not None:
        given.append({"name": "resource", "resource": resource})
    return {"resourceType": "Parameters", "parameter": given}


def operation(type_: str, path: str, **parts: Any) -> dict[str, Any]:
    part = [{"name": "type", "valueCode": type_}, {"name": "path", "valueString": path}]
    return {
        "name": "operation",
        "part": [*part, *({"name": name, **value} for name, value in parts.items())],
    }


def patch(*operations: dict[str, Any]) -> dict[str, Any]:
    return {"resourceType": "Parameters", "parameter": list(operations)}


LANGUAGE = operation("add", "Observation", name={"valueString": "language"}, value={"valueCode": "de"})


async def test_a_hidden_instance_is_as_one_that_never_was(world: World) -> None:
    anna = await world.anna()
    for hidden, unknown in (
        ("Observation/lab-bert", "Observation/lab-xxxx"),
        ("Patient/bert", "Patient/xxxx"),
        ("Group/both", "Group/xxxx"),
    ):
        plain = []
        for path in (hidden, unknown):
            reply = await world.ask(anna, "GET", f"/{path}/$fhirpath?expression=id")
            plain.append((reply.status, reply.body.decode().replace(path.split("/")[1], "ID")))
        assert plain[0] == plain[1] and plain[0][0] in (403, 404)
    own = await world.ask(anna, "GET", "/Patient/anna/$fhirpath?expression=name.family")
    assert own.status == 200 and b"Family-anna" in own.body


async def test_resolve_finds_what_one_may_see(world: World) -> None:
    """References in a resource of one's own making, in a stored one, by URL, and to versions."""
    anna = await world.anna()
    for literal in (
        "Patient/bert",
        "Patient/bert/_history/1",
        "http://test/fhir/Patient/bert",
        "Observation/lab-bert",
        "Device/device-bert",
        "Patient/xxxx",
        "Patient?family=Family-bert",
    ):
        resource = observation("x", "x", focus=[{"reference": literal}])
        for expression in ("focus.resolve()", "focus.reference.resolve()", f"'{literal}'.resolve()"):
            reply = await world.ask(anna, "POST", "/$fhirpath", asked(expression, resource))
            assert reply.status == 200, reply.body
            assert json.loads(reply.body)["parameter"][1:] == [{"name": "result"}], (literal, expression)
    listed = await world.ask(anna, "POST", "/List/list-anna/$fhirpath", asked("entry.item.resolve().count()"))
    assert listed.status == 200 and b'"valueInteger":0' in listed.body
    report = await world.ask(
        anna, "GET", "/DiagnosticReport/report-anna/$fhirpath?expression=result.resolve().id"
    )
    (result,) = json.loads(report.body)["parameter"][1:]
    assert [part["valueId"] for part in result["part"]] == ["lab-anna"]


async def test_who_may_see_nothing_of_a_type(world: World) -> None:
    app = await world.anna("patient/Patient.rs")
    assert (await world.ask(app, "GET", "/Observation/lab-anna/$fhirpath?expression=id")).status == 403
    resource = observation("x", "x", focus=[{"reference": "Observation/lab-anna"}])
    reply = await world.ask(app, "POST", "/$fhirpath", asked("focus.resolve()", resource))
    assert json.loads(reply.body)["parameter"][1:] == [{"name": "result"}]
    assert (await world.ask(None, "POST", "/$fhirpath", asked("1 + 1"))).status == 401


async def test_a_patch_leads_nowhere_else(world: World) -> None:
    """Hidden and unknown alike; no reference is followed out of the resource; nothing moves to another's."""
    anna = await world.anna()
    condition = operation("delete", "Observation.where(status = 'final').note")
    for sent in (LANGUAGE, condition):
        for headers in (AS_FHIR, {**AS_FHIR, "if_match": 'W/"7"'}):
            await world.alike(
                anna, "PATCH", "/Observation/lab-bert", "/Observation/lab-xxxx", patch(sent), **headers
            )
    outward = [
        operation("replace", f"Observation.subject.resolve().{path}", value={"valueString": "stolen"})
        for path in ("name.family", "id")
    ]
    move = operation("replace", "Observation.subject.reference", value={"valueString": "Patient/bert"})
    out = operation("delete", "Observation.subject")
    for sent, status in ((outward[0], 422), (outward[1], 422), (move, 403), (out, 403)):
        reply = await world.ask(anna, "PATCH", "/Observation/lab-anna", patch(sent), **AS_FHIR)
        assert reply.status == status, reply.body
    labelled = await world.anna("patient/Observation.cruds?_security=R")
    for path in ("Observation.meta.security", "Observation.meta"):
        reply = await world.ask(
            labelled, "PATCH", "/Observation/vital-anna", patch(operation("delete", path)), **AS_FHIR
        )
        assert reply.status == 403
    kept = json.loads((await world.ask(world.admin, "GET", "/Observation/vital-anna")).body)
    assert LABEL in kept["meta"]["security"]
    assert await world.version("/Observation/lab-anna") == await world.version("/Observation/lab-bert") == "1"


@pytest.mark.parametrize("kind", ["batch", "transaction"])
async def test_in_bundles_as_well(world: World, kind: str) -> None:
    anna = await world.anna()
    for method, url, resource in (
        ("PATCH", "Observation/lab-bert", patch(LANGUAGE)),
        ("PATCH", "Observation?_id=lab-bert", patch(LANGUAGE)),
        ("GET", "Patient/bert/$fhirpath?expression=name", None),
    ):
        entry: dict[str, Any] = {"request": {"method": method, "url": url}}
        if resource is not None:
            entry["resource"] = resource
        reply = await world.ask(anna, "POST", "/", {"resourceType": "Bundle", "type": kind, "entry": [entry]})
        status = reply.status
        if status == 200:
            status = int(json.loads(reply.body)["entry"][0]["response"]["status"][:3])
        assert status in (403, 404), (url, reply.body)
    assert await world.version("/Observation/lab-bert") == "1"


async def test_a_patch_tells_nothing_to_those_who_may_only_write(world: World) -> None:
    """Whether an operation fits would tell what is there, bit by bit."""
    blind = await world.anna("patient/Observation.u")
    partly = await world.anna("patient/Observation.u", "patient/Observation.r?category=vital-signs")
    fits, fails = (
        operation("replace", f"Observation.where(status = '{code}').status", value={"valueCode": "final"})
        for code in ("final", "amended")
    )
    tests = [[{"op": "test", "path": "/status", "value": code}] for code in ("final", "amended")]
    as_json = {"content_type": "application/json-patch+json"}
    for who in (blind, partly):
        for first, second, headers in ((patch(fits), patch(fails), AS_FHIR), (*tests, as_json)):
            replies = [
                await world.ask(who, "PATCH", "/Observation/lab-anna", sent, **headers)
                for sent in (first, second)
            ]
            assert [reply.status for reply in replies] == [403, 403], replies
            assert replies[0].body == replies[1].body
        for kind in ("batch", "transaction"):
            entry = {"resource": patch(fails), "request": {"method": "PATCH", "url": "Observation/lab-anna"}}
            body = {"resourceType": "Bundle", "type": kind, "entry": [entry]}
            assert b"it takes reading" in (await world.ask(who, "POST", "/", body)).body
    assert (
        await world.ask(partly, "PATCH", "/Observation/vital-anna", patch(LANGUAGE), **AS_FHIR)
    ).status == 200
    assert await world.version("/Observation/lab-anna") == "1"
