"""Consent/$simulate tells what happens when the Consent is then written, and changes nothing."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import asyncpg
import pytest
import pytest_asyncio

from tests.support.callers import Granted
from tests.support.consents import PATIENTS, World, actor, consent, enforcing, purpose

pytestmark = pytest.mark.asyncio(loop_scope="module")

TYPES = "http://hl7.org/fhir/resource-types"
OBSERVATIONS = {"class": [{"system": TYPES, "code": "Observation"}]}
DOCTOR, OTHER = "Practitioner/d", "Practitioner/e"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def world(database: str) -> AsyncIterator[World]:
    async with enforcing(database) as made:
        yield made


async def simulated(
    world: World, body: dict[str, Any], who: Granted | None = None, status: int = 200, **inputs: Any
) -> dict[str, Any]:
    parameter: list[dict[str, Any]] = [{"name": "consent", "resource": body}]
    for name, value in inputs.items():
        for one in value if isinstance(value, list) else [value]:
            key = "valueReference" if name in ("actor", "patient") else "valueCode"
            parameter.append({"name": name, key: {"reference": one} if key == "valueReference" else one})
    sent = {"resourceType": "Parameters", "parameter": parameter}
    answer = await world.ask(who or world.admin, "POST", "/Consent/$simulate", sent)
    assert answer.status_code == status, answer.text
    return answer.json()


def changes(answer: dict[str, Any]) -> dict[str, tuple[set[str], set[str]]]:
    """By actor (`anybody`: of others), what would be hidden and shown."""
    found: dict[str, tuple[set[str], set[str]]] = {}
    for part in answer["parameter"]:
        if part["name"] != "change":
            continue
        parts = part["part"]
        who = parts[0].get("valueReference", {}).get("reference", "anybody")
        sets = tuple(
            {one["valueReference"]["reference"] for one in parts if one["name"] == f"{name}Resource"}
            for name in ("hidden", "shown")
        )
        counts = tuple(one["valueInteger"] for one in parts if one["name"] in ("hidden", "shown"))
        assert counts == tuple(map(len, sets))
        found[who] = sets[0], sets[1]
    return found


async def seen(world: World, who: Granted) -> set[str]:
    """What somebody sees of the records of the three."""
    found: set[str] = set()
    for type_ in ("Patient", "Observation", "Consent"):
        found |= {f"{type_}/{id_}" for id_ in await world.ids(who, f"/{type_}?_count=1000")}
    return found


async def stored(world: World) -> list[str]:
    """All that the tables of resources and rules hold."""
    connection = await asyncpg.connect(world.dsn)
    try:
        rows = await connection.fetch(
            "SELECT r::text FROM resource r UNION ALL SELECT k::text FROM consent_rule k ORDER BY 1"
        )
        return [row[0] for row in rows]
    finally:
        await connection.close()


CONSENTS = {
    "closed": consent("bert", "OPTOUT"),
    "closed to one": consent("bert", "OPTIN", type="deny", actor=actor(DOCTOR)),
    "closed to a house": consent("bert", "OPTIN", type="deny", actor=actor("Organization/house")),
    "open to a team": consent("bert", "OPTOUT", type="permit", actor=actor("CareTeam/team")),
    "without observations": consent("bert", "OPTIN", **{"type": "deny", **OBSERVATIONS}),
    "over": consent("bert", "OPTOUT", period={"end": "2001-01-01"}),
    "a draft": {**consent("bert", "OPTOUT"), "status": "proposed"},
}


@pytest.mark.parametrize("name", CONSENTS)
async def test_what_it_tells_is_what_happens(world: World, name: str) -> None:
    body = CONSENTS[name]
    before = {DOCTOR: await seen(world, world.doctor), OTHER: await seen(world, world.other)}
    told = changes(await simulated(world, body, actor=[DOCTOR, OTHER]))
    assert {DOCTOR: await seen(world, world.doctor), OTHER: await seen(world, world.other)} == before
    id_ = await world.agreed({**body, "status": "active"})
    for path, who in ((DOCTOR, world.doctor), (OTHER, world.other)):
        after = await seen(world, who) - {f"Consent/{id_}"}
        hidden, shown = told[path]
        assert (before[path] - after, after - before[path]) == (hidden, shown), path
    await world.revoke(id_)


async def test_it_changes_nothing(world: World) -> None:
    id_ = await world.agreed(consent("bert", "OPTOUT"))
    before = await stored(world)
    for body in (*CONSENTS.values(), {**CONSENTS["closed to one"], "id": id_}):
        await simulated(world, body)
    assert await stored(world) == before
    await world.revoke(id_)


async def test_a_consent_in_place_of_a_stored_one(world: World) -> None:
    id_ = await world.agreed(consent("bert", "OPTOUT"))
    await world.revoke(id_)
    id_ = await world.agreed(consent("bert", "OPTIN", type="deny", **OBSERVATIONS))
    wider = {**consent("bert", "OPTIN", type="deny", actor=actor(DOCTOR)), "id": id_}
    told = changes(await simulated(world, wider, actor=[OTHER, DOCTOR]))
    # Not even who keeps consents is told of what is hidden from them: the observation.
    assert told[OTHER] == (set(), set())
    assert "Patient/bert" in told[DOCTOR][0]
    beside = {**wider, "id": "unknown"}
    assert changes(await simulated(world, beside, actor=[OTHER]))[OTHER] == (set(), set())
    await world.revoke(id_)


async def test_whom_it_is_for(world: World) -> None:
    """Who the Consent names and others, unless it is said."""
    told = changes(await simulated(world, CONSENTS["closed to one"]))
    assert set(told) == {DOCTOR, "anybody"}
    assert told[DOCTOR][0] >= {"Patient/bert", "Observation/obs-bert"}
    assert told["anybody"] == (set(), set())
    nested = consent("bert", "OPTOUT", provision=[{"type": "permit", "actor": actor("Organization/ward")}])
    told = changes(await simulated(world, nested))
    assert told["Organization/ward"] == (set(), set())
    assert "Patient/bert" in told["anybody"][0]


async def test_purpose_and_action(world: World) -> None:
    research = consent("bert", "OPTOUT", type="permit", purpose=purpose("HRESCH"))
    told = changes(await simulated(world, research, actor=DOCTOR, purpose="HRESCH"))
    assert "Observation/obs-bert" in told[DOCTOR][1]
    assert "Observation/obs-bert" in changes(await simulated(world, research, actor=DOCTOR))[DOCTOR][0]
    for wrong in ({"purpose": "FUN"}, {"action": "look"}, {"actor": "urn:x"}):
        await simulated(world, research, status=400, **wrong)


async def test_a_policy_is_looked_at_in_a_record(world: World) -> None:
    policy = consent(None, "OPTIN", type="deny", **OBSERVATIONS)
    await simulated(world, policy, status=400)
    told = changes(await simulated(world, policy, actor=DOCTOR, patient="Patient/carl"))
    assert told == {DOCTOR: ({"Observation/obs-carl"}, set())}


async def test_who_may_ask(world: World) -> None:
    await simulated(world, CONSENTS["closed"], world.doctor, 403)
    await simulated(world, CONSENTS["closed"], world.patient, 403)
    told = changes(await simulated(world, consent("anna", "OPTOUT"), world.patient, actor=DOCTOR))
    assert told[DOCTOR][0] >= {"Patient/anna", "Observation/obs-anna"}
    await simulated(world, consent(None, "OPTOUT"), world.patient, 403, patient="Patient/anna")
    assert await world.ids(world.doctor, "/Patient") == set(PATIENTS)


async def test_what_would_not_be_enforced(world: World) -> None:
    body = await simulated(world, consent("bert", None), status=422)
    assert "policyRule" in body["issue"][0]["diagnostics"]
    vague = consent("bert", "OPTIN", provision=[{"actor": actor(DOCTOR)}])
    answer = await simulated(world, vague)
    [warning] = [one for one in answer["parameter"] if one["name"] == "warning"]
    assert "provision[0]" in warning["valueString"]
