"""Who belongs to what a Consent names, is not for them to say."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from tests.support.callers import CLIENT, granted
from tests.support.consents import World, actor, consent, enforcing
from tests.support.server import BASE

pytestmark = pytest.mark.asyncio(loop_scope="module")

JSON_PATCH = {"Content-Type": "application/json-patch+json"}
D, E = ({"reference": f"Practitioner/{id_}"} for id_ in "de")
SYSTEM = f"{BASE.removesuffix('/fhir')}/auth/client"
TEAM = {"resourceType": "CareTeam", "status": "active"}
GROUP = {"resourceType": "Group", "type": "practitioner", "actual": True}
DEVICE = {"resourceType": "Device", "deviceName": [{"name": "app", "type": "other"}]}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def world(database: str) -> AsyncIterator[World]:
    async with enforcing(database) as made:
        yield made


def added(path: str, value: Any) -> list[dict[str, Any]]:
    return [{"op": "add", "path": path, "value": value}]


def gone(path: str) -> dict[str, str]:
    return {"method": "DELETE", "url": path}


@pytest.mark.parametrize(
    ("resource", "who", "joins"),
    [
        (TEAM, "doctor", added("/participant", [{"member": D}])),
        (
            {**TEAM, "status": "inactive", "participant": [{"member": D}]},
            "doctor",
            added("/status", "active"),
        ),
        (GROUP, "doctor", added("/member", [{"entity": D}])),
        (
            {**TEAM, "participant": [{"member": D, "period": {"end": "2011"}}]},
            "doctor",
            [{"op": "remove", "path": "/participant/0/period"}],
        ),
        (
            {**GROUP, "member": [{"entity": D, "inactive": True}]},
            "doctor",
            added("/member/0/inactive", False),
        ),
        (DEVICE, "doctor", added("/identifier", [{"system": SYSTEM, "value": CLIENT}])),
    ],
    ids=["care team", "its status", "its period", "group", "its member", "app"],
)
async def test_nobody_joins_or_leaves_what_a_consent_may_name(
    world: World, resource: dict[str, Any], who: str, joins: list[dict[str, Any]]
) -> None:
    """Where somebody else lets them join, they see; and then they do not leave to escape a denial."""
    caller, path = getattr(world, who), await world.made(resource)
    id_ = await world.agreed(consent("bert", "OPTOUT", type="permit", actor=actor(path)))
    answer = await world.ask(caller, "PATCH", f"/{path}", joins, **JSON_PATCH)
    assert answer.status_code == 403, answer.text
    assert "somebody else" in answer.json()["issue"][0]["diagnostics"]
    assert (await world.ask(caller, "GET", "/Patient/bert")).status_code == 404
    entry = {
        "resource": {**resource, "id": path.partition("/")[2]},
        "request": {"method": "PUT", "url": path},
    }
    assert (await world.ask(world.admin, "PATCH", f"/{path}", joins, **JSON_PATCH)).status_code == 200
    assert (await world.ask(caller, "GET", "/Patient/bert")).status_code == 200
    bundle = {"resourceType": "Bundle", "type": "transaction", "entry": [entry]}
    answer = await world.ask(caller, "POST", "", bundle)
    assert answer.status_code == 403, answer.text
    await world.revoke(id_)


async def test_nor_does_a_house_that_somebody_works_in(world: World) -> None:
    path = await world.made({"resourceType": "Organization", "name": "another"})
    id_ = await world.agreed(consent("bert", "OPTOUT", type="permit", actor=actor(path)))
    moved = added("/partOf", {"reference": path})
    assert (
        await world.ask(world.other, "PATCH", "/Organization/house", moved, **JSON_PATCH)
    ).status_code == 403
    assert (await world.ask(world.other, "GET", "/Patient/bert")).status_code == 404
    # Who does not work there is nobody else by it: that is administration, and what the right is for.
    assert (
        await world.ask(world.doctor, "PATCH", "/Organization/house", moved, **JSON_PATCH)
    ).status_code == 200
    assert (await world.ask(world.other, "GET", "/Patient/bert")).status_code == 200
    away = [{"op": "remove", "path": "/partOf"}]
    assert (
        await world.ask(world.admin, "PATCH", "/Organization/house", away, **JSON_PATCH)
    ).status_code == 200
    await world.revoke(id_)


OVER = [{"end": "2011"}, {"start": "2010-01-01", "end": "2011-01-01T10:00:00.5+02:00"}, {"start": "2999-01"}]
NOW = [{"start": "2010-01"}, {"end": "2999-12-31T23:59:59Z"}, {"start": "2010", "end": "2999"}]


@pytest.mark.parametrize(("periods", "status"), [(OVER, 404), (NOW, 200)])
async def test_who_belonged_or_will_belong_does_not(
    world: World, periods: list[dict[str, str]], status: int
) -> None:
    """Roles, care teams, who takes part in them, and members of groups have periods."""
    for period in periods:
        for resource in (
            {"resourceType": "PractitionerRole", "active": True, "practitioner": D, "period": period},
            {**TEAM, "period": period, "participant": [{"member": D}]},
            {**TEAM, "participant": [{"member": D, "period": period}, {"member": E}]},
            {**GROUP, "member": [{"entity": D, "period": period}, {"entity": E}]},
        ):
            await seen_by_doctor(world, resource, status)


@pytest.mark.parametrize(
    "resource",
    [
        {**GROUP, "active": False, "member": [{"entity": D}]},
        {**GROUP, "member": [{"entity": D, "inactive": True}, {"entity": E}]},
        {"resourceType": "PractitionerRole", "active": False, "practitioner": D},
    ],
    ids=["group", "member", "role"],
)
async def test_what_is_not_active_has_no_members(world: World, resource: dict[str, Any]) -> None:
    await seen_by_doctor(world, resource, 404)


async def seen_by_doctor(world: World, resource: dict[str, Any], status: int) -> None:
    """What the doctor is answered who is permitted as what belongs to the resource."""
    path = await world.made(resource)
    id_ = await world.agreed(consent("bert", "OPTOUT", type="permit", actor=actor(path)))
    assert (await world.ask(world.doctor, "GET", "/Patient/bert")).status_code == status, resource
    await world.revoke(id_)
    assert (await world.ask(world.admin, "DELETE", f"/{path}")).status_code == 204


async def test_a_role_that_is_over_is_no_place_to_work(world: World) -> None:
    id_ = await world.agreed(consent("bert", "OPTOUT", type="permit", actor=actor("Organization/house")))
    role = {"resourceType": "PractitionerRole", "practitioner": D}
    role |= {"organization": {"reference": "Organization/ward"}}
    path = await world.made({**role, "period": OVER[0]})
    assert (await world.ask(world.doctor, "GET", "/Patient/bert")).status_code == 404
    longer = added("/period", NOW[0])
    assert (await world.ask(world.doctor, "PATCH", f"/{path}", longer, **JSON_PATCH)).status_code == 403
    assert (await world.ask(world.admin, "PATCH", f"/{path}", longer, **JSON_PATCH)).status_code == 200
    assert (await world.ask(world.doctor, "GET", "/Patient/bert")).status_code == 200
    await world.revoke(id_)
    assert (await world.ask(world.admin, "DELETE", f"/{path}")).status_code == 204


@pytest.mark.parametrize(
    "resource",
    [
        {**TEAM, "participant": [{"member": D}]},
        {**TEAM, "participant": [{"member": D}], "period": {"end": "2011"}},
        {**TEAM, "participant": [{"member": {"reference": "Organization/ward"}}]},
        {**GROUP, "member": [{"entity": D}]},
    ],
)
async def test_nor_by_what_begins_or_ends_in_a_minute(world: World, resource: dict[str, Any]) -> None:
    """Whenever they belong to it, it is not theirs to say when; others are let in."""
    inner, member = ("member", "entity") if resource["resourceType"] == "Group" else ("participant", "member")
    caller = world.doctor if D in (one[member] for one in resource[inner]) else world.other
    path = await world.made(resource)
    period = {"end": "2990"}
    for place in (f"/{inner}/0/period", *(["/period"] if inner == "participant" else [])):
        answer = await world.ask(caller, "PATCH", f"/{path}", added(place, period), **JSON_PATCH)
        assert answer.status_code == 403, answer.text
    lets_in = added(f"/{inner}/-", {member: {"reference": "Practitioner/adm"}})
    answer = await world.ask(caller, "PATCH", f"/{path}", lets_in, **JSON_PATCH)
    assert answer.status_code == 200, answer.text


async def test_nobody_leaves_by_deleting(world: World) -> None:
    """By itself, by a search, and in a transaction; an app, too, belongs to groups."""
    app = await granted(world.dsn, "system/Group.cruds", "system/Patient.rs")
    group = {**GROUP, "type": "device", "member": [{"entity": {"reference": "Device/app"}}]}
    path = await world.made(group)
    id_ = await world.agreed(consent("bert", "OPTIN", type="deny", actor=actor(path)))
    assert (await world.ask(app, "GET", "/Patient/bert")).status_code == 404
    bundle = {"resourceType": "Bundle", "type": "transaction", "entry": [{"request": gone(path)}]}
    assert (await world.ask(app, "DELETE", f"/{path}")).status_code == 403
    assert (await world.ask(app, "DELETE", "/Group?type=device")).status_code == 403
    assert (await world.ask(app, "POST", "", bundle)).status_code == 403
    assert (await world.ask(world.admin, "DELETE", f"/{path}")).status_code == 204
    assert (await world.ask(app, "GET", "/Patient/bert")).status_code == 200
    await world.revoke(id_)


async def test_what_one_makes_oneself_and_what_others_belong_to_is_free(world: World) -> None:
    for resource in ({**TEAM, "participant": [{"member": D}]}, {**GROUP, "member": [{"entity": D}]}):
        answer = await world.ask(world.doctor, "POST", f"/{resource['resourceType']}", resource)
        assert answer.status_code == 201, answer.text
    path = await world.made(TEAM)
    joins = added("/participant", [{"member": E}])
    assert (await world.ask(world.doctor, "PATCH", f"/{path}", joins, **JSON_PATCH)).status_code == 200
    # One that has just been made leads nowhere else, either.
    organization = await world.made({"resourceType": "Organization", "name": "named"})
    entry = [
        {
            "resource": {**TEAM, "participant": [{"member": D}]},
            "request": {"method": "POST", "url": "CareTeam"},
        },
        {
            "resource": {"resourceType": "Organization", "partOf": {"reference": organization}},
            "request": {"method": "POST", "url": "Organization"},
        },
    ]
    bundle = {"resourceType": "Bundle", "type": "transaction", "entry": entry}
    assert (await world.ask(world.doctor, "POST", "", bundle)).status_code == 200
