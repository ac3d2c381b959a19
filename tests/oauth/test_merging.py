"""Who signs in as a patient whose record is merged: docs/adr/0019-a-merge-is-one-transaction.md"""

import pytest

from tests.http.merges import asked
from tests.oauth.support import World

pytestmark = pytest.mark.asyncio(loop_scope="module")

SCOPE = "launch/patient offline_access patient/*.rs"


async def seen(world: World, token: str) -> set[str]:
    answer = await world.fhir("GET", "/Observation", token)
    assert answer.status_code == 200, answer.text
    return {entry["resource"]["id"] for entry in answer.json().get("entry", ())}


async def test_the_sign_in_follows_a_merge_and_ends_what_was_granted_before(world: World) -> None:
    bert = await world.someone("bert", "Patient/bert")
    app = await world.app()
    before = await app.token(bert, SCOPE)
    assert before["patient"] == "bert"
    both = {"lab-bert", "vital-bert", "lab-cora", "vital-cora"}
    for operation, patient, theirs in (
        ("merge", "cora", both),
        ("undo-merge", "bert", {"lab-bert", "vital-bert"}),
    ):
        answer = await world.fhir("POST", f"/Patient/${operation}", body=asked("bert", "cora"))
        assert answer.status_code == 200, answer.text
        assert (await world.fhir("GET", "/Observation", before["access_token"])).status_code == 401
        assert (await app.refresh(before["refresh_token"])).status_code == 400
        before = await app.token(bert, SCOPE)
        assert before["patient"] == patient
        assert await seen(world, before["access_token"]) == theirs
