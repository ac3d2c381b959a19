"""What consents withhold, and that somebody broke the glass, is recorded as such."""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from fhirserver.fhir.validate import issues
from tests.audit.support import Watched, data, patients, subtypes
from tests.support.consents import SETTING, World, consent, enforcing
from tests.support.door import opened
from tests.support.server import BASE

pytestmark = pytest.mark.asyncio(loop_scope="module")

REASON = "unconscious in the emergency room"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def world(database: str) -> AsyncIterator[World]:
    async with enforcing(database) as made:
        yield made


async def test_denials_by_consent_and_breaking_the_glass(world: World) -> None:
    id_ = await world.agreed(consent("bert", "OPTOUT"))
    settings = {"auth": "smart", "consent": SETTING, "base_url": BASE, "audit": "on"}
    async with opened(world.dsn, **settings) as door:
        watched = Watched(door, world.dsn)
        await watched.new()
        hidden = await watched.ask("GET", "/Observation/obs-bert", None, world.doctor)
        unknown = await watched.ask("GET", "/Observation/none", None, world.doctor)
        assert (hidden.status, unknown.status) == (404, 404)
        refused, denied, other = await watched.new()
        assert (subtypes(refused), subtypes(denied), subtypes(other)) == (
            ["read"],
            ["AuthZ-Consent"],
            ["read"],
        )
        assert denied["outcome"] == "4" and patients(denied) == ["Patient/bert"]
        consents = [one["what"]["reference"] for one in denied["entity"] if one["type"]["code"] == "Consent"]
        assert consents == [f"Consent/{id_}"] and issues(denied) == []
        assert patients(refused) == []
        parameters = {"resourceType": "Parameters", "parameter": [{"name": "reason", "valueString": REASON}]}
        opening = await watched.ask("POST", "/$break-glass", parameters, world.doctor)
        assert opening.status == 200, opening
        [broken, _] = await watched.new()
        assert subtypes(broken) == ["operation", "break-glass", "110127"] and issues(broken) == []
        assert (broken["outcomeDesc"], broken["purposeOfEvent"][0]["coding"][0]["code"]) == (REASON, "BTG")
        assert REASON not in opening.body.decode()
        claim = {"x_purpose_of_use": "BTG"}
        reply = await watched.ask("GET", "/Observation/obs-bert", None, world.doctor, **claim)
        assert reply.status == 200, reply
        [event] = await watched.new()
        assert subtypes(event) == ["read", "110127"] and patients(event) == ["Patient/bert"]
        assert event["purposeOfEvent"][0]["coding"][0]["code"] == "BTG"


@pytest.mark.parametrize("kind", ["batch", "transaction"])
async def test_what_consents_withhold_from_an_entry_of_a_bundle(world: World, kind: str) -> None:
    id_ = await world.agreed(consent("carl", "OPTOUT"))
    settings = {"auth": "smart", "consent": SETTING, "base_url": BASE, "audit": "on"}
    async with opened(world.dsn, **settings) as door:
        watched = Watched(door, world.dsn)
        await watched.new()
        entry = {"request": {"method": "GET", "url": "Observation/obs-carl"}}
        bundle = {"resourceType": "Bundle", "type": kind, "entry": [entry]}
        reply = await watched.ask("POST", "", bundle, world.doctor)
        assert reply.status == (404 if kind == "transaction" else 200), reply
        refused, denied = await watched.new()
        assert subtypes(refused) == [kind if kind == "transaction" else "read"]
        assert data(refused) == ["Observation/obs-carl"] and patients(refused) == []
        assert subtypes(denied) == ["AuthZ-Consent"] and patients(denied) == ["Patient/carl"]
        assert f"Consent/{id_}" in str(denied)
    await world.revoke(id_)


async def test_who_asks_what_consents_say_of_a_record_is_told(world: World) -> None:
    settings = {"auth": "smart", "consent": SETTING, "base_url": BASE, "audit": "on"}
    asked = {"name": "actor", "valueString": "Practitioner/d"}
    async with opened(world.dsn, **settings) as door:
        watched = Watched(door, world.dsn)
        await watched.new()
        resource = {"name": "resource", "valueString": "Observation/obs-anna"}
        patient = {"name": "patient", "valueString": "Patient/anna"}
        type_ = {"name": "type", "valueCode": "Observation"}
        for target, more in (
            ("/Observation/obs-anna/$explain-access", []),
            ("/Consent/$check-access", [resource]),
            ("/Consent/$check-access", [patient, type_]),
            ("/Consent/$simulate", [{"name": "consent", "resource": consent("anna", "OPTIN")}]),
        ):
            body = {"resourceType": "Parameters", "parameter": [asked, *more]}
            reply = await watched.ask("POST", target, body, world.admin)
            assert reply.status == 200, reply
            assert "Patient/anna" in [patients(one)[0] for one in await watched.new() if patients(one)]
