"""Who comes in, and what apps are granted, is recorded: successes and failures."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from fhirserver.fhir.validate import issues
from tests.audit.support import Resource, Watched, patients, subtypes, user
from tests.oauth.support import World, world_on
from tests.people.conftest import PASSWORD, House
from tests.people.conftest import opened as house_on
from tests.support.door import Door

pytestmark = pytest.mark.asyncio(loop_scope="module")

SCOPE = "launch/patient patient/*.rs offline_access"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def house(database: str) -> AsyncIterator[House]:
    async with house_on(database, audit="on") as made:
        yield made


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def world(database: str) -> AsyncIterator[World]:
    async with world_on(database, audit="on") as made:
        yield made


class Look(Watched):
    """At a server that others ask, and that records entrances as events at once."""

    async def unfolded(self) -> None:
        pass


def look(dsn: str) -> Watched:
    return Look(Door(lambda *_: None), dsn)  # type: ignore[arg-type]  # nobody asks anything there


async def entrances(watched: Watched) -> list[Resource]:
    """What is new and no REST."""
    found = [event for event in await watched.new() if event["type"]["code"] != "rest"]
    assert [issues(event) for event in found] == [[] for _ in found]
    return found


async def test_signing_in_and_out(house: House) -> None:
    watched = look(house.dsn)
    await house.account("grace", roles=("nurse",))
    await watched.new()
    assert (await house.browser().sign_in("grace", "wrong wrong wrong")).status == 403
    assert (await house.browser().sign_in("nobody", PASSWORD)).status == 403
    failures = await entrances(watched)
    assert [(subtypes(one), one["outcome"], one["agent"][0]["altId"]) for one in failures] == [
        (["110122"], "4", "grace"),
        (["110122"], "4", "nobody"),
    ]
    browser = await house.signed_in("grace")
    [event] = await entrances(watched)
    assert (subtypes(event), event["outcome"]) == (["110122"], "0")
    assert (user(event) or "").startswith("Practitioner/")
    await browser.send(await browser.get("/auth/account"), "/sign-out")
    [event] = await entrances(watched)
    assert (subtypes(event), event["outcome"]) == (["110123"], "0")


async def test_grants_given_refreshed_and_revoked(world: World) -> None:
    watched = look(world.dsn)
    somebody, app = await world.someone("ann", "Patient/anna"), await world.app()
    await watched.new()
    code = await app.code(somebody, SCOPE)
    [given] = await entrances(watched)
    assert (subtypes(given), user(given), patients(given)) == (["given"], "Patient/anna", ["Patient/anna"])
    assert set(given["entity"][1]["description"].split()) == set(SCOPE.split())
    assert given["agent"][1]["who"]["identifier"]["value"] == app.id
    answer = (await app.redeem(code)).json()
    [redeemed] = await entrances(watched)
    assert (subtypes(redeemed), redeemed["outcome"]) == (["ITI-71"], "0")
    answer = (await app.refresh(answer["refresh_token"])).json()
    [refreshed] = await entrances(watched)
    assert (subtypes(refreshed), patients(refreshed)) == (["refreshed", "ITI-71"], ["Patient/anna"])
    assert (await app.redeem("unknown")).status_code == 400
    [failed] = await entrances(watched)
    assert (failed["outcome"], failed["outcomeDesc"]) == ("4", "invalid_grant")
    form = {"token": answer["access_token"]}
    assert (await world.post("revoke", form, **app.basic)).status_code == 200
    [revoked] = await entrances(watched)
    assert (subtypes(revoked), patients(revoked)) == (["revoked"], ["Patient/anna"])
