"""What is merged in the background, and what is only previewed, is judged like what is merged at once: nobody
moves by it what they could not write. docs/how-to/merging.md"""

import asyncio
import json
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from tests.attacks.world import DOCTOR, RESOURCES, SETTINGS, World, observation
from tests.http.merges import asked
from tests.support.callers import Granted, granted, revoke
from tests.support.door import Reply, opened

pytestmark = pytest.mark.asyncio(loop_scope="module")

AT_ONCE = 2
PATIENCE_S = 60
SIZES = pytest.mark.parametrize("size", [1, AT_ONCE + 3])
"""Resources that refer to the source: moved at once, and in the background."""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def world(database: str) -> AsyncIterator[World]:
    async with opened(database, **SETTINGS, merge_at_once_max=AT_ONCE) as door:
        made = World(door, database, await granted(database, "user/*.cruds", **DOCTOR))
        for resource in RESOURCES:
            await made.put(resource)
        yield made


def replacing(source: str, target: str, **flags: bool) -> dict[str, Any]:
    sides = (("source", source), ("target", target))
    parts: list[dict[str, Any]] = [
        {"name": name, "valueReference": {"reference": f"Practitioner/{id_}"}} for name, id_ in sides
    ]
    parts += [{"name": name, "valueBoolean": value} for name, value in flags.items()]
    return {"resourceType": "Parameters", "parameter": parts}


async def ended(world: World, reply: Reply) -> tuple[str, str]:
    """How what was accepted ended, and why."""
    assert reply.status == 202, reply.body
    task = (reply.header("content-location") or "").rpartition("/")[2]
    until = time.monotonic() + PATIENCE_S
    while True:
        now = json.loads((await world.ask(world.admin, "GET", f"/Task/{task}")).body)
        if now["status"] in ("completed", "failed"):
            return now["status"], now.get("statusReason", {}).get("text", "")
        assert time.monotonic() < until, now
        await asyncio.sleep(0.05)


async def is_forbidden(world: World, who: Granted, path: str, body: Any, preview: Any, size: int) -> None:
    """At once it is 403, as the preview says; in the background the Task fails with the same reason."""
    if size <= AT_ONCE:
        assert (await world.ask(who, "POST", path, preview)).status == 403
        assert (await world.ask(who, "POST", path, body)).status == 403
        return
    status, why = await ended(world, await world.ask(who, "POST", path, body))
    assert status == "failed" and why


async def value(world: World, path: str, *steps: str) -> Any:
    found = json.loads((await world.ask(world.admin, "GET", path)).body)
    for step in steps:
        found = found[step]
    return found


@SIZES
async def test_nobody_gets_the_role_of_another(world: World, size: int) -> None:
    other, me = f"other-{size}", f"me-{size}"
    for id_ in (other, me):
        await world.put({"resourceType": "Practitioner", "id": id_})
    role = {
        "resourceType": "PractitionerRole",
        "id": f"role-{size}",
        "practitioner": {"reference": f"Practitioner/{other}"},
        "code": [{"text": "auditor"}],
    }
    await world.put(role)
    for number in range(size - 1):
        author = {"reference": f"Practitioner/{other}"}
        await world.put(
            {
                "resourceType": "Basic",
                "id": f"by-{other}-{number}",
                "code": {"text": "x"},
                "author": author,
            }
        )
    claims: dict[str, Any] = {"user": ("Practitioner", me), "roles": ("administrator",)}
    who = await granted(world.dsn, "user/*.cruds", "user/PractitionerRole.cruds", **claims)
    path = "/Practitioner/$replace-references"
    await is_forbidden(world, who, path, replacing(other, me), replacing(other, me, preview=True), size)
    mine = await value(world, f"/PractitionerRole/{role['id']}", "practitioner", "reference")
    assert mine == f"Practitioner/{other}"


@SIZES
async def test_nothing_leaves_what_the_caller_may_write(world: World, size: int) -> None:
    source, target = f"inside-{size}", f"outside-{size}"
    for id_ in (source, target):
        await world.put({"resourceType": "Patient", "id": id_})
    for number in range(size):
        await world.put(observation(f"of-{source}-{number}", source))
    scopes = ("user/Patient.cruds", f"user/Observation.cruds?subject=Patient/{source}")
    who = await granted(world.dsn, *scopes, **DOCTOR)
    body, preview = asked(source, target), asked(source, target, preview=True)
    await is_forbidden(world, who, "/Patient/$merge", body, preview, size)
    assert await value(world, f"/Observation/of-{source}-0", "subject", "reference") == f"Patient/{source}"
    assert await world.version(f"/Patient/{target}") == "1"


@SIZES
async def test_nothing_is_taken_back_out_of_it(world: World, size: int) -> None:
    source, target = f"back-{size}", f"kept-{size}"
    for id_ in (source, target):
        await world.put({"resourceType": "Patient", "id": id_})
    for number in range(size):
        await world.put(observation(f"of-{source}-{number}", source))
    reply = await world.ask(world.admin, "POST", "/Patient/$merge", asked(source, target))
    assert reply.status == 200 or (await ended(world, reply))[0] == "completed"
    scopes = ("user/Patient.cruds", f"user/Observation.cruds?subject=Patient/{target}")
    who = await granted(world.dsn, *scopes, **DOCTOR)
    body, preview = asked(source, target), asked(source, target, preview=True)
    await is_forbidden(world, who, "/Patient/$undo-merge", body, preview, size)
    assert await value(world, f"/Observation/of-{source}-0", "subject", "reference") == f"Patient/{target}"
    assert await value(world, f"/Patient/{source}", "active") is False


@SIZES
async def test_the_result_is_judged_before_anything_is_accepted(world: World, size: int) -> None:
    source, target = f"plain-{size}", f"given-{size}"
    for id_ in (source, target):
        await world.put({"resourceType": "Patient", "id": id_, "gender": "unknown"})
    for number in range(size):
        await world.put(observation(f"of-{source}-{number}", source))
    who = await granted(world.dsn, "user/Patient.cruds", "user/Observation.cruds", **DOCTOR)
    scopes = ("user/Patient.cruds?gender=unknown", "user/Observation.cruds")
    narrow = await granted(world.dsn, *scopes, **DOCTOR)
    link = [{"type": "replaces", "other": {"reference": f"Patient/{source}"}}]
    result = {"resourceType": "Patient", "id": target, "gender": "male", "link": link}
    part = {"name": "result-patient", "resource": result}
    for flags in ({"preview": True}, {}):
        body = asked(source, target, part, **flags)
        assert (await world.ask(narrow, "POST", "/Patient/$merge", body)).status == 403
    assert await world.version(f"/Patient/{target}") == "1"
    reply = await world.ask(who, "POST", "/Patient/$merge", asked(source, target, part))
    assert reply.status == (200 if size <= AT_ONCE else 202), reply.body
    if reply.status == 202:
        assert (await ended(world, reply))[0] == "completed"
    assert await value(world, f"/Patient/{target}", "gender") == "male"


async def test_rights_are_those_of_when_it_was_accepted(world: World) -> None:
    """A token that is over when it is done changes nothing, as it would not for what is done at once."""
    for id_ in ("then", "now"):
        await world.put({"resourceType": "Patient", "id": id_})
    for number in range(AT_ONCE + 1):
        await world.put(observation(f"of-then-{number}", "then"))
    who = await granted(world.dsn, "user/Patient.cruds", "user/Observation.cruds", **DOCTOR)
    reply = await world.ask(who, "POST", "/Patient/$merge", asked("then", "now"))
    await revoke(world.dsn, who)
    assert await ended(world, reply) == ("completed", "")
    assert await value(world, "/Observation/of-then-0", "subject", "reference") == "Patient/now"
