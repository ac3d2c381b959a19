"""Attempts to write into somebody else's record by standing in what is written there oneself."""

from typing import Any

import pytest

from tests.attacks.test_writing import AS_PATCH, bundle, entry, statuses, untouched
from tests.attacks.world import World, observation

pytestmark = pytest.mark.asyncio(loop_scope="module")
ANNA, BERT = {"reference": "Patient/anna"}, {"reference": "Patient/bert"}

OTHERS: list[dict[str, Any]] = [
    {"resourceType": "Observation", "status": "final", "code": {"text": "x"}, "performer": [ANNA]},
    {"resourceType": "QuestionnaireResponse", "status": "completed", "author": ANNA},
    {"resourceType": "Condition", "code": {"text": "x"}, "asserter": ANNA},
    {"resourceType": "Communication", "status": "completed", "sender": ANNA},
    {"resourceType": "Basic", "code": {"text": "x"}, "author": ANNA},
]


@pytest.mark.parametrize("resource", OTHERS, ids=lambda one: one["resourceType"])
async def test_who_reports_something_does_not_write_it_into_anothers_record(
    world: World, resource: dict[str, Any]
) -> None:
    """It lies in the compartments of both; whose record it is says its subject."""
    anna, type_ = await world.anna(), resource["resourceType"]
    before = await world.total(world.admin, f"/{type_}?subject=Patient/bert")
    body = {**resource, "subject": BERT}
    assert (await world.ask(anna, "POST", f"/{type_}", body)).status == 403
    assert (await bundle(world, anna, "transaction", entry("POST", type_, body))).status == 403
    assert statuses(await bundle(world, anna, "batch", entry("POST", type_, body))) == ["403"]
    assert await world.total(world.admin, f"/{type_}?subject=Patient/bert") == before
    assert (await world.ask(anna, "POST", f"/{type_}", {**resource, "subject": ANNA})).status == 201


async def test_what_one_reported_on_another_is_read_and_not_changed(world: World) -> None:
    anna = await world.anna()
    mine = observation("hers", "anna", performer=[ANNA])
    theirs = observation("reported", "bert", performer=[ANNA])
    await world.put(mine)
    await world.put(theirs)
    patch = [{"op": "replace", "path": "/subject/reference", "value": "Patient/bert"}]
    back = [{"op": "replace", "path": "/subject/reference", "value": "Patient/anna"}]
    assert (await world.ask(anna, "GET", "/Observation/reported")).status == 200
    replies = [
        await world.ask(anna, "PUT", "/Observation/hers", {**mine, "subject": BERT}),
        await world.ask(anna, "PATCH", "/Observation/hers", patch, **AS_PATCH),
        await world.ask(anna, "PUT", "/Observation/reported", {**theirs, "subject": ANNA}),
        await world.ask(anna, "PATCH", "/Observation/reported", back, **AS_PATCH),
        await world.ask(anna, "DELETE", "/Observation/reported"),
    ]
    assert [reply.status for reply in replies] == [403, 403, 405, 404, 204]
    assert await world.version("/Observation/hers") == await world.version("/Observation/reported") == "1"


async def test_a_record_that_refers_to_ones_own_is_not_ones_own(world: World) -> None:
    anna = await world.anna()
    linked = {"resourceType": "Patient", "id": "namesake", "link": [{"other": ANNA, "type": "seealso"}]}
    await world.put(linked)
    assert (await world.ask(anna, "GET", "/Patient/namesake")).status == 200
    assert (await world.ask(anna, "PUT", "/Patient/namesake", {**linked, "gender": "female"})).status == 405
    assert (await world.ask(anna, "DELETE", "/Patient/namesake")).status == 204
    assert await world.version("/Patient/namesake") == "1"


async def test_a_team_of_another_patient_with_ones_own_patient_in_it(world: World) -> None:
    """A care team opens its subject's record: who looks after Anna cannot let themselves into Bert's."""
    nurse = await world.nurse()
    members = [{"member": {"reference": "Practitioner/n"}}, {"member": ANNA}]
    team = {"resourceType": "CareTeam", "status": "active", "subject": BERT, "participant": members}
    colleagues = {**team, "participant": [{"member": {"reference": "Practitioner/d"}}, {"member": ANNA}]}
    patch = [
        {"op": "add", "path": "/participant/-", "value": {"member": ANNA}},
        {"op": "replace", "path": "/subject/reference", "value": "Patient/bert"},
    ]
    replies = [
        await world.ask(nurse, "POST", "/CareTeam", team),
        await world.ask(nurse, "PUT", "/CareTeam/team-anna", {**team, "id": "team-anna"}),
        await world.ask(nurse, "PATCH", "/CareTeam/team-anna", patch, **AS_PATCH),
        await bundle(world, nurse, "transaction", entry("POST", "CareTeam", team)),
        await world.ask(nurse, "POST", "/CareTeam", colleagues),
    ]
    assert [reply.status for reply in replies] == [403] * 5
    assert "Patient/bert" not in await world.found(nurse, "/Patient")
    await untouched(world)
