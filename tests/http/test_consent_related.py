"""What a Consent's `data` leads to, by what a resource refers to, is not for those whom it binds to say."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from tests.support.callers import granted
from tests.support.consents import World, consent, enforcing

pytestmark = pytest.mark.asyncio(loop_scope="module")

JSON_PATCH = {"Content-Type": "application/json-patch+json"}
HIDDEN = {"reference": "Observation/obs-bert"}
LIST = {"resourceType": "List", "status": "current", "mode": "working", "title": "shared"}
ADDED = [{"op": "add", "path": "/entry", "value": [{"item": HIDDEN}]}]
EXTENDED = [{"op": "add", "path": "/extension", "value": [{"url": "urn:x", "valueReference": HIDDEN}]}]
ENTRIES = {"resourceType": "Bundle", "type": "transaction"}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def world(database: str) -> AsyncIterator[World]:
    async with enforcing(database) as made:
        yield made


async def made(world: World, **more: Any) -> str:
    answer = await world.ask(world.admin, "POST", "/List", {**LIST, **more})
    assert answer.status_code == 201, answer.text
    return f"List/{answer.json()['id']}"


def related(path: str) -> list[dict[str, Any]]:
    return [{"meaning": "related", "reference": {"reference": path}}]


@pytest.mark.parametrize(
    "whose", [{}, {"subject": {"reference": "Patient/bert"}}], ids=["nobody's", "the patient's"]
)
async def test_nobody_widens_a_permission(world: World, whose: dict[str, Any]) -> None:
    path = await made(world, **whose)
    id_ = await world.agreed(consent("bert", "OPTOUT", type="permit", data=related(path)))
    changed = {**LIST, **whose, "id": path.partition("/")[2], "entry": [{"item": HIDDEN}]}
    put = {"resource": changed, "request": {"method": "PUT", "url": path}}
    delete = {"request": {"method": "DELETE", "url": path}}
    service = await granted(world.dsn, "system/*.cruds")
    for caller in (world.doctor, service):
        for method, url, body, headers in (
            ("PATCH", f"/{path}", ADDED, JSON_PATCH),
            ("PATCH", f"/{path}", EXTENDED, JSON_PATCH),
            ("PATCH", f"/List?_id={path.partition('/')[2]}", ADDED, JSON_PATCH),
            ("PUT", f"/{path}", changed, {}),
            ("PUT", f"/List?_id={path.partition('/')[2]}", changed, {}),
            ("DELETE", f"/{path}", None, {}),
            ("DELETE", f"/List?_id={path.partition('/')[2]}", None, {}),
            ("POST", "", {**ENTRIES, "entry": [put]}, {}),
            ("POST", "", {**ENTRIES, "entry": [delete]}, {}),
        ):
            answer = await world.ask(caller, method, url, body, **headers)
            assert answer.status_code == 403, (method, url, answer.text)
            # A practitioner may delete no List at all.
            assert "provision.data" in answer.text or caller is world.doctor
            assert (await world.ask(caller, "GET", "/Observation/obs-bert")).status_code == 404
    assert (await world.ask(world.admin, "PUT", f"/{path}", changed)).status_code == 200
    assert (await world.ask(world.doctor, "GET", "/Observation/obs-bert")).status_code == 200
    await world.revoke(id_)
    assert (await world.ask(service, "DELETE", f"/{path}")).status_code == 204


async def test_nobody_empties_a_denial(world: World) -> None:
    path = await made(world, entry=[{"item": HIDDEN}])
    id_ = await world.agreed(consent("bert", "OPTIN", type="deny", data=related(path)))
    removed = [{"op": "remove", "path": "/entry"}]
    assert (await world.ask(world.doctor, "GET", f"/{path}")).status_code == 200
    for caller in (world.doctor, world.other):
        assert (await world.ask(caller, "PATCH", f"/{path}", removed, **JSON_PATCH)).status_code == 403
    assert (await world.ask(world.doctor, "GET", "/Observation/obs-bert")).status_code == 404
    await world.revoke(id_)
    assert (await world.ask(world.doctor, "PATCH", f"/{path}", removed, **JSON_PATCH)).status_code == 200


async def test_whose_consent_it_is_says_what_it_is_about(world: World) -> None:
    """And nobody else's, not even if they have consented themselves. Other meanings bind nobody's hands."""
    answers = {"resourceType": "QuestionnaireResponse", "status": "in-progress"}
    answers |= {"subject": {"reference": "Patient/anna"}, "source": {"reference": "Patient/anna"}}
    answer = await world.ask(world.patient, "POST", "/QuestionnaireResponse", answers)
    assert answer.status_code == 201, answer.text
    path = f"QuestionnaireResponse/{answer.json()['id']}"
    own = await world.agreed(consent("anna", "OPTIN", type="permit", data=related(path)))
    change = [{"op": "add", "path": "/language", "value": "en"}]
    answer = await world.ask(world.patient, "PATCH", f"/{path}", change, **JSON_PATCH)
    assert answer.status_code == 200, answer.text
    other = await world.agreed(consent("bert", "OPTIN", type="deny", data=related(path)))
    change[0]["value"] = "fr"
    assert (await world.ask(world.patient, "PATCH", f"/{path}", change, **JSON_PATCH)).status_code == 403
    await world.revoke(own)
    await world.revoke(other)
    named = [{"meaning": "instance", "reference": {"reference": path}}]
    id_ = await world.agreed(consent("anna", "OPTIN", type="permit", data=named))
    assert (await world.ask(world.doctor, "PATCH", f"/{path}", change, **JSON_PATCH)).status_code == 200
    await world.revoke(id_)


async def test_a_consent_that_is_over_binds_nobodys_hands(world: World) -> None:
    path = await made(world)
    over = {"period": {"end": "2020"}}
    nested = {"type": "permit", "data": related(path)}
    for provision in ({**nested, "type": "permit", **over}, {"provision": [nested], **over}):
        id_ = await world.agreed(consent("bert", "OPTOUT", **provision))
        title = [{"op": "replace", "path": "/title", "value": id_}]
        assert (await world.ask(world.doctor, "PATCH", f"/{path}", title, **JSON_PATCH)).status_code == 200
        await world.revoke(id_)
