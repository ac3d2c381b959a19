"""`:text`, `_text` and `_content` through the door: https://hl7.org/fhir/R4/search.html#content"""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

import pytest

from tests.support.door import Door, assert_outcome, opened

pytestmark = pytest.mark.asyncio(loop_scope="module")


def condition(id_: str, text: str, div: str | None = None, **more: Any) -> dict[str, Any]:
    narrative = {"status": "additional", "div": f'<div xmlns="http://www.w3.org/1999/xhtml">{div}</div>'}
    return {
        "resourceType": "Condition",
        "id": id_,
        **({"text": narrative} if div else {}),
        "code": {"text": text},
        "subject": {"reference": "Patient/p"},
        **more,
    }


CONDITIONS = [
    condition("c1", "Secondary malignancy of liver", "<p>Liver: <b>meta</b>stases, since&#160;May.</p>"),
    condition("c2", "Fracture", "<table><tr><td>bone</td><td>metastases</td></tr></table>"),
    condition("c3", "Bone metastases"),
]


async def stored(door: Door) -> None:
    for resource in ({"resourceType": "Patient", "id": "p"}, *CONDITIONS):
        reply = await door.json("PUT", f"/{resource['resourceType']}/{resource['id']}", resource)
        assert reply.status in (200, 201), reply


async def ids(door: Door, url: str) -> list[str]:
    reply = await door.ask("GET", quote(url, safe="/?=&:"))
    assert reply.status == 200, reply
    return sorted(entry["resource"]["id"] for entry in reply.resource().get("entry", ()))


async def test_narratives_are_searched_unless_turned_off(database: str) -> None:
    async with opened(database) as door:
        await stored(door)
        assert await ids(door, "/Condition?_text=(bone OR liver) and metastases") == ["c1", "c2"]
        assert await ids(door, '/Condition?_text="bone metastases"') == ["c2"]
        assert await ids(door, "/?_text=metastases -bone") == ["c1"]
        assert await ids(door, "/Condition?code:text=bone") == ["c3"]
        assert await ids(door, "/Patient?_has:Condition:patient:_text=may") == ["p"]
        assert await ids(door, "/Patient/p/Condition?_text=may") == ["c1"]
        reply = await door.ask("POST", "/Condition/_search", b"_text=May", FORM)
        assert [entry["resource"]["id"] for entry in reply.resource()["entry"]] == ["c1"]
        outcome = assert_outcome(await door.ask("GET", "/Condition?_content=x"), "not-supported")
        assert "full_text" in outcome["issue"][0]["diagnostics"]


async def test_all_text_is_searched_where_that_is_turned_on(database: str) -> None:
    async with opened(database, full_text="content") as door:
        for resource in CONDITIONS:
            await door.json("DELETE", f"/Condition/{resource['id']}")
        await stored(door)
        assert await ids(door, "/Condition?_content=metastases") == ["c1", "c2", "c3"]
        assert await ids(door, "/Condition?_content=malignancy,fracture&_text=liver") == ["c1"]
        await door.json("PUT", "/Condition/c3", condition("c3", "Nothing"))
        assert await ids(door, "/?_content=metastases") == ["c1", "c2"]
        reply = await door.ask("GET", "/Condition?_content=nobody&_total=accurate")
        assert reply.resource()["total"] == 0


async def test_text_can_be_turned_off(database: str) -> None:
    async with opened(database, full_text="none") as door:
        outcome = assert_outcome(await door.ask("GET", "/Condition?_text=x"), "not-supported")
        assert "full_text" in outcome["issue"][0]["diagnostics"]
        reply = await door.ask("GET", "/Condition?_text=x", headers=[("prefer", "handling=lenient")])
        assert reply.status == 200


@pytest.mark.parametrize("value", ["(bone", "NOT bone", '"bone', "?!", "a or"])
async def test_a_query_that_is_none_is_explained(database: str, value: str) -> None:
    async with opened(database) as door:
        assert_outcome(await door.ask("GET", f"/Condition?_text={quote(value)}"), "invalid")


async def test_conditional_interactions_look_at_the_text_itself(database: str) -> None:
    async with opened(database) as door:
        await stored(door)
        body = condition("x", "Fracture")
        del body["id"]
        found = await door.json("POST", "/Condition", body, [("if-none-exist", "code:text=frac")])
        assert found.status == 200
        assert "/Condition/c2/" in (found.header("location") or "")


FORM = [("content-type", "application/x-www-form-urlencoded")]
