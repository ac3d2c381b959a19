"""Tokens that claim more than they were given: what cannot be understood never gives anything."""

import json

import pytest

from fhirserver.policy.scopes import UnknownScope, parse
from tests.attacks.world import DOCTOR, World
from tests.support.callers import granted

pytestmark = pytest.mark.asyncio(loop_scope="module")

WIDENED = (
    *("patient/Observation.rs?category:not=laboratory", "patient/Observation.rs?category:missing=true"),
    *(
        "patient/Observation.rs?subject:Patient.family=x",
        "patient/Observation.rs?_has:Provenance:target:agent=x",
    ),
    *("patient/Observation.rs?", "patient/Observation.rs?category", "patient/Observation.rs?category="),
    *("patient/Observation.rs?category=a&", "patient/Observation.rs?=laboratory", "patient/Observation.rs?&"),
    *("patient/Observation.rs?_include=*", "patient/Observation.rs?_filter=status eq final"),
    *(
        "patient/Observation.rs?category=%zz%00",
        "patient/Observation.rs?_query=all",
        "patient/Observation.rs?_count=1",
    ),
    *("patient/Observation.sr", "patient/Observation.rr", "patient/Observation.", "patient/Observation.x"),
    *(
        "patient/observation.rs",
        "patient/OBSERVATION.rs",
        "patient/Obs*.rs",
        "patient/**.rs",
        "patient/Nothing.rs",
    ),
    *("patient/Observation.read?category=laboratory", "patient/ Observation.rs", "patient/Observation.rs\n"),
    *(
        "Patient/Observation.rs",
        "PATIENT/*.rs",
        "user*/Observation.rs",
        "system/*.cruds?",
        "user/Observation.rs,*",
    ),
)


@pytest.mark.parametrize("scope", WIDENED)
async def test_malformed_scopes_do_not_widen(world: World, scope: str) -> None:
    """Neither is one granted, nor does a token that holds one show anything, or break the server."""
    with pytest.raises(UnknownScope):
        parse(scope)
    who = await world.anna(scope)
    for url in ("/Observation", "/Observation/lab-anna", "/Patient", "/_history"):
        reply = await world.ask(who, "GET", url)
        assert reply.status in (401, 403), (url, reply)
        assert b"lab-" not in reply.body.replace(b"/Observation/lab-anna", b"")


async def test_a_constraint_that_a_type_does_not_have_permits_nothing_of_it(world: World) -> None:
    who = await world.anna("patient/*.rs?category=laboratory")
    assert await world.found(who, "/Observation") == {"Observation/lab-anna"}
    for url in ("/Patient", "/Organization", "/CareTeam", "/List"):
        assert await world.found(who, url) == set(), url
    await world.alike(who, "GET", "/Patient/anna", "/Patient/xxxx")


async def test_a_constraint_whose_value_is_not_understood_permits_nothing(world: World) -> None:
    for scope in (
        *("patient/Observation.rs?date=yesterday", "patient/Observation.rs?value-quantity=much"),
        *("patient/Observation.rs?category=|", "patient/Observation.rs?code-value-quantity=1"),
        "patient/Observation.rs?subject=#",
    ):
        who = await world.anna(scope)
        assert await world.found(who, "/Observation") == set(), scope


async def test_parameters_that_are_others_together_narrow_too(world: World) -> None:
    code = {"coding": [{"system": "urn:c", "code": "k"}]}
    lab = {"resourceType": "Observation", "status": "final", "subject": {"reference": "Patient/anna"}}
    await world.put({**lab, "id": "combined", "code": {"text": "x"}, "component": [{"code": code}]})
    who = await world.anna("patient/Observation.rs?combo-code=urn:c|k")
    assert await world.found(who, "/Observation") == {"Observation/combined"}


async def test_a_user_token_without_a_user(world: World) -> None:
    for scopes in (("user/*.cruds",), ("user/Patient.rs", "user/Observation.rs")):
        who = await granted(world.dsn, *scopes, roles=("administrator",))
        for method, url in (
            ("GET", "/Patient"),
            ("GET", "/Patient/anna"),
            ("GET", "/_history"),
            ("DELETE", "/Patient/bert"),
        ):
            assert (await world.ask(who, method, url)).status == 403, (method, url)
    lost = await granted(world.dsn, "patient/*.cruds", **DOCTOR)
    assert (await world.ask(lost, "GET", "/Observation")).status == 403
    nobody = await granted(world.dsn, "patient/*.cruds", patient="anna", roles=("administrator",))
    assert (await world.ask(nobody, "GET", "/Observation")).status == 403


async def test_user_and_system_scopes_mixed(world: World) -> None:
    """A signed-in user is no service: `system/` gives them nothing, whatever stands beside it."""
    who = await world.anna("system/*.cruds", "patient/Patient.r")
    assert (await world.ask(who, "GET", "/Patient/anna")).status == 200
    assert (await world.ask(who, "GET", "/Observation")).status == 403
    assert (await world.ask(who, "DELETE", "/Patient/bert")).status == 403
    await world.alike(who, "GET", "/Patient/bert", "/Patient/xxxx")
    service = await granted(world.dsn, "system/Patient.rs", "user/*.cruds", "patient/*.cruds", patient="anna")
    assert await world.found(service, "/Patient") == {"Patient/anna", "Patient/bert"}
    assert (await world.ask(service, "GET", "/Observation")).status == 403


async def test_scopes_keep_their_own_contexts(world: World) -> None:
    """`patient/Observation` with `user/Practitioner` is no `user/Observation`."""
    who = await world.anna("patient/Observation.rs?category=laboratory", "user/Practitioner.rs", **DOCTOR)
    assert await world.found(who, "/Observation") >= {"Observation/lab-anna"}
    assert not any("bert" in one or "vital" in one for one in await world.found(who, "/Observation"))
    writer = await world.anna("patient/Observation.rs", "user/Condition.cud", **DOCTOR)
    assert (await world.ask(writer, "DELETE", "/Observation/lab-anna")).status == 403


async def test_no_role_no_rights(world: World) -> None:
    for roles in ((), ("unknown",), ("care-team",)):
        who = await granted(world.dsn, "user/*.cruds", user=("Practitioner", "d"), roles=roles)
        assert (await world.ask(who, "GET", "/Patient")).status == 403


async def test_what_an_outdated_token_lists_twice_or_strangely_is_one_refusal(world: World) -> None:
    reply = await world.ask(
        await world.anna("patient/Nothing.rs", "patient/Patient.rs"), "GET", "/Observation"
    )
    assert reply.status in (401, 403) and json.loads(reply.body)["resourceType"] == "OperationOutcome"
