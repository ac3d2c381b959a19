"""Parameters of one's own and rights: who may bring them, and what they cannot widen."""

import httpx

from tests.support.callers import Granted, granted
from tests.support.definitions import COMPLETE_S_MAX, extension, of_extension, search_parameter
from tests.support.server import serving

EYE = search_parameter("eye-colour", "token", of_extension("urn:eye"), id="eye")


async def ask(
    http: httpx.AsyncClient, who: Granted, method: str, path: str, body: object = None
) -> httpx.Response:
    return await http.request(method, path, json=body, headers=who.headers)


async def test_what_may_be_seen_does_not_hang_on_them(database: str) -> None:
    """Else whoever may write SearchParameters could redefine what a scope of another one means."""
    admin = await granted(database, "user/*.cruds", user=("Practitioner", "d"), roles=("administrator",))
    blue = await granted(database, "system/Patient.rs?eye-colour=blue", "system/SearchParameter.s")
    anna = await granted(database, "patient/*.cruds", patient="anna", user=("Patient", "anna"), own=("anna",))
    async with serving(database, auth="smart") as http:
        someone = {
            "resourceType": "Patient",
            "id": "anna",
            "extension": [extension("urn:eye", valueCode="blue")],
        }
        assert (await ask(http, admin, "PUT", "/Patient/anna", someone)).status_code == 201
        assert (await ask(http, anna, "PUT", "/SearchParameter/eye", EYE)).status_code == 403
        assert (await ask(http, anna, "POST", "/SearchParameter", EYE)).status_code == 403
        assert (await ask(http, admin, "PUT", "/SearchParameter/eye", EYE)).status_code == 201
        for _ in range(COMPLETE_S_MAX * 100):
            status = await ask(http, blue, "GET", "/SearchParameter/eye/$status")
            if status.json()["parameter"][0]["valueCode"] == "complete":
                break
        found = await ask(http, admin, "GET", "/Patient?eye-colour=blue")
        assert found.json()["total"] == 1
        assert (await ask(http, blue, "GET", "/Patient")).json()["total"] == 0
        assert (await ask(http, blue, "GET", "/Patient?eye-colour=blue")).json()["total"] == 0


VALUES = {"resourceType": "ValueSet", "id": "v", "status": "active"}
RENAMED = [{"op": "replace", "path": "/name", "value": "other"}]


async def test_only_administrators_write_what_the_server_goes_by(database: str) -> None:
    """What is granted to the app makes no difference: the user's role decides."""
    user = ("Practitioner", "d")
    admin = await granted(database, "user/*.cruds", user=user, roles=("administrator",))
    async with serving(database, auth="smart") as http:
        assert (await ask(http, admin, "PUT", "/SearchParameter/eye", EYE)).status_code in (200, 201)
        assert (await ask(http, admin, "PUT", "/ValueSet/v", VALUES)).status_code in (200, 201)
        for role in ("practitioner", "nurse", "registrar", "researcher"):
            who = await granted(database, "user/*.cruds", user=user, roles=(role,))
            for resource in (EYE, VALUES):
                path = f"/{resource['resourceType']}"
                entry = {"resource": resource, "request": {"method": "PUT", "url": f"{path[1:]}/new"}}
                bundle = {"resourceType": "Bundle", "type": "transaction", "entry": [entry]}
                new = {key: value for key, value in resource.items() if key != "id"}
                for answer in (
                    await ask(http, who, "POST", path, new),
                    await ask(http, who, "PUT", f"{path}/new", resource | {"id": "new"}),
                    await ask(http, who, "PUT", f"{path}/{resource['id']}", resource | {"status": "retired"}),
                    await ask(http, who, "DELETE", f"{path}/{resource['id']}"),
                    await ask(http, who, "POST", "", bundle),
                ):
                    assert answer.status_code == 403, (role, answer.request, answer.text)
            patch = await http.patch(
                "/SearchParameter/eye",
                json=RENAMED,
                headers={**who.headers, "Content-Type": "application/json-patch+json"},
            )
            assert patch.status_code == 403
        doctor = await granted(database, "user/*.cruds", user=user, roles=("practitioner",))
        assert (await ask(http, doctor, "GET", "/SearchParameter/eye")).json()["status"] == "active"
        assert (await ask(http, doctor, "GET", "/ValueSet")).json()["total"] == 1
        someone = {"resourceType": "Patient", "id": "p"}
        assert (await ask(http, doctor, "PUT", "/Patient/p", someone)).status_code == 201
