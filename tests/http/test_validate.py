"""$validate, profiles that are defined while the server runs, and what may be stored, through the door."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
import pytest_asyncio

from fhirserver.fhir import xml
from tests.http.support import Http, created, entry, observation, put, send
from tests.support.server import serving
from tests.support.terminology import code_system, concept, value_set

pytestmark = pytest.mark.asyncio(loop_scope="module")

Resource = dict[str, Any]
NAMED = "http://example.org/StructureDefinition/named"
POLICY = f'{{"*": "claimed", "Basic": "warn", "Group": ["{NAMED}-group"], "{NAMED}-soft": "warn"}}'


GIVEN: Resource = {"name": "resource", "resource": {"resourceType": "Patient"}}
MODE: Resource = {"name": "mode", "valueCode": "profile"}


def profile(url: str, type_: str, *elements: Resource, **more: Any) -> Resource:
    """A constraint on a type, as a differential."""
    return {
        "resourceType": "StructureDefinition",
        "url": url,
        "name": "Named",
        "status": "active",
        "kind": "resource",
        "abstract": False,
        "type": type_,
        "baseDefinition": f"http://hl7.org/fhir/StructureDefinition/{type_}",
        "derivation": "constraint",
        "differential": {"element": [{"id": type_, "path": type_}, *elements]},
        **more,
    }


def needs(path: str, **more: Any) -> Resource:
    return {"id": path, "path": path, "min": 1, **more}


def claiming(resource: Resource, *urls: str) -> Resource:
    return {**resource, "meta": {"profile": list(urls)}}


async def issues(http: Http, path: str, body: Any, **more: Any) -> list[Resource]:
    response = await http.post(path, json=body, **more)
    assert response.status_code == 200, response.text
    assert response.json()["resourceType"] == "OperationOutcome"
    return response.json()["issue"]


def errors(found: list[Resource]) -> list[str]:
    return [one["expression"][0] for one in found if one["severity"] == "error"]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def named(http: Http) -> AsyncIterator[str]:
    made = await created(http, profile(NAMED, "Patient", needs("Patient.name")))
    yield NAMED
    await http.delete(f"/StructureDefinition/{made['id']}")


class TestValidate:
    async def test_nothing_is_wrong(self, http: Http) -> None:
        found = await issues(http, "/Patient/$validate", {"resourceType": "Patient", "active": True})
        assert errors(found) == []

    async def test_every_defect_with_its_place(self, http: Http) -> None:
        text = '{"resourceType": "Patient",\n "birthDate": "x",\n "contact": [{"id": "a", "gender": "male"}]}'
        response = await http.post(
            "/Patient/$validate", content=text, headers={"Content-Type": "application/fhir+json"}
        )
        assert response.status_code == 200
        first = response.json()["issue"][0]
        assert first["expression"] == ["Patient.birthDate"]
        assert [one["valueInteger"] for one in first["extension"]] == [2, 2]

    async def test_more_than_a_hundred(self, http: Http) -> None:
        body = {"resourceType": "Patient", "name": [{"use": "x"}] * 300}
        assert len(errors(await issues(http, "/Patient/$validate", body))) == 300

    async def test_a_profile_in_the_url_and_in_parameters(self, http: Http, named: str) -> None:
        body = {"resourceType": "Patient", "active": True}
        found = await issues(http, f"/Patient/$validate?profile={named}", body)
        assert errors(found) == ["Patient.name"]
        parameters = {
            "resourceType": "Parameters",
            "parameter": [
                {"name": "resource", "resource": body},
                {"name": "profile", "valueUri": named},
                {"name": "mode", "valueCode": "create"},
            ],
        }
        found = await issues(http, "/Patient/$validate", parameters)
        assert errors(found) == ["Patient.name"]
        assert found[0]["extension"]

    async def test_a_claimed_profile(self, http: Http, named: str) -> None:
        body = claiming({"resourceType": "Patient", "active": True}, named)
        assert errors(await issues(http, "/Patient/$validate", body)) == ["Patient.name"]

    async def test_a_profile_that_is_not_held(self, http: Http) -> None:
        body = claiming({"resourceType": "Patient", "active": True}, "urn:x")
        found = await issues(http, "/Patient/$validate", body)
        assert [one["severity"] for one in found if "urn:x" in one["diagnostics"]] == ["warning"]
        asked = await issues(http, "/Patient/$validate?profile=urn:x", {"resourceType": "Patient"})
        assert [one["severity"] for one in asked if "urn:x" in one["diagnostics"]] == ["error"]

    async def test_xml_by_line(self, http: Http, named: str) -> None:
        body = claiming({"resourceType": "Patient", "contact": [{"gender": "male"}]}, named)
        response = await http.post(
            "/Patient/$validate",
            content=xml.to_xml(body, pretty=True),
            headers={"Content-Type": "application/fhir+xml", "Accept": "application/fhir+json"},
        )
        found = [one for one in response.json()["issue"] if one["severity"] == "error"]
        assert {one["expression"][0] for one in found} == {"Patient.name", "Patient.contact[0]"}
        assert all(one["extension"][0]["valueInteger"] > 1 or "name" in one["expression"][0] for one in found)

    async def test_an_instance_as_it_is_stored(self, http: Http, named: str) -> None:
        made = await created(http, {"resourceType": "Patient", "active": True})
        response = await http.get(f"/Patient/{made['id']}/$validate?profile={named}")
        assert errors(response.json()["issue"]) == ["Patient.name"]
        assert (await http.get("/Patient/unknown/$validate")).status_code == 404

    async def test_an_update_carries_its_id(self, http: Http) -> None:
        made = await created(http, {"resourceType": "Patient", "active": True})
        body = {"resourceType": "Patient", "id": "other", "active": True}
        path = f"/Patient/{made['id']}/$validate?mode=update"
        assert errors(await issues(http, path, body)) == ["Patient.id"]

    async def test_a_deletion(self, http: Http) -> None:
        made = await created(http, {"resourceType": "Patient", "active": True})
        response = await http.get(f"/Patient/{made['id']}/$validate?mode=delete")
        assert response.status_code == 200
        assert response.json()["issue"][0]["severity"] == "information"

    @pytest.mark.parametrize(
        ("path", "body"),
        [
            ("/Patient/$validate?mode=x", {"resourceType": "Patient"}),
            ("/Patient/$validate?nonsense=x", {"resourceType": "Patient"}),
            ("/Patient/$validate", {"resourceType": "Parameters"}),
            ("/Patient/$validate", {"resourceType": "Parameters", "parameter": {"name": "resource"}}),
            ("/Patient/$validate", {"resourceType": "Parameters", "parameter": [{"name": "x"}]}),
            ("/Patient/$validate", {"resourceType": "Parameters", "parameter": [{"name": "profile"}]}),
            ("/Patient/$validate", {"resourceType": "Parameters", "parameter": [GIVEN, GIVEN]}),
            ("/Patient/$validate?mode=update", {"resourceType": "Patient"}),
            ("/Patient/$validate?mode=delete", {"resourceType": "Patient"}),
            ("/Patient/$validate?mode=create", {"resourceType": "Parameters", "parameter": [GIVEN, MODE]}),
        ],
    )
    async def test_what_cannot_be_asked(self, http: Http, path: str, body: Resource) -> None:
        response = await http.post(path, json=body)
        assert response.status_code == 400, response.text

    @pytest.mark.parametrize(
        "body", [[], 1, "x", {}, {"resourceType": 5}, {"resourceType": "Group"}, {"x": []}]
    )
    async def test_what_is_no_resource_of_the_type(self, http: Http, body: Any) -> None:
        assert [one["severity"] for one in await issues(http, "/Patient/$validate", body)] == ["error"]


class TestDefinitions:
    async def test_in_force_until_it_is_deleted(self, http: Http) -> None:
        url = f"{NAMED}-for-a-while"
        body = claiming({"resourceType": "Patient", "active": True}, url)
        made = await created(http, profile(url, "Patient", needs("Patient.name")))
        assert errors(await issues(http, "/Patient/$validate", body)) == ["Patient.name"]
        await put(http, {**made, **profile(url, "Patient", needs("Patient.gender"))})
        assert errors(await issues(http, "/Patient/$validate", body)) == ["Patient.gender"]
        await http.delete(f"/StructureDefinition/{made['id']}")
        assert errors(await issues(http, "/Patient/$validate", body)) == []

    async def test_in_every_process(self, http: Http, database: str) -> None:
        url = f"{NAMED}-everywhere"
        async with serving(database) as other:
            await created(other, profile(url, "Patient", needs("Patient.name")))
            async with serving(database) as third:
                found = await issues(
                    third, f"/Patient/$validate?profile={url}", {"resourceType": "Patient", "id": "a"}
                )
                assert errors(found) == ["Patient.name"]

    @pytest.mark.parametrize(
        "elements",
        [
            [needs("Patient.nose")],
            [needs("Patient.name", max="many")],
            [needs("Patient.name", max="0")],
            [needs("Patient.birthDate", max="*")],
            [{"id": "Patient.birthDate", "path": "Patient.birthDate", "type": [{"code": "Quantity"}]}],
            [needs("Patient.name")] * 5_000,
        ],
        ids=["unknown", "no number", "never", "wider", "another type", "too many"],
    )
    @pytest.mark.parametrize("form", ["differential", "snapshot"])
    async def test_one_that_contradicts_its_base_is_refused(
        self, http: Http, form: str, elements: list[Resource]
    ) -> None:
        wrong = profile(f"{NAMED}-wrong", "Patient", *elements)
        if form == "snapshot":
            wrong["snapshot"] = wrong.pop("differential")
        response = await http.post("/StructureDefinition", json=wrong)
        refused = form == "differential" or elements[0].get("max") == "many" or len(elements) > 1
        assert response.status_code == (422 if refused else 201), response.text
        url = f"/Patient/$validate?profile={wrong['url']}"
        await issues(http, url, {"resourceType": "Patient", "birthDate": "2000", "name": [{"text": "x"}]})
        if not refused:
            await http.delete(f"/StructureDefinition/{response.json()['id']}")

    async def test_one_that_lies_in_itself(self, http: Http) -> None:
        url = f"{NAMED}-nested"
        inner = {
            "id": "Patient.contained",
            "path": "Patient.contained",
            "type": [{"code": "Resource", "profile": [url]}],
        }
        made = await created(http, profile(url, "Patient", inner, needs("Patient.name")))
        body = {
            "resourceType": "Patient",
            "name": [{"text": "outer"}],
            "contained": [{"resourceType": "Patient", "id": "a"}],
            "link": [{"other": {"reference": "#a"}, "type": "refer"}],
        }
        found = await issues(http, f"/Patient/$validate?profile={url}", body)
        assert errors(found) == ["Patient.contained[0].name"]
        await http.delete(f"/StructureDefinition/{made['id']}")

    async def test_one_that_comes_before_its_base(self, http: Http) -> None:
        inner, outer = f"{NAMED}-inner", f"{NAMED}-outer"
        await created(http, profile(outer, "Patient", needs("Patient.gender"), baseDefinition=inner))
        body = claiming({"resourceType": "Patient", "active": True}, outer)
        found = await issues(http, "/Patient/$validate", body)
        assert any("does not hold" in one["diagnostics"] for one in found if one["severity"] == "warning")
        await created(http, profile(inner, "Patient", needs("Patient.name")))
        assert sorted(errors(await issues(http, "/Patient/$validate", body))) == [
            "Patient.gender",
            "Patient.name",
        ]

    async def test_several_in_a_transaction(self, http: Http) -> None:
        inner, outer = f"{NAMED}-first", f"{NAMED}-second"
        response = await send(
            http,
            "transaction",
            entry("POST", "StructureDefinition", profile(outer, "Patient", baseDefinition=inner)),
            entry("POST", "StructureDefinition", profile(inner, "Patient", needs("Patient.name"))),
        )
        assert response.status_code == 200, response.text
        found = await issues(
            http, f"/Patient/$validate?profile={outer}", {"resourceType": "Patient", "id": "a"}
        )
        assert errors(found) == ["Patient.name"]


CODES = "http://example.org/codes"


def coded(code: str, system: str = CODES, **more: Any) -> Resource:
    coding = {"system": system, "code": code, **more}
    return claiming({"resourceType": "Basic", "code": {"coding": [coding]}}, f"{NAMED}-coded")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def terms(http: Http) -> str:
    """The id of a value set to which a profile binds."""
    await created(http, code_system(concept("a"), concept("b"), url=CODES))
    made = await created(http, value_set({"system": CODES, "concept": [{"code": "a"}]}, url=f"{CODES}/vs"))
    binding = {"strength": "required", "valueSet": f"{CODES}/vs"}
    element = {"id": "Basic.code", "path": "Basic.code", "binding": binding}
    await created(http, profile(f"{NAMED}-coded", "Basic", element))
    return made["id"]


class TestTerminology:
    async def test_codes_of_a_stored_value_set(self, http: Http, terms: str) -> None:
        assert errors(await issues(http, "/Basic/$validate", coded("a"))) == []
        assert errors(await issues(http, "/Basic/$validate", coded("b"))) == ["Basic.code"]
        assert errors(await issues(http, "/Basic/$validate", coded("c"))) == [
            "Basic.code.coding[0].code",
            "Basic.code",
        ]

    async def test_displays(self, http: Http, terms: str) -> None:
        found = await issues(http, "/Basic/$validate", coded("a", display="otherwise"))
        where = [one["expression"][0] for one in found if one["severity"] == "warning"]
        assert "Basic.code.coding[0].display" in where

    async def test_a_system_that_is_not_held(self, http: Http, terms: str) -> None:
        body = claiming(
            coded("x", "http://example.org/unknown"), "http://hl7.org/fhir/StructureDefinition/Basic"
        )
        found = await issues(http, "/Basic/$validate", body)
        assert errors(found) == []
        assert any("http://example.org/unknown" in one["diagnostics"] for one in found)

    async def test_a_value_set_that_changes(self, http: Http, terms: str) -> None:
        other = value_set({"system": CODES, "concept": [{"code": "b"}]}, url=f"{CODES}/vs", id=terms)
        await put(http, other)
        assert errors(await issues(http, "/Basic/$validate", coded("b"))) == []
        assert errors(await issues(http, "/Basic/$validate", coded("a"))) == ["Basic.code"]

    async def test_a_change_counts_from_its_answer_on_for_those_who_share_a_look(
        self, http: Http, terms: str
    ) -> None:
        """Others ask all the time; whoever asks after the change was acknowledged goes by it."""
        done = asyncio.Event()

        async def others() -> None:
            while not done.is_set():
                await issues(http, "/Basic/$validate", coded("a"))

        async def changes() -> None:
            try:
                for turn in range(30):
                    right, wrong = ("a", "b") if turn % 2 else ("b", "a")
                    only = {"system": CODES, "concept": [{"code": right}]}
                    await put(http, value_set(only, url=f"{CODES}/vs", id=terms))
                    assert errors(await issues(http, "/Basic/$validate", coded(right))) == []
                    assert errors(await issues(http, "/Basic/$validate", coded(wrong))) == ["Basic.code"]
            finally:
                done.set()

        await asyncio.gather(changes(), *(others() for _ in range(6)))

    async def test_those_who_leave_take_nobody_along(self, http: Http, terms: str) -> None:
        """The one who looks for all may go away."""
        for pause in range(20):
            asked = [asyncio.create_task(issues(http, "/Basic/$validate", coded("c"))) for _ in range(6)]
            await asyncio.sleep(pause / 4_000)
            asked[0].cancel()
            asked[3].cancel()
            found = await asyncio.gather(*asked, return_exceptions=True)
            left = [one for number, one in enumerate(found) if number not in (0, 3)]
            assert not any(isinstance(one, BaseException) for one in left), left

    async def test_what_may_be_stored(self, http: Http, database: str, terms: str) -> None:
        await put(http, value_set({"system": CODES, "concept": [{"code": "b"}]}, url=f"{CODES}/vs", id=terms))
        async with serving(database, validation='{"Basic": "claimed"}') as client:
            await created(client, coded("b"))
            assert (await client.post("/Basic", json=coded("a"))).status_code == 422


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def strict(database: str, http: Http) -> AsyncIterator[httpx.AsyncClient]:
    """A server that judges by profiles when it stores."""
    async with serving(database, validation=POLICY) as client:
        for name, type_ in (("", "Patient"), ("-soft", "Patient"), ("-basic", "Basic"), ("-group", "Group")):
            element = {"Basic": "Basic.author"}.get(type_, f"{type_}.name")
            await created(client, profile(f"{NAMED}{name}", type_, needs(element)))
        yield client


BASIC = {"resourceType": "Basic", "code": {"text": "a"}}
GROUP = {"resourceType": "Group", "type": "person", "actual": True}


class TestPolicy:
    async def test_a_claim_is_held_to(self, strict: Http) -> None:
        body = claiming({"resourceType": "Patient", "active": True}, NAMED)
        response = await strict.post("/Patient", json=body)
        assert response.status_code == 422
        assert errors(response.json()["issue"]) == ["Patient.name"]
        await created(strict, {**body, "name": [{"text": "a"}]})
        await created(strict, {"resourceType": "Patient", "active": True})

    async def test_updates_and_patches_too(self, strict: Http) -> None:
        made = await created(strict, claiming({"resourceType": "Patient", "name": [{"text": "a"}]}, NAMED))
        without = {key: value for key, value in made.items() if key != "name"}
        assert (await strict.put(f"/Patient/{made['id']}", json=without)).status_code == 422
        response = await strict.patch(
            f"/Patient/{made['id']}",
            json=[{"op": "remove", "path": "/name"}],
            headers={"Content-Type": "application/json-patch+json"},
        )
        assert response.status_code == 422

    async def test_entries_of_a_transaction_too(self, strict: Http) -> None:
        body = claiming({"resourceType": "Patient", "active": True}, NAMED)
        response = await send(strict, "transaction", entry("POST", "Patient", body))
        assert response.status_code == 422
        assert errors(response.json()["issue"]) == ["Bundle.entry[0].resource.name"]

    async def test_warnings_by_type_and_by_profile(self, strict: Http) -> None:
        for body in (
            claiming(BASIC, f"{NAMED}-basic"),
            claiming({"resourceType": "Patient"}, f"{NAMED}-soft"),
        ):
            path = f"/{body['resourceType']}"
            response = await strict.post(path, json=body, headers={"Prefer": "return=OperationOutcome"})
            assert response.status_code == 201
            severities = {one["severity"] for one in response.json()["issue"]}
            assert severities == {"information", "warning"}

    async def test_a_required_profile(self, strict: Http) -> None:
        assert (await strict.post("/Group", json=GROUP)).status_code == 422
        await created(strict, {**GROUP, "name": "a"})

    async def test_what_would_be_refused(self, strict: Http) -> None:
        """`mode=create` asks whether it could be created: by the same rules."""
        assert errors(await issues(strict, "/Group/$validate", GROUP)) == []
        found = await issues(strict, "/Group/$validate?mode=create", GROUP)
        assert "Group.name" in errors(found)
        assert errors(await issues(strict, "/Group/$validate?mode=create", {**GROUP, "name": "a"})) == []

    async def test_a_required_profile_that_nothing_can_be_judged_by(self, strict: Http) -> None:
        """What is based on something that is not held is met by nothing, not by everything."""
        url = f"{NAMED}-group"
        (held,) = (await strict.get("/StructureDefinition", params={"url": url})).json()["entry"]
        adrift = {**held["resource"], "baseDefinition": "urn:nowhere"}
        await put(strict, adrift)
        try:
            assert (await strict.post("/Group", json={**GROUP, "name": "a"})).status_code == 422
        finally:
            await put(strict, held["resource"])
        await created(strict, {**GROUP, "name": "a"})

    async def test_others_are_left_alone(self, http: Http) -> None:
        await created(http, claiming({"resourceType": "Patient", "active": True}, NAMED))
        await created(http, observation())
