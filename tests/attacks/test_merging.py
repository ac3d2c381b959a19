"""Who may merge, and that a merged-away id opens nothing: docs/how-to/merging.md"""

from typing import Any

import pytest

from tests.attacks.world import World, observation
from tests.http.merges import asked
from tests.support.callers import Granted, granted

pytestmark = pytest.mark.asyncio(loop_scope="module")

REGISTRAR: dict[str, Any] = {"user": ("Practitioner", "d"), "roles": ("registrar",)}


async def post(world: World, who: Granted | None, operation: str, body: Any) -> Any:
    return await world.ask(who, "POST", f"/Patient/${operation}", body)


async def test_no_patient_merges(world: World) -> None:
    """Not with scopes that are wide enough, and not two records that are both their own."""
    both = {"own": ("anna", "bert")}
    callers = [
        await world.anna(),
        await world.anna(**both),
        await world.anna("user/*.cruds", **both),
        await world.anna("user/*.cruds", role="administrator", **both),
        await granted(
            world.dsn, "patient/*.cruds", user=("Practitioner", "d"), roles=("administrator",), patient="anna"
        ),
    ]
    for who in callers:
        for operation in ("merge", "undo-merge"):
            reply = await post(world, who, operation, asked("anna", "bert"))
            assert reply.status == 403, reply.body
    assert (await post(world, None, "merge", asked("anna", "bert"))).status == 401
    assert await world.version("/Patient/anna") == await world.version("/Patient/bert") == "1"


async def test_it_takes_the_right_to_change_both(world: World) -> None:
    reader = await granted(world.dsn, "system/*.rs")
    narrow = await granted(world.dsn, "system/Patient.cruds?_id=anna", "system/Observation.cruds")
    readonly = await granted(world.dsn, "system/Patient.rs", "system/Patient.u?_id=anna", "system/*.rs")
    assert (await post(world, reader, "merge", asked("anna", "bert"))).status == 403
    assert (await post(world, readonly, "merge", asked("anna", "bert"))).status == 403
    hidden = await post(world, narrow, "merge", asked("anna", "bert"))
    unknown = await post(world, narrow, "merge", asked("anna", "nobody"))
    assert hidden.status == unknown.status == 422
    assert hidden.content.replace(b"bert", b"ID") == unknown.content.replace(b"nobody", b"ID")
    assert await world.version("/Patient/anna") == "1"


async def test_it_takes_the_right_to_change_what_refers_to_them(world: World) -> None:
    """A registrar merges what registrars write; nobody changes observations by merging."""
    registrar = await granted(world.dsn, "user/*.cruds", **REGISTRAR)
    reply = await post(world, registrar, "merge", asked("anna", "bert"))
    assert reply.status == 403 and b"lab-anna" not in reply.content
    preview = await post(world, registrar, "merge", asked("anna", "bert", preview=True))
    assert preview.status == 403
    for id_ in ("twice", "once"):
        await world.put({"resourceType": "Patient", "id": id_})
    encounter = {
        "resourceType": "Encounter",
        "id": "visit-twice",
        "status": "finished",
        "class": {"code": "AMB"},
        "subject": {"reference": "Patient/twice"},
    }
    await world.put(encounter)
    assert (await post(world, registrar, "merge", asked("twice", "once"))).status == 200
    reply = await world.ask(registrar, "GET", "/Encounter/visit-twice")
    assert b"Patient/once" in reply.content


async def test_a_hidden_reference_is_neither_moved_nor_told(world: World) -> None:
    """Who may not see a labelled resource does not learn that there is one by which type or id."""
    narrow = await granted(world.dsn, "system/Patient.cruds", "system/Observation.cruds?category=laboratory")
    for id_ in ("m1", "m2"):
        await world.put({"resourceType": "Patient", "id": id_})
    await world.put(observation("secret", "m1", "vital-signs"))
    reply = await post(world, narrow, "merge", asked("m1", "m2"))
    assert reply.status == 403
    assert b"secret" not in reply.content and b"Observation" not in reply.content
    assert await world.version("/Observation/secret") == "1"


@pytest.mark.parametrize("path", ["", "/_history", "?_include=Patient:link", "/$everything"])
async def test_a_merged_away_id_opens_nothing(world: World, path: str) -> None:
    """Anna's app sees what became of her own record; nothing of the one that it was merged into."""
    anna = await world.anna()
    assert (await post(world, world.admin, "merge", asked("anna", "bert"))).status == 200
    own = await world.ask(anna, "GET", "/Patient/anna")
    assert own.status == 200 and b"replaced-by" in own.content
    for target in ("/Patient/bert", "/Observation/lab-bert", "/DiagnosticReport/report-bert"):
        type_ = target.split("/")[1]
        await world.alike(anna, "GET", target, f"/{type_}/nobody")
    for target in ("/Patient/bert/$everything", "/Patient/bert/_history", "/Patient/bert/_history/2"):
        assert (await world.ask(anna, "GET", target)).status == 404
    search = f"/Patient?_id=anna{path.replace('?', '&')}" if path.startswith("?") else f"/Patient/anna{path}"
    reply = await world.ask(anna, "GET", search)
    assert reply.status == 200
    assert b"Family-bert" not in reply.content and b"lab-bert" not in reply.content
    found = await world.found(anna, "/Patient")
    assert found == {"Patient/anna"}
    # What is Bert's now is not Anna's any more, though it was hers.
    assert await world.found(anna, "/Observation") == set()
    assert (await world.ask(anna, "GET", "/Observation/lab-anna/_history/1")).status == 200
    moved = observation("new", "anna")
    assert (await world.ask(anna, "PUT", "/Observation/new", moved)).status == 405
    del moved["id"]
    assert (await world.ask(anna, "POST", "/Observation", moved)).status == 403
    assert (await post(world, world.admin, "undo-merge", asked("anna", "bert"))).status == 200
    assert "Observation/lab-anna" in await world.found(anna, "/Observation")


async def test_nor_the_other_way_round(world: World) -> None:
    """Whoever sees the one that stays sees what was moved to it, but not the record that was merged away."""
    claims: dict[str, Any] = {
        "user": ("Patient", "bert"),
        "patient": "bert",
        "own": ("bert",),
        "roles": ("owner",),
    }
    bert = await granted(world.dsn, "patient/*.cruds", **claims)
    nurse = await world.nurse()
    assert (await post(world, world.admin, "merge", asked("anna", "bert"))).status == 200
    assert "Observation/lab-anna" in await world.found(bert, "/Observation")
    await world.alike(bert, "GET", "/Patient/anna", "/Patient/nobody")
    assert await world.found(bert, "/Patient") == {"Patient/bert"}
    assert (await world.ask(bert, "GET", "/Observation/lab-anna/_history/1")).status == 404
    # The care team is Bert's now.
    assert await world.found(nurse, "/Patient") == {"Patient/bert"}
    assert (await post(world, world.admin, "undo-merge", asked("anna", "bert"))).status == 200
    assert await world.found(nurse, "/Patient") == {"Patient/anna"}
    assert "Observation/lab-anna" not in await world.found(bert, "/Observation")
