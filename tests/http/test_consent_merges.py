"""Consents are about a person: whom they deny a record, they deny it whatever a merge makes of it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import pytest
import pytest_asyncio

from tests.http.merges import asked
from tests.support.callers import Granted
from tests.support.consents import World, actor, consent, enforcing, observation

pytestmark = pytest.mark.asyncio(loop_scope="module")

E = actor("Practitioner/e")
RESEARCH = {"X-Purpose-Of-Use": "HRESCH"}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def world(database: str) -> AsyncIterator[World]:
    async with enforcing(database) as made:
        yield made


@dataclass(frozen=True, slots=True)
class Person:
    """A patient and an Observation about them, by their ids."""

    id: str
    observed: str


async def created(world: World, resource: dict[str, Any]) -> dict[str, Any]:
    body = {name: value for name, value in resource.items() if name != "id"}
    answer = await world.ask(world.admin, "POST", f"/{body['resourceType']}", body)
    assert answer.status_code == 201, answer.text
    return answer.json()


async def people(world: World, count: int) -> list[Person]:
    found: list[Person] = []
    for _ in range(count):
        id_ = (await created(world, {"resourceType": "Patient"}))["id"]
        found.append(Person(id_, (await created(world, observation("", id_)))["id"]))
    return found


async def done(world: World, operation: str, source: Person, target: Person) -> None:
    body = asked(source.id, target.id)
    answer = await world.ask(world.admin, "POST", f"/Patient/${operation}", body)
    assert answer.status_code == 200, answer.text


async def now(world: World) -> str:
    """An instant after what was written and before what will be."""
    made = await created(world, {"resourceType": "Basic", "code": {"text": "now"}})
    return str(made["meta"]["lastUpdated"]).replace("+", "%2B")


async def shown(world: World, who: Granted, person: Person, at: str, **headers: str) -> set[str]:
    """The ways in which something of a record can be seen, versions among them."""
    own = (f"/Patient/{person.id}", f"/Observation/{person.observed}")
    paths = [f"{path}{way}" for path in own for way in ("", "/_history", f"?_asOf={at}")]
    paths += [f"{path}/_history/{number}" for path in own for number in range(1, 6)]
    found: set[str] = set()
    for path in [*paths, f"{own[0]}/$everything"]:
        answer = await world.ask(who, "GET", path, **headers)
        assert answer.status_code in (200, 404), answer.text
        if answer.status_code == 200:
            found.add(path)
    for path in (
        f"/Patient?_id={person.id}",
        f"/Patient?_id={person.id}&_asOf={at}",
        f"/Observation?patient={person.id}&_asOf={at}",
        "/Observation/_history?_count=1000",
        "/Patient/_history?_count=1000",
        "/_history?_count=1000",
    ):
        if {person.id, person.observed} & await world.ids(who, path, **headers):
            found.add(path)
    return found


async def test_what_was_denied_stays_denied_after_a_merge_and_after_its_undoing(world: World) -> None:
    hidden, second, third = await people(world, 3)
    await world.agreed(consent(hidden.id, "OPTIN", type="deny", actor=E))
    at = await now(world)
    assert await shown(world, world.other, hidden, at) == set()
    await done(world, "merge", hidden, second)
    assert await shown(world, world.other, hidden, at) == set()
    assert f"/Observation/{hidden.observed}/_history/1" in await shown(world, world.doctor, hidden, at)
    assert (await world.ask(world.other, "GET", f"/Patient/{second.id}")).status_code == 404
    await done(world, "merge", second, third)
    assert await shown(world, world.other, hidden, at) == set()
    assert await shown(world, world.other, second, at) == set()
    between = await now(world)
    await done(world, "undo-merge", second, third)
    await done(world, "undo-merge", hidden, second)
    assert await shown(world, world.other, hidden, at) == set()
    assert await shown(world, world.other, hidden, between) == set()
    versions = f"/Observation/{hidden.observed}/_history"
    for number in range(1, 6):
        assert (await world.ask(world.doctor, "GET", f"{versions}/{number}")).status_code == 200, number
    # Whom it was about in error is as before, but for what the merges wrote of them.
    for person in (second, third):
        for path in (f"/Patient/{person.id}", f"/Patient/{person.id}/_history/1"):
            assert (await world.ask(world.other, "GET", path)).status_code == 200, path
        path = f"/Patient/{person.id}/_history/2"
        assert (await world.ask(world.other, "GET", path)).status_code == 404, path


async def test_what_the_target_denies_is_denied_of_what_the_source_leaves_behind(world: World) -> None:
    source, target = await people(world, 2)
    await world.agreed(consent(target.id, "OPTIN", type="deny", actor=E))
    at = await now(world)
    assert f"/Patient/{source.id}" in await shown(world, world.other, source, at)
    await done(world, "merge", source, target)
    assert await shown(world, world.other, source, at) == set()
    await done(world, "undo-merge", source, target)
    assert f"/Patient/{source.id}" in await shown(world, world.other, source, at)


async def test_what_a_person_permitted_is_permitted_of_both_records(world: World) -> None:
    source, target = await people(world, 2)
    await world.agreed(consent(source.id, "OPTIN"))
    at = await now(world)
    before = await shown(world, world.admin, source, at, **RESEARCH)
    assert f"/Patient/{source.id}" in before
    await done(world, "merge", source, target)
    assert await shown(world, world.admin, source, at, **RESEARCH) >= before
    await done(world, "undo-merge", source, target)
    versions = f"/Observation/{source.observed}/_history"
    assert (await world.ask(world.admin, "GET", f"{versions}/1", **RESEARCH)).status_code == 200
    # What was the other's for a while takes the permission of both.
    assert (await world.ask(world.admin, "GET", f"{versions}/2", **RESEARCH)).status_code == 404
    await world.agreed(consent(target.id, "OPTIN"))
    assert (await world.ask(world.admin, "GET", f"{versions}/2", **RESEARCH)).status_code == 200


async def test_whom_a_consent_names_it_names_after_references_to_them_were_replaced(world: World) -> None:
    first, second = await people(world, 2)
    kept = await world.agreed(consent(first.id, "OPTIN", type="deny", actor=E))
    authored = {"meaning": "authoredby", "reference": E[0]["reference"]}
    inner = {"type": "deny", "actor": actor("Practitioner/d"), "data": [authored]}
    await world.agreed(consent(second.id, "OPTIN", type="permit", provision=[inner]))
    performer = {"performer": [E[0]["reference"]]}
    written = (await created(world, {**observation("", second.id), **performer}))["id"]
    sides = (("source", "e"), ("target", "d"))
    body = {
        "resourceType": "Parameters",
        "parameter": [
            {"name": name, "valueReference": {"reference": f"Practitioner/{id_}"}} for name, id_ in sides
        ],
    }
    for _ in range(2):
        answer = await world.ask(world.admin, "POST", "/Practitioner/$replace-references", body)
        assert answer.status_code == 200, answer.text
        for who in (world.other, world.doctor):
            assert (await world.ask(who, "GET", f"/Patient/{first.id}")).status_code == 404
        for version in (1, 2):
            path = f"/Observation/{written}/_history/{version}"
            assert (await world.ask(world.doctor, "GET", path)).status_code == 404, path
            assert (await world.ask(world.other, "GET", path)).status_code == 200, path
    found = (await world.ask(world.admin, "GET", f"/Consent/{kept}")).json()
    named = [one["reference"]["reference"] for one in found["provision"]["actor"]]
    assert (named, found["meta"]["versionId"]) == (["Practitioner/e", "Practitioner/d"], "2")
