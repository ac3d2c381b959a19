"""The operations on consents decide as every request is decided."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from tests.support.callers import granted
from tests.support.consents import SETTING, World, actor, consent, enforcing, purpose
from tests.support.server import BASE, serving

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def world(database: str) -> AsyncIterator[World]:
    async with enforcing(database) as made:
        yield made


def values(answer: dict[str, Any]) -> dict[str, Any]:
    """The parameters by name, but for what is a list."""
    parts = [one for one in answer["parameter"] if "part" not in one]
    return {one["name"]: next(v for k, v in one.items() if k.startswith("value")) for one in parts}


async def checked(world: World, **inputs: str) -> dict[str, Any]:
    kinds = {"patient": "Reference", "actor": "Reference", "resource": "Reference"}
    body = {
        "resourceType": "Parameters",
        "parameter": [
            {"name": name, "valueReference": {"reference": value}}
            if name in kinds
            else {"name": name, "valueCode": value}
            for name, value in inputs.items()
        ],
    }
    answer = await world.ask(world.admin, "POST", "/Consent/$check-access", body)
    assert answer.status_code == 200, answer.text
    found = values(answer.json())
    assert found.pop("evaluatedAt")
    return found


async def test_check_access(world: World) -> None:
    nested = [
        {"type": "deny", "actor": actor("Practitioner/d")},
        {"type": "permit", "actor": actor("Organization/house"), "purpose": purpose("HRESCH")},
    ]
    id_ = await world.agreed(consent("bert", "OPTIN", provision=nested))
    here = {"consent": {"reference": f"Consent/{id_}"}}
    denied = {"decision": "deny", "default": "permit", **here, "provision": "Consent.provision.provision[0]"}
    permitted = {"decision": "permit", "default": "permit", **here, "provision": "Consent.policyRule"}
    for about in ({"resource": "Observation/obs-bert"}, {"patient": "Patient/bert", "type": "Observation"}):
        assert await checked(world, actor="Practitioner/d", **about) == denied
        assert await checked(world, actor="Practitioner/e", **about) == permitted
        research = await checked(world, actor="Practitioner/e", purpose="HRESCH", **about)
        assert research["provision"] == "Consent.provision.provision[1]"
    assert await checked(world, actor="Practitioner/d", resource="Observation/obs-carl") == {
        "decision": "no-consent",
        "default": "permit",
    }
    assert (await checked(world, actor="Patient/bert", resource="Observation/obs-bert"))[
        "decision"
    ] == "permit"
    await world.revoke(id_)
    assert (await checked(world, actor="Practitioner/d", resource="Patient/bert"))["decision"] == "no-consent"


async def test_what_is_said_is_what_is_seen(world: World) -> None:
    """For every patient and asker, under several consents: `$check-access`, a search and a read agree."""
    ids = [
        await world.agreed(consent("anna", "OPTOUT", type="permit", actor=actor("Organization/ward"))),
        await world.agreed(consent("bert", "OPTIN", type="deny", actor=actor("CareTeam/team"))),
        await world.agreed(consent("carl", "OPTIN", type="deny", action=[ACCESS])),
    ]
    for who, name in ((world.doctor, "Practitioner/d"), (world.other, "Practitioner/e")):
        seen = await world.ids(who, "/Observation")
        for patient in ("anna", "bert", "carl"):
            found = await checked(world, actor=name, resource=f"Observation/obs-{patient}")
            assert (found["decision"] == "permit") == (f"obs-{patient}" in seen), (name, patient)
    for id_ in ids:
        await world.revoke(id_)


ACCESS = {"coding": [{"system": "http://terminology.hl7.org/CodeSystem/consentaction", "code": "access"}]}


async def test_explain_access_names_all_that_is_said(world: World) -> None:
    one = await world.agreed(consent("bert", "OPTIN"))
    two = await world.agreed(consent("bert", "OPTOUT"))
    path = "/Observation/obs-bert/$explain-access?actor=Practitioner/d"
    answer = await world.ask(world.admin, "GET", path)
    assert answer.status_code == 200, answer.text
    assert values(answer.json())["decision"] == "deny"
    said = [part["part"] for part in answer.json()["parameter"] if part["name"] == "said"]
    assert [(part[0]["valueReference"]["reference"], part[2]["valueCode"]) for part in said] == [
        (f"Consent/{two}", "deny"),
        (f"Consent/{one}", "permit"),
    ]
    for path in ("/Observation/nothing", "/Observation/obs-bert"):
        answer = await world.ask(world.doctor, "GET", f"{path}/$explain-access?actor=Practitioner/d")
        assert answer.status_code == 403, answer.text
    answer = await world.ask(world.admin, "GET", "/Observation/nothing/$explain-access?actor=Practitioner/d")
    assert answer.status_code == 404
    await world.revoke(one)
    await world.revoke(two)


async def test_revoke(world: World) -> None:
    id_ = await world.agreed(consent("bert", "OPTOUT"))
    path = f"/Consent/{id_}/$revoke"
    reason = {"resourceType": "Parameters", "parameter": [{"name": "reason", "valueString": "moved"}]}
    assert "bert" not in await world.ids(world.doctor, "/Patient")
    assert (await world.ask(world.doctor, "POST", path, reason)).status_code == 404
    stale = await world.ask(world.admin, "POST", path, reason, **{"If-Match": 'W/"7"'})
    assert stale.status_code == 412
    answer = await world.ask(world.admin, "POST", path, reason, **{"If-Match": 'W/"1"'})
    assert answer.status_code == 200, answer.text
    assert answer.json()["status"] == "inactive"
    assert [one["valueString"] for one in answer.json()["extension"]] == ["moved"]
    assert "bert" in await world.ids(world.doctor, "/Patient")
    again = await world.ask(world.admin, "POST", path, reason)
    assert (again.status_code, again.json()["meta"]["versionId"]) == (200, "2")
    assert (await world.ask(world.admin, "POST", "/Consent/nothing/$revoke")).status_code == 404


async def test_active_and_expiring_consents(world: World) -> None:
    soon, later = {"period": {"end": "2999-01-01"}}, {"period": {"start": "2998-01-01"}}
    active = await world.agreed(consent("carl", "OPTIN", **soon))
    future = await world.agreed(consent("carl", "OPTIN", **later))
    draft = await world.agreed({**consent("carl", "OPTIN"), "status": "proposed"})
    assert await world.ids(world.admin, "/Patient/carl/$active-consents") == {active}
    assert (await world.ask(world.admin, "GET", "/Patient/nobody/$active-consents")).status_code == 404
    assert await world.ids(world.admin, "/Consent/$expiring") == set()
    hiding = await world.agreed(consent("bert", "OPTOUT"))
    assert (await world.ask(world.admin, "GET", "/Patient/bert")).status_code == 404
    assert await world.ids(world.admin, "/Patient/bert/$active-consents") == {hiding}
    assert (await world.ask(world.doctor, "GET", "/Patient/bert/$active-consents")).status_code == 404
    await world.revoke(hiding)
    assert await world.ids(world.admin, "/Consent/$expiring?days=400000") == {active}
    await world.revoke(active)
    assert await world.ids(world.admin, "/Patient/carl/$active-consents") == set()
    for id_ in (future, draft):
        await world.revoke(id_)


async def test_what_is_hidden_is_not_in_the_links_of_consents_in_force(world: World) -> None:
    """Nor does it take the place of what is not: one at most is looked for."""
    end = {"period": {"end": "2999-01-01"}}
    hidden = [
        await world.agreed(consent("bert", "OPTOUT", period={"end": "2998-01-01"})),
        await world.agreed(consent("carl", "OPTIN", type="deny", **{"class": [CONSENT_TYPE]}, **end)),
    ]
    own = await world.agreed(consent("anna", "OPTIN", **end))
    for who in (world.doctor, world.patient):
        for path in ("/Consent/$expiring?days=400000", "/Patient/carl/$active-consents"):
            answer = await world.ask(who, "GET", path)
            assert not any(id_ in answer.text for id_ in hidden), (path, answer.text)
    async with serving(world.dsn, auth="smart", consent=SETTING, base_url=BASE, or_values_max=1) as http:
        for who in (world.doctor, world.patient):
            answer = await http.get("/Consent/$expiring?days=400000", headers=who.headers)
            assert [one["resource"]["id"] for one in answer.json()["entry"]] == [own]
    for id_ in (*hidden, own):
        await world.revoke(id_)


CONSENT_TYPE = {"system": "http://hl7.org/fhir/resource-types", "code": "Consent"}


async def test_without_enforcement_nothing_is_said_of_access(world: World) -> None:
    admin = await granted(world.dsn, "user/*.cruds", user=("Practitioner", "adm"), roles=("administrator",))
    async with serving(world.dsn, auth="smart") as http:
        path = "/Patient/bert/$explain-access?actor=Practitioner/d"
        answer = await http.get(path, headers=admin.headers)
        assert answer.status_code == 400, answer.text
