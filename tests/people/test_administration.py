"""Accounts administered through FHIR: what a Person and its roles say holds at once, and nobody says it of
themselves."""

from dataclasses import dataclass
from typing import Any

import httpx
import pytest

from fhirserver.people import identity, persons
from tests.people.conftest import House
from tests.support.callers import Granted, granted

pytestmark = pytest.mark.asyncio(loop_scope="module")


@dataclass
class Staff:
    """Somebody with an account and a token of a role."""

    person: str
    practitioner: str
    caller: Granted
    house: House

    async def ask(self, method: str, path: str, body: Any = None, **headers: str) -> httpx.Response:
        transport = httpx.ASGITransport(self.house.app, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:8080/fhir") as client:
            return await client.request(method, path, json=body, headers=self.caller.headers | headers)

    async def get(self, path: str) -> dict[str, Any]:
        answer = await self.ask("GET", path)
        assert answer.status_code == 200, answer.text
        return answer.json()

    async def role(self) -> dict[str, Any]:
        found = await self.get(f"/PractitionerRole?practitioner=Practitioner/{self.practitioner}")
        return found["entry"][0]["resource"]


async def staff(house: House, login: str, role: str, scope: str = "user/*.cruds") -> Staff:
    person = await house.account(login, roles=(role,))
    async with house.services.pool.acquire() as connection:
        who = await identity.of_person(connection, house.services, person)
    assert who is not None and who.roles == (role,)
    caller = await granted(house.dsn, scope, user=who.user, roles=who.roles, own=who.own)
    await house.value(
        "UPDATE auth.grant_ SET account = (SELECT id FROM auth.account WHERE person = $1) WHERE id = $2",
        person,
        caller.grant,
    )
    return Staff(person, who.user[1], caller, house)


def person_of(id_: str, *links: str) -> dict[str, Any]:
    link = [{"target": {"reference": reference}} for reference in links]
    return {"resourceType": "Person", "id": id_, **({"link": link} if link else {})}


async def test_an_inactive_person_is_out_at_once(house: House) -> None:
    boss, nurse = await staff(house, "boss1", "administrator"), await staff(house, "nurse1", "nurse")
    browser = await house.signed_in("nurse1")
    assert (await nurse.ask("GET", "/Patient")).status_code == 200
    person = await boss.get(f"/Person/{nurse.person}")
    answer = await boss.ask("PUT", f"/Person/{nurse.person}", person | {"active": False})
    assert answer.status_code == 200, answer.text
    assert (await browser.get("/auth/account")).status == 303
    assert (await nurse.ask("GET", "/Patient")).status_code == 401
    assert (await house.browser().sign_in("nurse1", "lampshade wobbles north")).status == 403
    await boss.ask("PUT", f"/Person/{nurse.person}", person | {"active": True})
    assert (await nurse.ask("GET", "/Patient")).status_code == 401  # apps ask again
    assert (await house.browser().sign_in("nurse1", "lampshade wobbles north")).status == 303


@pytest.mark.parametrize("way", ["delete", "patch", "transaction", "conditional"])
async def test_whatever_way_a_person_ends(house: House, way: str) -> None:
    boss, nurse = (
        await staff(house, f"boss-{way}", "administrator"),
        await staff(house, f"nurse-{way}", "nurse"),
    )
    path = f"/Person/{nurse.person}"
    ended = person_of(nurse.person, f"Practitioner/{nurse.practitioner}") | {"active": False}
    match way:
        case "delete":
            answer = await boss.ask("DELETE", path)
        case "patch":
            patch = [{"op": "replace", "path": "/active", "value": False}]
            answer = await boss.ask("PATCH", path, patch, **{"Content-Type": "application/json-patch+json"})
        case "conditional":
            answer = await boss.ask("PUT", f"/Person?_id={nurse.person}", ended)
        case _:
            entry = {"resource": ended, "request": {"method": "PUT", "url": path[1:]}}
            answer = await boss.ask(
                "POST", "", {"resourceType": "Bundle", "type": "transaction", "entry": [entry]}
            )
    assert answer.status_code < 300, answer.text
    assert (await nurse.ask("GET", "/Patient")).status_code == 401
    assert await house.value("SELECT disabled FROM auth.account WHERE person = $1", nurse.person)


async def test_a_lost_role_ends_what_was_granted_with_it(house: House) -> None:
    boss, nurse = await staff(house, "boss2", "administrator"), await staff(house, "nurse2", "nurse")
    role = await nurse.role()
    same = await boss.ask("PUT", f"/PractitionerRole/{role['id']}", role | {"availabilityExceptions": "none"})
    assert same.status_code == 200
    assert (await nurse.ask("GET", "/Patient")).status_code == 200
    gone = await boss.ask("PUT", f"/PractitionerRole/{role['id']}", role | {"active": False})
    assert gone.status_code == 200, gone.text
    assert (await nurse.ask("GET", "/Patient")).status_code == 401
    async with house.services.pool.acquire() as connection:
        who = await identity.of_person(connection, house.services, nurse.person)
    assert who is not None and who.roles == ()


async def test_a_changed_link_ends_what_was_granted_with_it(house: House) -> None:
    boss, nurse = await staff(house, "boss3", "administrator"), await staff(house, "nurse3", "nurse")
    answer = await boss.ask("PUT", f"/Person/{nurse.person}", person_of(nurse.person) | {"active": True})
    assert answer.status_code == 200
    assert (await nurse.ask("GET", "/Patient")).status_code == 401
    assert await house.value("SELECT links FROM auth.account WHERE person = $1", nurse.person) == []


@pytest.mark.parametrize("role", ["practitioner", "nurse", "registrar", "researcher"])
async def test_only_administrators_write_persons_and_roles(house: House, role: str) -> None:
    other = await staff(house, f"target-{role}", "nurse")
    who = await staff(house, f"writer-{role}", role)
    promoted = await other.role() | {"code": [{"coding": [{"code": "administrator"}]}]}
    made = {key: value for key, value in promoted.items() if key not in ("id", "meta")}
    attempts = (
        ("PUT", f"/PractitionerRole/{promoted['id']}", promoted),
        ("POST", "/PractitionerRole", made),
        ("POST", "/Person", person_of("x", f"Practitioner/{other.practitioner}")),
        ("PUT", f"/Person/{who.person}", person_of(who.person, f"Practitioner/{other.practitioner}")),
        ("DELETE", f"/Person/{other.person}", None),
    )
    for method, path, body in attempts:
        answer = await who.ask(method, path, body)
        assert answer.status_code == 403, (method, path, answer.text)


async def test_nobody_gives_themselves_anything(house: House) -> None:
    """Not even somebody who administers others: a second pair of eyes, or the command line."""
    boss = await staff(house, "boss4", "administrator")
    role, me = await boss.role(), f"Practitioner/{boss.practitioner}"
    made = {key: value for key, value in role.items() if key not in ("id", "meta")}
    stolen = await house.account("stolen")
    attempts = (
        ("PUT", f"/PractitionerRole/{role['id']}", role | {"code": [{"coding": [{"code": "nurse"}]}]}),
        ("PUT", f"/PractitionerRole/{role['id']}", role | {"practitioner": {"reference": "Practitioner/x"}}),
        ("DELETE", f"/PractitionerRole/{role['id']}", None),
        ("POST", "/PractitionerRole", made),
        ("PUT", f"/Person/{boss.person}", person_of(boss.person, me, "Patient/vip")),
        ("PUT", f"/Person/{boss.person}", person_of(boss.person)),
        ("PUT", f"/Person/{stolen}", person_of(stolen, me)),
        ("DELETE", f"/Person/{boss.person}", None),
        ("DELETE", f"/Person?_id={boss.person}", None),
    )
    for method, path, body in attempts:
        answer = await boss.ask(method, path, body)
        assert answer.status_code == 403, (method, path, answer.text)
        request: dict[str, Any] = {"request": {"method": method, "url": path[1:]}}
        entry = request | ({"resource": body} if body else {})
        bundle = {"resourceType": "Bundle", "type": "transaction", "entry": [entry]}
        answer = await boss.ask("POST", "", bundle)
        assert answer.status_code == 403, (method, path, answer.text)
    assert (await boss.get(f"/Person/{boss.person}"))["meta"]["versionId"] == "2"  # made, then linked
    assert (await boss.ask("GET", "/Patient")).status_code == 200


async def test_nobody_joins_a_care_team_that_opens_records(house: House) -> None:
    who = ("Practitioner", "carer")
    async with opened_with_teams(house) as other:
        boss = await granted(house.dsn, "user/*.cruds", user=who, roles=("carer",))
        team = {
            "resourceType": "CareTeam",
            "status": "active",
            "subject": {"reference": "Patient/vip"},
            "participant": [{"member": {"reference": "Practitioner/carer"}}],
        }
        answer = await Staff("", "carer", boss, other).ask("POST", "/CareTeam", team)
        assert answer.status_code == 403, answer.text
        team["participant"] = [{"member": {"reference": "Practitioner/colleague"}}]
        answer = await Staff("", "carer", boss, other).ask("POST", "/CareTeam", team)
        assert answer.status_code == 201, answer.text


def opened_with_teams(house: House) -> Any:
    from tests.people.conftest import opened

    return opened(house.dsn, roles='{"carer": ["care-team", "patient/*.rs", "user/CareTeam.cruds"]}')


async def test_a_period_that_is_over_gives_no_role(house: House) -> None:
    nurse = await staff(house, "nurse5", "nurse")
    boss = await staff(house, "boss5", "administrator")
    role = await nurse.role()
    for period, roles in (
        ({"end": "2020"}, ()),
        ({"start": "2999-01-01"}, ()),
        ({"start": "2020", "end": "2999"}, ("nurse",)),
    ):
        answer = await boss.ask("PUT", f"/PractitionerRole/{role['id']}", role | {"period": period})
        assert answer.status_code == 200, answer.text
        async with house.services.pool.acquire() as connection:
            who = await identity.of_person(connection, house.services, nurse.person)
        assert who is not None and who.roles == roles, period


async def test_roles_are_given_and_taken(house: House) -> None:
    person = await house.account("roles")
    async with house.services.pool.acquire() as connection:
        for todo, done, roles in (
            (persons.give_role, True, ("nurse",)),
            (persons.give_role, False, ("nurse",)),
            (persons.take_role, True, ()),
            (persons.take_role, False, ()),
            (persons.give_role, True, ("nurse",)),
        ):
            assert await todo(connection, house.services, person, "nurse") is done
            who = await identity.of_person(connection, house.services, person)
            assert who is not None and who.roles == roles
